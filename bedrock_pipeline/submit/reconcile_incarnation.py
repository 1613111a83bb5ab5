"""Notice that the ledger was restored from a backup, by what S3 says of it.

A ledger that is in another database than before notices that by itself. One whose disk has an earlier state again
does not: an object in S3 says how far it had come.
"""

from typing import Any, Final
from uuid import UUID

import orjson

from bedrock_pipeline.aws.objects import ObjectMissingError
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.incarnations import Incarnation

#: What the name of the object begins with that a deployment writes.
_MARK: Final = "ledger-"


def reconcile_incarnation(deployment: Deployment) -> str | None:
    """Begin another incarnation if the ledger is not as far as S3 says it was; and write down how far it is.

    Returns:
        What was noticed, for an operator; None if all is well.

    Raises:
        AwsError: S3 cannot be read or written.
    """
    ledger, settings = deployment.ledger, deployment.settings
    uri = settings.uri(settings.work_prefix, f"{_MARK}{ledger.deployment_id}.json")
    recorded = _recorded(deployment, uri)  # before the ledger's own, which only grows
    here, noticed = ledger.incarnations.current(), None
    if recorded and _went_back(deployment, recorded, here):
        here = ledger.incarnations.begin(here)
        noticed = f"the ledger was restored from a backup; its incarnation is {here.incarnation} now"
    deployment.objects.put(
        uri, orjson.dumps({"incarnation": str(here.incarnation), "transaction": here.horizon})
    )
    return noticed


def other_deployments(deployment: Deployment) -> list[str]:
    """URIs of what other deployments have written where this one writes: they have other ledgers, or had.

    Raises:
        AwsError: S3 cannot be listed.
    """
    settings, own = deployment.settings, f"{_MARK}{deployment.ledger.deployment_id}.json"
    beneath = deployment.objects.list(settings.uri(settings.work_prefix, _MARK))
    return [found.uri for found in beneath if not found.uri.endswith(f"/{own}")]


def _recorded(deployment: Deployment, uri: str) -> tuple[UUID, int] | None:
    """Incarnation and transaction of the last time; None if there was none, or the object is damaged."""
    try:
        found: dict[str, Any] = orjson.loads(deployment.objects.get(uri))
        return UUID(found["incarnation"]), int(found["transaction"])
    except (ObjectMissingError, ValueError, TypeError, KeyError):
        return None


def _went_back(deployment: Deployment, recorded: tuple[UUID, int], here: Incarnation) -> bool:
    incarnation, transaction = recorded
    if incarnation == here.incarnation:
        return transaction > here.horizon
    return not deployment.ledger.incarnations.is_known(incarnation)
