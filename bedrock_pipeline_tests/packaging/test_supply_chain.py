"""What may be installed, and that a check that could not be made is not taken for one that passed."""

import json
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline_tests.packaging import supply_chain


@pytest.mark.parametrize(
    ("licence", "permitted"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache Software License; BSD License", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("MIT; GNU Affero General Public License v3", False),
        ("MIT AND (GPL-2.0-only OR AGPL-3.0-only)", False),
        ("UNKNOWN", False),
    ],
)
def test_a_licence_is_permitted_by_all_of_its_parts(licence: str, permitted: bool) -> None:
    assert supply_chain.is_permitted(licence) is permitted
    one = {"Name": "a", "Version": "1", "License": licence}
    assert supply_chain.not_permitted([one]) == ([] if permitted else [f"a 1: {licence}"])


_SAFE: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
_KNOWN: dict[str, Any] = {**_SAFE, "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
_SKIPPED: dict[str, Any] = {
    "name": "b",
    "skip_reason": "Dependency not found on PyPI and could not be audited",
}


@pytest.mark.parametrize(
    ("dependencies", "required", "code", "printed"),
    [
        ([_SAFE], True, 0, ""),
        ([_KNOWN], False, 1, "KNOWN VULNERABILITY: a 1: PYSEC-1, fixed in 2"),
        (
            [_SAFE, _SKIPPED],
            False,
            0,
            "NOT CHECKED FOR KNOWN VULNERABILITIES: the database did not answer for b.",
        ),
        ([_SAFE, _SKIPPED], True, 1, "NOT CHECKED FOR KNOWN VULNERABILITIES"),
        (
            None,
            False,
            0,
            "NOT CHECKED FOR KNOWN VULNERABILITIES: the database did not answer for no network.",
        ),
    ],
)
def test_what_is_known_fails_and_what_is_not_checked_is_printed(
    dependencies: list[dict[str, Any]] | None,
    required: bool,
    code: int,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With programs in the place of the real ones, which say what these say."""
    report = json.dumps({"dependencies": dependencies}) if dependencies is not None else ""
    for name, said in (("cyclonedx-py", ""), ("pip-licenses", "[]"), ("pip-audit", report)):
        (tmp_path / name).write_text(f"#!/bin/sh\necho 'no network' >&2\ncat <<'END'\n{said}\nEND\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(supply_chain, "REPORTS", tmp_path / "reports")
    assert supply_chain.main(required) == code
    assert printed in capsys.readouterr().err
