"""What mutmut's own operators leave out or overdo: conditions and locks in SQL, and sentences.

What belongs here: the mutants of a string. SQL is text to mutmut; here each condition is made true and each lock is
taken out, one at a time. A sentence (a message, a description) is left as it is: whether it is the right one is no
question of one word, and tests that repeat sentences would only make them hard to improve.
"""

import re
from collections.abc import Iterator

import libcst as cst
from mutmut.mutation import mutators

_SQL = re.compile(r"\b(SELECT|UPDATE|DELETE|INSERT|WHERE|RETURNING|FOR UPDATE)\b")
_LOCK = re.compile(r"\s*\b(FOR UPDATE( OF \w+)?( SKIP LOCKED| NOWAIT)?|FOR SHARE|SKIP LOCKED)\b")
#: As the first argument of `cast`.
_TYPE = re.compile(r"[\w.]+\[.*\]")
#: A condition begins after one of the first, and ends before one of the second.
_BEGINS = re.compile(r"\b(WHERE|AND|OR|ON|WHEN)\b(?!\s+CONFLICT)\s*(NOT\b\s*)?")
_ENDS = re.compile(
    r"\b(AND|OR|THEN|ORDER BY|GROUP BY|LIMIT|RETURNING|FOR UPDATE|FOR SHARE|UNION|WHERE|JOIN|LEFT JOIN|CROSS JOIN|SET)\b"
)
_BETWEEN = re.compile(r"\bBETWEEN\s+\S+\s+$")


def _end_of_condition(text: str, begin: int) -> int:
    """Where the condition that begins there ends: before what follows it at the same depth of brackets."""
    depth, at = 0, begin
    while at < len(text):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth < 0:
                return at
        elif not depth and (word := _ENDS.match(text, at)) and not text[at - 1].isalnum():
            if word[1] != "AND" or not _BETWEEN.search(text[begin:at]):
                return at
        elif not depth and text[at] in ";,":
            return at
        at += 1
    return at


def sql_mutants(text: str) -> Iterator[str]:
    """The statement with one condition made true, or with one lock taken out.

    A condition stays in the text, so that it takes the parameters that it took.
    """
    for found in _BEGINS.finditer(text):
        if found[1] == "AND" and _BETWEEN.search(text[: found.start()]):
            continue
        begin = found.end() - len(found[2] or "")
        end = _end_of_condition(text, begin)
        condition = text[begin:end].strip()
        if " " in condition:  # a word alone is the value of a CASE
            rest = text[begin:end][len(text[begin:end].rstrip()) :]
            yield f"{text[:begin]}({condition} OR true){rest}{text[end:]}"
    for found in _LOCK.finditer(text):
        yield text[: found.start()] + text[found.end() :]


def _of_string(node: cst.BaseString) -> Iterator[cst.BaseString]:
    if not isinstance(node, cst.SimpleString):
        return
    text = node.raw_value
    if _SQL.search(text):
        opening = f"{node.prefix}{node.quote}"
        for mutant in sql_mutants(text):
            yield node.with_changes(value=f"{opening}{mutant}{node.quote}")
    elif " " not in text.strip() and not _TYPE.fullmatch(text):
        yield from mutators.operator_string(node)


def _of_part(node: cst.FormattedStringText) -> Iterator[cst.FormattedStringText]:
    if _SQL.search(node.value):
        for mutant in sql_mutants(node.value):
            yield node.with_changes(value=mutant)


def call_mutants(node: cst.Call) -> Iterator[cst.Call]:
    """Each argument as None, or left out, but for sentences, and for what only a type checker or a slip can notice."""
    if isinstance(node.func, cst.Name) and node.func.value == "cast":
        return
    for mutant in mutators.operator_arg_removal(node):
        changed = next(
            (old for old, new in zip(node.args, mutant.args, strict=False) if old is not new), node.args[-1]
        )
        is_zip_check = changed.keyword is not None and changed.keyword.value == "strict"
        if not _is_sentence(changed.value) and not is_zip_check:
            yield mutant


def _is_sentence(node: cst.BaseExpression) -> bool:
    if isinstance(node, cst.SimpleString):
        return " " in node.raw_value.strip() and not _SQL.search(node.raw_value)
    if isinstance(node, cst.ConcatenatedString):
        return _is_sentence(node.left) or _is_sentence(node.right)
    if isinstance(node, cst.FormattedString):
        return any(isinstance(part, cst.FormattedStringText) and " " in part.value for part in node.parts)
    return False


def use() -> None:
    """Put these in place of mutmut's operators of strings and arguments."""
    replaced = (mutators.operator_string, mutators.operator_arg_removal)
    operators = [pair for pair in mutators.mutation_operators if pair[1] not in replaced]
    mutators.mutation_operators[:] = [  # type: ignore[index]
        *operators,
        (cst.BaseString, _of_string),
        (cst.FormattedStringText, _of_part),
        (cst.Call, call_mutants),
    ]
