"""Jobs at Bedrock: whether they can be listed, and whether all of ours are known."""

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, statement, warn
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.job_names import chunk_of_job
from bedrock_pipeline.submit.submit_chunk import LOOK_BACK

_MOST_SHOWN = 3


def check_jobs(examined: Examination) -> list[Finding]:
    """Whether jobs can be listed, without which none is submitted; and jobs of ours that the ledger does not know."""
    deployment = examined.deployment
    try:
        jobs = list(deployment.jobs.list(since=deployment.system.now() - LOOK_BACK))
    except AwsError as error:
        fix = (
            statement(["bedrock:ListModelInvocationJobs"], "*")
            if error.kind is ErrorKind.DENIED
            else "Check the region, the endpoint and the network."
        )
        return [
            fail(
                "jobs list",
                error.what,
                "Nothing is submitted without it: a lost answer could not be settled.",
                fix,
            )
        ]
    listed = ok("jobs list", f"{len(jobs)} jobs of the last {LOOK_BACK.days} days can be listed.")
    try:
        current = deployment.ledger.is_current()
    except ServiceUnavailableError:
        current = False
    if not current:
        return [listed, skipped("jobs orphans", "Not checked: the ledger cannot be read.")]
    deployment_id = deployment.ledger.deployment_id
    known = deployment.ledger.jobs.known([job.arn for job in jobs])
    orphans = [job.arn for job in jobs if job.arn not in known and chunk_of_job(deployment_id, job.name)]
    if not orphans:
        return [listed, ok("jobs orphans", "The ledger knows all jobs of this deployment.")]
    return [
        listed,
        warn(
            "jobs orphans",
            f"{len(orphans)} jobs carry this deployment's name and are unknown to the ledger: "
            + ", ".join(orphans[:_MOST_SHOWN]),
            "They are paid for. The ledger may have been restored from a backup.",
            "bedrock-pipeline reconcile",
        ),
    ]
