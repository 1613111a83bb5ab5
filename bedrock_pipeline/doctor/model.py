"""The pipeline's model: whether the region has it, whether batch takes the id, and whether the account may use it."""

from collections.abc import Iterator
from typing import Final

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.inference_profiles import InferenceProfiles
from bedrock_pipeline.aws.model_access import Availability, FoundationModel
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, unanswered, warn
from bedrock_pipeline.models.catalog import card_of
from bedrock_pipeline.models.model_ids import bare_model, is_bare
from bedrock_pipeline.records.error_codes import ErrorKind

_NONE: Final = "Not checked: name a PIPELINE."
#: ARNs that name neither a foundation model nor a profile of one.
_OWN: Final = (":custom-model/", ":provisioned-model/", ":imported-model/", ":custom-model-deployment/")


def invoked_arns(examined: Examination) -> list[str]:
    """The ARNs that a job invokes: of the profile, and of the model in each region of it. None where that is unknown."""
    if examined.pipeline is None:
        return []
    model_id = examined.pipeline.model_id
    if any(kind in model_id for kind in _OWN):
        return [model_id]
    try:
        if is_bare(model_id):
            name = bare_model(model_id)
            return [f"arn:{examined.partition}:bedrock:{examined.settings.region}::foundation-model/{name}"]
        profile = examined.models.profile(model_id)
    except AwsError:
        return []  # `check_model` says why
    return [profile.arn, *profile.models]


def check_model(examined: Examination) -> list[Finding]:
    """Whether the region has the model or profile, and whether batch takes the id."""
    if examined.pipeline is None:
        return [skipped("model", _NONE)]
    model_id = examined.pipeline.model_id
    if any(kind in model_id for kind in _OWN):
        return [skipped("model", f"Not checked: {model_id} is a model of your own.")]
    found = _bare(examined, model_id) if is_bare(model_id) else _profile(examined, model_id)
    return [*found, *_batch(model_id)]


def _bare(examined: Examination, model_id: str) -> Iterator[Finding]:
    try:
        model = examined.models.model(model_id)
    except AwsError as error:
        yield _missing(examined, "bedrock:GetFoundationModel", error)
        return
    if "ON_DEMAND" in model.inference_types:
        yield ok("model", f"{examined.settings.region} has {model.id} under its own id.")
    else:
        profiles = _profiles(examined, model_id)
        yield fail(
            "model",
            f"{examined.settings.region} has {model.id} only by {', '.join(model.inference_types) or 'other ways'}.",
            "A job with the model's own id is rejected.",
            f"Set model_id to {' or '.join(profiles)}."
            if profiles
            else "Set model_id to an inference profile: aws bedrock list-inference-profiles",
        )
    yield from _legacy(model)


def _profile(examined: Examination, model_id: str) -> Iterator[Finding]:
    try:
        profile = examined.models.profile(model_id)
    except AwsError as error:
        yield _missing(examined, "bedrock:GetInferenceProfile", error)
        return
    if profile.status == "ACTIVE":
        regions = sorted({arn.split(":")[3] for arn in profile.models} - {""})
        yield ok(
            "model", f"Profile {profile.id} is active and routes to {', '.join(regions) or 'all regions'}."
        )
    else:
        yield fail(
            "model",
            f"Profile {profile.id} is {profile.status}.",
            "Jobs with it are rejected.",
            "Use another profile.",
        )


def _missing(examined: Examination, action: str, error: AwsError) -> Finding:
    if error.kind not in (ErrorKind.NOT_FOUND, ErrorKind.INVALID) or examined.pipeline is None:
        return unanswered("model", action, error)
    model_id, region = examined.pipeline.model_id, examined.settings.region
    profiles = [one for one in _profiles(examined, bare_model(model_id)) if one != model_id]
    return fail(
        "model",
        f"Bedrock in {region} does not have {model_id}.",
        "Every job is rejected.",
        f"Set model_id to {' or '.join(profiles)}."
        if profiles
        else "Look for its id: aws bedrock list-inference-profiles, aws bedrock list-foundation-models",
    )


def _profiles(examined: Examination, model: str) -> tuple[str, ...]:
    try:
        return InferenceProfiles(examined.models.client).of(bare_model(model))
    except AwsError:
        return ()  # the names are only a hint


def _legacy(model: FoundationModel) -> Iterator[Finding]:
    if model.legacy:
        yield warn(
            "model lifecycle",
            f"AWS lists {model.id} as legacy.",
            "It will be withdrawn, and new accounts may not use it.",
            "bedrock-pipeline models",
        )


def _batch(model_id: str) -> Iterator[Finding]:
    """No operation says whether a model has batch inference; AWS's documentation does."""
    card = card_of(model_id)
    if card is None:
        yield warn(
            "model batch",
            f"The built-in catalog does not know {bare_model(model_id)}.",
            "Whether it has batch inference was not checked.",
            'See AWS\'s page "Supported Regions and models for batch inference".',
        )
    elif card.batch != "yes":
        yield fail(
            "model batch",
            f"{card.id} has no batch inference."
            if card.batch == "no"
            else f"No source lists {card.id} for batch inference.",
            "Create rejects its jobs.",
            "bedrock-pipeline models --batch",
        )
    else:
        yield ok("model batch", f"{card.id} has batch inference.")


def check_access(examined: Examination) -> list[Finding]:
    """Whether the account may use the model: its agreement, authorization, entitlement and region."""
    if examined.pipeline is None:
        return [skipped("model access", _NONE)]
    model_id = examined.pipeline.model_id
    if model_id.startswith("arn:") and not is_bare(model_id):
        return [skipped("model access", f"Not checked: {model_id} does not name a foundation model.")]
    try:
        found = examined.models.availability(bare_model(model_id))
    except AwsError as error:
        return [unanswered("model access", "bedrock:GetFoundationModelAvailability", error)]
    return [judge_access(bare_model(model_id), found)]


def judge_access(model: str, found: Availability) -> Finding:
    """What AWS's four words on a model mean."""
    problems = {
        f"the agreement is {found.agreement}": found.agreement not in ("AVAILABLE",),
        f"the account is {found.authorization}": found.authorization != "AUTHORIZED",
        f"the entitlement is {found.entitlement}": found.entitlement != "AVAILABLE",
        f"the region is {found.region}": found.region != "AVAILABLE",
    }
    if wrong := [text for text, is_so in problems.items() if is_so]:
        return fail(
            "model access",
            f"The account may not use {model}: {', '.join(wrong)}.",
            "Jobs are rejected, or every record fails.",
            "Request access in the console of Bedrock, Model access; an administrator may have to accept the agreement.",
        )
    return ok("model access", f"The account may use {model}.")
