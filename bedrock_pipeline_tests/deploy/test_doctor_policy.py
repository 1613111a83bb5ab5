"""`deploy/iam/doctor.json` allows what the checks of `doctor` need to look, and nothing else."""

from bedrock_pipeline.doctor.checks import CHECKS
from bedrock_pipeline_tests.deploy.policies import allowed_actions, policy

#: What is tried, rather than looked at: the policies of those who prepare and collect allow it.
TRIED = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}


def test_the_policy_allows_what_the_checks_need() -> None:
    needed = {action for check in CHECKS for action in check.needs} - TRIED
    assert allowed_actions(policy("doctor")) == needed
