"""A failing simulation as a story: one line a step.

What belongs here: text. What is shown is what the judge was shown.
"""

from collections.abc import Iterator

from bedrock_pipeline_tests.simulation.history import Line
from bedrock_pipeline_tests.simulation.simulate import Result


def told(result: Result) -> Iterator[str]:
    """The lines of a story, from the scenario to what was broken."""
    one = result.scenario
    yield (
        f"seed {one.seed}, {one.steps} steps, begins with {one.start}, processes {', '.join(one.cast)}, "
        f"{one.rows} rows, at most {one.max_jobs} jobs"
    )
    for fault in one.faults:
        yield f"  fault of Bedrock: {', '.join(f'{name} {value}' for name, value in fault.items())}"
    for name, value in one.switches:
        yield f"  behaviour of Bedrock: {name} {value}"
    begin = result.evidence.history.lines[0].at
    for line in _shown(result.evidence.history.lines):
        yield _line(line, begin)
    for violation in result.violations:
        at = f" (step {violation.step})" if violation.step else ""
        yield f"BROKEN: {violation.promise}: {violation.what}{at}"


def _shown(lines: list[Line]) -> Iterator[Line]:
    """All but tasks in which nothing happened."""
    rest = iter(zip(lines, [*lines[1:], None], strict=True))
    for line, following in rest:
        ends = line.what.replace("begins to ", "ends to ", 1)
        if line.what != ends and following and (following.what, following.how) == (ends, "ok"):
            next(rest)
        else:
            yield line


def _line(line: Line, begin: float) -> str:
    how = "" if line.how == "ok" else f"  -> {line.how}"
    if "message" in line.facts:
        how += f": {line.facts['message'][:160]}"
    if "outcome" in line.facts:
        how += f"  -> {line.facts['outcome']}"
    if "made" in line.facts:
        how += f"  (job {line.facts['made']} is made)"
    waited = f" (waited since {line.began})" if line.began < line.ended else ""
    return f"{line.ended:5} {line.at - begin:8.0f} s  {line.who:14} {line.what}{waited}{how}"
