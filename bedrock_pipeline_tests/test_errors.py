"""What an error says is made of sentences, whatever the reason ends with that another service gives."""

import pytest

from bedrock_pipeline.errors import BedrockPipelineError


@pytest.mark.parametrize(
    ("what", "fix", "said"),
    [
        ("It was not accepted: no access..", "Wait.", "It was not accepted: no access. Wait."),
        (
            "It is not published yet: its job runs",
            "See it.",
            "It is not published yet: its job runs. See it.",
        ),
        ("It is not published yet: its job runs", "", "It is not published yet: its job runs"),
        ("Is it there?", "Look.", "Is it there? Look."),
        ("It waits ...", "Wait.", "It waits ... Wait."),
        ("", "", ""),
    ],
)
def test_what_and_fix_are_sentences(what: str, fix: str, said: str) -> None:
    assert str(BedrockPipelineError(what, fix)) == said
