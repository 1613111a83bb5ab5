"""Quota groups: which jobs Bedrock counts together.

What belongs here: pure functions from a model id to its group, and Bedrock's default quotas of jobs at once.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from bedrock_pipeline.models.model_ids import without_geography

#: ARNs that name a base model, directly or by a system-defined inference profile of it.
_OF_A_BASE_MODEL: Final = re.compile(
    r"^arn:[^:]+:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(?P<id>.+)$"
)
_KEY: Final = re.compile(r"^(?P<name>.+) in (?P<region>[a-z0-9-]+)(?: of (?P<account>\d{12}))?$")
_BASE_MODEL_JOBS, _CUSTOM_MODEL_JOBS = 20, 3


@dataclass(frozen=True, slots=True)
class QuotaGroup:
    """The jobs that Bedrock counts together: those of one model in one region of one account.

    Attributes:
        name: a base model's id; the ARN of a custom, provisioned or imported model or of an application inference
            profile, which do not name one; or a name that a pipeline gives.
        account: None where the settings do not show it.
    """

    name: str
    region: str
    account: str | None = None

    @classmethod
    def named(cls, name: str, region: str, account: str | None = None) -> Self:
        """The group of a model's id or ARN, or of a name that a pipeline gives.

        The bare id, the ARN, and the inference profiles of one model give one group.
        """
        return cls(base_model(name), region, account)

    @classmethod
    def of(cls, key: str) -> Self:
        """Parse a key that `str` made.

        Raises:
            ValueError: it is none.
        """
        found = _KEY.match(key)
        if found is None:
            raise ValueError(f"not the key of a quota group: {key!r}")
        return cls(**found.groupdict())

    def __str__(self) -> str:
        return f"{self.name} in {self.region}" + (f" of {self.account}" if self.account else "")


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where a job is: region and account."""

    region: str
    account: str

    @classmethod
    def of(cls, job_arn: str) -> Self:
        """The place in a job's ARN."""
        _, _, _, region, account, _ = job_arn.split(":", 5)
        return cls(region, account)


def base_model(model_id: str) -> str:
    """The base model whose quota a model id uses, as far as the id shows it; otherwise the id itself."""
    found = _OF_A_BASE_MODEL.match(model_id)
    return without_geography(found["id"] if found else model_id)


def default_max_jobs(model_id: str) -> int:
    """Bedrock's default quota of jobs at once: 20 for each base model, 3 for each custom model.

    Some accounts have 100; with too few, a group is slower, and with too many it is throttled.
    """
    return _CUSTOM_MODEL_JOBS if ":custom-model/" in model_id else _BASE_MODEL_JOBS


def others_by_group(
    jobs_by_model: Mapping[str, int],
    region: str,
    account: str | None,
    open_models: Iterable[tuple[QuotaGroup, str]],
) -> dict[str, int]:
    """Jobs of others, counted by base model, as the groups of a region see them.

    Args:
        jobs_by_model: how many jobs each base model has.
        region: where.
        account: whose.
        open_models: the groups that have chunks, with the models of these, since a pipeline may name its group itself.
    """
    place = region, account
    models = {QuotaGroup(model, region, account): {model} for model in jobs_by_model}
    for group, model_id in open_models:
        if (group.region, group.account) == place:
            models.setdefault(group, set()).add(base_model(model_id))
    return {str(group): sum(jobs_by_model.get(one, 0) for one in own) for group, own in models.items()}
