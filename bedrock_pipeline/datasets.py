"""Datasets from Python: launch one, see what it waits for, wait for it, open its results.

Each function opens the deployment of its settings and closes it again; Dagster's sensors do the work, as after
`bedrock-pipeline launch`.
"""

import time
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import PydanticSerializationError, to_jsonable_python

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import AwaitTimeoutError, ConfigurationError, StateError
from bedrock_pipeline.known_names import check_known, check_request_names, check_served
from bedrock_pipeline.ledger.status_report import ChunkStatus, DatasetStatus
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.publish.read_results import open_results, results_uri
from bedrock_pipeline.records.dataset_request import check_request
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.sources import DeltaTable, IcebergTable, SqlQuery, absolute_location

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

_POLL_S: Final = 2.0


def launch(
    pipeline: Pipeline | str,
    dataset: str,
    *,
    new_version: bool = False,
    settings: Settings | None = None,
    **request: Any,
) -> int:
    """Request the processing of a dataset. Dagster's sensors start it.

    Args:
        pipeline: or its name. Of a pipeline the request is checked here; of a name, in the run that prepares the dataset.
        dataset: its key.
        new_version: process it again, at its full cost, although chunks of other content were submitted.
        settings: of the deployment; default: those of the environment.
        request: fields of `Pipeline` that are different for this dataset, such as `source`, `prompt` or `max_cost_usd`, and `max_tokens`; JSON, a
            path, a table or a model of pydantic.

    Returns:
        The number of the dataset's version.

    Raises:
        InvalidInputError: the key is no dataset key.
        ConfigurationError, InvalidInputError: a field of the request, or a name in it, cannot be used.
        NotFoundError: code runs, and has no such pipeline.
        StateError: chunks of other content were submitted, and no new version is wanted.
        ServiceUnavailableError: the ledger cannot be reached.
    """
    check_dataset_key(dataset)
    if isinstance(pipeline, Pipeline):
        pipeline.for_dataset(request)
    elif unknown := request.keys() - Pipeline.dataset_settings:
        raise ConfigurationError(
            f"A dataset cannot set {', '.join(sorted(unknown))}.",
            f"It can set {', '.join(sorted(Pipeline.dataset_settings))}.",
        )
    kept = _as_json(request)
    if isinstance(pipeline, str):
        _check(kept)
    name = pipeline if isinstance(pipeline, str) else pipeline.name
    with open_deployment(settings or Settings.resolve()) as deployment:
        check_served(deployment.ledger, name)
        row = deployment.ledger.datasets.request(
            name,
            dataset,
            kept,
            launch=True,
            new_version=new_version,
            launch_id=deployment.system.new_id(),
        )
    return row.version


def status(
    pipeline: str | None = None, dataset: str | None = None, *, settings: Settings | None = None
) -> list[DatasetStatus] | list[ChunkStatus]:
    """What each dataset is doing, or each chunk of one dataset: the figures of `bedrock-pipeline status`.

    Args:
        pipeline: only its datasets.
        dataset: its chunks.
        settings: of the deployment; default: those of the environment.

    Raises:
        NotFoundError: there is no such pipeline or dataset.
        ServiceUnavailableError: the ledger cannot be reached.
    """
    with open_deployment(settings or Settings.resolve()) as deployment:
        if pipeline is not None:
            check_known(deployment.ledger, pipeline, dataset)
        if pipeline is not None and dataset is not None:
            return list(deployment.ledger.status_report.chunks(pipeline, dataset))
        return list(deployment.ledger.status_report.datasets(pipeline))


def wait(
    pipeline: str,
    dataset: str,
    *,
    timeout_s: float | None = None,
    settings: Settings | None = None,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> str:
    """Wait until the current version of a dataset is published; at a cost limit, until an operator has decided.

    A launch that was requested is waited for, also where it may find nothing new.

    Args:
        pipeline: its name.
        dataset: its key.
        timeout_s: the most seconds to wait; None: no limit. A batch job may take days.
        settings: of the deployment; default: those of the environment.
        sleep: waits between two polls of the ledger.
        monotonic: the clock of the timeout.

    Returns:
        The URI of the results.

    Raises:
        NotFoundError: there is no such pipeline or dataset.
        StateError: the dataset, or its last launch, has failed, or it was cancelled.
        AwaitTimeoutError: it was not published in time. It goes on.
        ServiceUnavailableError: the ledger cannot be reached.
    """
    end = None if timeout_s is None else monotonic() + timeout_s
    with open_deployment(settings or Settings.resolve()) as deployment:
        check_known(deployment.ledger, pipeline, dataset)
        while (uri := _published(deployment, pipeline, dataset)) is None:
            if end is not None and monotonic() >= end:
                raise AwaitTimeoutError(
                    f"Dataset {dataset!r} of {pipeline!r} was not published within {timeout_s} s. It goes on.",
                    f"Wait again, or see `bedrock-pipeline status {pipeline} {dataset}`.",
                )
            sleep(_POLL_S)
    return uri


def results(pipeline: str, dataset: str, *, settings: Settings | None = None) -> "pa_dataset.Dataset":
    """The published results of a dataset, a row for each record; only the files' footers are read yet, to count the rows.

    Args:
        pipeline: its name.
        dataset: its key.
        settings: of the deployment; default: those of the environment.

    Raises:
        NotFoundError: there is no such pipeline or dataset.
        StateError: the dataset is not published yet; or files of it were deleted or changed since.
        ServiceUnavailableError: the ledger or S3 cannot be reached.
    """
    with open_deployment(settings or Settings.resolve()) as deployment:
        check_known(deployment.ledger, pipeline, dataset)
        return open_results(deployment, pipeline, dataset)


def _check(request: Mapping[str, Any]) -> None:
    check_request_names(request)
    try:
        check_request(request)
    except ValueError as error:
        raise ConfigurationError(f"{error}.", "Launch it with other settings.") from None


def _published(deployment: Deployment, pipeline: str, dataset: str) -> str | None:
    row = deployment.ledger.datasets.get(pipeline, dataset)
    if row is None or row.launch_requested_at is not None:
        return None
    see = f"See `bedrock-pipeline status {pipeline} {dataset}`."
    if row.launch_failure:
        raise StateError(
            f"The last launch of {dataset!r} of {pipeline!r} has failed: {row.launch_failure}", see
        )
    if row.published_version == row.version:
        return results_uri(deployment, pipeline, dataset)
    if row.state in ("failed", "cancelled"):
        raise StateError(f"Dataset {dataset!r} of {pipeline!r} is {row.state}: {row.state_reason}", see)
    return None


def _as_json(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as the ledger keeps it, with paths that the run's process understands."""
    given = dict(request)
    match given.get("source"):
        case None | SqlQuery() | DeltaTable() | IcebergTable():
            pass
        case str() | PathLike() as location:
            given["source"] = absolute_location(fspath(location))
        case list() as locations:
            given["source"] = [absolute_location(fspath(one)) for one in locations]
        case other:
            raise ConfigurationError(
                f"source: a {type(other).__name__} cannot be given with a launch.",
                "Give a location or a table, or make it the source of the pipeline.",
            )
    if roots := given.get("attachment_roots"):
        given["attachment_roots"] = [absolute_location(fspath(root)) for root in roots]
    try:
        kept: dict[str, Any] = to_jsonable_python(given, exclude_none=True)
    except PydanticSerializationError as error:
        raise ConfigurationError(
            f"A setting cannot be kept with a launch: {error}.", "Set it in the pipeline."
        ) from None
    return kept
