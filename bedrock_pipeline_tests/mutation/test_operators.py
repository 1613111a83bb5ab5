"""Which mutants a statement has."""

import libcst as cst
import pytest

from bedrock_pipeline_tests.mutation.operators import call_mutants, sql_mutants


@pytest.mark.parametrize(
    ("statement", "mutants"),
    [
        ("SELECT 1", []),
        ("SELECT 1 WHERE a = %s", ["SELECT 1 WHERE (a = %s OR true)"]),
        (
            "DELETE FROM t WHERE a = 1 AND b IN (SELECT c FROM u) RETURNING a",
            [
                "DELETE FROM t WHERE (a = 1 OR true) AND b IN (SELECT c FROM u) RETURNING a",
                "DELETE FROM t WHERE a = 1 AND (b IN (SELECT c FROM u) OR true) RETURNING a",
            ],
        ),
        (
            "UPDATE t SET a = 1 WHERE b BETWEEN 1 AND 2 AND NOT c IS NULL",
            [
                "UPDATE t SET a = 1 WHERE (b BETWEEN 1 AND 2 OR true) AND NOT c IS NULL",
                "UPDATE t SET a = 1 WHERE b BETWEEN 1 AND 2 AND (NOT c IS NULL OR true)",
            ],
        ),
        (
            "SELECT CASE WHEN a > 1 THEN 2 END WHERE (b = 1 OR c = 2)",
            [
                "SELECT CASE WHEN (a > 1 OR true) THEN 2 END WHERE (b = 1 OR c = 2)",
                "SELECT CASE WHEN a > 1 THEN 2 END WHERE ((b = 1 OR c = 2) OR true)",
                "SELECT CASE WHEN a > 1 THEN 2 END WHERE (b = 1 OR (c = 2 OR true))",
            ],
        ),
        (
            "SELECT a FROM t ORDER BY a FOR UPDATE OF t SKIP LOCKED",
            ["SELECT a FROM t ORDER BY a"],
        ),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO NOTHING", []),
        ("SELECT CASE a WHEN 'x' THEN 1 END", []),
        (
            "SELECT a FROM t JOIN u ON t.a = u.a ORDER BY a",
            ["SELECT a FROM t JOIN u ON (t.a = u.a OR true) ORDER BY a"],
        ),
    ],
)
def test_a_condition_is_made_true_and_a_lock_is_taken_out(statement: str, mutants: list[str]) -> None:
    assert list(sql_mutants(statement)) == mutants


def test_arguments_are_left_out_but_sentences_are_not() -> None:
    call = cst.ensure_type(
        cst.parse_expression('fail("What happened.", f"Do {this} now.", 1, key)'), cst.Call
    )
    written = [cst.Module([]).code_for_node(mutant) for mutant in call_mutants(call)]
    assert sorted(written) == [
        'fail("What happened.", f"Do {this} now.", 1, )',
        'fail("What happened.", f"Do {this} now.", 1, None)',
        'fail("What happened.", f"Do {this} now.", None, key)',
        'fail("What happened.", f"Do {this} now.", key)',
    ]


@pytest.mark.parametrize("call", ['cast("list[int]", found)', "zip(strict=True)"])
def test_what_only_a_type_checker_or_a_slip_notices_is_left(call: str) -> None:
    assert list(call_mutants(cst.ensure_type(cst.parse_expression(call), cst.Call))) == []
