"""What Dagster's webserver says, over its API."""

import json
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


def partitions(url: str, *path: str) -> dict[str, Any]:
    """The partitions of an asset that are there and that failed."""
    body = json.dumps({"query": _QUERY, "variables": {"path": path}}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        found: dict[str, Any] = json.load(answer)["data"]["assetNodeOrError"]["assetPartitionStatuses"]
    return found
