"""The limit of a request that was cut off is raised, and nothing else in it is changed."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.frozen_settings import freeze, thaw
from bedrock_pipeline.models.registry import FAMILIES
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.raised_limit import RaisedLimit
from bedrock_pipeline.records.wire_line import wire_line

HAIKU_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
BODIES: dict[str, Any] = {
    "claude": {"max_tokens": 100, "messages": []},
    "chat": {"max_completion_tokens": 100, "messages": []},
    "nova": {"inferenceConfig": {"maxTokens": 100}, "messages": []},
    "llama": {"max_gen_len": 100, "prompt": "a"},
    "mistral": {"max_tokens": 100, "prompt": "a"},
}


@pytest.mark.parametrize("name", BODIES)
def test_each_family_has_its_limit_raised_up_to_the_models_most(name: str) -> None:
    [family] = [one for one in FAMILIES if one.name == name]
    for most, wanted in ((None, b"250"), (1000, b"250"), (120, b"120"), (50, b"100")):
        line = wire_line("r", orjson.dumps(BODIES[name]))
        raised = RaisedLimit(family.limits, 2.5, most).line(line)
        assert raised == line.replace(b"100", wanted)


_NASTY = st.sampled_from(
    ['"max_tokens":100', '\\"max_tokens\\": 100', "max_tokens", "\u2028", '{"max_tokens":100}']
)


@given(
    before=st.dictionaries(
        st.sampled_from(["a", "b", '"max_tokens']), _NASTY | st.text() | st.just({"max_tokens": 100})
    ),
    prompt=_NASTY | st.text(),
    limit=st.integers(1, 10**6),
    spaced=st.booleans(),
)
def test_every_other_byte_stays(before: dict[str, Any], prompt: str, limit: int, spaced: bool) -> None:
    body = orjson.dumps({**before, "max_tokens": limit, "prompt": prompt, "temperature": 1.0, "last": before})
    if spaced:
        body = body.replace(b'"max_tokens":%d,"prompt"' % limit, b'"max_tokens" : %d,"prompt"' % limit)
    line = wire_line("r", body)
    raised = RaisedLimit((("max_tokens",),), 2, None).line(line)
    read = orjson.loads(raised)["modelInput"]
    assert read == {**orjson.loads(body), "max_tokens": 2 * limit}
    assert len(raised) - len(line) == len(str(2 * limit)) - len(str(limit))
    assert raised.replace(str(2 * limit).encode(), str(limit).encode()) == line.replace(
        str(2 * limit).encode(), str(limit).encode()
    )


def test_a_body_without_a_limit_stays() -> None:
    line = wire_line("r", b'{"prompt":"max_tokens\\": 5"}')
    assert RaisedLimit((("max_tokens",),), 2, None).line(line) == line


def pipeline(**changes: Any) -> Pipeline:
    again = {"retry_incomplete": ("cut-off",), "max_tokens_factor": 2}
    return Pipeline.model_validate({"name": "p", "model_id": HAIKU_45, "prompt": "a", **again, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retry_incomplete": ()}, "add 'cut-off' to retry_incomplete"),
        ({"max_tokens_factor": 0.5}, "max_tokens_factor"),
        ({"model_id": "amazon.titan-embed-text-v2:0"}, "family titan-embed have no limit"),
        ({"model_id": "qwen.qwen3-32b-v1:0"}, r"set parameters\.max_tokens"),
    ],
)
def test_a_factor_without_a_limit_or_another_attempt_is_an_error(changes: dict[str, Any], said: str) -> None:
    assert pipeline().raised_limit == RaisedLimit((("max_tokens",),), 2, 64_000)
    with pytest.raises(ConfigurationError, match=said):
        pipeline(**changes)


def test_the_factor_is_a_setting_of_the_version() -> None:
    thawed = thaw(freeze(pipeline()), pipeline(max_tokens_factor=5))
    assert thawed.max_tokens_factor == 2
    assert thawed.retry_incomplete == (Incomplete.CUT_OFF,)
