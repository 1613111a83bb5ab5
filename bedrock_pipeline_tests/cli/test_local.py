"""Command `local`: whom `down` ends."""

import os

import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.local import Endpoints


@pytest.mark.parametrize("text", ["", "{pid}", "{pid} 1.0", f"{2**31 - 1} 1.0", "no number"])
def test_down_ends_nobody_who_only_has_the_number_of_a_process_that_is_gone(
    stack_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(stack_endpoints.home))
    (stack_endpoints.home / "holder.pid").write_text(text.format(pid=os.getpid()))
    done = CliRunner().invoke(cli, ["local", "down"])
    assert done.exit_code == 1
    assert "It was started by `dev` or `demo`." in done.output
