"""What is to be installed: the core, its extras, and the versions that were tested together."""

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bedrock_pipeline
from bedrock_pipeline.local.extra import PACKAGES

ROOT = Path(bedrock_pipeline.__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


def test_the_extra_is_what_is_checked_before_anything_starts() -> None:
    assert names(PROJECT["optional-dependencies"]["local"]) == set(PACKAGES)
    assert not names(PROJECT["dependencies"]) & set(PACKAGES)


def test_all_is_every_extra_but_development() -> None:
    extras = PROJECT["optional-dependencies"].keys() - {"all", "dev"}
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert Requirement(everything).extras == extras


def test_the_lock_pins_every_requirement_and_names_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    assert all(str(pin.specifier).startswith("==") and pin.url is None for pin in pins)
    assert not any("://" in line or line.startswith("-") for line in lines)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for one in map(Requirement, group):
            if canonicalize_name(one.name) == PROJECT["name"]:
                continue
            pin = pinned[canonicalize_name(one.name)]
            assert one.specifier.contains(str(pin.specifier).removeprefix("==")), one
