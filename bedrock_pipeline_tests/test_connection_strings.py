"""A connection string whose password ends it too early is rejected, and no message has a piece of a password."""

import os
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.connection_strings import check_connection_string, without_userinfo
from bedrock_pipeline.ledger.database import DatabaseUnreachableError, open_connection, reason_of
from bedrock_pipeline.ledger.inspection import read_database
from bedrock_pipeline.local import Endpoints


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:hun@ter2@host/db",
        "postgresql://u:h@u@n@ter2@host:5432/db",
        "postgres://u:hun/ter2@host/db",
        "postgresql://u:12/hunter2@host/db",
        "postgresql://hun@ter2@host",
        "postgresql://u:hun/ter2@host:5432",
    ],
)
def test_a_password_that_ends_the_url_is_rejected_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"@ as %40, / as %2F.*PGPASSWORD") as raised:
        check_connection_string(text)
    assert "hun" not in str(raised.value)
    assert "ter2" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:hun%40ter2@host/db",
        "postgresql://u@host:1,other:2/db?connect_timeout=3",
        "postgresql://u:hun?t#er2@host/db",
        "postgresql://u:p@[::1]:5432/db",
        "postgresql://u@host/d@b",
        "postgresql:///db?host=/var/run/postgresql&user=a@b",
        "postgresql://",
        "host=/tmp/a@b dbname=d password=hun@t/er2",
        "host=h user=u@azure password='hun ter2'",
        "",
    ],
)
def test_what_libpq_reads_as_it_was_meant_is_taken(text: str) -> None:
    check_connection_string(text)


def test_libpqs_own_message_has_no_piece_of_a_password() -> None:
    """Where a connection is opened with a string that no setting has checked."""
    text = "postgresql://u:hun@ter2@host.invalid/db"
    with pytest.raises(psycopg.OperationalError) as raised:
        open_connection(text, 2)
    assert "ter2" in str(raised.value), "psycopg hides it now: then this is not needed"
    assert "ter2" not in reason_of(raised.value)
    assert "host.invalid" in reason_of(raised.value)
    with pytest.raises(DatabaseUnreachableError) as reported:
        read_database(text)
    assert "ter2" not in str(reported.value)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("failed to resolve host 'ter2@h': no", "failed to resolve host 'h': no"),
        ('could not translate host name "a@b@h" to address', 'could not translate host name "h" to address'),
        ('connection to server at "ter2@h", port 5 failed', 'connection to server at "h", port 5 failed'),
        ('password authentication failed for user "u@azure"', None),
        ("Could not connect to https://u:p@h/x", "Could not connect to https://h/x"),
        ("Could not connect to https://h/x%40y", None),
        ("fe_sendauth: no password supplied", None),
        ('server at "h", port 5 failed: FATAL: password authentication failed for user "u@azure"', None),
        ("failed to resolve host 'hun'ter2@h': no", "failed to resolve host 'h': no"),
        ("in password=hunter2 host=h", "in password=…"),
        ("in host=h user=u@azure dbname=d", None),
    ],
)
def test_what_is_shown_of_a_message(said: str, shown: str | None) -> None:
    assert without_userinfo(said) == (said if shown is None else shown)


@pytest.mark.parametrize("text", ["host=u:hunter2@h dbname=d", "host='u:hunter2@h'"])
def test_a_host_with_an_at_is_rejected_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="@ in its host") as raised:
        check_connection_string(text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "message",
    [
        "cannot connect to postgresql://u:12/hunter2@h/db",
        "in host=u:hunter2@h port=1",
        "in host = 'u:hunter2@h'",
        "in postgres://u:hun/hunter2@h?a=b",
    ],
)
def test_no_message_keeps_a_password(message: str) -> None:
    assert "hunter2" not in without_userinfo(message)


_AROUND = st.text("ab1 @/:%'\"\\\\=&?#\n", max_size=8)


@settings(max_examples=1000, deadline=None)
@given(
    before=_AROUND,
    after=_AROUND,
    escape=st.sampled_from([str, quote, partial(quote, safe="")]),
    form=st.sampled_from(
        [
            "postgresql://u:{}@h.invalid/db",
            "https://{}@h:1/x",
            "postgresql://h/db?sslmode=disable&password={}&user=u",
            "host=h password={} dbname=d",
            "host=h password = '{}' dbname=d",
            "host=h sslpassword={}",
            "host='u:{}@h'",
        ]
    ),
    said=st.sampled_from(
        ["cannot connect to {}", 'the URL: "{}"', "'{}' failed: no", '{{"url": "{}"}}', "{}\nsecond line"]
    ),
    encoded=st.booleans(),
)
def test_a_secret_never_appears(
    before: str, after: str, escape: Callable[[str], str], form: str, said: str, encoded: bool
) -> None:
    if form.startswith("host='"):  # within which a quote is escaped
        before, after = (re.sub(r"(['\\])", r"\\\1", one) for one in (before, after))
    text = form.format(escape(f"{before}hunter2{after}"))
    assert "hunter2" not in without_userinfo(said.format(quote(text, safe="") if encoded else text))


@pytest.mark.parametrize(
    "text",
    [
        "host=h password=hun hunter2",
        "hunter2",
        "postgresql://u:p%zzhunter2@h",
        "postgresql://[hunter2",
        "postgresql://u@h?hunter2",
        "postgresql://u@h?hunter2=3",
        "host=h password='a' hunter2",
        "postgresql://u:p@[::1]hunter2/db",
        "host=h connect_timeout=hunter2",
        "postgresql://u:p hunter2@h.invalid/",
        "postgresql://u:p'hunter2@h.invalid/",
    ],
)
def test_no_error_of_a_string_that_is_read_otherwise_quotes_it(text: str) -> None:
    with pytest.raises(psycopg.Error) as raised:
        open_connection(text, 2)
    assert "hunter2" not in reason_of(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGSERVICE", "one-that-no-file-has"),
        ("PGSSLMODE", "no-mode"),
        ("PGSSLMINPROTOCOLVERSION", "no-version"),
        ("PGSSLCERTMODE", "no-mode"),
        ("PGMINPROTOCOLVERSION", "no-version"),
        ("PGREQUIREPEER", "nobody"),
        ("PGTZ", "Nowhere/Nothing"),
        ("PGDATESTYLE", "no-style"),
        ("PGOPTIONS", "-c search_path=elsewhere"),
        ("PGSERVICEFILE", "/nowhere"),
    ],
)
def test_a_string_that_says_everything_leaves_nothing_to_a_variable(
    name: str, value: str, stack_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with open_connection(stack_endpoints.dsn("postgres"), 10) as connection:
        assert connection.execute("SELECT current_setting('timezone') AS zone").fetchone() == {"zone": "UTC"}
    assert os.environ[name] == value, "it is there again"
