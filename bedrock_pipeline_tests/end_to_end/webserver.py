"""What Dagster's webserver says, over its API."""

import json
import urllib.error
import urllib.request
from typing import Any

from bedrock_pipeline_tests.waiting import PATIENCE_S

_QUERY = """
query ($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode { assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } } }
  }
}
"""


_RUNS = "{ runsOrError { ... on Runs { results { status } } } }"


def partitions(url: str, *path: str) -> dict[str, Any]:
    """The partitions of an asset that are there and that failed."""
    found: dict[str, Any] = _ask(url, _QUERY, path=path)["assetNodeOrError"]["assetPartitionStatuses"]
    return found


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
