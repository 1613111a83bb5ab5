"""Cells name files and objects only beneath the roots of the pipeline, and none of them is more than its row's failure."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.read_attachment import attachment_reader
from bedrock_pipeline.prepare.snapshot.attachments import MOST_BYTES, NotAnAttachmentError
from bedrock_pipeline.prepare.take_snapshot import take_snapshot

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10
OUTSIDE = "names no file beneath one of attachment_roots"


def pipeline(**given: object) -> Pipeline:
    return Pipeline.model_validate(
        {"name": "p", "model_id": "amazon.nova-lite-v1:0", "prompt": "What is it?", **given}
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a picture, beside files that its rows must not reach."""
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    (tmp_path / "private.png").write_bytes(PNG)
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "b.png").write_bytes(PNG)
    return folder


def test_a_path_is_compared_when_every_link_and_every_dot_is_resolved(root: Path, tmp_path: Path) -> None:
    (root / "link.png").symlink_to("a.png")
    (root / "out.png").symlink_to(tmp_path / "private.png")
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    read = attachment_reader([str(root)], None)
    for good in (root / "a.png", root / "link.png", tmp_path / "root-2" / ".." / "root" / "a.png"):
        assert read(str(good)) == PNG
        assert read(f"file://{good}") == PNG
    assert read(f"file://localhost{root}/%61.png") == PNG
    for bad in (
        *(root / "out.png", root / "up" / "private.png", root / ".." / "private.png", root / "loop"),
        *(tmp_path / "root-2" / "b.png", tmp_path / "nothing.png"),
    ):
        with pytest.raises(NotAnAttachmentError, match=OUTSIDE):
            read(str(bad))
    for bad_text in (f"file://host{root}/a.png", "/" + "a" * 5_000, "/a\0b", "/" + "x/" * 3_000):
        with pytest.raises(NotAnAttachmentError, match=OUTSIDE) as raised:
            read(bad_text)
        assert bad_text not in str(raised.value)


def test_what_is_not_a_regular_file_of_bounded_size_rejects_its_row(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with (root / "large").open("wb") as large:
        large.truncate(MOST_BYTES + 1)
    read = attachment_reader([str(root), "/dev"], None)
    for location, why in (
        (root, "leads to nothing that can be read|is not a file"),
        (root / "pipe", "is not a file"),
        ("/dev/zero", "is not a file"),
        (root / "large", f"more than {MOST_BYTES} bytes"),
    ):
        with pytest.raises(NotAnAttachmentError, match=why):
            read(str(location))


def test_objects_are_read_beneath_a_root_and_whatever_s3_says_of_one_is_its_rows_failure(
    deployment: Deployment,
) -> None:
    bucket = deployment.settings.bucket
    for key in ("photos/a.png", "photos-2/b.png", "c.png"):
        deployment.objects.put(f"s3://{bucket}/{key}", PNG)
    deployment.objects.put(f"s3://{bucket}/photos/large", bytes(MOST_BYTES + 1))
    roots = [f"s3://{bucket}/photos/", "s3://nobody-has-this-bucket"]
    read = attachment_reader(roots, deployment.objects)
    assert read(f"s3://{bucket}/photos/a.png") == PNG
    assert attachment_reader([f"s3://{bucket}"], deployment.objects)(f"s3://{bucket}/c.png") == PNG
    for location, why in (
        (f"s3://{bucket}/photos-2/b.png", "beneath none"),
        (f"s3://{bucket}/c.png", "beneath none"),
        (f"s3://{bucket}/photos/../c.png", "beneath none"),
        (f"s3://{bucket}/photos/./a.png", "beneath none"),
        (f"s3://{bucket}", "beneath none"),
        ("s3://", "beneath none"),
        ("s3://nobody-has-this-bucket/a.png", "nothing that can be read"),
        ("s3://nobody-has-this-bucket/", "nothing that can be read"),
        (f"s3://{bucket}/photos/gone.png", "nothing that can be read"),
        (f"s3://{bucket}/photos/" + "k" * 2_000, "nothing that can be read"),
        (f"s3://{bucket}/photos/large", f"more than {MOST_BYTES} bytes"),
    ):
        with pytest.raises(NotAnAttachmentError, match=why):
            read(location)
    with pytest.raises(NotAnAttachmentError, match="not read for a local file"):
        attachment_reader(roots, None)(f"s3://{bucket}/photos/a.png")


def test_a_pipeline_without_roots_reads_nothing_that_rows_name(
    deployment: Deployment, root: Path, tmp_path: Path
) -> None:
    deployment.objects.put(f"s3://{deployment.settings.bucket}/a.png", PNG)
    named = [str(root / "a.png"), (root / "a.png").as_uri(), f"s3://{deployment.settings.bucket}/a.png"]
    rows = pa.table({"id": ["0", "1", "2"], "photo": named})
    pq.write_table(rows, tmp_path / "rows.parquet")
    # A row whose picture is in it, since a dataset without rows is an error.
    pq.write_table(
        pa.table({"id": ["3"], "photo": ["data:image/png;base64,iVBORw0KGgo="]}), tmp_path / "more.parquet"
    )
    one = pipeline(source=[str(tmp_path / "rows.parquet"), str(tmp_path / "more.parquet")], images=["photo"])
    report = take_snapshot(deployment, one, "d")
    [(why, count)] = report.rejections.items()
    assert "names a file, which needs attachment_roots" in why
    assert (count, report.records) == (3, 1)


@pytest.mark.parametrize(
    "root", ["photos", "s3://", "s3:///x", "s3://b/a/../c", "s3://b/..", "file://host/x", "https://a.b/c", ""]
)
def test_a_root_is_an_absolute_path_or_names_a_bucket(root: str) -> None:
    with pytest.raises(ConfigurationError, match="attachment_roots: "):
        pipeline(images=["photo"], attachment_roots=[root])
