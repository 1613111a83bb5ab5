"""The embedded stack: what is stored survives, secrets stay secret, a second start is rejected."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
from botocore.exceptions import ClientError

from bedrock_pipeline.cli.services import StopEvent
from bedrock_pipeline.local import Endpoints, read_endpoints
from bedrock_pipeline.local.home import AlreadyRunningError, LocalError
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline_tests.waiting import PATIENCE_S

_HOLD = (
    "import sys, time; from pathlib import Path; from bedrock_pipeline.local.stack import Stack, StackConfig\n"
    "stack = Stack(StackConfig(Path(sys.argv[1]))); print('ready', flush=True); time.sleep(600)"
)


def s3(endpoints: Endpoints, secret: str | None = None):  # type: ignore[no-untyped-def]  # boto3 has no types
    return boto3.client(
        "s3",
        endpoint_url=endpoints.s3_endpoint_url,
        region_name=endpoints.region,
        aws_access_key_id=endpoints.access_key_id,
        aws_secret_access_key=secret or endpoints.secret_access_key,
    )


def test_a_first_start_that_is_killed_while_postgres_makes_its_files_leaves_nothing_half_made(
    tmp_path: Path,
) -> None:
    """With all that it started, as where a container is stopped, at the moment at which the files look like a cluster."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], start_new_session=True)
    while not (made := list(tmp_path.glob("postgres.new-*/postgres/PG_VERSION"))):
        assert holder.poll() is None
        time.sleep(0.005)
    assert list(tmp_path.glob("postgres.new-*/password")), "it is where the next start looks"
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    with Stack(StackConfig(tmp_path)) as stack, psycopg.connect(stack.endpoints.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not any(one.parent.exists() for one in made)
    assert not list(tmp_path.glob("postgres.new-*"))


def test_what_is_stored_survives_a_kill(tmp_path: Path) -> None:
    """A parent killed with SIGKILL leaves no server running, and the next start finds what was stored."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    first = read_endpoints(tmp_path)
    assert first is not None
    s3(first).put_object(Bucket=first.bucket, Key="a/b", Body=b"kept")
    with psycopg.connect(first.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (number int)")
    children = psutil.Process(holder.pid).children(recursive=True)
    assert len(children) >= 3
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert alive == []
    with Stack(StackConfig(tmp_path)) as stack:
        again = stack.endpoints
        assert s3(again).get_object(Bucket=again.bucket, Key="a/b")["Body"].read() == b"kept"
        with psycopg.connect(again.dsn()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_wrong_password_is_rejected_everywhere(stack_endpoints: Endpoints) -> None:
    wrong = stack_endpoints.dsn().replace(stack_endpoints.postgres_password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|403"):
        s3(stack_endpoints, "wrong").list_buckets()


def test_servers_listen_on_loopback_alone_and_secrets_are_not_in_their_arguments(
    stack_endpoints: Endpoints,
) -> None:
    listening, said = set(), ""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # Postgres's processes come and go
            listening |= {
                one.laddr.ip for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN
            }
            said += " ".join(child.cmdline())
    assert listening == {"127.0.0.1"}
    for secret in (stack_endpoints.secret_access_key, stack_endpoints.postgres_password):
        assert secret not in said


def test_secrets_are_readable_by_their_owner_alone(stack_endpoints: Endpoints) -> None:
    for name in ("secrets.json", "endpoints.json"):
        assert stat.S_IMODE((stack_endpoints.home / name).stat().st_mode) == 0o600


def test_a_second_start_at_the_same_home_is_rejected(stack_endpoints: Endpoints) -> None:
    with pytest.raises(AlreadyRunningError, match="already running") as caught:
        Stack(StackConfig(stack_endpoints.home))
    assert "local env" in str(caught.value.fix)
    assert psycopg.connect(stack_endpoints.dsn()).closed is False


def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"Port {port} is in use") as caught:
            Stack(StackConfig(tmp_path, s3_port=port))
    assert "S3" in str(caught.value.fix)


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    needs_resolution = tmp_path / "file"
    needs_resolution.write_text("")
    with pytest.raises(LocalError, match="cannot be written") as caught:
        Stack(StackConfig(needs_resolution / "home"))
    assert "BEDROCK_PIPELINE_HOME" in str(caught.value.fix)


def test_up_env_and_down(tmp_path: Path) -> None:
    """The three commands by which any other program finds the servers, and a model of its own."""
    environment = {**os.environ, "BEDROCK_PIPELINE_HOME": str(tmp_path / "home")}
    (tmp_path / "own.py").write_text("def answer(body):\n    return {'said': body['text']}\n")

    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bedrock_pipeline", "local", *words],
            env=environment,
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    command("up", "--model", "acme.own=own:answer")
    try:
        found = read_endpoints(tmp_path / "home")
        assert found is not None
        runtime = boto3.client(
            "bedrock-runtime",
            region_name=found.region,
            endpoint_url=f"http://127.0.0.1:{found.bedrock_port}",
            aws_access_key_id=found.access_key_id,
            aws_secret_access_key=found.secret_access_key,
        )
        answer = runtime.invoke_model(modelId="acme.own", body=b'{"text": "hello"}')["body"].read()
        assert json.loads(answer) == {"said": "hello"}
        printed = command("env")
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_BEDROCK", "BUCKET", "ROLE_ARN", "PGPORT"):
            assert f"export {name}=" in printed
    finally:
        assert command("down") == "ended\n"
    assert read_endpoints(tmp_path / "home") is None
    assert command("down") == "not running\n"


def test_a_home_that_was_removed_can_be_made_again(tmp_path: Path) -> None:
    """With nothing of the first, its prompts and answers least of all."""
    home = tmp_path / "home"
    with (
        Stack(StackConfig(home)) as stack,
        psycopg.connect(stack.endpoints.dsn(), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE kept (number int)")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / "postgres" / "PG_VERSION").exists(), "it is all there"
    shutil.rmtree(home)
    with Stack(StackConfig(home)) as stack, psycopg.connect(stack.endpoints.dsn()) as connection:
        found = connection.execute("SELECT to_regclass('kept')").fetchone()
    assert found == (None,)


def test_a_part_that_ends_by_itself_is_named_with_its_log(tmp_path: Path) -> None:
    with Stack(StackConfig(tmp_path)) as stack:
        stack.require_running()
        pid = int((tmp_path / "run" / "emulator.pid").read_text().split()[0])
        killed = psutil.Process(pid)
        killed.kill()
        with pytest.raises(LocalError, match=r"emulator has ended with code -9.* See .*emulator\.log"):
            StopEvent().wait_while(stack.require_running)


def test_who_waits_for_the_end_is_ended_by_an_error_of_what_runs() -> None:
    def fails() -> None:
        raise LocalError("daemon has ended", "See its log.")

    stop = StopEvent()
    with pytest.raises(LocalError, match="daemon has ended"):
        stop.wait_while(fails)
    stop.set()
    stop.wait_while(fails)
