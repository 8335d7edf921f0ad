from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from msgspec import structs

from service.cli.run import WORKER_SECRETS
from service.sources.fetched_records import SourceRecords
from service.sources.normalize import process_request
from service.sources.request import InboundRequest, Outcome
from service.sources.source_file.loader import build_lead_mappings, load_sources
from tests.flow.conftest import Account, Pipeline
from tests.flow.intake_world import FixedSources
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Result, State
from worker.delivery import Delivery
from worker.delivery.fetch import Fetcher
from worker.ledger import Record

SOURCES = """
[sources.meta]
adapter = "meta-lead-ads"
[sources.meta.verify]
scheme = "none"
[sources.meta.fetch]
token_env = "META_PAGE_TOKEN"
base_url = "{base}"
[sources.meta.lead]
labels = ["PPC"]
channel = "Paid search"
note = false
"""
CHANGE = {"field": "leadgen", "value": {"leadgen_id": 444444, "page_id": 1, "form_id": 2}}
EVENT = {"object": "page", "entry": [{"id": "1", "time": 1, "changes": [CHANGE]}]}
RECORD = {"id": "444444", "created_time": "2026-11-20T10:00:00+0000", "field_data": [
    {"name": "full_name", "values": ["Mary Shelley"]},
    {"name": "email", "values": ["mary@example.com"]},
]}  # fmt: skip


class Graph:
    """A stub of the product's API that records the `Authorization` header of each request."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.authorizations: list[str | None] = []
        graph = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                graph.authorizations.append(self.headers.get("authorization"))
                status, body = graph.answers.pop(0) if graph.answers else (200, RECORD)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def graph() -> Iterator[Graph]:
    stand_in = Graph()
    thread = threading.Thread(target=stand_in.server.serve_forever, daemon=True)
    thread.start()
    yield stand_in
    stand_in.server.shutdown()
    thread.join(10)
    stand_in.server.server_close()


@pytest.fixture
def arrived(
    pipeline: Pipeline, graph: Graph, aredis: Callable[[], AbstractAsyncContextManager[Any]]
) -> tuple[Callable[[], Record], str]:
    """Returns an accepted event that contains only ids, and a function that delivers it."""
    file = load_sources(
        SOURCES.replace("{base}", graph.url),
        {"META_PAGE_TOKEN": "page-token", "LEADLINE_ALLOW_PRIVATE_URLS": "yes"},
        secrets=WORKER_SECRETS,
    )
    headers = [("content-type", "application/json")]
    reading = process_request(
        file.sources["meta"],
        InboundRequest(method="POST", query="", headers=headers, body=json.dumps(EVENT).encode()),
        1.0,
    )
    [event] = reading.events
    assert event.outcome is Outcome.NEEDS_FETCH
    mine = structs.replace(
        submission(source="meta"), lead=event.lead, fetch=event.fetch, received_at=pipeline.clock()
    )
    asyncio.run(accept(aredis, pipeline.redis, [mine]))

    def work() -> Record:
        context, clients = pipeline.build_context()
        fetch_context = replace(context, mappings=build_lead_mappings(file))
        records = SourceRecords(FixedSources(file.sources))
        delivery = Delivery(
            fetch_context,
            clients.new_client,
            lambda one: Fetcher(clients.new_guarded_http(), records, one.record_attempt),
        )
        return pipeline.deliver(mine.id, delivery)

    return work, mine.id


def test_the_record_of_an_event_becomes_its_lead(
    arrived: Any, account: Account, graph: Graph
) -> None:
    """An event with only ids is fetched, goes back into the queue, and is delivered."""
    work, mine = arrived
    fetched = work()
    assert (fetched.state, fetched.fetch, fetched.attempts) == (State.QUEUED, None, 0)
    assert fetched.lead is not None
    assert (fetched.lead.email, graph.authorizations) == ("mary@example.com", ["Bearer page-token"])
    done = work()
    [lead], [person] = account.leads, account.persons
    assert (done.state, done.result) == (State.DELIVERED, Result.CREATED)
    assert (person["name"], lead["origin_id"], lead["channel"]) == (
        "Mary Shelley",
        f"meta:{mine}",
        73,
    )


def test_a_failing_product_is_retried(
    arrived: Any, pipeline: Pipeline, account: Account, graph: Graph
) -> None:
    """A failing product costs a retry with its delay; nothing is created before the fetch."""
    work, mine = arrived
    graph.answers = [(503, {}), (503, {})]
    record = work()
    assert (record.state, record.reason, record.cause and record.cause.step) == (
        State.WAITING,
        "retry",
        "fetch",
    )
    assert account.persons == []
    pipeline.advance(20)
    pipeline.sweeper.sweep()
    work()
    pipeline.advance(100)
    pipeline.sweeper.sweep()
    work()
    assert work().state is State.DELIVERED
    assert [
        attempt.outcome for attempt in pipeline.ledger.attempts(mine) if attempt.step == "fetch"
    ][-1] == "ok"


def test_a_missing_record_is_a_dead_letter(arrived: Any, graph: Graph) -> None:
    """If the product no longer has the record, the submission dies with that cause."""
    work, _ = arrived
    graph.answers = [(404, {"error": {"message": "gone"}})] * 3
    record = work()
    assert record.state is State.DEAD
    assert record.cause is not None
    assert (record.cause.step, record.cause.code) == ("fetch", "record-gone")


def test_a_record_without_contact_is_a_dead_letter(arrived: Any, graph: Graph) -> None:
    """A record without contact is a dead letter that an operator can edit."""
    work, _ = arrived
    graph.answers = [(200, {"id": "444444", "field_data": [{"name": "budget", "values": ["5"]}]})]
    record = work()
    assert record.state is State.DEAD
    assert record.cause is not None
    assert (record.cause.code, record.fetch) == ("no-contact", None)


def test_a_test_record_makes_no_lead(arrived: Any, account: Account, graph: Graph) -> None:
    """A record that the product marks as a test is ignored."""
    work, _ = arrived
    name = {"name": "full_name", "values": ["<test lead: dummy data for full_name>"]}
    graph.answers = [
        (200, {"id": "444444", "field_data": [{"name": "email", "values": ["test@fb.com"]}, name]})
    ]
    assert work().state is State.IGNORED
    assert account.leads == []
