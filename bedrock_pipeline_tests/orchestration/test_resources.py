"""For how long the connections of a deployment stay open, and by what the S3 resource finds S3."""

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline_tests.waiting import until

_BACKEND = "SELECT pg_backend_pid() AS pid"


@dg.op
def look(bedrock_deployment: DeploymentResource) -> list[int]:
    pids = []
    for _ in range(2):
        with bedrock_deployment.open() as opened:
            pids.append(opened.ledger.database.fetch(_BACKEND)[0]["pid"])
    return pids


@dg.sensor(name="looks", job_name="looks")
def look_again(bedrock_deployment: DeploymentResource) -> dg.SkipReason:
    with bedrock_deployment.open() as opened:
        return dg.SkipReason(str(opened.ledger.database.fetch(_BACKEND)[0]["pid"]))


def run(instance: dg.DagsterInstance) -> list[int]:
    resources = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}
    job = dg.GraphDefinition(name="looks", node_defs=[look]).to_job(resource_defs=resources)
    pids: list[int] = job.execute_in_process(instance=instance).output_for_node("look")
    return pids


def tick(instance: dg.DagsterInstance) -> int:
    resources = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = look_again(context)
    assert isinstance(result, dg.SkipReason)
    return int(str(result.skip_message))


def alive(deployment: Deployment, pid: int) -> bool:
    found = deployment.ledger.database.fetch("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,))
    return bool(found)


def test_a_run_shares_one_connection_and_closes_it_at_its_end(deployment: Deployment) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first, second = run(instance)
        assert first == second
        until(lambda: not alive(deployment, first), "the end of the run's connection")
        assert run(instance)[0] != first, "the next run opens its own"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"bucket": "attacker-bucket"}, "bucket"),
        ({"role_arn": "arn:aws:iam::1:role/x", "database_dsn": "host=elsewhere"}, "database_dsn, role_arn"),
        ({"bucket": {"env": "HOME"}}, "bucket"),
        ({"bucket": ""}, None),
    ],
)
def test_a_run_is_not_led_to_another_place_by_its_run_config(
    deployment: Deployment, config: dict[str, object], named: str | None
) -> None:
    """The launchpad has the fields of each resource, and whoever fills them in could send prompts elsewhere."""
    job = dg.GraphDefinition(name="looks", node_defs=[look]).to_job(
        resource_defs={DEPLOYMENT: DeploymentResource(s3=S3Resource())}
    )

    def launched() -> bool:
        run_config = {"resources": {DEPLOYMENT: {"config": config}}}
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(run_config=run_config, instance=instance).success

    if named is None:
        assert launched()
        return
    with pytest.raises(dg.DagsterResourceFunctionError) as raised:
        launched()
    assert f"values of its own for {named} of resource" in str(
        raised.value.__cause__ or raised.value.user_exception
    )


def test_what_is_set_on_the_resource_is_in_force_and_the_rest_is_from_the_environment(
    deployment: Deployment,
) -> None:
    values = {
        "bucket": "another-bucket",
        "role_arn": "arn:aws:iam::123456789012:role/another",
        "region": "eu-west-1",
        "input_prefix": "in",
        "output_prefix": "out",
        "work_prefix": "work-here",
        "results_prefix": "results-here",
        "database_dsn": "host=elsewhere",
    }
    assert values.keys() == DeploymentResource.model_fields.keys() - {"s3"}
    for name, value in values.items():
        found = DeploymentResource(s3=S3Resource(), **{name: value}).settings()
        changed = {
            field
            for field in type(found).model_fields
            if getattr(found, field) != getattr(deployment.settings, field)
        }
        assert changed == {name}
        shown = getattr(found, name)
        assert (shown.get_secret_value() if name == "database_dsn" else shown) == value


def test_ticks_go_on_with_the_connection_of_those_before(deployment: Deployment) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        pid = tick(instance)
        assert tick(instance) == pid
        assert run(instance) == [pid, pid], "a run in the same process shares it"
        assert tick(instance) == pid, "and leaves it open"


def test_the_s3_resource_gets_what_it_does_not_name(
    deployment: Deployment, stack_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By value: the variables that it obeys by itself are not there, or lead elsewhere."""
    places = {
        **stack_endpoints.settings(),
        "bucket": deployment.settings.bucket,
        "ignore_aws_configuration": False,
    }
    for name, value in places.items():
        monkeypatch.setenv(f"BEDROCK_PIPELINE_{name.upper()}", str(value))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "elsewhere")
    with DeploymentResource(s3=S3Resource()).open() as opened:
        assert not opened.settings.ignore_aws_configuration
        opened.objects.put(f"s3://{deployment.settings.bucket}/a", b"here")
    own = stack_endpoints.s3_endpoint_url.replace("127.0.0.1", "localhost")
    with DeploymentResource(s3=S3Resource(endpoint_url=own)).open() as opened:
        assert opened.objects._client.meta.endpoint_url == own
