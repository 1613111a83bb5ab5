"""Service Quotas against the limits of the pipeline."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bedrock_pipeline.aws.account import Quota
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, unanswered, warn
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.models.model_ids import bare_model
from bedrock_pipeline.models.quota_group import default_max_jobs
from bedrock_pipeline.records.limits import Limits

_GB: Final = 10**9
#: How AWS names the quotas, in front of ` for <model>`; the names have changed over time.
_NAMES: Final[Mapping[str, re.Pattern[str]]] = {
    "min_records": re.compile(r"Minimum number of records per batch inference job"),
    "max_records": re.compile(r"Records per batch inference job"),
    "max_file_records": re.compile(r"Records per input file per batch inference job"),
    "max_file_bytes": re.compile(r"Batch inference input file size(?: \(in GB\))?"),
    "max_job_bytes": re.compile(r"Batch inference job size(?: \(in GB\))?"),
    "max_jobs": re.compile(
        r"Sum of in-progress and (?:newly )?submitted batch inference jobs using a (?:base|custom) model"
    ),
}
_BYTES: Final = ("max_file_bytes", "max_job_bytes")
_PROVIDERS: Final = frozenset({"anthropic", "amazon", "meta", "mistral", "ai", "cohere", "openai", "model"})


def check_quotas(examined: Examination) -> list[Finding]:
    """The account's quotas for the model against the pipeline's limits."""
    if examined.pipeline is None:
        return [skipped("quotas", "Not checked: name a PIPELINE.")]
    model = bare_model(examined.pipeline.model_id)
    try:
        names = {model.partition(".")[2], examined.models.model(model).name}
    except AwsError:
        names = {model.partition(".")[2]}
    try:
        quotas = of_model(examined.account.quotas("bedrock"), names)
    except AwsError as error:
        return [unanswered("quotas", "servicequotas:ListServiceQuotas", error)]
    if not quotas:
        return [skipped("quotas", f"Not checked: Service Quotas lists none for batch jobs of {model}.")]
    return list(judge_quotas(quotas, examined.pipeline.effective_limits, _max_jobs(examined), model))


def _max_jobs(examined: Examination) -> int:
    """How many jobs at once the ledger allows for the pipeline's group."""
    assert examined.pipeline is not None  # its caller's
    group = examined.pipeline.group_in(examined.settings.region, examined.settings.account)
    ledger = examined.deployment.ledger
    try:
        return ledger.quota_groups.max_jobs(group) if ledger.is_current() else default_max_jobs(group.name)
    except ServiceUnavailableError:
        return default_max_jobs(group.name)


def of_model(quotas: Iterable[Quota], names: Iterable[str]) -> dict[str, Quota]:
    """The quotas of batch jobs of a model, by the limit that each concerns.

    Args:
        quotas: all of the service.
        names: of the model, as its id and as AWS's list of models have it.
    """
    wanted = {_words(name) for name in names}
    found: dict[str, Quota] = {}
    for quota in quotas:
        what, _, model = quota.name.partition(" for ")
        for limit, pattern in _NAMES.items():
            if pattern.fullmatch(what) and _words(model.removesuffix(" (in GB)")) in wanted:
                found[limit] = quota
    return found


def _words(name: str) -> tuple[str, ...]:
    """The words that distinguish a model from others: `Claude 3.5 Haiku`, `claude-3-5-haiku-20241022-v1:0`."""
    # What ids have and names have not: a date, the revision after the colon, and a first version.
    plain = re.sub(r"-\d{8}|-\d+:\d+$|:\d+$", "", name.lower())
    plain = re.sub(r"[ -]v1\b", "", plain)
    return tuple(sorted(set(re.findall(r"[a-z]+|\d+", plain)) - _PROVIDERS))


def judge_quotas(quotas: Mapping[str, Quota], limits: Limits, max_jobs: int, model: str) -> Iterator[Finding]:
    """What the quotas of a model mean for a pipeline's limits."""
    wrong = False
    for limit, quota in quotas.items():
        value = int(quota.value * _GB) if limit in _BYTES else int(quota.value)
        for finding in _judged(limit, quota, value, limits, max_jobs, model):
            wrong = True
            yield finding
    if not wrong:
        yield ok("quotas", f"The limits of the pipeline are within the {len(quotas)} quotas of its model.")


def _judged(
    limit: str, quota: Quota, value: int, limits: Limits, max_jobs: int, model: str
) -> Iterator[Finding]:
    check, found = f"quotas {limit}", f'"{quota.name}" is {quota.value:,.0f}'
    raise_it = (
        f"aws service-quotas request-service-quota-increase --service-code bedrock --quota-code {quota.code} --desired-value N"
        if quota.adjustable
        else ""
    )
    if limit == "max_jobs":
        if max_jobs > value:
            yield warn(
                check,
                f"{found}, and the ledger allows {max_jobs} jobs at once.",
                "Jobs beyond the quota are throttled, and all of the model's wait for the backoff.",
                f"bedrock-pipeline quota {model} --max-jobs {value}",
            )
        elif max_jobs < value:
            yield warn(
                check,
                f"{found}, and the ledger allows {max_jobs} jobs at once.",
                "The dataset takes more time than it needs.",
                f"bedrock-pipeline quota {model} --max-jobs {value}",
            )
        return
    ours = getattr(limits, limit)
    if limit == "min_records":
        if ours < value:
            yield fail(
                check,
                f"{found}, and the pipeline's limit is {ours:,}.",
                "Jobs with fewer records are accepted, and fail when they are validated.",
                f"Set Limits(min_records={value}) in the pipeline.",
            )
    elif ours > value:
        yield fail(
            check,
            f"{found}, and the pipeline's limit is {ours:,}.",
            "Larger jobs are accepted, and fail when they are validated.",
            "\n".join(
                filter(None, [f"Set Limits({limit}={value}) in the pipeline, or raise the quota.", raise_it])
            ),
        )
