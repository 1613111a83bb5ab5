"""A body that is no request of Converse costs no other record its response, and is sent for no other's sake again."""

import json
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline_tests.journey.driven import chunks, finish, pipeline

_GOOD = {"messages": [{"role": "user", "content": [{"text": "Say a number."}]}]}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"messages": "Say a number."}, id="messages are text"),
        pytest.param({**_GOOD, "modelId": "anthropic.claude-3-haiku-20240307-v1:0"}, id="a model id"),
        pytest.param({**_GOOD, "self": 1}, id="a name of the SDK's own"),
        pytest.param({**_GOOD, "temperature": 1}, id="a member that Converse does not have"),
        pytest.param({**_GOOD, "inferenceConfig": {"maxTokens": "many"}}, id="a value of another type"),
        pytest.param({"messages": [{"role": "user", "content": [None]}]}, id="a block that is null"),
        pytest.param(
            {
                "messages": [
                    {"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "§"}}}]}
                ]
            },
            id="an image that is no base64",
        ),
    ],
)
def test_a_bad_body_is_an_error_of_its_record_alone(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    one = pipeline(
        tmp_path, [], prompt=None, model_input="body", carry=(), invocation="Converse", check_model=False
    )
    bodies = [bad if n == 7 else _GOOD for n in range(20)]
    rows = [json.dumps({"id": f"r{n}", "body": json.dumps(body)}) + "\n" for n, body in enumerate(bodies)]
    # Equal requests are sent once, so each has a text of its own.
    rows = [row.replace("a number", f"the number {n}") for n, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    results = {row["record_id"]: row for row in finish(deployment, one)}
    assert len(results) == 20
    failed = [row["record_id"] for row in results.values() if row["status"] == "failed"]
    assert failed == ["r7"]
    assert results["r7"]["error_code"] == "400"
    [chunk] = chunks(deployment)
    assert chunk.mode == "on-demand"
    assert deployment.ledger.calls.repeated(chunk.chunk_id) == 0
