"""Documents and images: from cells of every kind to what a model is sent, and why a row has none."""

import base64
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.renderer import Renderer
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.attachments import (
    MOST,
    MOST_BYTES,
    Attachment,
    CarriedAttachmentError,
    NotAnAttachmentError,
    document_of,
    image_of,
    named_apart,
    nowhere,
)
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.prepare.snapshot.row_contents import RowContents
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError, write_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import ArrowSource, local_file
from bedrock_pipeline.sources.parquet import ParquetReader

CLAUDE, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-lite-v1:0"
PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10


def pdf(text: str) -> bytes:
    """A PDF of one page."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj{one}endobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (
        body
        + (
            f"xref\n0 6\n0000000000 65535 f \n{table}trailer<</Size 6/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
        ).encode()
    )


def office(folder: str) -> bytes:
    """The container of a Word or an Excel file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
        file.writestr(f"{folder}/document.xml", "<document/>")
    return stream.getvalue()


def old_office(stream: str) -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500) + stream.encode("utf-16-le") + bytes(20)


FILES = {
    "Contract #1 (final).pdf": ("pdf", pdf("A contract.")),
    "letter.docx": ("docx", office("word")),
    "table.xlsx": ("xlsx", office("xl")),
    "old.doc": ("doc", old_office("WordDocument")),
    "old.xls": ("xls", old_office("Workbook")),
    "rows.csv": ("csv", b"a,b\n1,2\n"),
    "page.htm": ("html", b"<p>Hello</p>"),
    "notes.md": ("md", "# Größe".encode()),
    "plain.text": ("txt", b"plain"),
    "no ending": ("txt", b"plain, too"),
    "page": ("html", b"<!DOCTYPE html><p>Hello</p>"),
    "wrong.txt": ("pdf", pdf("Not text.")),
}


def taken(table: pa.Table, folder: Path, **given: Any) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Bodies by record id, through snapshot and rendering; and the rejections."""
    one = Pipeline.model_validate(
        {"name": "p", "model_id": CLAUDE, "prompt": "Sum it up.", "record_id": "id", **given}
    )
    with RejectionWriter(folder / "rejected.parquet") as rejected:
        source = ArrowSource(table.schema, lambda: iter(table.to_batches()))
        snapshot = write_snapshot(source, SnapshotPlan.of(one), folder, rejected, read)
        parts = ParquetReader([local_file(str(part)) for part in snapshot.parts])
        renderer = Renderer(RequestTemplate.of(one), pa.schema([]), Limits())
        found = {}
        for _, stored, _ in parts.batches(parts.schema().names):
            rendered = renderer.render(Records.of_stored(stored))
            rejected.add(*rendered.rejected)
            lines = map(orjson.loads, bytes(rendered.lines.data).splitlines())
            found.update({line["recordId"]: line["modelInput"] for line in lines})
    return found, dict(rejected.by_reason)


def read(location: str) -> bytes:
    path = Path(location.removeprefix("file://"))
    if not path.is_file():
        raise NotAnAttachmentError("leads to nothing that can be read")
    return path.read_bytes()


def rows(cells: list[Any], name: str = "d") -> pa.Table:
    return pa.table({"id": [f"r{n}" for n in range(len(cells))], name: cells})


def sent(body: dict[str, Any]) -> dict[str, Any]:
    """The document of a body of Converse's, with its bytes."""
    [one] = [block["document"] for block in body["messages"][0]["content"] if "document" in block]
    return {**one, "source": base64.b64decode(one["source"]["bytes"])}


def test_a_document_is_known_by_its_first_bytes_or_else_by_the_ending_of_its_name(tmp_path: Path) -> None:
    for name, (_, data) in FILES.items():
        (tmp_path / name).write_bytes(data)
    found, rejected = taken(
        rows([str(tmp_path / name) for name in FILES]),
        tmp_path,
        documents=["d"],
        invocation="Converse",
        carry=["d"],
    )
    assert rejected == {}
    assert {one: (sent(body)["format"], sent(body)["source"]) for one, body in found.items()} == {
        f"r{number}": expected for number, expected in enumerate(FILES.values())
    }
    assert sent(found["r0"])["name"] == "Contract 1 (final)", "as Converse takes names"
    models = Models()
    answers = [models.converse(NOVA, body, batch=True).body for body in found.values()]
    shown = [answer["output"]["message"]["content"][0]["text"] for answer in answers]
    assert all(f"[{form} " in text for text, (form, _) in zip(shown, FILES.values(), strict=True)), (
        "it was seen"
    )


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("pdf", {"source": {"type": "base64", "media_type": "application/pdf"}, "title": "document"}),
        ("csv", {"source": {"type": "text", "media_type": "text/plain", "data": "a,b"}, "title": "document"}),
        ("docx", None),
    ],
)
def test_the_body_of_claude_takes_pdf_and_text(
    tmp_path: Path, name: str, block: dict[str, Any] | None
) -> None:
    data = {"pdf": pdf("x"), "csv": b"a,b", "docx": office("word")}[name]
    media = {"pdf": "application/pdf", "csv": "text/csv", "docx": "application/octet-stream"}[name]
    table = rows([f"data:{media};base64,{base64.b64encode(data).decode()}"])
    if block is None:
        _, rejected = taken(table, tmp_path, documents=["d"])
        assert rejected == {
            "The body of Claude takes no docx documents. Set invocation='Converse', or convert them to PDF.": 1
        }
        return
    found, rejected = taken(table, tmp_path, documents=["d"])
    [document, text] = found["r0"]["messages"][0]["content"]
    if name == "pdf":
        block["source"]["data"] = base64.b64encode(data).decode()
    assert (document, text) == ({"type": "document", **block}, {"type": "text", "text": "Sum it up."})
    assert Models().answer("anthropic.claude-sonnet-4-20250514-v1:0", found["r0"], batch=True).output_tokens


def test_several_documents_follow_the_images_and_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1,2")
    cell = [str(tmp_path / "a.csv"), str(tmp_path / "a.csv")]
    table = rows([cell]).append_column("photo", pa.array([PNG])).append_column("e", pa.array([b"plain"]))
    found, _ = taken(table, tmp_path, images=["photo"], documents=["d", "e"], invocation="Converse")
    content = found["r0"]["messages"][0]["content"]
    assert [next(iter(block)) for block in content] == ["image", "document", "document", "document", "text"]
    assert [block["document"]["name"] for block in content[1:4]] == ["a", "a 2", "document"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (b"", "column 'd' is an empty document"),
        (b"\x00\xff", "column 'd' is no PDF, Word, Excel, HTML, Markdown, CSV or text document"),
        (b"PK\x03\x04nothing", "column 'd' is no PDF, Word, Excel, HTML, Markdown, CSV or text document"),
        ("a text", "column 'd' is no data URI, base64, s3:// URI or absolute path of a document"),
        ("/gone.pdf", "column 'd' leads to nothing that can be read"),
        (None, "column 'd' is null"),
        ("JVBERi0%", "column 'd' is not base64"),
        ("data:application/pdf;base64,@@é", "column 'd' is not base64"),
        (["/gone.pdf"], "column 'd' leads to nothing that can be read"),
    ],
)
def test_what_is_no_document_rejects_its_row(tmp_path: Path, cell: Any, reason: str) -> None:
    cell = pa.array([cell], pa.string()) if cell is None else pa.array([cell])
    with pytest.raises(EmptyDatasetError, match="1 rows were rejected") as raised:
        taken(pa.table({"id": ["r"], "d": cell}), tmp_path, documents=["d"])
    assert reason in raised.value.fix


def test_six_documents_are_more_than_a_request_may_have(tmp_path: Path) -> None:
    found, rejected = taken(
        rows([[b"a"] * 5, [b"a"] * 6]), tmp_path, documents=["d"], invocation="Converse", model_id=NOVA
    )
    assert (list(found), rejected) == (["r0"], {"6 documents are more than 5": 1})


@pytest.mark.parametrize(
    "cells",
    [
        [{"bytes": PNG, "path": "a.png"}, {"bytes": PNG, "path": None}],
        [[{"bytes": PNG, "path": None}], [{"bytes": PNG, "path": None}]],
        [base64.encodebytes(PNG).decode(), base64.b64encode(PNG).decode().rstrip("=")],
    ],
    ids=["struct of bytes and path", "list of them", "base64 with line breaks, or without padding"],
)
def test_images_as_other_programs_write_them(tmp_path: Path, cells: list[Any]) -> None:
    found, rejected = taken(rows(cells, "photo"), tmp_path, images=["photo"], ask_identical_once=False)
    assert rejected == {}
    data = [body["messages"][0]["content"][0]["source"]["data"] for body in found.values()]
    assert list(map(base64.b64decode, data)) == [PNG, PNG]


@pytest.mark.parametrize(
    "cell_of",
    [
        lambda data: data,
        lambda data: {"bytes": data, "path": None},
        lambda data: base64.b64encode(data).decode(),
    ],
    ids=["bytes", "struct", "base64"],
)
def test_an_image_in_its_cell_is_of_bounded_size_too(cell_of: Callable[[bytes], object]) -> None:
    largest = PNG + bytes(MOST_BYTES - len(PNG))
    assert image_of(cell_of(largest), nowhere).data == largest
    with pytest.raises(NotAnAttachmentError, match=f"is larger than {MOST_BYTES} bytes"):
        image_of(cell_of(largest + b"\0"), nowhere)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.struct([("bytes", pa.binary())])])
def test_the_images_themselves_are_not_carried_into_the_results(tmp_path: Path, kind: pa.DataType) -> None:
    cell = {"bytes": PNG} if pa.types.is_struct(kind) else PNG
    table = pa.table({"id": ["r"], "photo": pa.array([cell], kind)})
    with pytest.raises(CarriedAttachmentError, match="'photo' holds images or documents"):
        taken(table, tmp_path, images=["photo"], carry=["photo"])


@pytest.mark.parametrize("model", [NOVA, "qwen.qwen3-vl-235b-a22b", "amazon.titan-embed-text-v2:0"])
def test_a_body_without_documents_is_an_error_of_the_pipeline(model: str) -> None:
    given = {"name": "p", "model_id": model, "prompt": "a", "documents": ["d"]}
    with pytest.raises(ConfigurationError, match=r"does not support documents|takes only text"):
        Pipeline.model_validate(given)
    if model == NOVA:
        Pipeline.model_validate({**given, "invocation": "Converse"})


def test_documents_of_one_name_are_told_apart_however_many_there_are() -> None:
    names = ["a", "A", "b", *("a" if n % 2 else "A" for n in range(50_000))]
    found = [one.name for one in named_apart([Attachment("pdf", name, b"") for name in names])]
    assert found[:5] == ["a", "A 2", "b", "A 3", "a 4"]
    assert len({name.casefold() for name in found}) == len(names)


@pytest.mark.parametrize(("count", "size", "reads"), [(MOST + 100, 100, MOST + 1), (100, 20_000_000, 6)])
def test_a_row_reads_no_more_than_any_model_takes(count: int, size: int, reads: int) -> None:
    """A small list of names can stand for any number of bytes."""
    fetched: list[str] = []

    def fetch(location: str) -> bytes:
        fetched.append(location)
        return PNG + bytes(size - len(PNG))

    with pytest.raises(NotAnAttachmentError, match=r"column 'photo' has more than"):
        RowContents(images=("photo",)).of({"photo": ["/a.png"] * count}, fetch)
    assert len(fetched) == reads


def test_spaces_in_a_cell_do_not_make_a_text_of_each_word() -> None:
    words = 1_000_000
    tracemalloc.start()
    try:
        found = document_of({"path": "/" + "ab c " * words, "bytes": b"text"}, nowhere)
        with pytest.raises(NotAnAttachmentError):
            image_of("data:image/png;base64," + "ab c " * words, nowhere)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.name) <= 200
    assert peak < 8 * 5 * words


@pytest.mark.parametrize("as_text", [False, True], ids=["a list", "its text, as JSON and CSV have it"])
@pytest.mark.parametrize("count", [0, 1, 3, MOST, 100_000])
def test_a_cell_may_hold_several(count: int, as_text: bool) -> None:
    cells = [base64.b64encode(PNG).decode()] * count
    cell = orjson.dumps(cells).decode() if as_text else cells
    contents = RowContents(images=("scan",))
    if 0 < count <= MOST:
        found, _ = contents.of({"scan": cell}, nowhere)
        assert [one.data for one in found] == [PNG] * count
    else:
        with pytest.raises(NotAnAttachmentError, match=r"column 'scan' (is null|has more than)"):
            contents.of({"scan": cell}, nowhere)


@pytest.mark.parametrize("cell", ["[", "[]x", '["%", 1]', "[1]", "[[]]", '[{"a": 1}]', "[" * 100_000])
def test_a_text_that_only_begins_as_a_list_rejects_its_row(cell: str) -> None:
    with pytest.raises(NotAnAttachmentError, match="column 'scan'"):
        RowContents(images=("scan",)).of({"scan": cell}, nowhere)
