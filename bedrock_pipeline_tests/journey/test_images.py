"""Images: from cells to bodies, and the large records that they make, in jobs of several files."""

import base64
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.snapshot.stored_columns import input_columns
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.journey import driven
from bedrock_pipeline_tests.journey.test_main_job import finish, published_table

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"
ROWS = 110


def picture(number: int, size: int = 200_000, start: bytes = PNG) -> bytes:
    """Bytes that begin as an image does; nothing looks further."""
    return start + random.Random(number).randbytes(size)


def pipeline(source: Path, **changes: object) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(source),
            "record_id": "id",
            "prompt": "What is on picture {{ id }}?",
            "images": ["picture"],
            "limits": Limits(min_records=100, max_records=300, max_file_bytes=8_000_000),
            **changes,
        }
    )


@pytest.mark.parametrize(
    "how", [{}, {"model_id": "amazon.nova-lite-v1:0"}, {"invocation": "Converse"}], ids=str
)
def test_a_job_of_several_files_is_joined_from_all_of_its_outputs(
    deployment: Deployment, tmp_path: Path, how: dict[str, str]
) -> None:
    rows = pa.table({"id": [f"r{n}" for n in range(ROWS)], "picture": [picture(n) for n in range(ROWS)]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    one = pipeline(tmp_path / "rows.parquet", **how)
    take_snapshot(deployment, one, "d")
    [chunk] = pack_dataset(deployment, one, "d").chunks
    assert len(chunk.files) == 4
    assert all(file.bytes <= 8_000_000 for file in chunk.files)
    assert chunk.request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].endswith("/"), "a folder of files"
    table = published_table(deployment, finish(deployment, one, [chunk.chunk_key]))
    assert sorted(table["record_id"].to_pylist()) == sorted(rows["id"].to_pylist())
    assert table["status"].unique().to_pylist() == ["succeeded"]
    assert all("[png " in text for text in table["output_text"].to_pylist()), "the model saw the picture"
    assert len(set(table["output_text"].to_pylist())) == ROWS
    done = deployment.ledger.chunks.by_key("p", chunk.chunk_key)
    assert done.frozen_request is not None
    assert done.frozen_request.get("modelInvocationType") == how.get("invocation")
    folder = output_folder(done.frozen_request, done.job_arn or "")
    outputs = [item.uri.rpartition("/")[2] for item in deployment.objects.list(folder)]
    assert sorted(outputs) == [*(f"{number:05}.jsonl.out" for number in range(4)), "manifest.json.out"]


def test_a_job_is_full_by_its_bytes(deployment: Deployment, tmp_path: Path) -> None:
    rows = pa.table(
        {"id": [f"r{n}" for n in range(250)], "picture": [picture(n, 20_000) for n in range(250)]}
    )
    pq.write_table(rows, tmp_path / "rows.parquet")
    limits = Limits(min_records=100, max_records=300, max_file_bytes=1_000_000, max_job_bytes=4_000_000)
    one = pipeline(tmp_path / "rows.parquet", limits=limits)
    take_snapshot(deployment, one, "d")
    chunks = pack_dataset(deployment, one, "d").chunks
    assert [len(chunk.files) for chunk in chunks] == [4, 3]
    table = published_table(deployment, finish(deployment, one, [chunk.chunk_key for chunk in chunks]))
    assert sorted(table["record_id"].to_pylist()) == sorted(rows["id"].to_pylist())
    assert table["status"].unique().to_pylist() == ["succeeded"]


def test_an_image_may_be_named_in_every_way_and_the_snapshot_keeps_its_bytes(
    deployment: Deployment, tmp_path: Path
) -> None:
    data = picture(0, 500, JPEG)
    folder = tmp_path / "pictures"
    folder.mkdir()
    here, there = folder / "a picture.jpg", f"s3://{deployment.settings.bucket}/pictures/a.jpg"
    here.write_bytes(data)
    deployment.objects.put(there, data)
    encoded = base64.b64encode(data).decode()
    text = folder / "no picture.txt"
    text.write_text("secret")
    good = [
        str(here),
        here.as_uri(),
        there,
        encoded,
        f"data:image/jpeg;base64,{encoded}",
    ]
    bad: dict[str, list[str | None]] = {
        "leads to nothing that can be read (NoSuchKey)": [f"{there}.gone"],
        "names no file beneath one of attachment_roots": [str(folder / "gone.jpg"), f"{text}/x"],
        "is no PNG, JPEG, GIF or WebP image": [str(text)],
        "is no data URI, base64, s3:// URI or absolute path of an image": ["picture.jpg", "http://a.b/c.jpg"],
        "is null": [None],
        "is not base64": ["/9j/%"],
    }
    cells = [*good, *(cell for cells in bad.values() for cell in cells)]
    rows = pa.table({"id": [f"r{n}" for n in range(len(cells))], "picture": cells})
    pq.write_table(rows, tmp_path / "rows.parquet")
    one = pipeline(
        tmp_path / "rows.parquet", carry=["picture"], attachment_roots=[str(folder), there.rpartition("/")[0]]
    )
    report = take_snapshot(deployment, one, "d")
    assert report.rejections == {f"column 'picture' {why}": len(many) for why, many in bad.items()}
    here.unlink()
    with deployment.objects.random_access(f"{report.uri}part-00000.parquet") as stream:
        table = pq.read_table(stream)
    kept = table.to_pylist()
    name = input_columns(table.schema)["picture"].name
    assert [row[name] for row in kept] == good, "the name can be carried along"
    photo = {"kind": "jpeg", "name": "", "data": data}
    assert [row["attachments"] for row in kept] == [[photo]] * len(good)


@pytest.mark.parametrize("how", [{}, {"invocation": "Converse"}], ids=str)
def test_few_images_are_asked_on_demand_and_the_same_picture_once(
    deployment: Deployment, tmp_path: Path, how: dict[str, str]
) -> None:
    """The SDK encodes Converse's images itself; two rows are alike where prompt and picture are."""
    pictures = [picture(n // 2, 500) for n in range(6)]
    rows = pa.table({"id": [f"r{n}" for n in range(6)], "picture": pictures})
    pq.write_table(rows, tmp_path / "rows.parquet")
    one = pipeline(tmp_path / "rows.parquet", prompt="What is it?", **how)
    found = {row["record_id"]: row for row in driven.finish(deployment, one)}
    assert {row["status"] for row in found.values()} == {"succeeded"}
    assert [found[f"r{n}"]["answered_by"] for n in range(6)] == [None, "r0", None, "r2", None, "r4"]
    assert len({row["output_text"] for row in found.values()}) == 3
