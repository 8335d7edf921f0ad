"""Any 256 KiB are processed in at most 50 ms of processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.intake.submissions import build_submissions
from service.sources.adapters.registry import ADAPTERS
from service.sources.fields.recognition import forget_plans
from service.sources.languages.words import split_words
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Source
from tests.fuzz.reading import READ, SCHEMES
from tests.unit.sources.factories import JSON, NOW, source
from tests.unit.sources.hostile_bodies import SIZE, hostile_bodies, hostile_headers
from tests.unit.sources.hostile_families import family_bodies
from tests.unit.sources.test_any_bytes import BODIES as ANY_BODIES
from tests.unit.sources.test_any_bytes import HEADERS as ANY_HEADERS
from tests.unit.sources.test_any_bytes import TYPES

METHODS = st.sampled_from(["POST", "POST", "GET"])
# Seconds of processor time of the thread that reads.
MAX_CPU_SECONDS = 0.050
# A slow example is tried as often before it counts: a busy machine makes a thread look slower than
# it is, never quicker.
MAX_TRIES = 10
# Processor time of `yardstick` on an idle machine for which the bound is meant.
YARDSTICK_SECONDS = 0.013
SINGLE, OF_FAMILIES = list(hostile_bodies()), list(family_bodies())
ALL_BODIES = [*SINGLE, *OF_FAMILIES]
BODIES = [pytest.param(kind, body, id=name) for name, kind, body in SINGLE]
FAMILIES = [pytest.param(kind, body, id=name) for name, kind, body in OF_FAMILIES]
# What reads whatever comes by itself, with a country for all numbers, and with paths and pairs.
READERS = (
    source('adapter = "json"\ndefault_country = "DE"\nverify = { scheme = "none" }'),
    source(READ),
)
HEADERS = [pytest.param(headers, id=name) for name, headers in hostile_headers()]
OPEN = {name: source(f'adapter = "{name}"\nverify = {{ scheme = "none" }}') for name in ADAPTERS}
SIGNED = {
    name: source(f'adapter = "{name}"\nverify = {{ secret_env = "K" }}', K="a2V5")
    for name in ADAPTERS
    if ADAPTERS[name].has_scheme
}
CHECKED = {
    one: source(f'[sources.x.verify]\nsecret_env = "K"\n{one}', K="whsec_a2V5") for one in SCHEMES
}


def yardstick() -> float:
    """The processor time of some work that is always the same: how slow the machine is now."""
    began = time.thread_time()
    sorted(f"{number * 7919 % 10007:x}".casefold() for number in range(30_000))
    return time.thread_time() - began


def measure_cpu_seconds(what: Callable[[], object]) -> float:
    """The processor time of the first of several tries that is quick enough, or the least of all.

    Each has cold caches. Where the machine is slow, each counts for less.
    """
    best = float("inf")
    for _ in range(MAX_TRIES):
        split_words.cache_clear()
        forget_plans()
        began = time.thread_time()
        what()
        seconds = time.thread_time() - began
        if seconds > MAX_CPU_SECONDS:
            seconds *= min(1.0, YARDSTICK_SECONDS / yardstick())
        best = min(best, seconds)
        if best <= MAX_CPU_SECONDS:
            break
    return best


def process_and_redact(config: Source, request: InboundRequest) -> NormalizationResult:
    """As the intake processes a request and prepares it to be stored."""
    result = process_request(config, request, NOW)
    raw = redact_request(config, request)
    if result.outcome not in (Outcome.REFUSED, Outcome.UNREADABLE, Outcome.HANDSHAKE):
        ids = map(str, count())
        build_submissions(config, request, result, raw, key=None, now=NOW, new_id=lambda: next(ids))
    return result


def check_is_quick(config: Source, request: InboundRequest) -> NormalizationResult:
    results: list[NormalizationResult] = []
    assert (
        measure_cpu_seconds(lambda: results.append(process_and_redact(config, request)))
        <= MAX_CPU_SECONDS
    )
    assert results[0].outcome in Outcome
    return results[0]


def test_the_bodies_are_large() -> None:
    """No body is larger than what is accepted, most come close, and there are more than 300."""
    sizes = [len(body) for _, _, body in ALL_BODIES]
    assert max(sizes) <= SIZE
    assert len({name for name, _, _ in ALL_BODIES}) == len(sizes) > 300
    assert sum(size > SIZE / 2 for size in sizes) > len(sizes) / 2


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_every_adapter_is_quick(kind: str, body: bytes) -> None:
    """Each product's adapter reads each hostile body in time."""
    for config in OPEN.values():
        check_is_quick(
            config,
            InboundRequest(method="POST", query="", headers=[("content-type", kind)], body=body),
        )


@pytest.mark.parametrize(("kind", "body"), FAMILIES)
def test_whatever_is_read_is_read_in_time(kind: str, body: bytes) -> None:
    """Labels, values, owners, shapes and charsets of all kinds take no longer."""
    for config in READERS:
        check_is_quick(
            config,
            InboundRequest(method="POST", query="", headers=[("content-type", kind)], body=body),
        )


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_unwrapping_and_secrets_in_the_body_are_quick(kind: str, body: bytes) -> None:
    """Roots, pairs, JSON in fields, and schemes that read or hash the body take no longer."""
    request = InboundRequest(
        method="POST",
        query="a=" + "%" * 8_000,
        headers=[("content-type", kind), ("x-a", "t=1,v1=ff")],
        body=body,
    )
    for config in (source(READ), *CHECKED.values()):
        check_is_quick(config, request)


@pytest.mark.parametrize("headers", HEADERS)
def test_every_verifier_is_quick(headers: list[tuple[str, str]]) -> None:
    """Each scheme, including those of products, rejects each hostile header in time."""
    body = b'{"a": ["wrong"], "email": "a@b.example", "message": "' + b"a" * 200_000 + b'"}'
    request = InboundRequest(
        method="POST",
        query="",
        headers=[("content-type", JSON), *headers],
        body=body,
        url="https://a.example/in/x",
    )
    for config in (*SIGNED.values(), *CHECKED.values()):
        assert check_is_quick(config, request).outcome in (Outcome.REFUSED, Outcome.UNREADABLE)


QUERIES = [
    "%" * SIZE,
    "a=" + "%41" * 80_000,
    "&" * SIZE,
    "hub.mode=" + "%" * SIZE,
    "challengeCode=" + "a" * SIZE,
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:12])
def test_questions_of_products_are_quick(query: str) -> None:
    """Any query of a GET or POST is answered in time."""
    for config in (*OPEN.values(), *SIGNED.values(), *CHECKED.values()):
        for method in ("GET", "POST"):
            check_is_quick(
                config,
                InboundRequest(
                    method=method, query=query, headers=[("content-type", JSON)], body=b"{}"
                ),
            )


NAMES = st.sampled_from(
    [
        "content-type",
        "authorization",
        "x-shopify-topic",
        "x-shopify-test",
        "x-hub-signature-256",
        "x-signature",
    ]
)
MORE = st.lists(st.tuples(NAMES, st.text(st.characters(codec=None), max_size=80)), max_size=4)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
@settings(deadline=None, max_examples=60)
@given(
    headers=ANY_HEADERS,
    more=MORE,
    content_type=TYPES,
    body=ANY_BODIES,
    query=st.text(max_size=40),
    method=METHODS,
)
def test_any_bytes_through_every_adapter(
    name: str,
    headers: list[tuple[str, str]],
    more: list[tuple[str, str]],
    content_type: str,
    body: bytes,
    query: str,
    method: str,
) -> None:
    """Any headers and body give a result that can be stored, open or behind a scheme."""
    sent = [("content-type", content_type), *headers, *more]
    request = InboundRequest(
        method=method, query=query, headers=sent, body=body, url="https://a.example/in/x"
    )
    for config in (OPEN[name], SIGNED.get(name, OPEN[name])):
        result = check_is_quick(config, request)
        assert (
            msgspec.json.decode(msgspec.json.encode(result.events), type=list[SourceEvent])
            == result.events
        )
