"""Folders that Hugging Face's `save_to_disk` has written: `state.json` lists the files that are the dataset."""

from collections.abc import Callable, Sequence
from typing import Final

import orjson

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.source import InputFile

#: What says that a folder is a dataset, and that it is several.
STATE: Final = "state.json"
SPLITS: Final = "dataset_dict.json"
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
        InputError: the folder has several splits, or lacks a file that its state lists.
    """
    if f"{base}{SPLITS}" in names:
        with file(f"{base}{SPLITS}").open() as stream:
            splits = ", ".join(orjson.loads(stream.read()).get("splits", ()))
        raise InputError(
            f"{base} is a dataset of Hugging Face with the splits {splits}.",
            f"Name one of them, such as {base}train.",
        )
    if not {f"{base}{name}" for name in _DESCRIBES} <= set(names):
        return None
    with file(f"{base}{STATE}").open() as stream:
        listed = orjson.loads(stream.read()).get("_data_files") or ()
    files = [f"{base}{one['filename']}" for one in listed]
    if missing := sorted(set(files) - set(names)):
        raise InputError(f"{missing[0]} is missing, which {base}{STATE} lists.", "Save the dataset again.")
    others = [name for name in names if name not in files]
    return files, [(name, _why(name.removeprefix(base))) for name in others]


def _why(name: str) -> str:
    return "describes the dataset" if name in _DESCRIBES else f"is not listed in {STATE}"
