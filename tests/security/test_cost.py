"""What the bytes of a stranger may cost in processor time, and who has to wait for it."""

from __future__ import annotations

import json
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal
from unittest.mock import Mock

import phonenumbers
import pytest
from email_validator import validate_email

from service import server
from service.intake import submissions
from service.intake.endpoint import MAX_INLINE_BODY_BYTES
from service.sources.fields import emails
from service.sources.fields.effort import (
    EMAIL_UNITS,
    MAX_NAME_UNITS,
    MAX_VALUE_UNITS,
    NAME_UNITS,
    PHONE_UNITS,
    Effort,
)
from service.sources.fields.recognition import forget_plans
from service.sources.languages.vocabulary import vocabulary
from service.sources.languages.words import MAX_WORD_CHARS, split_words
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import NormalizationResult
from service.sources.schema import Source
from tests.flow.intake_world import World, make_result, open_world
from tests.unit.sources.factories import FORM, JSON, NOW, json_post, post, source
from tests.unit.sources.hostile_bodies import SIZE
from tests.unit.sources.test_cpu import MAX_CPU_SECONDS, measure_cpu_seconds
from worker.lead.typed_text import normalize_signs

SECRET = "0123456789abcdef"
FOREIGN = "zoë{}@bücher.example"
# What once was read again from each place at which the field's name or the secret stands.
REPEATED = {
    "names": b'key"',
    "names of parts": b'key";',
    "lines": b"key\r\n",
    "blanks": b'key"' + b" " * 60,
    "parts without a value": b'; name="key"\r\n\r\n',
    "secrets": SECRET.encode(),
    "secrets of other fields": b"x=" + SECRET.encode() + b"&",
    "secrets after blanks": b":" + b" " * 60 + SECRET.encode(),
    "secrets after heads": b"\r\n\r\n" + SECRET.encode(),
    "beginnings of the secret": SECRET[:-1].encode(),
}


@pytest.mark.parametrize("piece", REPEATED.values(), ids=REPEATED)
def test_a_secret_is_removed_in_time(piece: bytes) -> None:
    """However often a body repeats the field's name or its secret, it is read once."""
    config = source(
        '[sources.x.verify]\nscheme = "token"\nsecret_env = "K"\nfield = "key"', K=SECRET
    )
    body = (piece * (SIZE // len(piece)))[:SIZE]
    request = post(body, FORM)
    assert measure_cpu_seconds(lambda: redact_request(config, request)) <= MAX_CPU_SECONDS


# The budget.

OPEN = 'verify = { scheme = "none" }'
JSON_SOURCE = source(f'adapter = "json"\ndefault_country = "DE"\n{OPEN}')
MAPPED = source(
    f'adapter = "json"\ndefault_country = "DE"\n{OPEN}\n[sources.x.map]\n'
    'q = { to = "email", extract = "email" }\nr = "phone"\ns = "email"'
)
FORMSTACK = source(f'adapter = "formstack"\n{OPEN}')


def events(build: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    return [build(number) for number in range(100)]


def many(at: int) -> Iterator[int]:
    yield from range(20 * at, 20 * at + 20)


# Each of them called a library past the budget, or more often than it was worth.
EXPENSIVE: dict[str, tuple[Source, Any]] = {
    "addresses": (
        JSON_SOURCE,
        events(lambda at: {f"email {one}": FOREIGN.format(one) for one in many(at)}),
    ),
    "lists of addresses": (
        JSON_SOURCE,
        events(lambda at: {"email": [f"ä{one}@{'ö' * 40}.b" for one in many(at)]}),
    ),
    "long domains": (
        JSON_SOURCE,
        events(lambda at: {"email": f"a{at}@" + ".".join(["ö" * 16] * 5) + ".example"}),
    ),
    "addresses in sentences": (
        MAPPED,
        events(lambda at: {"q": " or ".join(f"ä{one}@b{'ö' * 40}.cd" for one in many(at))}),
    ),
    "addresses that the map names": (
        MAPPED,
        events(lambda at: {"s": [f"ä{one}@{'ö' * 40}.b" for one in many(at)]}),
    ),
    "numbers": (JSON_SOURCE, events(lambda at: {"phone": f"0170 {1_000_000 + at} (x)"})),
    "numbers of events with addresses": (
        JSON_SOURCE,
        events(lambda at: {"phone": f"0170 {1_000_000 + at}", "email": FOREIGN.format(at)}),
    ),
    "the only address": (
        FORMSTACK,
        {"FormID": "1", "UniqueID": "2", **{f"q{at}": FOREIGN.format(at) for at in range(400)}},
    ),
}


@pytest.mark.parametrize(("config", "tree"), EXPENSIVE.values(), ids=EXPENSIVE)
def test_no_library_is_called_past_the_budget(
    config: Source, tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls of the libraries for addresses and numbers together stay within what is allowed."""
    units = 0

    def count(cost: int, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        nonlocal units
        letters = sum(one > "\x7f" for one in str(args[0]).rpartition("@")[2])
        units += cost + (10 * letters if cost == EMAIL_UNITS else 0)
        return call(*args, **more)

    monkeypatch.setattr(emails, "validate_email", partial(count, EMAIL_UNITS, validate_email))
    monkeypatch.setattr(phonenumbers, "parse", partial(count, PHONE_UNITS, phonenumbers.parse))
    request = post(json.dumps(tree, ensure_ascii=False).encode(), JSON)
    assert process_request(config, request, NOW).events
    assert 0 < units <= MAX_VALUE_UNITS * 1.2


def test_what_is_beyond_the_budget_is_an_answer() -> None:
    """Of a hundred events with twenty foreign addresses none is lost, nor any address."""
    tree = events(lambda at: {f"email {one}": FOREIGN.format(one) for one in many(at)})
    result = process_request(JSON_SOURCE, json_post(tree), NOW)
    leads = [event.lead for event in result.events if event.lead]
    assert len(leads) == 100
    assert leads[0].email in tree[0].values()
    last = tree[-1]
    assert leads[-1].email is None
    assert leads[-1].answers == last


@pytest.mark.parametrize("form", ["NFKC", "NFKD"])
def test_no_text_becomes_much_longer(form: Literal["NFKC", "NFKD"]) -> None:
    """No character of a label or a number becomes more than a few letters."""
    signs = (chr(one) for one in range(sys.maxunicode) if not 0xD800 <= one < 0xE000)
    assert max(len(normalize_signs(form, sign)) for sign in signs) <= 7
    assert len(unicodedata.normalize(form, "\ufdfa")) == 18
    assert len("".join(split_words("\u321d" * 200))) <= MAX_WORD_CHARS


def test_names_of_a_hundred_shapes_share_a_budget() -> None:
    """Events whose names are new each time are read by names until the budget is used up."""
    forget_plans()
    tree = events(lambda at: {f"frage {at} {one}": "x" for one in many(at)} | {"Name": f"Ada {at}"})
    leads = [one.lead for one in process_request(JSON_SOURCE, json_post(tree), NOW).events]
    named = [lead is not None and lead.name is not None for lead in leads]
    read = sum(named)
    assert named == [True] * read + [False] * (100 - read)
    assert 0 < read <= 1 + MAX_NAME_UNITS // (21 * NAME_UNITS)
    forget_plans()


def test_a_refused_value_leaves_the_rest() -> None:
    """What is too expensive takes nothing from what is cheaper."""
    effort = Effort(100)
    assert not effort.take(101)
    assert effort.take(100)
    assert not effort.take(1)


# Who waits.


@pytest.fixture
def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch) as one:
        yield one


def test_large_bodies_take_turns_beside_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread works on all large bodies, one after the other; small ones need none."""
    names: list[str] = []

    def note(*_: Any, **__: Any) -> NormalizationResult:
        names.append(threading.current_thread().name)
        return make_result()

    build = submissions.build_submissions

    def note_and_build(*args: Any, **more: Any) -> Any:
        note()
        return build(*args, **more)

    monkeypatch.setattr(world, "process_request", note)
    monkeypatch.setattr("service.intake.endpoint.process_request", note)
    monkeypatch.setattr(submissions, "build_submissions", note_and_build)
    large = {"message": "x" * MAX_INLINE_BODY_BYTES}
    for number in range(3):
        assert world.post("contact", large | {"n": number}).status_code == 202
    assert len(names) == 6
    assert set(names) == {"large-bodies_0"}
    names.clear()
    world.post("contact", {"message": "x"})
    assert not any(name.startswith("large-bodies") for name in names)


def test_the_event_loop_gets_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that works on a body lets the event loop go on within a millisecond."""

    class Built(Exception):
        pass

    def build(_: object) -> None:
        raise Built

    before = sys.getswitchinterval()
    monkeypatch.setattr("service.server.build", build)
    monkeypatch.setattr("service.server._stop_with_parent", lambda _: None)
    monkeypatch.setattr("worker.logs.configure", lambda *_: None)
    try:
        with pytest.raises(Built):
            server._run_child(Mock())
        assert sys.getswitchinterval() <= 0.001
    finally:
        sys.setswitchinterval(before)


def test_the_first_visitor_waits_for_no_dictionary(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of all languages are read before the first request, not during it."""
    vocabulary.cache_clear()
    with open_world(redis_url, monkeypatch):
        assert vocabulary.cache_info().currsize == 1
