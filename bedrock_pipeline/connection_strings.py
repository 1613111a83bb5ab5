"""Texts that may have a password in them: connection strings of Postgres, and URLs in the messages of libraries.

What belongs here: whether libpq reads a connection string as it was meant, and what of a message may be shown.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

#: Greedy: a password may contain an @, quotes and spaces, and one that was not escaped a slash.
_USERINFO: Final = re.compile(
    r"(://).*@|(://)[^/\s\"']*%40|(%3A%2F%2F).*%40",
    re.DOTALL | re.IGNORECASE,
)
#: A host as psycopg and libpq quote it. What is before its last @ was meant as a user's name or a password.
_QUOTED_HOST: Final = re.compile(
    r"(\b(?:host|host name|server at) ([\"'])).*@(?=[^@]*?\2(?:: |, port| to address| \())", re.DOTALL
)
_HOST: Final = re.compile(
    r"(\b(?:host|host name|server at) [\"'])[^\"']*@"
    r"|(\bhost(?:addr)?\s*=\s*)(?:'(?:[^'\\]|\\.)*|[^\s/]*)@"
    r"|(\bhost(?:addr)?(?:%20)*%3D).*%40",
    re.DOTALL | re.IGNORECASE,
)
#: Where a password that is named ends is not certain: it may contain what would end it.
_NAMED: Final = re.compile(
    r"((?:password|passwd|pwd)[\"']?(?:\s|%20)*(?:[=:]|%3D)).+", re.DOTALL | re.IGNORECASE
)
_URL: Final = re.compile(r"postgres(ql)?://")
#: What a string names that leaves nothing to the environment, as that of the embedded stack.
_EVERYTHING: Final = frozenset(
    {"host", "hostaddr", "port", "user", "password", "dbname", "sslmode", "options"}
)
#: Variables that count for nothing beside such a string. Dagster reads some of them meanwhile, for its own storage.
_OVERRIDDEN: Final = frozenset({"PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"})
_ALONE: Final = Lock()
_PORTS: Final = re.compile(r"\d*(,\d*)*")


def check_connection_string(text: str) -> None:
    """Check a connection string of libpq, which ends a URL's password at its first @ or /, and takes the rest for a host.

    Raises:
        ValueError: it cannot be read, or a part of the user's name or password would be taken for something else; the message
            has nothing of it.
    """
    from psycopg import ProgrammingError, conninfo  # which takes long to import

    try:
        read = conninfo.conninfo_to_dict(text)
    except ProgrammingError:  # its message quotes the string
        raise ValueError(
            "is no libpq connection string (postgresql://USER@HOST/DATABASE or host=HOST dbname=DATABASE)"
        ) from None
    host, port, name = (str(read.get(key) or "") for key in ("host", "port", "dbname"))
    if "@" in host and not host.startswith(("/", "@")) and not _URL.match(text):
        raise ValueError("has an @ in its host: give user and password as user=… password=…")
    cut_short = "@" in host or not _PORTS.fullmatch(port) or ("@" in name and "user" not in read)
    if _URL.match(text) and cut_short:
        raise ValueError(
            "is a URL whose user or password has a character that ends it there: write @ as %40, / as %2F, : as %3A, "
            "% as %25; or leave the password out and set PGPASSWORD, which takes any"
        )


def without_userinfo(text: str) -> str:
    """A text without the names and passwords in it: of URLs, in what was read as a host's name, and from `password=` on."""
    text = _USERINFO.sub(r"\1\2\3", _NAMED.sub(r"\1…", text))
    return _HOST.sub(r"\1\2\3", _QUOTED_HOST.sub(r"\1", text))


@contextmanager
def led_nowhere_else(text: str) -> Iterator[None]:
    """Connect within this block: a string that says everything is then all that counts.

    libpq looks up `PGSERVICE` before it reads a string, and rejects values of other variables that the string makes
    pointless. Nothing in a string prevents that, so that the variables are absent meanwhile.
    """
    from psycopg import conninfo

    names = {name for name in os.environ if name.startswith("PG")} - _OVERRIDDEN
    if not names or not conninfo.conninfo_to_dict(text).keys() >= _EVERYTHING:
        yield
        return
    with _ALONE:
        absent = {name: os.environ.pop(name) for name in names & os.environ.keys()}
        try:
            yield
        finally:
            os.environ.update(absent)
