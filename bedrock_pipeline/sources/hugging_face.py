"""Folders that Hugging Face's `save_to_disk` has written: `state.json` lists the files that are the dataset."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.source import InputFile

#: What says that a folder is a dataset, and that it is several.
STATE: Final = "state.json"
SPLITS: Final = "dataset_dict.json"
#: Of a file that describes, in bytes.
_LONGEST: Final = 64 << 20
_DESCRIBES = (STATE, "dataset_info.json")


def saved_files(
    base: str, names: Sequence[str], file: Callable[[str], InputFile]
) -> tuple[list[str], list[tuple[str, str]]] | None:
    """The files of a saved dataset, in their order, and what lies beside them with the reason why it is not read.

    Args:
        base: the folder, ends in `/`.
        names: what lies directly in it.
        file: opens one.

    Returns:
        None if the folder is none.

    Raises:
        InputError: the folder has several splits, its state cannot be read, or it lacks a file that this lists.
    """
    if f"{base}{SPLITS}" in names:
        named = _described(file(f"{base}{SPLITS}")).get("splits")
        splits = ", ".join(map(str, named if isinstance(named, list) else ()))
        raise InputError(
            f"{base} is a dataset of Hugging Face with the splits {splits}.",
            f"Name one of them, such as {base}train.",
        )
    if not {f"{base}{name}" for name in _DESCRIBES} <= set(names):
        return None
    listed = _described(file(f"{base}{STATE}")).get("_data_files") or ()
    if not (isinstance(listed, list) and all(isinstance(one, dict) and "filename" in one for one in listed)):
        raise _not_written(f"{base}{STATE}", "does not list its files")
    files = [f"{base}{one['filename']}" for one in listed]
    if missing := sorted(set(files) - set(names)):
        raise InputError(f"{missing[0]} is missing, which {base}{STATE} lists.", "Save the dataset again.")
    others = [name for name in names if name not in files]
    return files, [(name, _why(name.removeprefix(base))) for name in others]


def _described(file: InputFile) -> dict[str, Any]:
    """What a file that describes a dataset says."""
    with file.open() as stream:
        text = stream.read(_LONGEST + 1)
    try:
        value = orjson.loads(text) if len(text) <= _LONGEST else None
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise _not_written(file.name, "is not a JSON object")
    return value


def _not_written(name: str, why: str) -> InputError:
    return InputError(f"{name} {why}, as `save_to_disk` writes it.", "Save the dataset again.")


def _why(name: str) -> str:
    return "describes the dataset" if name in _DESCRIBES else f"is not listed in {STATE}"
