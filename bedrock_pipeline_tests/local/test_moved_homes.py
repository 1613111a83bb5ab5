"""A home is all of it: moved or copied it has its ledger, whoever runs Postgres."""

import shutil
from pathlib import Path

import psycopg

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


def _added(home: Path, number: int) -> list[int]:
    """The numbers in a home's ledger after another."""
    with Stack(StackConfig(home)) as stack, psycopg.connect(stack.endpoints.dsn(), autocommit=True) as ledger:
        ledger.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        ledger.execute("INSERT INTO kept VALUES (%s)", (number,))
        return [row[0] for row in ledger.execute("SELECT number FROM kept ORDER BY 1")]
