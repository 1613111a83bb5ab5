"""From a location to a source: a file, a glob or a folder, local or in S3."""

import fnmatch
import glob
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from bedrock_pipeline.sources.delimited import CsvSource
from bedrock_pipeline.sources.jsonl import JsonlSource
from bedrock_pipeline.sources.parquet import ParquetSource
from bedrock_pipeline.sources.source import InputError, InputFile, Source

_FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class _Listed(Protocol):
    @property
    def uri(self) -> str: ...


class Objects(Protocol):
    """The part of `aws.objects.S3Objects` that reading needs."""

    def list(self, prefix_uri: str) -> Iterator[_Listed]:
        """Every object whose URI has this prefix."""
        ...

    def random_access(self, uri: str) -> BinaryIO:
        """An object as a seekable file."""
        ...


def open_location(
    location: str | Sequence[str], objects: Objects, column_types: dict[str, str] | None = None
) -> Source:
    """A source over the files of one or several locations, in the order of their names.

    Raises:
        InputError: no file was found, or files have several formats or an unknown one.
    """
    locations = [location] if isinstance(location, str) else list(location)
    files = [
        file
        for one in locations
        for file in (_in_s3(one, objects) if one.startswith("s3://") else _here(one))
    ]
    formats = {_FORMATS.get(Path(file.name).suffix.lower(), file.name) for file in files}
    if len(formats) > 1:
        raise InputError("The input mixes formats.", "Name files of one format: parquet, CSV or JSONL.")
    match formats.pop():
        case "parquet":
            return ParquetSource(files)
        case "csv":
            return CsvSource(files, column_types or {})
        case "jsonl":
            return JsonlSource(files, column_types or {})
        case other:
            raise InputError(
                f"{other} has an unknown format.", "The ending must be .parquet, .csv or .jsonl."
            )


def local_file(name: str) -> InputFile:
    """A local file."""
    return InputFile(name, partial(_open_here, name))


def _here(location: str) -> list[InputFile]:
    path = Path(location)
    if path.is_dir():
        names = [str(file) for file in sorted(path.rglob("*")) if file.suffix.lower() in _FORMATS]
    elif path.is_file():
        names = [location]
    else:
        names = sorted(name for name in glob.glob(location, recursive=True) if Path(name).is_file())  # noqa: PTH207  # absolute patterns too
    if not names:
        raise InputError(
            f"There is no input file at {location}.",
            "Check the path; a folder must have .parquet, .csv or .jsonl files.",
        )
    return [local_file(name) for name in names]


def _open_here(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InputError(f"{name} cannot be opened: {error.strerror}.", "Check its permissions.") from error


def _in_s3(location: str, objects: Objects) -> list[InputFile]:
    prefix = re.split(r"[*?\[]", location, maxsplit=1)[0]
    uris = [item.uri for item in objects.list(prefix)]
    if prefix != location:
        uris = [uri for uri in uris if fnmatch.fnmatchcase(uri, location)]
    elif location not in uris:
        folder = location.rstrip("/") + "/"
        uris = [uri for uri in uris if uri.startswith(folder) and Path(uri).suffix.lower() in _FORMATS]
    else:
        uris = [location]
    if not uris:
        raise InputError(f"There is no input object at {location}.", "Check the bucket and the prefix.")
    return [InputFile(uri, partial(objects.random_access, uri)) for uri in uris]
