"""Run many seeds: `make simulate SEEDS=300 STEPS=200`.

What belongs here: the command and its report. It ends with 1 where a seed fails, after the first that failed was shrunk
and printed as a story.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, as_completed

import click

from bedrock_pipeline_tests.simulation.pool import Report, run, story, workers


@click.command()
@click.option("--seeds", default=300, show_default=True, help="Number of seeds.")
@click.option("--steps", default=200, show_default=True, help="Choices of each seed before its end.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--processes", default=2, show_default=True, help="Seeds at once.")
@click.option(
    "--shrink", default=150, show_default=True, help="Runs for shrinking the first failure; 0: none."
)
@click.option("--until", multiple=True, help="End once a seed breaks this promise.")
def main(*, seeds: int, steps: int, first: int, processes: int, shrink: int, until: tuple[str, ...]) -> None:
    """Simulate the whole life of datasets and queues, one seed after the other, and judge each."""
    with workers(processes) as pool:
        began = time.monotonic()
        reports = list(_reports(pool, range(first, first + seeds), steps, until))
        took = time.monotonic() - began
        failed = sorted((one for one in reports if one.broken), key=lambda one: one.seed)
        click.echo(_summary(reports, took))
        if failed:
            click.echo(pool.submit(story, failed[0].seed, steps, shrink).result())
    sys.exit(1 if failed else 0)


def _reports(pool: Executor, seeds: range, steps: int, until: tuple[str, ...]) -> Iterator[Report]:
    running = [pool.submit(run, seed, steps) for seed in seeds]
    for number, future in enumerate(as_completed(running), 1):
        report = future.result()
        if report.broken:
            click.echo(f"seed {report.seed}: " + "; ".join(f"{name}: {what}" for name, what in report.broken))
        yield report
        broken = [what for promise, what in report.broken if promise in until]
        if broken:
            click.echo(f"until: {number} seeds | seed {report.seed}: {broken[0]}")
            for one in running:
                one.cancel()
            return


def _summary(reports: list[Report], took: float) -> str:
    counts: Counter[str] = Counter()
    for one in reports:
        counts.update(one.counts)
    steps, jobs = sum(one.steps for one in reports), sum(one.jobs for one in reports)
    failed = sum(bool(one.broken) for one in reports)
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"{len(reports)} seeds, {failed} of them failed; {steps} steps, {jobs} jobs, {shown}; "
        f"{took:.0f} s: {len(reports) / took:.2f} seeds/s, {steps / took:.0f} steps/s"
    )


if __name__ == "__main__":
    main()
