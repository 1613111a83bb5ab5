"""The checks of results: what they say at, below and above their thresholds."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bedrock_pipeline import DagsterOptions, Pipeline, Thresholds, build_definitions
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.result_checks import Measures, judged

GOOD = Measures(
    dataset="d",
    records=1000,
    failed=0,
    by_code={},
    rows=1000,
    rejected=0,
    cost_usd=Decimal("1.0"),
    estimated_usd=Decimal("1.0"),
    unresolved=(),
    complete=True,
)


def failing(measures: Measures, **thresholds: Any) -> set[str]:
    return {str(one.check_name) for one in judged(measures, Thresholds(**thresholds)) if not one.passed}


@pytest.mark.parametrize(
    ("changes", "thresholds", "fails"),
    [
        ({}, {}, set()),
        ({"failed": 50}, {}, set()),
        ({"failed": 51}, {}, {"few_failures"}),
        ({"failed": 51}, {"failed": None}, set()),
        ({"by_code": {"declined": 30, "filtered": 30}}, {}, {"few_declined"}),
        ({"by_code": {"cut-off": 11}}, {}, {"few_cut_off"}),
        ({"by_code": {"cut-off": 11}}, {"cut_off": 0.5}, set()),
        ({"rejected": 11}, {}, {"few_rejected"}),
        ({"cost_usd": Decimal("1.3")}, {}, {"cost_within_estimate"}),
        ({"cost_usd": Decimal("1.3")}, {"cost_over_estimate": 1}, set()),
        ({"cost_usd": None}, {}, set()),
        ({"unresolved": ("d--00001",)}, {}, {"nothing_in_doubt"}),
        ({"unresolved": ("d--00001",)}, {"needs_resolution": False}, set()),
        ({"complete": False}, {}, {"complete"}),
        ({"records": 0, "rows": 0}, {}, set()),
    ],
)
def test_a_check_fails_above_its_threshold(
    changes: dict[str, Any], thresholds: dict[str, Any], fails: set[str]
) -> None:
    assert failing(replace(GOOD, **changes), **thresholds) == fails


def test_checks_are_warnings_unless_they_block() -> None:
    for blocking, severity in ((False, "WARN"), (True, "ERROR")):
        assert {one.severity.name for one in judged(GOOD, Thresholds(blocking=blocking))} == {severity}
        pipeline = Pipeline(
            name="p",
            model_id="anthropic.claude-3-haiku-20240307-v1:0",
            source="rows.jsonl",
            prompt="{{ text }}",
            dagster=DagsterOptions(thresholds=Thresholds(blocking=blocking, cut_off=None)),
        )
        graph = build_definitions([pipeline]).resolve_asset_graph()
        keys = {key.name for key in graph.asset_check_keys if key.asset_key == Names("p").asset("results")}
        assert "few_cut_off" not in keys
        assert {"few_failures", "complete", "cost_within_estimate"} <= keys
        found = [graph.get_check_spec(key) for key in graph.asset_check_keys if key.name in keys]
        assert {spec.blocking for spec in found} == {blocking}
