"""The record that an event points to, read from a stand-in of its product's API."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from service.sources.fetched_records import SourceRecords
from service.sources.schema import SourceFile
from service.sources.source_file.loader import SecretUse, load_sources
from worker.contract import Attempt
from worker.delivery.fetch import MAX_RECORD_BYTES, Fetcher, FetchResult
from worker.errors import (
    FetchError,
    FetchFailed,
    FetchForbidden,
    FetchLimited,
    FetchRefused,
    LeadlineError,
    RecordGone,
    Unmappable,
)
from worker.fate import Dead, Policy, Retry, Wait, decide
from worker.pipedrive.guarded_http import build_guarded_http

TOKEN = "EAAB-secret-token"
PATIENCE = 60.0
META = {
    "id": "66861076766107789",
    "created_time": "2022-02-03T16:16:51+0000",
    "field_data": [
        {"name": "email", "values": ["ada@acme.example"]},
        {"name": "full_name", "values": ["Ada Acme"]},
    ],
}
PADDED = json.dumps(META).encode() + b" " * MAX_RECORD_BYTES
LINKEDIN = {
    "id": "a-1",
    "form": {"content": {"questions": [{"questionId": 1, "predefinedField": "EMAIL"}]}},
    "formResponse": {
        "answers": [
            {
                "questionId": 1,
                "answerDetails": {"textQuestionAnswer": {"answer": "ada@acme.example"}},
            }
        ]
    },
}
HUBSPOT = {"id": "7", "properties": {"email": "ada@acme.example"}}

Answer = tuple[int, bytes, dict[str, str]]


def error_body(status: int, tree: Any = None, **headers: str) -> Answer:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


class Product:
    """A loopback server that sends `answers` in order and repeats the last one.

    `requests` are those it received.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.drip = False
        self.over = threading.Event()


@contextmanager
def serve_product() -> Iterator[Product]:
    product: Product

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            product.requests.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()})
            )
            status, body, headers = (
                product.answers.pop(0) if len(product.answers) > 1 else product.answers[0]
            )
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            while product.drip and not product.over.wait(0.02):
                self.wfile.write(b" ")
                self.wfile.flush()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    product = Product(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield product
    finally:
        product.over.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


@pytest.fixture
def product() -> Iterator[Product]:
    with serve_product() as one:
        yield one


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with build_guarded_http(allow_private=True) as client:
        yield client


class Sources:
    """Sources as the worker loads them."""

    def __init__(self, toml: str, **env: str) -> None:
        needs: tuple[SecretUse, ...] = ("fetch",)
        env = {"LEADLINE_ALLOW_PRIVATE_URLS": "yes"} | env  # the stand-ins are on loopback
        self.file: SourceFile = load_sources(toml, env, secrets=needs)

    @property
    def sources(self) -> Any:
        return self.file.sources

    def poll(self) -> bool:
        return False


def config(adapter: str, url: str, more: str = "") -> Sources:
    return Sources(
        f'[sources.x]\nadapter = "{adapter}"\n{more}\nverify = {{ scheme = "none" }}\n'
        f'[sources.x.fetch]\ntoken_env = "PAGE_TOKEN"\nbase_url = "{url}"',
        PAGE_TOKEN=TOKEN,
    )


@pytest.fixture
def fetch(product: Product, http: httpx.Client) -> Callable[..., FetchResult]:
    """Fetches the record 66861076766107789, or the one of another adapter."""

    def go(
        adapter: str = "meta-lead-ads",
        *,
        seconds: float = PATIENCE,
        report: Any = lambda _: None,
        **fetch: str,
    ) -> FetchResult:
        records = SourceRecords(config(adapter, f"{product.url}/v23.0/"), lambda: 0.0)
        return Fetcher(http, records, report, timeout=seconds)(
            "x", {"id": "66861076766107789"} | fetch
        )

    return go


Fetch = Callable[..., FetchResult]


@pytest.mark.parametrize(
    ("adapter", "record", "path"),
    [
        (
            "meta-lead-ads",
            META,
            "/v23.0/66861076766107789?fields=id,created_time,form_id,field_data,",
        ),
        (
            "linkedin",
            LINKEDIN,
            "/v23.0/leadFormResponses/66861076766107789?fields=id,submittedAt,testLead,",
        ),
        ("hubspot", HUBSPOT, "/v23.0/crm/v3/objects/contacts/66861076766107789?properties=email,"),
    ],
)
def test_each_product(product: Product, fetch: Fetch, adapter: str, record: Any, path: str) -> None:
    """The record is requested by id, with the token as a bearer, and becomes the lead."""
    product.answers = [error_body(200, record)]
    fetched = fetch(adapter, event_id="e1")
    assert (fetched.outcome, fetched.lead and fetched.lead.email) == ("lead", "ada@acme.example")
    assert fetched.lead is not None
    assert fetched.lead.event_id == "e1"
    [(requests, headers)] = product.requests
    assert requests.startswith(path)
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in requests
    assert ("linkedin-version" in headers) is (adapter == "linkedin")


def test_the_product_s_own_address_and_version() -> None:
    """The base address defaults to the product's, and a configured version replaces ours."""
    sources = Sources(
        '[sources.x]\nadapter = "linkedin"\nverify = { scheme = "none" }\nfetch = { token_env ='
        ' "T", version = "202701" }',
        T=TOKEN,
    )
    lookup = SourceRecords(sources).build_request("x", {"id": "a-1"})
    assert lookup.base_url == "https://api.linkedin.com/rest"
    assert lookup.headers["LinkedIn-Version"] == "202701"
    assert TOKEN not in repr(lookup)


@pytest.mark.parametrize(
    ("answer", "kind", "setting"),
    [
        (error_body(401, {"message": "expired"}), FetchRefused, "token_env"),
        (
            error_body(400, {"error": {"code": 190, "message": "Error validating access token"}}),
            FetchRefused,
            "token_env",
        ),
        (error_body(403, {"message": "MISSING_SCOPES"}), FetchForbidden, "token_env"),
        (
            error_body(400, {"error": {"code": 200, "message": "leads_retrieval"}}),
            FetchForbidden,
            "token_env",
        ),
        (error_body(404, {"message": "not found"}), RecordGone, "token_env"),
        (error_body(410, b"gone"), RecordGone, "token_env"),
        (error_body(400, {"error": {"code": 100, "error_subcode": 33}}), RecordGone, "token_env"),
        (error_body(429, b""), FetchLimited, "base_url"),
        (error_body(400, {"error": {"code": 4}}), FetchLimited, "base_url"),
        (error_body(403, {"error": {"code": 80005}}), FetchLimited, "base_url"),
        (error_body(500, {"error": {"code": 2}}), FetchFailed, "base_url"),
        (error_body(400, {"error": {"code": 5, "is_transient": True}}), FetchFailed, "base_url"),
        (error_body(502, b"<html>"), FetchFailed, "base_url"),
        (error_body(408, b""), FetchFailed, "base_url"),
        (error_body(302, b"", Location="https://evil.example/"), FetchFailed, "base_url"),
        (error_body(204, b""), FetchFailed, "base_url"),
        (error_body(200, b"<html>"), FetchFailed, "base_url"),
        (error_body(200, b"{}"), FetchFailed, "base_url"),
        (error_body(200, b"[" * 2000), FetchFailed, "base_url"),
        (error_body(200, PADDED), FetchFailed, "base_url"),
        (error_body(200, gzip.compress(PADDED), Content_Encoding="gzip"), FetchFailed, "base_url"),
        (error_body(426, {"code": "NONEXISTENT_VERSION"}), FetchError, "base_url"),
        (error_body(400, {"error": "odd"}), FetchError, "base_url"),
        (error_body(400, b'{"error": {"code": true}}'), FetchError, "base_url"),
    ],
)
def test_refusals(
    product: Product, fetch: Fetch, answer: Answer, kind: type[FetchError], setting: str
) -> None:
    """Each error response gives an error that says what to fix and does not show the token."""
    product.answers = [answer]
    with pytest.raises(FetchError) as caught:
        fetch()
    assert type(caught.value) is kind
    assert caught.value.setting == f"sources.x.fetch.{setting}"
    assert TOKEN not in str(caught.value)
    assert all(path.startswith("/v23.0/") for path, _ in product.requests)
    if kind in (FetchRefused, FetchForbidden):
        assert "PAGE_TOKEN" in str(caught.value)


POLICY = Policy(retry_delays=(10.0,), settle_seconds=90.0, probe_seconds=30.0)


@pytest.mark.parametrize(
    ("answer", "fate", "until"),
    [
        (error_body(401, None), Retry, None),
        (error_body(404, None), Dead, None),
        (error_body(503, None), Retry, None),
        (error_body(429, None), Wait, 300.0),
        (error_body(429, None, Retry_After="7"), Wait, 7.0),
        (error_body(429, None, Retry_After="inf"), Wait, 300.0),
        (error_body(429, None, Retry_After="9" * 9), Wait, 86_400.0),
    ],
)
def test_fates(
    product: Product, fetch: Fetch, answer: Answer, fate: type, until: float | None
) -> None:
    """A rejected token and a failure are retried, a limit waits, a missing record is dead."""
    product.answers = [answer]
    with pytest.raises(FetchError) as caught:
        fetch()
    decided = decide(
        caught.value,
        step="fetch",
        attempts=1,
        first_attempt_at=0.0,
        now=0.0,
        policy=POLICY,
        jitter=0.5,
        source="x",
    )
    assert isinstance(decided, fate)
    assert isinstance(decided, Retry | Wait | Dead)
    if isinstance(decided, Wait):
        assert (decided.gate, decided.until) == (False, until)
    assert (decided.cause.status, decided.cause.step) == (answer[0], "fetch")
    assert decided.cause.setting is not None
    assert decided.cause.setting.startswith("sources.x.fetch.")


def test_fewer_fields_where_ads_are_forbidden(product: Product, fetch: Fetch) -> None:
    """A token that may read leads but not ads gets the lead; a rejected one is not retried."""
    attempts: list[Attempt] = []
    product.answers = [error_body(403, {"error": {"code": 200}}), error_body(200, META)]
    assert fetch(report=attempts.append).outcome == "lead"
    assert ["campaign_name" in path for path, _ in product.requests] == [True, False]
    assert [(one.step, one.outcome, one.status) for one in attempts] == [
        ("fetch", "fetch-forbidden", 403),
        ("fetch", "ok", 200),
    ]
    product.requests, product.answers = [], [error_body(401, None)]
    with pytest.raises(FetchRefused):
        fetch()
    assert len(product.requests) == 1


def test_time_is_limited_as_a_whole(product: Product, fetch: Fetch) -> None:
    """A server that drips single bytes cannot exceed the time limit."""
    product.answers, product.drip = [error_body(200, META, Content_Length="1000000")], True
    began = time.monotonic()
    with pytest.raises(FetchFailed):
        fetch(seconds=0.3)
    assert time.monotonic() - began < PATIENCE / 2


def test_an_unreachable_product(http: httpx.Client) -> None:
    """An unreachable product is retried."""
    with serve_product() as closed:
        url = closed.url
    with pytest.raises(FetchFailed):
        Fetcher(http, SourceRecords(config("hubspot", url)))("x", {"id": "7"})


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ({**META, "field_data": [{"name": "email", "values": ["test@meta.com"]}]}, "ignored"),
        ({**META, "field_data": [{"name": "q", "values": ["x"]}]}, "no_contact"),
    ],
)
def test_records_that_make_no_lead(
    product: Product, fetch: Fetch, record: Any, outcome: str
) -> None:
    """A test record and one without contact give no lead, each with its reason."""
    product.answers = [error_body(200, record)]
    fetched = fetch()
    assert (fetched.outcome, bool(fetched.why), fetched.lead is not None) == (outcome, True, True)


@pytest.mark.parametrize(
    ("toml", "source", "fetch", "setting"),
    [
        ('adapter = "hubspot"', "gone", {"id": "7"}, "sources.gone"),
        ('adapter = "form"', "x", {"id": "7"}, "sources.x.adapter"),
        ('adapter = "hubspot"', "x", {"id": "7"}, "sources.x.fetch.token_env"),
        ('adapter = "hubspot"', "x", {"id": "../7"}, "sources.x.adapter"),
        ('adapter = "hubspot"', "x", {}, "sources.x.adapter"),
    ],
)
def test_what_the_source_file_lacks(
    toml: str, source: str, fetch: dict[str, str], setting: str
) -> None:
    """If a setting is missing, nothing is requested and the error names it."""
    records = SourceRecords(Sources(f'[sources.x]\n{toml}\nverify = {{ scheme = "none" }}'))
    with pytest.raises(Unmappable) as caught:
        records.build_request(source, fetch)
    assert caught.value.setting == setting


@pytest.mark.parametrize("token", ["näh", "a\x00b", "x" * 100_000])
@pytest.mark.parametrize("base", ["http://127.0.0.1:1", "http://[::1", "http://a b/", "gopher://x"])
def test_odd_tokens_and_addresses(http: httpx.Client, token: str, base: str) -> None:
    """A token or URL that cannot be sent gives one of our errors, without the token."""
    sources = config("hubspot", "https://x.example")
    records = SourceRecords(sources)
    lookup = records.build_request("x", {"id": "7"})

    class Odd:
        def build_request(self, source: str, fetch: Any) -> Any:  # noqa: ARG002
            return type(lookup)(
                source="x", base_url=base, targets=["/a"], token=token, token_env="T", headers={}
            )

        parse = records.parse

    with pytest.raises(LeadlineError) as caught:
        Fetcher(http, Odd(), timeout=2.0)("x", {"id": "7"})
    assert isinstance(caught.value, FetchError)
    assert token not in str(caught.value)
