"""What every emulated model is made of.

What belongs here: the reply, the rejection of a body, and deterministic text, tokens and vectors. The shapes are the
families' own.
"""

import hashlib
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from bedrock_pipeline.emulator.models.shapes import Shape, wrong_type

Body = dict[str, Any]


class BodyError(Exception):
    """A model rejects a body: an error of one record, or of an on-demand call.

    Attributes:
        code: HTTP status of the error.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answers to one body.

    Attributes:
        body: the answer in the family's native shape.
    """

    body: Body
    input_tokens: int
    output_tokens: int


Model = Callable[[Body], Reply]


def tokens(text: str) -> int:
    """Tokens of a text: a quarter of its characters, at least one."""
    return max(1, math.ceil(len(text) / 4))


def json_size(value: object) -> int:
    """Tokens of a structure as JSON; none of nothing."""
    return tokens(orjson.dumps(value).decode()) if value else 0


def digest(text: str) -> str:
    """A hash in hexadecimal; lone surrogates are no obstacle."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def cut_off(text: str, limit: int | None) -> tuple[str, bool]:
    """A text within a limit of tokens, and whether it had to be cut off."""
    if limit is None or tokens(text) <= limit:
        return text, False
    return text[: 4 * limit], True


def sentence(prompt: str, most_tokens: int | None = None) -> tuple[str, bool]:
    """A deterministic text: the last words of the prompt, so that answers differ as inputs do.

    Returns:
        The text, and whether it was cut off at `most_tokens`.
    """
    return cut_off(f"Summary {digest(prompt)[:8]}: {' '.join(prompt.split()[-12:])}", most_tokens)


def vector(text: str, size: int, *, normalize: bool = True) -> list[float]:
    """A vector that only the text decides; of length 1 where `normalize`."""
    rng = random.Random(digest(text))  # noqa: S311  # reproducible on purpose
    values = [rng.gauss(0, 1) for _ in range(size)]
    length = math.sqrt(sum(x * x for x in values)) if normalize else 1.0
    return [round(x / length, 8) for x in values]


def reject_extra(body: Body, allowed: Iterable[str], path: str = "") -> None:
    """Reject members that the family does not know, in Anthropic's words.

    Raises:
        BodyError: names the first of them.
    """
    if extra := sorted(body.keys() - set(allowed)):
        raise BodyError(f"{path}{extra[0]}: Extra inputs are not permitted")


def reject_extraneous(body: Body, allowed: Iterable[str], path: str = "#") -> None:
    """Reject members that the family does not know, in the words of Amazon's schemas.

    Raises:
        BodyError: names the first of them.
    """
    if extra := sorted(body.keys() - set(allowed)):
        raise malformed(f"{path}: extraneous key [{extra[0]}] is not permitted")


def check_types(shape: Shape, body: Body) -> None:
    """Reject a member of another type, in Anthropic's and OpenAI's words.

    Raises:
        BodyError: names the first of them.
    """
    if found := wrong_type(shape, body):
        raise BodyError(f"{found[0]}: Input should be a valid {found[1]}")


def check_amazon_types(shape: Shape, body: Body) -> None:
    """Reject a member of another type, in the words of Amazon's schemas.

    Raises:
        BodyError: names the first of them.
    """
    if found := wrong_type(shape, body):
        raise malformed(f"#/{found[0].replace('.', '/')}: expected type: {found[1].capitalize()}")


def malformed(problem: str) -> BodyError:
    """The rejection of Amazon's and others' schemas."""
    return BodyError(f"Malformed input request: {problem}, please reformat your input and try again.")


def most_tokens(value: object, name: str) -> int | None:
    """A limit of tokens from a body.

    Raises:
        BodyError: it is there and no whole number above zero.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise malformed(f"#/{name}: expected a whole number above 0")
    return value
