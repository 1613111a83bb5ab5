"""Whose a cluster is that lies outside of its home: nothing that is done to homes loses one, or gives it to two."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bedrock_pipeline.local import root_cluster
from bedrock_pipeline.local.home import LocalError
from bedrock_pipeline.local.root_cluster import cluster_of


@pytest.fixture(params=["linked", "on another file system"])
def area(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / str(request.param)
    found.mkdir(mode=0o711)
    monkeypatch.setattr(root_cluster, "root_area", lambda: found)  # as it is root's, any user can run these
    if request.param != "linked":

        def elsewhere(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(Path, "hardlink_to", elsewhere)
        monkeypatch.setattr(root_cluster, "_on_one_file_system", lambda *_: False)
    return found


def _started(home: Path) -> Path:
    """Start it; its cluster has something in it then."""
    cluster = cluster_of(home)
    cluster.mkdir(exist_ok=True)
    (cluster / "PG_VERSION").touch()
    return cluster


def _long_ago(area: Path) -> None:
    for note in area.glob("*.home"):
        os.utime(note, (0, 0), follow_symlinks=False)


def test_a_home_keeps_its_cluster_whatever_starts_beside_it(area: Path, tmp_path: Path) -> None:
    cluster = _started(tmp_path / "home")
    _long_ago(area)
    _started(tmp_path / "other")
    assert _started(tmp_path / "home") == cluster
    assert (cluster / "PG_VERSION").exists()


@pytest.mark.parametrize("others", [0, 2])
def test_a_home_that_was_moved_keeps_its_cluster(area: Path, tmp_path: Path, others: int) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    cluster = _started(home)
    home.rename(moved)
    for number in range(others):
        _started(tmp_path / f"other{number}")
    assert _started(moved) == cluster
    assert (cluster / "PG_VERSION").exists()
    moved.rename(home)
    assert _started(home) == cluster
    assert area.is_dir()


def test_a_home_of_an_earlier_version_keeps_its_cluster(area: Path, tmp_path: Path) -> None:
    """Its note has the path alone, and the home has no link to it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "cluster").write_text("cluster-0123")
    (area / "cluster-0123.home").write_text(str(home))
    cluster = area / "cluster-0123"
    cluster.mkdir()
    _long_ago(area)
    _started(tmp_path / "other")
    assert cluster.exists()
    assert _started(home) == cluster


@pytest.mark.usefixtures("area")
def test_a_copy_of_a_home_does_not_get_its_cluster(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    cluster = _started(home)
    shutil.copytree(home, copy)
    with pytest.raises(LocalError, match=f"{copy} is a copy of {home}, whose Postgres is in {cluster}"):
        cluster_of(copy)
    shutil.rmtree(copy)
    _started(tmp_path / "other")
    assert _started(home) == cluster
    assert (cluster / "PG_VERSION").exists()
    shutil.copytree(home, copy)
    (copy / "cluster").unlink()  # as the message says
    assert _started(copy) != cluster


def test_a_copy_does_not_get_the_cluster_of_an_original_that_was_moved(tmp_path: Path, area: Path) -> None:
    home, copy, moved = (tmp_path / name for name in ("home", "copy", "moved"))
    cluster = _started(home)
    shutil.copytree(home, copy)
    home.rename(moved)
    if area.name == "linked":
        with pytest.raises(LocalError, match="is a copy of"):
            cluster_of(copy)
    assert _started(moved) == cluster


def test_a_home_that_was_restored_from_a_copy_has_its_cluster_again(area: Path, tmp_path: Path) -> None:
    home, backup = tmp_path / "home", tmp_path / "backup"
    cluster = _started(home)
    shutil.copytree(home, backup)
    shutil.rmtree(home)
    shutil.copytree(backup, home)
    assert _started(home) == cluster
    assert area.is_dir()


@pytest.mark.parametrize("end", [shutil.rmtree, lambda home: (home / "cluster").unlink()])
def test_the_cluster_of_a_home_that_is_gone_is_removed(
    area: Path, tmp_path: Path, end: Callable[[Path], object]
) -> None:
    gone, kept = tmp_path / "gone", tmp_path / "kept"
    clusters = [_started(home) for home in (gone, kept)]
    end(gone)
    (area / "cluster-removed.home").symlink_to(
        tmp_path / "read by nobody"
    )  # listed, and gone when it is read
    _started(tmp_path / "next")
    # What can have been moved, since no link says that it was not, is kept for a month.
    assert clusters[0].exists() == (area.name != "linked")
    _long_ago(area)
    _started(tmp_path / "next")
    assert [cluster.exists() for cluster in clusters] == [False, True]
    assert [(area / f"{cluster.name}.home").exists() for cluster in clusters] == [False, True]


@pytest.mark.usefixtures("area")
def test_a_home_whose_folder_is_not_there_now_keeps_its_cluster(tmp_path: Path, area: Path) -> None:
    volume = tmp_path / "volume"
    cluster = _started(volume / "home")
    shutil.rmtree(volume)
    _long_ago(area)
    _started(tmp_path / "other")
    assert (cluster / "PG_VERSION").exists()
