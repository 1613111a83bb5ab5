"""What Dagster's webserver says, over its API."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from bedrock_pipeline_tests.waiting import PATIENCE_S

_QUERY = """
query ($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode { assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } } }
  }
}
"""


_MATERIALIZATIONS = """
query ($path: [String!]!) {
  assetOrError(assetKey: {path: $path}) {
    ... on Asset { assetMaterializations(limit: 1000) {
      partition metadataEntries { label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue } }
    } }
  }
}
"""
_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_STATUS = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
_RUNS = "{ runsOrError { ... on Runs { results { status } } } }"


def partitions(url: str, *path: str) -> dict[str, Any]:
    """The partitions of an asset that are there and that failed."""
    found: dict[str, Any] = _ask(url, _QUERY, path=path)["assetNodeOrError"]["assetPartitionStatuses"]
    return found


def materializations(url: str, *path: str) -> list[dict[str, Any]]:
    """The materializations of an asset, the newest first, each with its partition and its texts and numbers."""
    found = _ask(url, _MATERIALIZATIONS, path=path)["assetOrError"].get("assetMaterializations", [])
    return [
        {
            "partition": one["partition"],
            "metadata": {
                entry["label"]: entry.get("text", entry.get("intValue")) for entry in one["metadataEntries"]
            },
        }
        for one in found
    ]


def launch_backfill(url: str, assets: Sequence[Sequence[str]], partitions: Sequence[str]) -> str:
    """Launch a backfill of these assets over these partitions, as the UI does; its id."""
    params = {"assetSelection": [{"path": path} for path in assets], "partitionNames": partitions}
    launched = _ask(url, _BACKFILL, params=params)["launchPartitionBackfill"]
    assert "backfillId" in launched, launched
    return str(launched["backfillId"])


def backfill_status(url: str, backfill: str) -> str:
    """The status of a backfill."""
    return str(_ask(url, _STATUS, id=backfill)["partitionBackfillOrError"]["status"])


def is_open(url: str) -> bool:
    """Whether a request is let through."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code != 403


def runs(url: str) -> list[str]:
    """The status of each run that there ever was."""
    return [run["status"] for run in _ask(url, _RUNS)["runsOrError"]["results"]]


def _ask(url: str, query: str, **variables: object) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data
