"""The format of a file, and its compression: by its ending, or by its content."""

import bz2
import gzip
import io
import lzma
import zlib
from dataclasses import replace
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.source import InputFile

_FORMATS: Final = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
_COMPRESSIONS: Final = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
}
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ": "xz"}
_HEAD: Final = 4096
_BUFFER: Final = 1 << 18


def endings(name: str) -> tuple[str, str]:
    """The format and the compression that a name says; empty where it says none."""
    text, compression = name.lower().rpartition("/")[2], ""
    for ending, kind in _COMPRESSIONS.items():
        if text.endswith(ending):
            text, compression = text.removesuffix(ending), kind
    return next((found for ending, found in _FORMATS.items() if text.endswith(ending)), ""), compression


def packed_as(head: bytes) -> str:
    """The compression, or the format that is no text, of which a file begins; empty if there is none."""
    return _compression(head) or (
        "parquet" if head.startswith(b"PAR1") else "a ZIP archive" if head.startswith(b"PK\x03\x04") else ""
    )


def has_ending(name: str) -> bool:
    """Whether the last part of a path has an ending at all."""
    return "." in name.rpartition("/")[2]


def unpacked(file: InputFile) -> InputFile:
    """The file as it is without compression."""
    compression = endings(file.name)[1]
    if not compression:
        return file
    return replace(file, open=lambda: _unpacked(file.open(), compression, file.name))


def by_content(file: InputFile) -> tuple[str, InputFile]:
    """The format of a file that its name does not say, empty if it is none that can be read; and the file uncompressed."""
    compression = endings(file.name)[1] or _compression(_head(file))
    if compression:
        packed = file
        file = replace(file, open=lambda: _unpacked(packed.open(), compression, packed.name))
    head = _head(file)
    if head.startswith(b"PAR1"):
        return "parquet", file
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow", file
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        return "json", file
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    first = text.partition(b"\n")[0]
    if utf16 or (first and b"\x00" not in head and any(one in first for one in (b",", b";", b"\t", b"|"))):
        return "csv", file
    return "", file


def _head(file: InputFile) -> bytes:
    with file.open() as stream:
        return stream.read(_HEAD)


def _compression(head: bytes) -> str:
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def _unpacked(stream: BinaryIO, compression: str, name: str) -> BinaryIO:
    inner: Any
    match compression:
        case "gzip":
            inner = gzip.GzipFile(fileobj=stream)
        case "bz2":
            inner = bz2.BZ2File(stream)
        case "xz":
            inner = lzma.LZMAFile(stream)  # noqa: SIM115  # closed with the file
        case _:
            inner = pa.CompressedInputStream(stream, compression)
    return cast("BinaryIO", io.BufferedReader(_Uncompressed(inner, stream, name), _BUFFER))


class _Uncompressed(io.RawIOBase):
    """What a compressed file holds; that it is damaged is said with its name."""

    def __init__(self, inner: Any, packed: BinaryIO, name: str) -> None:
        self._inner, self._packed, self._name = inner, packed, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            raise InputError(
                f"{self._name} is compressed, but damaged: it cannot be read to its end.", "Write it again."
            ) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        self._packed.close()
        super().close()
