"""The files of a location: local or in S3, named, beneath a folder, or by a pattern; and what lies there but is not read."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.formats import by_content, endings, has_ending, unpacked
from bedrock_pipeline.sources.globs import Pattern, is_pattern, why_hidden
from bedrock_pipeline.sources.hugging_face import saved_files
from bedrock_pipeline.sources.local_files import local_file, walk, why_irregular
from bedrock_pipeline.sources.source import InputFile

_TABLES = (
    ("_delta_log/", "Delta", "DeltaTable", "--delta"),
    (".metadata.json", "Iceberg", "IcebergTable", "--iceberg"),
)
_SCHEME = re.compile("([A-Za-z][A-Za-z0-9+.-]*)://")


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


@dataclass(slots=True)
class Found:
    """What was found at locations.

    Attributes:
        files: the files to read by format, in their order.
        skipped: what lies there but is not read: its name, and why.
    """

    files: list[tuple[str, InputFile]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def find_files(locations: Sequence[str], objects: Objects) -> Found:
    """The files of locations, each location's in the order of their names.

    Raises:
        InputError: there is none at a location, it is none that can be read, or it is a table of Delta Lake or Iceberg.
    """
    found = Found()
    for location in map(_checked, locations):
        before = len(found.files)
        if location.startswith("s3://"):
            _in_s3(location, objects, found)
        else:
            try:
                _here(location, found)
            except OSError as error:
                place = error.filename or location
                raise InputError(
                    f"{place} cannot be read: {error.strerror}.", "Check its permissions."
                ) from error
        if len(found.files) == before:
            where = "object" if location.startswith("s3://") else "file"
            raise InputError(f"There is no input {where} at {location}.{_skipped(found)}", _near(location))
    return found


def _near(location: str) -> str:
    """What may be meant in place of a location where nothing is: a file of the same name but for its endings, or a similar one."""
    place = Path(location)
    if not location.startswith("s3://") and not is_pattern(location) and place.parent.is_dir():
        names = sorted(one.name for one in place.parent.iterdir() if one.is_file())
        same = [name for name in names if name.partition(".")[0] == place.name.partition(".")[0]]
        if near := same or get_close_matches(place.name, names, n=1):
            return f"Did you mean {place.with_name(near[0])}?"
    return "Check the location."


def plain_location(location: str) -> str:
    """A location as `s3://` or as a path, whatever scheme it has."""
    scheme, separator, rest = location.partition("://")
    if separator and scheme in ("s3a", "s3n"):
        return f"s3://{rest}"
    if separator and scheme == "file":
        return unquote(rest.removeprefix("localhost"))
    return str(Path(location).expanduser()) if location.startswith("~") else location


def absolute_location(location: str) -> str:
    """A location that means the same in another process, whose current folder is another."""
    plain = plain_location(location)
    return plain if plain.startswith("s3://") else str(Path(plain).absolute())


def _checked(location: str) -> str:
    """A location as `plain_location` gives it, if it can be meant.

    Raises:
        InputError: it is empty, has a scheme that is not supported, or no bucket.
    """
    plain = plain_location(location)
    if not plain.strip():
        raise InputError(
            f"The location of the input is empty ({location!r}).",
            "Name a file, a folder or a pattern; check that the variable it comes from is set.",
        )
    scheme = _SCHEME.match(plain)
    if scheme and scheme[1] != "s3":
        raise InputError(
            f"{plain} has the scheme {scheme[0]}, which is not supported.",
            "Name a local path, file://…, or s3://bucket/… (also s3a:// and s3n://).",
        )
    bucket = plain.removeprefix("s3://").partition("/")[0]
    if scheme and (not bucket or is_pattern(bucket)):
        raise InputError(f"{plain} names no bucket.", "Name one, as in s3://bucket/folder/.")
    return plain


def _here(location: str, found: Found) -> None:
    path = Path(location)
    pattern = None if os.path.lexists(location) or not is_pattern(location) else Pattern(location)
    if path.is_dir() or (pattern and pattern.deep):
        _check_not_root(pattern.base if pattern else location, location)
    if path.is_dir():
        base = f"{location.rstrip('/')}/"
        if not _saved(base, walk(base, 0), local_file, found):
            _choose(base, walk(base, None), local_file, found)
    elif pattern:
        depth = None if pattern.deep else pattern.depth + 8  # a folder of a format may lie within
        _choose(pattern.base, walk(pattern.base, depth), local_file, found, pattern)
    elif os.path.lexists(location):
        _name(location, local_file(location), found)


def _check_not_root(base: str, location: str) -> None:
    if Path(base or ".").resolve() == Path("/"):
        raise InputError(
            f"{location} would read every file of this machine.", "Name the folder of the input."
        )


def _in_s3(location: str, objects: Objects, found: Found) -> None:
    def file(uri: str) -> InputFile:
        return InputFile(uri, partial(objects.random_access, uri))

    folder = location.rstrip("/") + "/"
    if any(item.uri == location for item in _until(objects.list(location), location)):
        _name(location, file(location), found)
        return
    pattern = Pattern(location) if is_pattern(location) else None
    uris = [item.uri for item in objects.list(pattern.base if pattern else folder)]
    if pattern and not any(pattern.fits(uri) for uri in uris):
        literal = [uri for uri in (item.uri for item in objects.list(folder)) if uri.startswith(folder)]
        if literal:  # a folder whose name has a bracket
            pattern, uris = None, literal
    base = pattern.base if pattern else folder
    if pattern is None and _saved(base, (uri for uri in uris if _is_direct(uri, base)), file, found):
        return
    _choose(base, (uri for uri in uris if not uri.endswith("/")), file, found, pattern)


def _is_direct(name: str, base: str) -> bool:
    return "/" not in name.removeprefix(base)


def _saved(base: str, names: Iterable[str], file: "partial[InputFile] | _Opener", found: Found) -> bool:
    """Take the files of a dataset that Hugging Face has saved; False if the folder is none."""
    saved = saved_files(base, list(names), file)
    if saved is None:
        return False
    found.files += [("arrow", file(name)) for name in saved[0]]
    found.skipped += saved[1]
    return True


def _until(items: Iterator[_Listed], location: str) -> Iterator[_Listed]:
    """The first of items that come in order: the object of exactly this name is among them if it exists."""
    for item in items:
        yield item
        if item.uri > location:
            return


def _choose(
    base: str,
    names: Iterable[str],
    file: "partial[InputFile] | _Opener",
    found: Found,
    pattern: Pattern | None = None,
) -> None:
    """Sort what lies beneath a base into files to read and what is skipped."""
    unknown: list[str] = []
    before = len(found.files)
    for name in names:
        rest = name.removeprefix(base)
        fits = pattern is None or pattern.fits(name) or _in_fitting_folder(name, base, pattern)
        _check_no_table(rest, base)
        if not fits:
            continue
        named = pattern is not None and pattern.text.rpartition("/")[2][:1] in ("_", ".")
        if reason := "" if named else why_hidden(rest):
            found.skipped.append((name, reason))
        elif (pattern is not None and pattern.names_endings and pattern.fits(name)) or (
            endings(name)[0] or not has_ending(name)
        ):
            _name(name, file(name), found, beside=True)
        else:
            unknown.append(name)
    only = len(found.files) == before
    for name in unknown:
        if only:
            _name(name, file(name), found, beside=True)
        else:
            found.skipped.append((name, "has the ending of no known format"))


def _name(name: str, file: InputFile, found: Found, *, beside: bool = False) -> None:
    """Take a file; one that is `beside` others is skipped if it has no format."""
    if reason := "" if name.startswith("s3://") else why_irregular(name):
        if not beside:
            raise InputError(f"{name} {reason}.", "Write its content to a file, and name that.")
        found.skipped.append((name, reason))
        return
    given = file
    kind, file = (endings(name)[0], unpacked(file)) if endings(name)[0] else by_content(file)
    if kind in ("parquet", "arrow") and file is not given:
        raise InputError(
            f"{name} is a compressed file of {kind}, a format that is not read from its beginning to its end.",
            "Decompress it; its columns are compressed in the format itself.",
        )
    if kind:
        found.files.append((kind, file))
    elif beside:
        found.skipped.append((name, "has no known format"))
    else:
        raise InputError(
            f"{name} has an unknown format.",
            "Give parquet, Arrow (.arrow, .feather), CSV (.csv, .tsv) or JSON (.jsonl, .ndjson, .json), if need be compressed (.gz, .zst, .bz2, .xz).",
        )


def _in_fitting_folder(name: str, base: str, pattern: Pattern) -> bool:
    """Whether a folder above fits that is named like a file, as Spark writes `day1.parquet/part-00000`."""
    folders = name.removeprefix(base).split("/")[:-1]
    paths = [base + "/".join(folders[: number + 1]) for number in range(len(folders))]
    return any(endings(path)[0] and pattern.fits(path) for path in paths)


def _check_no_table(rest: str, base: str) -> None:
    for sign, table, source, option in _TABLES:
        if sign in f"/{rest}" and (table == "Delta" or "metadata/" in rest):
            raise InputError(
                f"{base} holds a table of {table}, whose log says which of its files are current ({rest}).",
                f"Name it as a table, with {source} as the source or {option} (docs/tables.md), or name the files.",
            )


def _skipped(found: Found) -> str:
    if not found.skipped:
        return ""
    name, reason = found.skipped[0]
    return f" Of {len(found.skipped)} other files none is read; the first is {name}, which {reason}."


class _Opener(Protocol):
    def __call__(self, name: str, /) -> InputFile: ...
