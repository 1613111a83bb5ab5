"""The documentation as text: its pages, headings, links, fenced blocks and commands.

What belongs here: reading markdown. What must hold is in the tests.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
_INDENTED_SHELL = re.compile(r"(?<=\n\n)(?: {4}\S.*\n)(?: {4}.*\n)*")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_INLINE_COMMAND = re.compile(r"`(bedrock-pipeline [^`]+)`")


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a page.

    Attributes:
        place: page and line, for messages.
        page: the file.
        text: the piece.
    """

    place: str
    page: Path
    text: str


def pages() -> list[Path]:
    """Every page that is written for readers."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def links() -> Iterator[Found]:
    """The targets of all links and images."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        yield from (_found(page, text, match.start(), match[1]) for match in _LINK.finditer(text))


def blocks(language: str) -> Iterator[Found]:
    """The fenced blocks of a language."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] == language:
                yield _found(page, text, match.start(), match[2])


def command_lines() -> Iterator[Found]:
    """Every `bedrock-pipeline …`: in fenced and indented blocks, and inline; not what is generated."""
    for page in pages():
        if page.parent.name == "reference":
            continue
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] in ("", "sh"):
                yield from _commands(page, text, match.start(2), match[2])
        for match in _INDENTED.finditer(text):
            yield from _commands(page, text, match.start(), match[0])
        for match in _INLINE_COMMAND.finditer(text):
            yield _found(page, text, match.start(), " ".join(match[1].split()))


def shown_lines() -> Iterator[Found]:
    """Every line that a reader may copy into a shell: of blocks of sh and of indented ones, without what is generated."""
    for page in pages():
        text = page.read_text(encoding="utf-8").partition("<!-- generated")[0]
        for match in _FENCE.finditer(text):
            if match[1] == "sh":
                yield from _lines(page, text, match.start(2), match[2])
        outside = _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        for match in _INDENTED_SHELL.finditer(outside):
            yield from _lines(page, text, match.start(), match[0])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _commands(page: Path, text: str, start: int, block: str) -> Iterator[Found]:
    for match in re.finditer(r"bedrock-pipeline (?:[^\n\\]|\\\n|\\.)+", block):
        command = match[0].replace("\\\n", " ").partition("   #")[0].partition(')"')[0]
        yield _found(page, text, start + match.start(), " ".join(command.split()))


def _lines(page: Path, text: str, start: int, block: str) -> Iterator[Found]:
    """The lines of a block, those that go on joined, without comments."""
    block = re.sub(r"(?:\s{2,}|(?<=\s))#.*", lambda match: re.sub(r"[^\n]", " ", match[0]), block)
    for match in re.finditer(r"\S(?:'[^']*'|[^\n\\']|\\\n|\\.)*", block):
        line = match[0].replace("\\\n", " ")
        if not line.startswith("{"):
            yield _found(page, text, start + match.start(), " ".join(line.split()))


def _found(page: Path, text: str, position: int, piece: str) -> Found:
    return Found(f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, position) + 1}", page, piece)
