"""Names that are not known are errors, and a demo follows the content of its file."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.demo import _key
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.cli.pipelines import check_module
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline_tests.cli.test_commands import prepared


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        ("status reviewz", ["There is no pipeline or queue 'reviewz'", "Did you mean 'reviews'?"]),
        ("status reviews mondoy", ["There is no dataset 'mondoy' of 'reviews'", "Did you mean 'monday'?"]),
        ("cancel xyz monday", ["There is no pipeline or queue 'xyz'", "There are: mails, other, reviews."]),
        ("cancel reviews monday --chunk monday--1", ["has no chunk 'monday--1'", "It has no chunks yet."]),
        ("cancel reviews monday --chunk other--00000", ["'monday' of 'reviews' has no chunk 'other--00000'"]),
        ("resolve reviews monday--1 --lost", ["has no chunk 'monday--1'"]),
        ("resolve reviews mondoy--00000 --lost", ["There is no dataset 'mondoy'", "Did you mean 'monday'?"]),
        ("flush mailz", ["There is no queue 'mailz'", "Did you mean 'mails'? For a new queue"]),
        ("enqueue my_pipelines.py --queue mailz", ["There is no queue 'mailz'", "Did you mean 'mails'?"]),
        ("retry reviews m", ["There is no dataset 'm'"]),
        (
            "retry reviews",
            ["'reviews' is a pipeline or queue; a dataset of it is needed too", "status reviews"],
        ),
        ("cancel mails", ["'mails' is a pipeline or queue; a dataset of it is needed too"]),
        ("results reviews --out r.csv", ["'reviews' is a pipeline or queue"]),
        ("approve reviews tuesday --up-to 1", ["There is no dataset 'tuesday'", "There are: monday."]),
        ("results reviews tuesday", ["There is no dataset 'tuesday'"]),
        ("show review monday", ["There is no pipeline or queue 'review'", "Did you mean 'reviews'?"]),
        ("resolve nope monday--00000 --lost", ["There is no pipeline or queue 'nope'"]),
        ("status monday", ["no pipeline or queue 'monday'", "a dataset of this name: reviews monday"]),
        ("statuz reviews", ["No such command 'statuz'. Did you mean 'status'?"]),
        ("dev -m my_pipeline", ["There is no module 'my_pipeline'", "Did you mean 'my_pipelines'?"]),
        ("estimate reviews monday -m nothing.like.it", ["There is no module 'nothing.like.it'"]),
        ("launch reviews tuesday --family clade", ["no model family 'clade'", "Did you mean 'claude'?"]),
        ('launch reviews tuesday --csv {"delim":";"}', ["csv.delim", "Did you mean 'delimiter'?"]),
        ("launch reviews tuesday --column-type id foo", ["Unknown column type 'foo'", "Types are: string"]),
        ("launch reviews a--b", ["'a--b' is not a dataset key."]),
        ("launch reviews tuesday --prompt {{x", ["names no column"]),
        ("results reviews monday --out answers.xls", ["none of the endings .parquet, .jsonl, .csv"]),
        (
            "launch reviewz monday",
            ["No running code location has a pipeline 'reviewz'", "Did you mean 'reviews'?"],
        ),
    ],
)
def test_an_unknown_name(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, messages: list[str]
) -> None:
    (tmp_path / "my_pipelines.py").touch()
    monkeypatch.chdir(tmp_path)
    deployment.ledger.datasets.request("reviews", "monday", {}, launch=True)
    deployment.ledger.served_pipelines.seen(["reviews", "other"])
    deployment.ledger.queues.register(
        "mails", job_type="mails", model_id="amazon.nova-lite-v1:0", settings={}
    )
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 2
    for message in messages:
        assert message in done.stderr
    assert [one.dataset for one in deployment.ledger.status_report.datasets()] == ["monday"]


def test_a_chunk_that_is_near(deployment: Deployment, tmp_path: Path) -> None:
    first, _ = prepared(deployment, tmp_path)
    for words in (("cancel", "p", "d", "--chunk", f"{first}x"), ("resolve", "p", f"{first}x", "--no-job")):
        done = CliRunner().invoke(cli, words)
        assert (done.exit_code, f"Did you mean {first!r}?" in done.stderr) == (2, True)
    assert CliRunner().invoke(cli, ["cancel", "p", "d", "--chunk", first]).exit_code == 0


def test_anything_may_be_launched_before_code_has_run(deployment: Deployment) -> None:
    assert CliRunner().invoke(cli, ["launch", "reviews", "monday"]).exit_code == 0
    assert [one.dataset for one in deployment.ledger.status_report.datasets()] == ["monday"]


def test_a_queues_program_says_nothing_about_code_that_is_down(deployment: Deployment) -> None:
    """A launch waits for the code location; with only queues at work it was an unknown name."""
    ledger = deployment.ledger
    ledger.queues.register("mails", job_type="mails", model_id="amazon.nova-lite-v1:0", settings={})
    ledger.served_pipelines.seen(["mails"])
    assert CliRunner().invoke(cli, ["launch", "reviews", "monday"]).exit_code == 0
    ledger.served_pipelines.seen(["other"])
    done = CliRunner().invoke(cli, ["launch", "reviews", "tuesday"])
    assert done.exit_code == 2
    assert "There are: other." in done.stderr


def test_a_changed_file_is_another_dataset_of_the_demo(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    file = tmp_path / "rows.csv"
    places = [str(file), file.as_uri(), str(tmp_path), str(tmp_path / "*.csv")]
    before = [_key(place, {"prompt": "x"}) for place in places]
    assert before == [_key(place, {"prompt": "x"}) for place in places]
    (tmp_path / "rows.csv").write_text("a\n2\n")
    after = [_key(place, {"prompt": "x"}) for place in places]
    assert all(one != other for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("content", ["import nothing_like_it", "def (", "1 / 0"])
def test_a_package_that_fails_is_no_missing_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """Its own error is shown where it is loaded."""
    name = f"project{abs(hash(content))}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    check_module(f"{name}.definitions")
    with pytest.raises(NotFoundError):
        check_module(f"absent_{name}.definitions")
