"""A home is all of it: moved or copied it has its ledger, whoever runs Postgres."""

import os
import shutil
from pathlib import Path

import psycopg
import pytest

from bedrock_pipeline.local.home import LocalError
from bedrock_pipeline.local.stack import Stack, StackConfig


def test_a_home_that_was_moved_and_its_copy_each_have_the_whole_ledger(tmp_path: Path) -> None:
    """Root's Postgres runs as another user, who can reach none of these folders and owns no copy that root made."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home, moved, copy = (closed / name for name in ("home", "moved", "copy"))
    assert _added(home, 1) == [1]
    assert [*closed.iterdir()] == [home]
    home.rename(moved)
    shutil.copytree(moved, copy)
    assert _added(moved, 2) == [1, 2]
    assert _added(copy, 3) == [1, 3]
    shutil.rmtree(moved)
    assert _added(copy, 4) == [1, 3, 4]


def test_a_cluster_that_was_opened_to_all_and_given_to_another_user_is_its_owners_again(
    tmp_path: Path,
) -> None:
    """As a copy without modes or owners is."""
    home = tmp_path / "home"
    assert _added(home, 1) == [1]
    for path in (home / "postgres").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.chown(path, os.getuid(), -1)
    (home / "postgres").chmod(0o755)
    assert _added(home, 2) == [1, 2]


def test_a_cluster_that_was_moved_behind_a_link_is_used(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "larger disk"
    assert _added(home, 1) == [1]
    (home / "postgres").rename(elsewhere)
    os.chown(elsewhere, os.getuid(), -1)
    (home / "postgres").symlink_to(elsewhere)
    assert _added(home, 2) == [1, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "another password than secrets.json of this home"),
        ("", "secrets.json is damaged"),
        ("{}", "secrets.json is damaged"),
        ("[1]", "secrets.json is damaged"),
    ],
)
def test_a_home_without_its_secrets_says_so_at_once(tmp_path: Path, text: str | None, said: str) -> None:
    home = tmp_path / "home"
    assert _added(home, 1) == [1]
    secrets = home / "secrets.json"
    kept = secrets.read_text()
    secrets.unlink() if text is None else secrets.write_text(text)
    with pytest.raises(LocalError, match=said):
        Stack(StackConfig(home))
    secrets.write_text(kept)
    assert _added(home, 2) == [1, 2]


def _added(home: Path, number: int) -> list[int]:
    """The numbers in a home's ledger after another."""
    with Stack(StackConfig(home)) as stack, psycopg.connect(stack.endpoints.dsn(), autocommit=True) as ledger:
        ledger.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        ledger.execute("INSERT INTO kept VALUES (%s)", (number,))
        return [row[0] for row in ledger.execute("SELECT number FROM kept ORDER BY 1")]
