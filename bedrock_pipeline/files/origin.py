"""Whether the lines of a file are of an output, and of the model that was named: seen by the first of them."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.models import Family
from bedrock_pipeline.models.catalog import card_of, catalog
from bedrock_pipeline.models.family import Json, ResponseShapeError
from bedrock_pipeline.models.registry import NAMED

#: Lines that are looked at.
LOOK: Final = 20


class OriginError(InvalidInputError):
    """A file is not the output of a job of the model that was named."""


def check_origin(file: str, lines: Iterable[bytes], family: Family, model_id: str) -> None:
    """Check the first lines of a file; errors among them, and lines that cannot be read, say nothing.

    Raises:
        OriginError: they are requests; or responses of another family, or of another model that the catalog knows.
    """
    records = list(_records(islice(lines, LOOK)))
    if records and all(one.keys() == {"recordId", "modelInput"} for one in records):
        raise OriginError(
            f"{file} is the input of a job: its lines have requests and no responses.",
            "Name the files that the job wrote; they end in `.jsonl.out`.",
        )
    outputs = [one["modelOutput"] for one in records if isinstance(one.get("modelOutput"), Mapping)]
    responses = [one for one in outputs if "error" not in one]
    if not responses:
        return
    if not any(_reads(family, one) for one in responses):
        others = [name for name, other in NAMED.items() if all(_reads(other, one) for one in responses)]
        others.remove("raw")  # which reads everything
        if others:
            raise OriginError(
                f"The responses in {file} do not have the form of {family.name}, but of {' or '.join(others)}.",
                "Name the job's own model, its family, or the invocation Converse if the job was of that type.",
            )
    if other := _other_model(responses, model_id):
        raise OriginError(
            f"The responses in {file} are of {other}, not of {model_id}.",
            "Name the job's own model: prices depend on it.",
        )


def _records(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, Mapping) and "recordId" in record:
            yield record


def _reads(family: Family, output: Json) -> bool:
    try:
        family.answer(output)
    except ResponseShapeError:
        return False
    return True


def _other_model(responses: Iterable[Json], model_id: str) -> str | None:
    """The model of the catalog that responses name, in whole or by a part of its id, where that is not this one."""
    card = card_of(model_id)
    for name in {one["model"] for one in responses if isinstance(one.get("model"), str) and one["model"]}:
        known = [one for one in catalog() if name in one]
        if card and known and card.id not in known:
            return known[0]
    return None
