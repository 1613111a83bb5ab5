"""Find words that the project does not use, and say which it uses in their place. Run by `make lint`.

What belongs here: the list of phrases, and where text stands that people read: documentation, docstrings, comments,
string literals, help texts, SQL. The glossary's terms are looked for in Python's names too (`put_back`, `PutBack`).
"""

import argparse
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What is read, by the file's ending or name.
_WHOLE = {".md", ".sql", ".toml", ".yml", ".yaml", ".c", ".h", ".sh", "Makefile", "run"}
#: Files that must name old words: this one and its test, and the history of the renaming.
_EXEMPT = {
    "bedrock_pipeline_tests/docs/phrases.py",
    "bedrock_pipeline_tests/docs/test_phrases.py",
    "CHANGELOG.md",
}
#: A line that holds this is not read.
_MARK = "phrases: allow"


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is not said here.

    Attributes:
        pattern: a regular expression, in which a space stands for any white space, `_` and line breaks of comments.
        instead: what is said.
        allowed: expressions in which the same words are right.
        in_names: whether it is looked for in the names of Python code.
    """

    pattern: str
    instead: str
    allowed: tuple[str, ...] = ()
    in_names: bool = False

    def compiled(self) -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
        """The pattern, and those that are allowed."""
        return _compiled(self.pattern), [_compiled(pattern) for pattern in self.allowed]


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase in a file."""

    path: str
    line: int
    text: str
    phrase: Phrase

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: {self.phrase.instead}"


#: Terms that the glossary replaces.
_TERMS = (
    Phrase(r"\b(put|puts|putting) back\b", "requeue"),
    Phrase(r"\brefusals?\b", "throttled (transient), rejected (permanent)", (r"['\"`]refusal['\"`]",)),
    Phrase(
        r"\b(refused|refuses|refuse|refusing)\b",
        "rejected",
        ("connection refused", "ECONNREFUSED", "ConnectionRefusedError", r"['\"`=]refused?['\"`]"),
    ),
    Phrase(r"\bunclear\b", "in doubt"),
    Phrase(r"(?:(?<=['\"`])blocked(?=['\"`])|\bchunk (is|was|becomes) blocked\b)", "needs resolution"),
    Phrase(r"(?:(?<=['\"`])held(?=['\"`])|\bheld (for|reason)\b)", "waiting for …"),
    Phrase(r"\b(on hold|hold (until|reason|group)|holds? of (a|the) group)\b", "backoff of the quota group"),
    Phrase(r"\bsettling\b", "consistency window"),
    Phrase(
        r"\bepochs?\b",
        "fencing token",
        ("unix epoch", "(since|from) the epoch", r"epoch (seconds|milliseconds|ms)"),
    ),
    Phrase(r"\b(offers?|offered|offering)\b", "run lease"),
    Phrase(r"\bprolong(s|ed|ing)?\b", "renew"),
    Phrase(r"\bleft(-| )?overs?\b", "retryable records; remaining files, processes, …"),
    Phrase(r"\broll(s|ed|ing)? over\b", "start a retry round"),
    Phrase(r"\bleaders?\b", "canonical record", ("team leader", "leader election")),
    Phrase(r"\bfollowers?\b", "duplicate"),
    Phrase(r"\bdoubled\b", "duplicate", (r"['\"`]list doubled['\"`]", r"['\"`]line doubled['\"`]")),
    Phrase(r"\bverdicts?\b", "disposition (of a chunk), classification (of an error)"),
    Phrase(r"\baccounting\b", "tally"),
    Phrase(r"\bmotors?\b", "worker"),
    Phrase(r"\bwish(es|ed)?\b", "request"),
    Phrase(r"\bchance\b", "jitter, rng"),
)
#: Sentences that an engineer would not say, and words that are right in names.
_SENTENCES = (
    Phrase(
        r"\brooms?\b",
        "package",
        (r"(make|makes|making|made|leaves?|no|more|enough) room", r"room (for|to|left)"),
    ),
    Phrase(r"\ba person\b|\bfor person\b|\bno person\b", "an operator"),
    Phrase(r"\bperson must\b", "operator must"),
    Phrase(r"\bask(s|ed|ing)? for\b", "request"),
    Phrase(r"\basked (again|anew)\b", "retried, sent again"),
    Phrase(r"\basked (one by one|on demand)\b", "sent …"),
    Phrase(r"\bwhat (becomes|became) of\b", "outcome, what happens to"),
    Phrase(r"\bso many\b", "the count itself"),
    Phrase(r"\bnobody (knows|but)\b", "unknown; only …"),
    Phrase(
        r"\b(told|tells?|telling)\b",
        "reports, says, shows",
        (r"(told|tells?|telling) (\w+ )?apart",),
    ),
    Phrase(r"\bcur(e|es|ed|ing)\b", "fix"),
    Phrase(r"\bis no (JSON|object|JSON object|number|file|folder)\b", "is not …, invalid …"),
    Phrase(r"\bat the (most|least)\b", "at most, at least"),
    Phrase(r"\banew\b", "again"),
    Phrase(r"\bfor programs\.", "output JSON"),
    Phrase(r"\ba no that\b|\bdefinite no\b", "transient error, permanent error"),
    Phrase(r"\bof one's own\b", "your own, a custom …"),
    Phrase(r"\bhereafter\b|\bthereof\b|\bthereby\b", "plain words"),
    Phrase(r"\btwo looks\b|\ba look at (all|Bedrock)\b|\blooks? at Bedrock\b", "poll"),
)


PHRASES = (*(replace(term, in_names=True) for term in _TERMS), *_SENTENCES)


def hits(path: str, text: str) -> Iterator[Hit]:
    """The phrases in a file's text."""
    lines = text.splitlines()
    for first, piece, is_name in _pieces(path, text):
        plain = piece.replace("_", " ")
        if not _ANY.search(plain):
            continue
        for phrase in PHRASES:
            if is_name and not phrase.in_names:
                continue
            pattern, allowed = phrase.compiled()
            right = [match.span() for one in allowed for match in one.finditer(plain)]
            for match in pattern.finditer(plain):
                line = first + plain.count("\n", 0, match.start())
                if any(start <= match.start() and match.end() <= end for start, end in right):
                    continue
                if line <= len(lines) and _MARK in lines[line - 1]:
                    continue
                yield Hit(path, line, re.sub(r"[\s#*|>]+", " ", match[0]), phrase)


def files(names: Sequence[str] = ()) -> Iterator[str]:
    """The tracked files that are read, relative to the root; or those of `names`."""
    listed = (
        names
        or subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    )
    for name in listed:
        path = Path(name)
        if name not in _EXEMPT and (path.suffix or path.name) in {".py", *_WHOLE} and (ROOT / name).is_file():
            yield name


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"(?:\s|(?<=\s)[#*|>-]+)+"), re.IGNORECASE)


def _pieces(path: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """The text that people read: each piece with its first line, and whether it is a name."""
    if not path.endswith(".py"):
        yield 1, text, False
        return
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] == comments[-1][0] + 1:
                comments.append((token.start[0], token.string))
            else:
                yield from _joined(comments)
                comments = [(token.start[0], token.string)]
        elif token.type in _STRINGS:
            yield token.start[0], token.string, False
        elif token.type == tokenize.NAME:
            yield token.start[0], _CAMEL.sub(" ", token.string), True
    yield from _joined(comments)


_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ANY = _compiled("|".join(f"(?:{phrase.pattern})" for phrase in PHRASES))
#: In Python 3.11 an f-string is one token, later its text stands in tokens of their own.
_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def _joined(comments: list[tuple[int, str]]) -> Iterator[tuple[int, str, bool]]:
    """Comments of consecutive lines are one text."""
    if comments:
        yield comments[0][0], "\n".join(text for _, text in comments), False


def main(arguments: Sequence[str] | None = None) -> int:
    """Report what was found; 1 if there is anything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", help="relative to the repository; all tracked files by default")
    parser.add_argument("--count", action="store_true", help="count by phrase instead")
    options = parser.parse_args(arguments)
    found = [
        hit for name in files(options.files) for hit in hits(name, (ROOT / name).read_text(encoding="utf-8"))
    ]
    if options.count:
        counts: dict[str, int] = {}
        for hit in found:
            counts[hit.phrase.pattern] = counts.get(hit.phrase.pattern, 0) + 1
        lines = [
            f"{count:5} {pattern}" for pattern, count in sorted(counts.items(), key=lambda item: -item[1])
        ]
    else:
        lines = [str(hit) for hit in found]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if found:
        sys.stdout.write(f"{len(found)} phrases that docs/glossary.md replaces.\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
