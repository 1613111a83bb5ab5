"""`python -m bedrock_pipeline_tests.packaging.supply_chain`: what is installed, under which licences, with which weaknesses.

Writes reports/sbom.json (CycloneDX) and reports/licenses.json. Fails for a licence that is not permitted and for a known
vulnerability. Where the database of vulnerabilities does not answer, that is printed, and fails with `--required`.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import bedrock_pipeline

ROOT: Final = Path(bedrock_pipeline.__file__).parents[1]
REPORTS: Final = ROOT / "reports"
#: As SPDX and the classifiers of PyPI name them. LGPL and MPL are fine for packages that are installed beside ours.
PERMITTED: Final = frozenset(
    {
        *(
            "MIT",
            "MIT License",
            "MIT-0",
            "0BSD",
            "Zlib",
            "ISC License (ISCL)",
            "ISC",
            "CC0-1.0",
            "Public Domain",
        ),
        *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License", "BSD 3-Clause"),
        *(
            "Apache-2.0",
            "Apache Software License",
            "PSF-2.0",
            "Python Software Foundation License",
            "CNRI-Python",
        ),
        *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "DFSG approved"),
        *("LGPL-3.0-only", "GNU Library or Lesser General Public License (LGPL)"),
    }
)
#: Packages whose metadata does not say, or whose licence suits a tool that is run and not shipped.
LOOKED_UP: Final = {
    "atheris": "Apache-2.0, by the file LICENSE of its repository; a tool of the tests",
    "codespell": "GPL-2.0-only; a tool of `make lint`",
    "docutils": "mostly public domain, some files BSD, PSF or GPL; comes with the AWS CLI, which a test runs",
}


def is_permitted(licence: str) -> bool:
    """Whether a package may be installed: each licence that it joins by AND or `;` is permitted, and one of those by OR."""
    return all(
        any({choice.strip(), choice.strip(" ()")} & PERMITTED for choice in re.split(r"\bOR\b", part))
        for part in re.split(r";|\bAND\b(?![^(]*\))", licence)
    )


def not_permitted(packages: Sequence[Mapping[str, str]]) -> list[str]:
    """What is wrong with the licences of packages, as `pip-licenses` lists them."""
    return [
        f"{one['Name']} {one['Version']}: {one['License']}"
        for one in packages
        if one["Name"].lower() not in LOOKED_UP and not is_permitted(one["License"])
    ]


def audit_result(report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Known vulnerabilities in a report of `pip-audit`, and the packages that it could not check."""
    known = [
        f"{one['name']} {one['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'no version'}"
        for one in report["dependencies"]
        for found in one.get("vulns", ())
    ]
    return known, [one["name"] for one in report["dependencies"] if "skip_reason" in one]


def main(required: bool) -> int:  # of the command line
    """Write the reports; the exit code."""
    REPORTS.mkdir(exist_ok=True)
    program = Path(sys.executable).parent
    bom = ["environment", sys.prefix, "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    # Its own check against the schema of CycloneDX takes half a minute, and finds nothing in what it wrote itself.
    bom += ["--of", "JSON", "--no-validate", "-o", str(REPORTS / "sbom.json")]
    subprocess.run([str(program / "cyclonedx-py"), *bom], check=True, capture_output=True)
    listed = [str(program / "pip-licenses"), "--from=mixed", "--format=json", "--with-urls"]
    text = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    (REPORTS / "licenses.json").write_text(text)
    bad = not_permitted([one for one in json.loads(text) if one["Name"] != "bedrock-pipeline"])
    known, unchecked = _audited(program)
    for title, lines in (("LICENCE NOT PERMITTED", bad), ("KNOWN VULNERABILITY", known)):
        for line in lines:
            print(f"{title}: {line}", file=sys.stderr)  # noqa: T201  # the result
    if unchecked:
        print(  # noqa: T201  # the result
            f"NOT CHECKED FOR KNOWN VULNERABILITIES: the database did not answer for {', '.join(unchecked[:3])}"
            f"{' and others' if len(unchecked) > 3 else ''}. Run `make supply-chain` where it can be reached.",  # a few
            file=sys.stderr,
        )
    return 1 if bad or known or (unchecked and required) else 0


def _audited(program: Path) -> tuple[list[str], list[str]]:
    """Of one package first, so that a database that does not answer gets one request."""
    lock = (ROOT / "requirements.lock").read_text()
    first = lock[: re.search(r"\n(?=[a-z])", lock).start() + 1]  # type: ignore[union-attr]  # it has more than one
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as one:
        one.write(first)
        one.flush()
        result = _audit(program, one.name)
    return result if any(result) else _audit(program, str(ROOT / "requirements.lock"))


def _audit(program: Path, requirements: str) -> tuple[list[str], list[str]]:
    options = ["--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(
        [str(program / "pip-audit"), *options, "-r", requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return audit_result(json.loads(done.stdout))
    except json.JSONDecodeError:  # no connection at all
        return [], [done.stderr.strip().rpartition("\n")[2] or "everything"]


if __name__ == "__main__":
    sys.exit(main("--required" in sys.argv[1:]))
