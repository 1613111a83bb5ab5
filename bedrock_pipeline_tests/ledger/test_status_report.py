"""The report of `status`: one statement, whatever the number of datasets, that agrees with each dataset's progress."""

from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.database import Database


def test_all_datasets_are_read_with_one_statement(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pipeline, dataset in (("a", "1"), ("a", "2"), ("b", "1")):
        deployment.ledger.datasets.request(pipeline, dataset, {}, launch=True)
    deployment.ledger.served_pipelines.seen(["a", "b"])
    statements = []
    original = Database.fetch

    def fetch(self: Database, *values: Any) -> Any:
        statements.append(values[0])
        return original(self, *values)

    monkeypatch.setattr(Database, "fetch", fetch)
    shown = deployment.ledger.status_report.datasets()
    shown = [one for one in shown if one.pipeline in ("a", "b")]
    assert [(one.pipeline, one.dataset) for one in shown] == [("b", "1"), ("a", "2"), ("a", "1")]
    assert len(statements) == 1
    assert {one.dataset for one in deployment.ledger.status_report.datasets("a")} == {"1", "2"}
    assert len(deployment.ledger.status_report.datasets(limit=2)) == 2
    assert (shown[0].records, shown[0].chunks, shown[0].cost_usd, shown[0].why) == (0, "", None, None)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("There is none.", "There is none. To take"),
        ("There is none", "There is none. To take"),
        ("Did you mean a?", "Did you mean a? To take"),
    ],
)
def test_a_reason_ends_as_a_sentence_does(deployment: Deployment, reason: str, shown: str) -> None:
    ledger = deployment.ledger
    begun = ledger.datasets.request("p", "d", {}, launch=True)
    ledger.datasets.fail_preparation(begun, begun.launch_id, reason)
    ledger.served_pipelines.seen(["p"])
    found = ledger.status_report.dataset("p", "d")
    assert found is not None
    assert shown in (found.why or "")
