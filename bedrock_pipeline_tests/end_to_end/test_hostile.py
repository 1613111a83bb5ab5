"""The demo in a shell whose variables name another database and another AWS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.hostile import hostile_environment


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
