"""Fuzzed: templates, conversations, given bodies, images and documents."""

import base64
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa

from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.read_attachment import attachment_reader
from bedrock_pipeline.prepare.requests.renderer import Rendered, Renderer
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.row_classifier import classify
from bedrock_pipeline.prepare.snapshot.row_contents import with_contents
from bedrock_pipeline.prompts.template import Template, TemplateError
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import RowBatch

CLAUDE, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-lite-v1:0"
PNG: Final = b"\x89PNG\r\n\x1a\n" + b"picture" * 10
PRIVATE: Final = b"\x89PNG\r\n\x1a\n" + b"private" * 10
#: What a cell says, and a reason never does. Not an ordinary name, as those of members are shown (`records.bounded_texts`).
SECRET: Final = b"hunter 2"
#: Stands for the folder in which cells may name files, which differs from run to run.
ROOT: Final = b"/ROOT"
_COLUMNS: Final = ("a", "b", "größe")


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bedrock-pipeline-fuzz-"))
    (folder / "allowed").mkdir()
    (folder / "allowed" / "a.png").write_bytes(PNG)
    (folder / "allowed" / "a.txt").write_bytes(b"a text")
    (folder / "private.png").write_bytes(PRIVATE)
    (folder / "allowed" / "out.png").symlink_to(folder / "private.png")
    os.mkfifo(folder / "allowed" / "pipe")
    return folder


def rendered(pipeline: Pipeline, batch: RowBatch, available: tuple[str, ...] | None = None) -> Rendered:
    """The lines of rows, and the rows that have none; the kernel and the scalar rule agree."""
    plan = SnapshotPlan.of(pipeline)
    needed = plan.needed(available or tuple(batch.rows.schema.names))
    both = []
    for kernel in ("on", "off"):
        os.environ[SWITCH] = kernel
        try:
            both.append(_rendered(pipeline, plan, batch, needed))
        finally:
            del os.environ[SWITCH]
    assert bytes(both[0].lines.data) == bytes(both[1].lines.data), "the kernel and the scalar rule differ"
    assert both[0].rejected == both[1].rejected
    for line in bytes(both[0].lines.data).splitlines():
        orjson.loads(line)
    return both[0]


def _rendered(pipeline: Pipeline, plan: SnapshotPlan, batch: RowBatch, needed: tuple[str, ...]) -> Rendered:
    renderer = Renderer(plan.template, pa.schema([]), Limits())
    records = classify(batch, plan.template, pipeline.record_id, needed)
    if not plan.template.contents:
        return renderer.render(records)
    roots = [str(_folder() / "allowed")]
    with RejectionWriter(_folder() / "rejected.parquet") as rejected:
        whole = with_contents(
            records,
            plan.template.contents,
            plan.kept,
            fetch=attachment_reader(roots, None),
            rejected=rejected,
        )
        [found] = [renderer.render(one) for one in whole]
        assert not any(SECRET.decode() in reason for reason in rejected.by_reason), "a reason has the cell"
    return found


def template(data: bytes) -> None:
    """A template, then cells: it is an error of its own, or fills as its parts say."""
    text, *cells = (part.decode(errors="replace") for part in data.split(b"\xff"))
    try:
        parsed = Template(text)
        parsed.check(_COLUMNS)
    except TemplateError:
        return
    assert parsed.fill([""] * len(parsed.fields)) == "".join(parsed.literals)
    if len(parsed.fields) > 100 or not parsed.fields:
        return
    one = Pipeline.model_validate({"name": "p", "model_id": CLAUDE, "prompt": text, "record_id": "id"})
    cells = [*cells, "", "", ""][:3]
    columns = {name: pa.array(["1", cell, None, "4"]) for name, cell in zip(_COLUMNS, cells, strict=True)}
    rows = pa.record_batch({"id": pa.array(["good-1", "r", "null", "good-2"]), **columns})
    found = rendered(one, RowBatch(rows, range(4), []))
    lines = [orjson.loads(line) for line in bytes(found.lines.data).splitlines()]
    by_id = {line["recordId"]: line["modelInput"]["messages"][0]["content"][0]["text"] for line in lines}
    if all(len(field.path) == 1 for field in parsed.fields):
        assert by_id["good-1"] == parsed.fill(["1"] * len(parsed.fields))
        given = dict(zip(_COLUMNS, cells, strict=True))
        assert by_id.get("r", filled := parsed.fill([given[f.column] for f in parsed.fields])) == filled
    for one_rejected in found.rejected if SECRET.decode() not in text else ():
        assert SECRET.decode() not in one_rejected.reason


_BODIES: Final = [
    Pipeline.model_validate({"name": "p", "record_id": "id", **given})
    for given in (
        {"model_id": CLAUDE, "messages": "cell"},
        {"model_id": NOVA, "messages": "cell"},
        {"model_id": CLAUDE, "model_input": "cell"},
    )
]
_GOOD_BODIES: Final = (
    '[{"role": "user", "content": "hi"}]',
    '[{"role": "user", "content": "hi"}]',
    '{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}',
)


def body(data: bytes) -> None:
    """A conversation or a body of the row's own, between two good ones."""
    if not data:
        return
    number = data[0] % len(_BODIES)
    text = data[1:].decode(errors="replace").replace(ROOT.decode(), str(_folder() / "allowed"))
    good = _GOOD_BODIES[number]
    _check_rows(_BODIES[number], "cell", pa.array([good, text, good]))


_ATTACHED: Final = [
    Pipeline.model_validate(
        {"name": "p", "model_id": NOVA, "prompt": "What is it?", "record_id": "id", **given}
    )
    for given in ({"images": ["cell"]}, {"documents": ["cell"], "invocation": "Converse"})
]


def attachment(data: bytes) -> None:
    """An image or a document, as bytes, text, or a struct of both, between two good ones."""
    if len(data) < 2:  # two bytes say what it is
        return
    one, form, rest = _ATTACHED[data[0] % 2], data[1] % 4, data[2:]
    text = rest.decode(errors="replace").replace(ROOT.decode(), str(_folder() / "allowed"))
    if form == 0:
        cells = pa.array([PNG if one.images else b"a text", rest, PNG if one.images else b"a text"])
    elif form == 1:
        good = f"{_folder()}/allowed/{'a.png' if one.images else 'a.txt'}"
        cells = pa.array([good, text, good])
    else:
        good_struct = {"bytes": PNG if one.images else b"a text", "path": "a.txt"}
        given = {"bytes": rest[1:] if form == 2 else None, "path": text}  # a form
        cells = pa.array([good_struct, given, good_struct])
    lines = _check_rows(one, "cell", cells)
    encoded = base64.b64encode(PRIVATE[8:-4]).rstrip(b"=")[4:-4]
    assert PRIVATE in rest or encoded in rest or encoded not in lines, "a file outside the roots was read"


def _check_rows(one: Pipeline, name: str, cells: pa.Array) -> bytes:
    """The lines; those of the first and the last row are among them, whatever is between."""
    rows = pa.record_batch({"id": pa.array(["good-1", "r", "good-2"]), name: cells})
    found = rendered(one, RowBatch(rows, range(3), []))
    lines = bytes(found.lines.data)
    ids = [orjson.loads(line)["recordId"] for line in lines.splitlines()]
    assert {"good-1", "good-2"} <= {*ids}, "a good row is rejected because of another"
    assert not any(SECRET.decode() in one_rejected.reason for one_rejected in found.rejected)
    return lines


def seeds_of_templates() -> Iterator[bytes]:
    """Templates that are read, and some that are not."""
    for text in ("{{ a }}", "{{a}} and {{ b.c }}", '{{ "{{" }} {{ `größe` }}', "{% if a %}", "{{ a | b }}"):
        yield text.encode() + b'\xffhunter 2"\\\xff{"c": 1}\xff\x00'


def seeds_of_bodies() -> Iterator[bytes]:
    """Conversations as they are written, and bodies."""
    image = base64.b64encode(PNG).decode()
    turns: list[Any] = [
        {"role": "system", "content": "hunter 2"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "image": image}]},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "document", "document": "/ROOT/a.txt", "name": "a"}]},
    ]
    for number in range(2):
        yield bytes([number]) + orjson.dumps(turns)
        yield bytes([number]) + orjson.dumps({"messages": turns})
        yield bytes([number]) + _GOOD_BODIES[0].encode()
    yield b"\2" + _GOOD_BODIES[2].encode()


def seeds_of_attachments() -> Iterator[bytes]:
    """Images and documents in each form."""
    image = base64.b64encode(PNG)
    for number, data in enumerate((PNG, b"%PDF-1.7 hunter 2")):
        head = bytes([number])
        yield head + b"\0" + data
        yield head + b"\1" + b"data:image/png;base64," + image
        yield head + b"\1" + image
        yield head + b"\2" + data
        for path in (b"/ROOT/a.png", b"/ROOT/../private.png", b"/ROOT/out.png", b"file:///ROOT/%61.txt"):
            yield head + b"\1" + path
            yield head + b"\3" + path
    yield b"\1\0PK\x03\x04word/"
