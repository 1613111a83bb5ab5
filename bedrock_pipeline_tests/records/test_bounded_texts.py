"""What strangers name is bounded where it is counted and shown, and no markup in Dagster's UI."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.collect.tally import TallyCounter
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.models.body_rules import BodyRules
from bedrock_pipeline.models.registry import family_of
from bedrock_pipeline.orchestration.asset_checks import _Waiting
from bedrock_pipeline.orchestration.markdown import as_text, bullets, table
from bedrock_pipeline.prompts.conversation import NotAConversationError, conversation_of
from bedrock_pipeline.queue.task import task_of
from bedrock_pipeline.records.bounded_texts import LONGEST_REASON, MOST_KINDS, OTHERS
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
HOSTILE = ["![x](http://evil/a.png)", "a|b\n\n# c", "<img src=x>", "\x1b[31mred", "k" * 1_000_000, "@all", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_reason_has_no_name_that_a_row_gives_to_a_member_unless_it_is_an_ordinary_one(name: str) -> None:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "a"}],
    }
    rules = BodyRules(family_of(CLAUDE), CLAUDE)
    found = [str(rules.problem({**body, name: 1})), str(rules.problem({**body, "max_token": 1}))]
    with pytest.raises(NotAConversationError) as message:
        conversation_of([{"role": "user", "content": "a", name: 1}], lambda *_: 0)
    with pytest.raises(InvalidInputError) as task:
        task_of({"record_id": "a", "model_input": {}, name: 1})
    found += [str(message.value), str(task.value)]
    assert "max_token" in found[1]
    assert all("not shown" in one and len(one) < LONGEST_REASON for one in (found[0], *found[2:])), found


def test_reasons_and_codes_are_counted_in_bounded_memory(tmp_path: Path) -> None:
    with RejectionWriter(tmp_path / "r.parquet") as writer:
        for number in range(10 * MOST_KINDS):
            writer.add(Rejection(number, f"{number} " + "x" * 100_000))
    assert len(writer.by_reason) == MOST_KINDS + 1
    assert writer.count == 10 * MOST_KINDS
    assert writer.by_reason[OTHERS] == 9 * MOST_KINDS
    assert max(map(len, pq.read_table(tmp_path / "r.parquet")["reason"].to_pylist())) == LONGEST_REASON
    counter = TallyCounter()
    for number in range(10 * MOST_KINDS):
        counter.failed("r", str(number), "")
    assert Counter(counter.final_by_code).total() == counter.final_errors
    assert len(counter.final_by_code) == MOST_KINDS + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("column 'a_b' is null: 3 rows (4%)", "column 'a_b' is null: 3 rows (4%)"),
        ("the path s3://b/k-1.csv", "the path s3://b/k-1.csv"),
        ("![x](http://evil/a.png)", r"!\[x\](http\://evil/a.png)"),
        ("a|b\n\n# c", r"a\|b  # c"),
        ("# c", r"\# c"),
        ("<img src=x>", r"\<img src=x\>"),
        ("_it_ *b* `c` ~d~", r"\_it\_ \*b\* \`c\` \~d\~"),
        ("\x1b[31m\u202ered", r"\[31m red"),
        ("see www.evil.com", r"see www\.evil.com"),
        ("x" * 9000, "x" * (LONGEST_REASON - 1) + "…"),
    ],
)
def test_a_text_is_no_markup_in_the_ui(text: str, shown: str) -> None:
    assert as_text(text) == shown
    values: list[Any] = [bullets([text]).value, table(("a", "b"), [(text, 1)]).value]
    assert all(shown in value for value in values)
    assert len(values[0].splitlines()) == 1
    assert len(values[1].splitlines()) == 3


def test_what_waits_for_an_operator_is_no_markup() -> None:
    waiting = _Waiting(limits=("<b>p</b>",))
    assert waiting.metadata["cost_limits"].value == r"- \<b\>p\</b\>"
