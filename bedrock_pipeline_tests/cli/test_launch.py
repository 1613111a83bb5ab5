"""Command `launch`: its options, what it asks before it changes what was agreed, and the same settings in other commands."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from bedrock_pipeline.cli import datasets
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.versions import NotAgreedError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.cli.test_commands import prepared, run

#: Options whose settings have other names.
_SETTINGS = {"model": "model_id", "schema": "answer_schema"}


def test_launch_takes_a_schema_and_reports_what_is_wrong_with_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "schema.json"
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for text, said in (
        ("{", "is not JSON"),
        ("[]", "not a JSON object"),
        ('{"type": "string"}', "not of an object"),
    ):
        file.write_text(text)
        failed = run("launch", "p", "d", "--schema", str(file))
        assert failed.exit_code == 1
        assert said in " ".join(failed.output.split())
    file.write_text(json.dumps(schema))
    assert run("launch", "p", "d", "--schema", str(file), "--image", "a", "--image", "b").exit_code == 0
    asked = deployment.ledger.datasets.ensure("p", "d").request
    assert asked == {"answer_schema": file.read_text(), "images": ["a", "b"]}
    one = Pipeline(name="p", model_id="us.anthropic.claude-3-haiku-20240307-v1:0", prompt="{{ text }}")
    assert one.for_dataset(asked).images == ("a", "b")


def test_launch_has_options_for_what_a_dataset_may_send(deployment: Deployment) -> None:
    asked: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("--messages", "chat"), {"messages": "chat"}),
        (("--model-input", "body", "--parameters", "{}"), {"model_input": "body", "parameters": {}}),
        (("--system", "Be brief."), {"system": "Be brief."}),
        (("--example", "a", "b", "--example", "c", "d"), {"examples": [["a", "b"], ["c", "d"]]}),
        (("--document", "a", "--document", "b"), {"documents": ["a", "b"]}),
        (("--parameters", '{"max_tokens": 5}'), {"parameters": {"max_tokens": 5}}),
        (("--family", "claude", "--invocation", "Converse"), {"family": "claude", "invocation": "Converse"}),
        (("--answer-by", "schema"), {"answer_by": "schema"}),
        (("--below-minimum", "pad"), {"below_minimum": "pad"}),
        (("--max-tokens", "9"), {"max_tokens": 9}),
        (("--null-text", ""), {"null_text": ""}),
        (("--column-type", "n", "int64"), {"column_types": {"n": "int64"}}),
        (("--missing-columns", "null"), {"missing_columns": "null"}),
    ]
    one = Pipeline(name="p", model_id="anthropic.claude-3-haiku-20240307-v1:0", prompt="{{ text }}")
    for number, (options, request) in enumerate(asked):
        result = run("launch", "p", f"d{number}", *options)
        assert result.exit_code == 0, result.output
        found = deployment.ledger.datasets.ensure("p", f"d{number}").request
        assert found == request
        if "answer_by" not in request:
            one.for_dataset(found)


def test_every_setting_of_a_dataset_has_an_option_with_the_same_words_in_every_command() -> None:
    commands = {
        name: cli.get_command(click.Context(cli), name) for name in ("launch", "demo", "estimate", "pack")
    }
    options = {
        name: {one.name: one for one in command.params if isinstance(one, click.Option)}
        for name, command in commands.items()
        if command is not None
    }
    settings = {name: _SETTINGS.get(name, name) for name in options["launch"]}
    assert Pipeline.dataset_settings <= {*settings.values()}
    for name in ("demo", "estimate", "pack"):
        assert options["launch"].keys() - options[name].keys() <= {
            *("source", "sql", "dsn_env", "driver", "delta", "iceberg"),  # a file is their input
            *("below_minimum", "max_cost_usd", "new_version", "yes"),
        }
        differ = {
            one
            for one in options["launch"].keys() & options[name].keys() - {"source", "model", "as_json"}
            if options["launch"][one].to_info_dict() != options[name][one].to_info_dict()
        }
        assert not differ, name


@pytest.mark.parametrize(
    ("model", "parameters", "expected"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", {"temperature": 0}, {"temperature": 0, "max_tokens": 9}),
        ("amazon.nova-lite-v1:0", {"max_tokens": 5, "top_k": 1}, {"max_tokens": 9, "top_k": 1}),
        (
            "amazon.nova-lite-v1:0",
            {"inferenceConfig": {"maxTokens": 5, "topP": 0.5}},
            {"inferenceConfig": {"maxTokens": 9, "topP": 0.5}},
        ),
        ("meta.llama3-1-70b-instruct-v1:0", {"max_gen_len": 5}, {"max_gen_len": 9}),
    ],
)
def test_a_limit_of_tokens_changes_that_parameter_alone(
    model: str, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    one = Pipeline(name="p", model_id=model, prompt="{{ text }}", parameters=parameters)
    assert one.for_dataset({"max_tokens": 9}).parameters == expected
    assert one.for_dataset({"parameters": {"temperature": 1}, "max_tokens": 9}).parameters == {
        "temperature": 1,
        "max_tokens": 9,
    }


def test_a_cap_is_part_of_what_is_launched(deployment: Deployment) -> None:
    assert run("launch", "p", "d", "--input", "rows.csv", "--max-cost-usd", "2.5").exit_code == 0
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.request["max_cost_usd"] == 2.5
    assert run("launch", "p", "d", "--max-cost-usd", "0").exit_code == 2


@pytest.mark.parametrize(
    ("words", "source"),
    [
        (
            ("--sql", "SELECT 1 AS id", "--dsn-env", "DB"),
            {"kind": "sql", "query": "SELECT 1 AS id", "dsn_env": "DB"},
        ),
        (
            ("--sql", "SELECT 1 AS id", "--dsn-env", "DB", "--driver", "adbc_driver_sqlite"),
            {"kind": "sql", "query": "SELECT 1 AS id", "dsn_env": "DB", "driver": "adbc_driver_sqlite"},
        ),
        (("--delta", "s3://b/t/{dataset}"), {"kind": "delta", "location": "s3://b/t/{dataset}"}),
        (("--delta", "/lake/t"), {"kind": "delta", "location": "/lake/t"}),
        (("--iceberg", "lake:shop.t"), {"kind": "iceberg", "catalog": "lake", "table": "shop.t"}),
        (("--iceberg", "shop.t"), {"kind": "iceberg", "catalog": "default", "table": "shop.t"}),
        (("--delta", "/a", "--iceberg", "b.c"), "--delta and --iceberg each name an input"),
        (
            ("--input", "a.csv", "--sql", "SELECT 1", "--dsn-env", "DB"),
            "--input and --sql each name an input",
        ),
        (("--sql", "SELECT 1"), "--sql needs --dsn-env"),
        (("--driver", "d"), "--driver goes with both"),
        (("--sql", "SELECT 1", "--dsn-env", "postgresql://u:secret@h/d"), "--dsn-env: it is a name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_launch_names_a_query_or_a_table(
    deployment: Deployment, words: tuple[str, ...], source: dict[str, str] | str
) -> None:
    done = run("launch", "p", "d", "--prompt", "{{ id }}", *words)
    if isinstance(source, str):
        assert done.exit_code == 2
        assert source in done.stderr
        assert "secret" not in done.output
        assert deployment.ledger.datasets.get("p", "d") is None
        return
    assert done.exit_code == 0, done.output
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.request["source"] == source


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("launch p d --model claude-3-haiku", 2),
        ("launch p d --model claude-3-haiku --family claude", 0),
        ("launch p d --model claude-3-haiku --model-input body", 0),
        ("launch p d --model acme.new-v1 --prompt {{a}}", 0),  # its pipeline may know the family
        ("pack rows.csv --out o --prompt {{a}} --model claude-3-haiku", 2),
        ("demo --input rows.csv --prompt {{a}} --model claude-3-haiku", 2),
        ("estimate --input rows.csv --prompt {{a}} --model claude-3-haiku", 2),
    ],
)
def test_an_unknown_model_is_an_error_of_the_command_that_names_it(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    done = run(*command.split())
    assert done.exit_code == code, done.output
    if code:
        assert "Error: --model: the request body of 'claude-3-haiku' is not known" in done.stderr
        assert "did you mean anthropic.claude-3-haiku-20240307-v1:0?" in done.stderr
        assert "--family claude" in done.stderr
        assert "--model-input, a column" in done.stderr
        assert "family=" not in done.stderr
        assert deployment.ledger.datasets.get("p", "d") is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("launch p d --carry status", "the results have a column 'status' of their own"),
        ("launch p d --carry a --carry a", "column 'a' is named twice"),
        ("launch p d --carry record_id --record-id id", "the results have a column 'record_id' of their own"),
        ("launch p d --carry record_id", None),  # its pipeline may have the ids of that column
        ("estimate p d --carry status", "the results have a column 'status' of their own"),
        ("estimate --input rows.csv --prompt {{a}} --model MODEL --carry __filename", "Arrow has a column"),
        ("pack rows.csv --out o --prompt {{a}} --model MODEL --carry status", "the results have a column"),
        ("demo --input rows.csv --prompt {{a}} --carry record_id", "the results have a column 'record_id'"),
    ],
)
def test_a_column_that_cannot_be_carried(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, message: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a,status\n1,2\n")
    done = run(*command.replace("MODEL", "amazon.nova-lite-v1:0").split())
    assert done.exit_code == (2 if message else 0), done.output
    if message:
        assert f"Error: --carry: {message}" in done.stderr
        assert "Usage:" not in done.stderr
        assert deployment.ledger.datasets.get("p", "d") is None


def test_what_was_launched_and_approved_as_json(deployment: Deployment, tmp_path: Path) -> None:
    prepared(deployment, tmp_path)
    done = run("launch", "p", "d", "--max-cost-usd", "2", "--json")
    assert json.loads(done.stdout) == {
        "pipeline": "p",
        "dataset": "d",
        "version": 1,
        "compared": True,
        "max_cost_usd": 2.0,
    }
    approved = json.loads(run("approve", "p", "d", "--up-to", "3", "--json").stdout)
    assert approved == {"pipeline": "p", "dataset": "d", "max_cost_usd": 3.0, "committed_usd": 0.0}
    rejected = run("launch", "p", "d", "--max-cost-usd", "25", "--json")
    assert json.loads(rejected.stdout)["fix"] == "Confirm it with --yes."
    assert (rejected.exit_code, "Usage:" in rejected.stderr) == (2, False)


def test_a_launch_without_what_was_given_before_says_so(deployment: Deployment) -> None:
    run("launch", "p", "d", "--prompt", "{{ a }}", "--carry", "b")
    done = run("launch", "p", "d", "--prompt", "{{ a }}")
    assert "changes: carry (not given now: the pipeline's own applies again)." in done.stderr


def test_a_launch_that_changes_what_was_agreed_needs_a_yes(deployment: Deployment, tmp_path: Path) -> None:
    first, _ = prepared(deployment, tmp_path)
    database = deployment.ledger.database
    database.execute("UPDATE bedrock_pipeline.versions SET max_cost_usd = 2")
    assert run("launch", "p", "d", "--max-cost-usd", "2").exit_code == 0
    changes = {
        ("--max-cost-usd", "25"): ["max_cost_usd: $2 → $25."],
        ("--model", "amazon.nova-lite-v1:0"): ["model_id: the pipeline's own → amazon.nova-lite-v1:0."],
        ("--prompt", "{{ secret }}", "--max-tokens", "9"): ["max_tokens: the pipeline's own → 9; prompt."],
        ("--new-version",): ["version 2 sends every record again, at its full cost."],
    }
    before = deployment.ledger.datasets.get("p", "d")
    for options, said in changes.items():
        done = run("launch", "p", "d", *options)
        assert done.exit_code == 2, done.output
        for one in [*said, "'d' of pipeline 'p' was launched before", "Confirm it with --yes."]:
            assert one in done.stderr
        assert "secret" not in done.output
    assert deployment.ledger.datasets.get("p", "d") == before
    assert isinstance(submit_chunk(deployment, "p", first), Submitted)
    rejected = run("launch", "p", "d", "--model", "amazon.nova-lite-v1:0")
    assert (rejected.exit_code, "--new-version" in rejected.stderr) == (
        1,
        True,
    )  # and not a question before that
    done = run("launch", "p", "d", "--new-version", "--yes")
    assert (done.exit_code, "launched version 2" in done.stdout) == (0, True)


def test_a_first_launch_and_one_after_a_failure_ask_nothing(deployment: Deployment) -> None:
    deployment.ledger.datasets.ensure("p", "d")  # its partition was added in the UI
    assert run("launch", "p", "d", "--prompt", "{{ a }}", "--max-cost-usd", "2").exit_code == 0
    assert run("launch", "p", "d", "--prompt", "{{ a }}").exit_code == 0
    begun = deployment.ledger.datasets.begin_preparation("p", "d")
    deployment.ledger.datasets.fail_preparation(begun, begun.launch_id, "there is no column 'a'")
    assert run("launch", "p", "d", "--prompt", "{{ b }}").exit_code == 0
    again = run("launch", "p", "d", "--prompt", "{{ b }}", "--max-cost-usd", "3")
    assert (again.exit_code, "max_cost_usd: $2 → $3." in again.stderr) == (2, True)


@pytest.mark.parametrize(("answer", "code", "version"), [("y", 0, 2), ("n", 1, 1)])
def test_on_a_terminal_a_launch_asks(
    deployment: Deployment, tmp_path: Path, answer: str, code: int, version: int
) -> None:
    prepared(deployment, tmp_path)
    terminal, stdin = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    command = [sys.executable, "-m", "bedrock_pipeline", "launch", "p", "d", "--new-version"]
    done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "version 1 was packed" in done.stderr
    assert "Launch it? [y/N]" in done.stderr
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.version == version


def test_what_another_operator_launches_meanwhile_is_not_what_was_confirmed(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(deployment, tmp_path)
    asked: list[str] = []

    def another_is_faster(error: NotAgreedError, _: object) -> None:
        asked.append(error.what)
        if len(asked) == 1:
            assert run("launch", "p", "d", "--new-version", "--yes").exit_code == 0
            deployment.ledger.datasets.begin_preparation("p", "d")
        elif len(asked) == 2:
            raise click.Abort  # version 3 is not wanted

    monkeypatch.setattr(datasets, "_ask", another_is_faster)
    assert run("launch", "p", "d", "--new-version").exit_code == 1
    assert ["version 2 sends" in asked[0], "version 3 sends" in asked[1]] == [True, True]
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.version == 2
