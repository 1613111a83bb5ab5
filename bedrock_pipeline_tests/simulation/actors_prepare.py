"""Launches and preparing, over the product's interface for them.

What belongs here: the content of datasets, what a launch requests, and the run that prepares it.
"""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.ledger.versions import VersionReplacedError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import NoSnapshotError, pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.simulation.clients import BUCKET
from bedrock_pipeline_tests.simulation.world import MAX_RECORDS, MIN_RECORDS, Context, World

MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
PIPELINE, DATASET = "p", "d"
#: What was launched by code that has been removed since.
REMOVED_PIPELINE, REMOVED_DATASET = "removed", "e"
_SCHEMA: Final = {
    "type": "object",
    "properties": {"kind": {"type": "string"}},
    "required": ["kind"],
    "additionalProperties": False,
}
#: The content that is not there: its launch can only fail.
ABSENT: Final = "absent"
#: More than any dataset has: all of it is sent one by one.
_MOST: Final = 100
#: The longest answer is a little longer than the others, so that estimates are close to what is paid.
MAX_TOKENS: Final = 10
#: US dollars of a row, of which a dataset has about half as many as it would need.
CAP_PER_ROW_USD: Final = 0.000_004
#: US dollars of an input and an output token of a job of this model.
PRICES: Final = (0.000_000_125, 0.000_000_625)
#: The prompts of successive versions of the code; the second has less in it, so that more rows are the same.
PROMPTS: Final = ("About {{ text }} of kind {{ kind }}", "Only about {{ kind }}", "Again about {{ text }}")


def pipeline(world: World, code: int = 0, *, name: str = PIPELINE, judging: bool = False) -> Pipeline:
    """The pipeline as a version of the code has it.

    Args:
        world: the simulation.
        code: the version of the code; the later one has another prompt, and for what it has not launched an answer schema.
        name: the pipeline's.
        judging: whether it is used for what was launched already.
    """
    later = {"answer_schema": _SCHEMA} if judging and code else {}
    return Pipeline.model_validate(
        {
            "name": name,
            "model_id": MODEL,
            "check_model": False,  # so that an invalid body is rejected by the service, not before
            "record_id": "id",
            "prompt": PROMPTS[code],
            "carry": ("n",),
            "parameters": {} if world.scenario.calls else {"max_tokens": MAX_TOKENS},  # bodies have their own
            "accept_incomplete": ["cut-off"],
            "limits": Limits(
                min_records=_MOST if world.scenario.calls else MIN_RECORDS,
                max_records=10 * _MOST if world.scenario.calls else MAX_RECORDS,
                max_jobs=world.scenario.max_jobs,
            ),
            **later,
        }
    )


def rows(content: str, count: int) -> list[dict[str, Any]]:
    """The rows of a content; about a quarter of them have the text of another."""
    rng = random.Random(f"{content} {count}")
    texts = [f"{content}{n if rng.random() < 0.8 else rng.randrange(n + 1)}" for n in range(count)]
    return [
        {"id": f"r{n}", "text": text, "kind": f"k{rng.randrange(3 * count)}", "n": n}
        for n, text in enumerate(texts)
    ]


def _asked(content: str, count: int, prompt: str) -> dict[str, str]:
    """The prompt of each record."""
    return {row["id"]: _asked_of(row, prompt) for row in rows(content, count)}


def _asked_of(row: dict[str, Any], prompt: str) -> str:
    return prompt.replace("{{ text }}", row["text"]).replace("{{ kind }}", row["kind"])


def _body(row: dict[str, Any], prompt: str) -> str:
    """A whole request for Converse; that of the first row has a member too many, which the SDK would take for its own."""
    text = _asked_of(row, prompt)
    body = {
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "inferenceConfig": {"maxTokens": 200},
    }
    return json.dumps({**body, "modelId": "another"} if row["id"] == "r0" else body)


def launch(
    context: Context,
    content: str,
    *,
    prompt: int | None,
    new_version: bool,
    name: str = PIPELINE,
    dataset: str = DATASET,
) -> None:
    """Launch a dataset with this content, or `ABSENT`, and this prompt; None: that of the code which prepares it."""
    world = context.world
    count = world.scenario.rows
    wrong, given, key = content == ABSENT, rows(content, count), f"given/{content}.jsonl"
    request: dict[str, Any] = {}
    if world.scenario.calls:
        prompt = prompt or 0
        given = [{**row, "body": _body(row, PROMPTS[prompt])} for row in given]
        key = f"given/{content}-{prompt}.jsonl"
        request |= {"model_input": "body", "invocation": "Converse"}
    elif prompt is not None:
        request["prompt"] = PROMPTS[prompt]
    if not wrong:
        lines = "".join(json.dumps(row) + "\n" for row in given)
        world.service.objects.setdefault((BUCKET, key), lines.encode())
    request["source"] = f"s3://{BUCKET}/{key}"
    if world.scenario.capped:
        request["max_cost_usd"] = CAP_PER_ROW_USD * count
    shown = "the code's prompt" if prompt is None else f"prompt {prompt}"
    what = f"launch {content} with {shown}{' as a new version' if new_version else ''}"
    prompts = (0, 1) if prompt is None else (prompt,)
    asked = [_asked(content, count, PROMPTS[one]) for one in prompts if not wrong]
    with context.doing(what, launch=dataset, asked=asked, wrong=wrong) as end:
        row = context.deployment.ledger.datasets.request(
            name,
            dataset,
            request,
            launch=True,
            new_version=new_version,
            launch_id=context.deployment.system.new_id(),
        )
        end["version"] = row.version


def prepare(context: Context, name: str, dataset: str) -> None:
    """As the run of a launched dataset: its snapshot, then its chunks."""
    snapshot_alone(context, name, dataset)
    pack_alone(context, name, dataset)


def snapshot_alone(context: Context, name: str, dataset: str) -> None:
    """As `input_dataset`."""
    with _preparing(context, name, dataset, lambda row: row.launch_id):
        take_snapshot(context.deployment, _of_code(context, name), dataset)


def pack_alone(context: Context, name: str, dataset: str) -> None:
    """As `batch_chunks`."""
    with _preparing(context, name, dataset, lambda row: row.snapshot_launch_id):
        pack_dataset(context.deployment, _of_code(context, name), dataset)


def _of_code(context: Context, name: str) -> Pipeline:
    return pipeline(context.world, context.code, name=name)


@contextmanager
def _preparing(
    context: Context, name: str, dataset: str, launch_of: Callable[[DatasetRow], UUID | None]
) -> Iterator[None]:
    """As the assets: a version that is replaced meanwhile ends the run, an error that does not pass ends the launch."""
    datasets = context.deployment.ledger.datasets
    begun = datasets.ensure(name, dataset)
    try:
        yield
    except VersionReplacedError:
        return
    except (ServiceUnavailableError, NoSnapshotError):
        raise
    except BedrockPipelineError as error:
        datasets.fail_preparation(begun, launch_of(begun), str(error))
        raise
