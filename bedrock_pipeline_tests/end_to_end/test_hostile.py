"""The demo in a shell whose variables name another database and another AWS."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.hostile import hostile_environment, recorded_environment
from bedrock_pipeline_tests.waiting import until


@pytest.mark.end_to_end
def test_the_demo_touches_nothing_of_a_production_that_the_environment_names(tmp_path: Path) -> None:
    """Servers that record stand behind every variable, and the same in a file; and files of the current folder are no code."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("orjson", "psycopg", "rich", "uvicorn", "dagster", "queue"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    (here / "rows.jsonl").write_text("".join(f'{{"id": "r{n}", "text": "t{n}"}}\n' for n in range(120)))
    command = [str(Path(sys.executable).with_name("bedrock-pipeline")), "demo", "--json", "--speed", "1000"]
    command += ["--input", "rows.jsonl", "--record-id", "id", "--prompt", "{{ text }}"]
    with recorded_environment(tmp_path) as (variables, servers):
        # Dagster reads this file by itself.
        (here / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
        done = subprocess.run(
            command,
            env={**os.environ, **variables, "BEDROCK_PIPELINE_HOME": str(tmp_path / "home")},
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
        heard = {name: server.heard for name, server in servers.items()}
        for server in servers.values():  # it would have been heard
            with socket.create_connection(("127.0.0.1", server.port)) as probe:
                probe.sendall(b"probe")
            until(lambda server=server: server.heard[-1:] == [b"probe"], "the probe")  # type: ignore[misc]  # bound
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["succeeded"] == 120
    assert {name: [one for one in found if one != b"probe"] for name, found in heard.items()} == {
        name: [] for name in servers
    }
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    stored = [path for path in (tmp_path / "home" / "dagster" / "storage").rglob("*") if path.is_file()]
    steps = {"input_dataset", "batch_chunks", "submitted_jobs", "parsed_results", "results"}
    assert [path for path in stored if steps & {*path.parts}] == [], "Dagster pickles what a step returns"


@pytest.mark.end_to_end
def test_the_demo_stays_on_this_machine(tmp_path: Path, stack_endpoints: Endpoints, empty_dsn: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(120)))
    command = [sys.executable, "-m", "bedrock_pipeline", "demo", "--json", "--speed", "1000"]
    command += ["--input", str(path), "--record-id", "id", "--prompt", "{{ text }}"]
    with hostile_environment(tmp_path) as variables:
        done = subprocess.run(
            command,
            env={
                **os.environ,
                **variables,
                "BEDROCK_PIPELINE_DATABASE_DSN": empty_dsn,  # it would answer
                "BEDROCK_PIPELINE_S3_ENDPOINT_URL": stack_endpoints.s3_endpoint_url,
                "BEDROCK_PIPELINE_HOME": str(tmp_path / "home"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["records"], summary["succeeded"]) == (120, 120)
    assert summary["results"].startswith(f"file://{tmp_path}/home/")
    with psycopg.connect(empty_dsn) as connection:
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'bedrock_pipeline'"
        assert connection.execute(tables).fetchone() == (0,)
