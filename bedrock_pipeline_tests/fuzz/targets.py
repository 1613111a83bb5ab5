"""What is fuzzed: each target takes bytes, and raises for what must not happen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bedrock_pipeline_tests.fuzz import intake, requests, responses, tasks

CORPUS: Final = Path(__file__).with_name("corpus")


@dataclass(frozen=True)
class Target:
    """One way in for strangers' bytes.

    Attributes:
        run: raises for a broken promise.
        seeds: inputs to begin with, made by code so that they stay valid.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


TARGETS: Final = {
    "intake": Target(intake.intake, intake.seeds),
    "templates": Target(requests.template, requests.seeds_of_templates),
    "bodies": Target(requests.body, requests.seeds_of_bodies),
    "tasks": Target(tasks.task, tasks.seeds),
    "attachments": Target(requests.attachment, requests.seeds_of_attachments),
    "responses": Target(responses.answer_lines, responses.seeds_of_lines),
    "structured": Target(responses.structured_answer, responses.seeds_of_answers),
}
#: What is worth inserting, in any target.
WORDS: Final = (
    *(b'"', b"\\", b"\\u0000", b"\\ud83d", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"\xe2\x80\xa8"),
    *b"{ } [ ] , : null true NaN -Infinity 1e999 1e-99999999999999999999 -0.0".split(),
    b"9" * 30,
    *(
        b"{{",
        b"}}",
        b"{%",
        b"`",
        b"<think>",
        b"</think>",
        b"```json\n",
        b"hunter 2",
        b"[" * 300,
        b'{"a":' * 300,
    ),
    *(b'"id"', b'"t"', b'"recordId"', b'"modelOutput"', b'"content"', b'"text"', b'"type"', b'"tool_use"'),
    *(
        b'"usage"',
        b'"error"',
        b'"embedding"',
        b'"role"',
        b'"user"',
        b'"image"',
        b"data:",
        b";base64,",
        b"file://",
    ),
    *(b"s3://", b"/ROOT/", b"../", b"PAR1", b"%PDF-", b"PK\x03\x04", b"RIFF", b"ARROW1"),
)


def entries(name: str) -> list[Path]:
    """The corpus of a target: what was found once, and stays fixed."""
    return sorted((CORPUS / name).glob("*"))
