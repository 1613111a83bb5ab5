"""Where the embedded stack keeps what it has: found from below, nobody else's, in no repository."""

import os
import stat
from pathlib import Path

import pytest

from bedrock_pipeline.local.endpoints import read_endpoints
from bedrock_pipeline.local.home import LocalError, default_home, make_home, take_lock


def test_it_is_found_from_sub_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "project" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert default_home({}) == below / ".bedrock-pipeline", "none is above"
    (tmp_path / "project" / ".bedrock-pipeline").mkdir()
    assert default_home({}) == tmp_path / "project" / ".bedrock-pipeline"
    (below / ".bedrock-pipeline").mkdir()
    assert default_home({}) == below / ".bedrock-pipeline"
    assert default_home({"BEDROCK_PIPELINE_HOME": "elsewhere"}) == below / "elsewhere"


@pytest.mark.parametrize("kind", ["link", "file", "another user's"])
def test_what_others_put_into_a_shared_folder_is_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below, planted = tmp_path / "a", tmp_path / ".bedrock-pipeline"
    below.mkdir()
    if kind == "link":
        planted.symlink_to(below)
    elif kind == "file":
        planted.write_text("")
    else:
        planted.mkdir()
        monkeypatch.setattr(os, "getuid", lambda: planted.stat().st_uid + 1)
    monkeypatch.chdir(below)
    assert default_home({}) == below / ".bedrock-pipeline"


def test_it_is_private_and_belongs_into_no_repository(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with take_lock(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert (home / ".gitignore").read_text() == "*\n"


def test_one_that_was_open_is_closed_and_that_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    with take_lock(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(LocalError, match="belongs to another user"):
        take_lock(home)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_what_others_can_write_into_is_not_believed(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    with take_lock(home):
        (home / "endpoints.json").write_text("what another user has put there, which is not even read")
        home.chmod(mode)
        assert read_endpoints(home) is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_home_in_which_others_could_write_is_used_only_if_it_is_empty(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    make_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(mode)
    with pytest.raises(LocalError, match="Others could write"):
        make_home(home)


def test_a_link_in_the_home_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious, home = tmp_path / "precious", tmp_path / "home"
    precious.write_text("mine")
    home.mkdir(mode=0o700)
    (home / ".gitignore").symlink_to(precious)
    make_home(home)
    assert precious.read_text() == "mine"
    assert (home / ".gitignore").read_text() == "*\n"
