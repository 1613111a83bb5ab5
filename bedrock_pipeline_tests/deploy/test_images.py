"""The image, the composition and the task: what each names exists, and each has a health check and a graceful end.

No container can be run here: the task is checked by AWS's own service model, the rest by what Dagster's programs and the
settings accept.
"""

import json
import re
import shlex
import subprocess
from typing import Any

import click
import pytest
import yaml
from botocore.session import Session
from botocore.validate import ParamValidator
from dagster._cli import create_dagster_cli
from dagster._config import process_config
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config
from dagster_webserver.cli import dagster_webserver
from packaging.requirements import Requirement
from sqlalchemy import make_url

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.emulator.server import _parser
from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
TASK: dict[str, Any] = json.loads((DEPLOY / "ecs-task-definition.json").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PROGRAMS: dict[str, click.Command] = {
    "bedrock-pipeline": cli,
    "dagster": create_dagster_cli(),  # type: ignore[no-untyped-call]
    "dagster-daemon": create_dagster_daemon_cli(),
    "dagster-webserver": dagster_webserver,
}
#: Of libpq, of boto3 and of this image.
OTHER_VARIABLES = {
    *("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"),
    *("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"),
    *("HTTPS_PROXY", "NO_PROXY", "DAGSTER_CODE_MODULE"),
}
#: What would end a URL's password, or be read as something else by a shell or by Compose.
PASSWORD = "p@ss/w:rd?#%41$$'\" +x"


def commands() -> dict[str, list[str]]:
    """Every command of the image, the composition and the task, by where it is."""
    [served] = re.findall(r'"exec (dagster .*?)"\]', DOCKERFILE)
    healths = re.findall(r"HEALTHCHECK .*?CMD (\[.*?\])\n", DOCKERFILE, re.DOTALL)
    [emulator] = re.findall(r'"exec (bedrock-pipeline emulator .*?) \\"\$S3_ENDPOINT_URL', DOCKERFILE)
    found = {
        "image": served.replace('\\"', "").split(),
        **{f"image, health {place}": json.loads(health) for place, health in enumerate(healths)},
    }
    assert len(healths) == 2, "of the emulator and of the deployment"
    assert not _unknown_options(emulator.split()[2:])
    for name, service in COMPOSE["services"].items():
        if name != "postgres":
            found |= {
                f"compose {name}": service.get("command", []),
                f"compose {name}, health": _test(service),
            }
    for one in TASK["containerDefinitions"]:
        health_check = one.get("healthCheck", {}).get("command", [])
        found |= {
            f"task {one['name']}": one.get("command", []),
            f"task {one['name']}, health": health_check[1:],
        }
    return {place: command for place, command in found.items() if command}


def _unknown_options(words: list[str]) -> list[str]:
    """Options that the emulator does not have; its program has a parser of its own."""
    known = _parser().format_help()
    return [word for word in words if word.startswith("--") and word not in known]


def _test(service: dict[str, Any]) -> list[str]:
    test: list[str] = service.get("healthcheck", {}).get("test", [])
    return test[1:]


@pytest.mark.parametrize(("place", "command"), commands().items(), ids=commands().keys())
def test_each_command_is_one_that_its_program_has(place: str, command: list[str]) -> None:
    name, *words = command
    if name == "python":
        compile(words[1], place, "exec")
        return
    program = PROGRAMS[name]
    while isinstance(program, click.Group) and words and not words[0].startswith("-"):
        found = program.get_command(click.Context(program), words.pop(0))
        assert found is not None, place
        program = found
    known = {flag for one in program.params for flag in one.opts}
    assert not [word for word in words if word.startswith("-") and word not in known]


def test_the_task_is_one_that_aws_accepts() -> None:
    shape = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    assert shape is not None
    report = ParamValidator().validate(TASK, shape)
    assert not report.has_errors(), report.generate_report()


def test_every_variable_is_read_by_something() -> None:
    known = {variable for name in Settings.model_fields for variable in Settings.variables(name)}
    given = {name for service in COMPOSE["services"].values() for name in service["environment"]}
    given -= set(COMPOSE["services"]["postgres"]["environment"])
    for one in TASK["containerDefinitions"]:
        given |= {entry["name"] for entry in (*one.get("environment", ()), *one.get("secrets", ()))}
    assert given <= known | OTHER_VARIABLES


def test_the_composition_passes_every_setting_on() -> None:
    """Those without a value are passed as they are; an empty one would be a value for boto3."""
    given = COMPOSE["services"]["code"]["environment"]
    for name in Settings.model_fields:
        assert set(Settings.variables(name)) & given.keys(), name
    empty = {"AWS_PROFILE", "BEDROCK_PIPELINE_KMS_KEY_ID", "BEDROCK_PIPELINE_JOB_TAGS"}
    assert all(given[name] is None for name in empty)


def test_any_password_reaches_both_users_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster makes a URL of its configuration, which SQLAlchemy reads; the ledger reads libpq's variables."""
    variables = {"PGHOST": "h", "PGPORT": "6432", "PGUSER": "u@x", "PGPASSWORD": PASSWORD, "PGDATABASE": "d"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    configured = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())["storage"]["postgres"]
    read = process_config(DagsterPostgresStorage.config_type(), configured)
    assert read.value is not None, read.errors
    url = make_url(pg_url_from_config(read.value))
    assert (url.host, url.port, url.username, url.password, url.database) == (
        *"h",
        6432,
        "u@x",
        PASSWORD,
        "d",
    )
    for service in ("code", "daemon", "webserver"):
        given = COMPOSE["services"][service]["environment"]
        assert variables.keys() <= given.keys()
        assert [value for value in given.values() if "POSTGRES_PASSWORD" in str(value)] == [
            given["PGPASSWORD"]
        ]


def test_everything_that_goes_on_is_watched_and_ends_in_time() -> None:
    for name, service in COMPOSE["services"].items():
        if name != "migrate":
            assert service["restart"] == "unless-stopped"
            assert name == "code" or "healthcheck" in service, "the code location has the image's"
            assert name == "webserver" or "stop_grace_period" in service
        for needed in service.get("depends_on", {}):
            assert needed in COMPOSE["services"]
    for one in TASK["containerDefinitions"]:
        assert one["name"] == "migrate" or {"healthCheck", "stopTimeout", "memoryReservation"} <= one.keys()


def test_the_images_run_as_nobody_in_particular_and_hold_no_compiler() -> None:
    emulator, deployed = DOCKERFILE.split("\nFROM ")[-2:]
    assert "AS emulator" in emulator.splitlines()[0]
    for stage in (emulator, deployed):
        assert re.search(r"^USER 10001$", stage, re.MULTILINE)
        assert "HEALTHCHECK" in stage
        assert "STOPSIGNAL SIGTERM" in stage
        assert "gcc" not in stage
        for source in re.findall(r"^COPY (?:--chown=\S+ )?((?:deploy/\S+ )+)", stage, re.MULTILINE):
            assert all((ROOT / path).exists() for path in source.split())


def test_the_emulator_and_its_s3_are_one_image_with_one_pair_of_keys() -> None:
    emulator = yaml.safe_load((DEPLOY / "emulator.compose.yaml").read_text())["services"]
    pair = dict(re.findall(r"(AWS_\w+)=(\S+)", DOCKERFILE))
    assert emulator["s3"]["environment"]["RCLONE_AUTH_KEY"] == (
        f'"{pair["AWS_ACCESS_KEY_ID"]},{pair["AWS_SECRET_ACCESS_KEY"]}"'
    )
    assert {one["image"] for one in emulator.values()} == {"bedrock-emulator"}
    assert emulator["s3"]["build"]["target"] == "emulator"
    assert not _unknown_options(emulator["emulator"]["command"])
    assert emulator["emulator"]["environment"]["S3_ENDPOINT_URL"] in DOCKERFILE
    for one in emulator.values():
        assert all(port.startswith("127.0.0.1:") for port in one["ports"]), "whoever reaches it controls it"


def test_the_constraints_that_an_image_makes_of_a_lock_are_some_that_pip_takes() -> None:
    """Names and versions alone: neither hashes nor extras."""
    locks = re.findall(r"^COPY (\S*requirements\.lock) ", DOCKERFILE, re.MULTILINE)
    commands = re.findall(r"(sed .*) /wheel/requirements\.lock > /wheel/constraints", DOCKERFILE)
    for lock, command in zip(locks, commands, strict=True):
        made = subprocess.run(
            [*shlex.split(command), str(ROOT / lock)], check=True, capture_output=True, text=True
        ).stdout
        lines = [line for line in made.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert len(lines) > 50
        assert not [line for line in lines if Requirement(line).extras or "==" not in line]
