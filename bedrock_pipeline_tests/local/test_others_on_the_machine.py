"""What other users of the machine plant is not followed, and what runs here is not reached by them."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from bedrock_pipeline.cli.services import _code_socket
from bedrock_pipeline.local import root_programs
from bedrock_pipeline.local.home import LocalError

_NOBODY = 65534


def _link(area: Path) -> None:
    target = area.with_name("elsewhere")
    target.mkdir()
    area.symlink_to(target)


def _of_another(area: Path) -> None:
    area.mkdir(mode=0o711)
    os.chown(area, _NOBODY, _NOBODY)


def _open(area: Path) -> None:
    area.mkdir()
    area.chmod(0o777)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has such a folder")
@pytest.mark.parametrize("plant", [_link, _of_another, _open, Path.touch])
def test_root_takes_no_folder_that_another_user_made(
    plant: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    area = tmp_path / "bedrock-pipeline"
    plant(area)
    closed = tmp_path / "pginstall" / "bin"
    closed.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(root_programs, "_AREA", area)
    with pytest.raises(LocalError, match="bedrock-pipeline"):
        root_programs.reachable(closed)
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")
def test_programs_that_were_installed_for_root_alone_are_copied_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under an umask of 077."""
    programs = tmp_path / "pginstall" / "bin"
    programs.mkdir(parents=True, mode=0o700)
    for name, mode in (("postgres", 0o700), ("notes", 0o600)):
        (programs / name).touch(mode=mode)
    monkeypatch.setattr(root_programs, "_AREA", tmp_path / "area")
    copied = root_programs.reachable(programs)
    assert copied != programs
    found = {path.name: path.stat().st_mode & 0o777 for path in (copied, *copied.iterdir())}
    assert found == {"bin": 0o755, "postgres": 0o755, "notes": 0o644}


@pytest.mark.parametrize("depth", [0, 200])
def test_the_socket_of_the_code_server_is_in_a_folder_of_this_user_alone(depth: int, tmp_path: Path) -> None:
    home = tmp_path / ("long" * (depth // 4) or "home")
    (home / "dagster").mkdir(parents=True)
    home.chmod(0o700)
    with ExitStack() as parts:
        found = _code_socket(parts, home)
        closed = found.parent if depth else home
        assert found.is_relative_to(closed)
        assert depth or found.is_relative_to(home)
        assert closed.stat().st_mode & 0o777 == 0o700
