"""The tags of a job: which it gets, and what AWS takes.

What belongs here: pure decisions. Sources: botocore's service model of CreateModelInvocationJob (characters and lengths), and
"Tagging Amazon Bedrock resources", Amazon Bedrock user guide, with the general rules for tags of AWS (at most 50 of a user's
on a resource, no key that begins with `aws:`).
"""

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

#: The most tags of a resource. The service model allows 200 in a request; AWS's general rule is stricter.
MOST: Final = 50
#: What the default tags begin with.
_OURS: Final = "bedrock-pipeline:"
#: How many the default tags are.
_DEFAULTS: Final = 4
#: A space is one of ASCII: botocore's model means no other.
_CHARACTERS: Final = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*", re.ASCII)
_MOST_KEY, _MOST_VALUE = 128, 256


def check_tags(tags: Mapping[str, str]) -> None:
    """Check tags that a user gives.

    Raises:
        ValueError: AWS does not take them, or no room is left for the default ones.
    """
    if len(tags) > MOST - _DEFAULTS:
        raise ValueError(
            f"has {len(tags)} tags; a job can have {MOST - _DEFAULTS} beside the {_DEFAULTS} default ones"
        )
    for key, value in tags.items():
        if not key or len(key) > _MOST_KEY or not _CHARACTERS.fullmatch(key):
            raise ValueError(f"has a key that is no tag key: 1 to {_MOST_KEY} letters, digits and  _.:/=+@-")
        if key.lower().startswith("aws:"):
            raise ValueError(f"has the key {key!r}; keys that begin with aws: are AWS's own")
        if len(value) > _MOST_VALUE or not _CHARACTERS.fullmatch(value):
            raise ValueError(
                f"has a value of {key!r} that is no tag value: at most {_MOST_VALUE} letters, digits and  _.:/=+@-"
            )


def job_tags(
    deployment: Mapping[str, str], pipeline: Mapping[str, str], default: Mapping[str, str]
) -> list[dict[str, str]]:
    """The tags of a job, in the order of their keys.

    The pipeline's replace those of the deployment with the same key, and both replace default ones. What is over the limit is
    left out, the deployment's first: a job without a tag is better than none.

    Args:
        deployment: the tags of every job of the deployment.
        pipeline: the tags of every job of the pipeline.
        default: see `default_tags`.
    """
    merged = {**default, **deployment, **pipeline}
    kept = sorted(merged, key=lambda key: (key not in pipeline, key not in default, key))[:MOST]
    return [{"key": key, "value": merged[key]} for key in sorted(kept)]


def default_tags(deployment_id: UUID, pipeline: str, dataset: str, version: int) -> dict[str, str]:
    """The tags that say what a job is for, by which costs can be allocated."""
    return {
        f"{_OURS}deployment": str(deployment_id),
        f"{_OURS}pipeline": pipeline,
        f"{_OURS}dataset": dataset,
        f"{_OURS}version": str(version),
    }
