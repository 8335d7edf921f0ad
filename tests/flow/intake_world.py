"""An application over a real Redis, whose normalization returns what the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from service.app import create_app
from service.context import ServiceContext
from service.intake import endpoint
from service.ops.actions import Actions
from service.ops.queries import SubmissionQueries
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Rate, Source, SourceSecret, VerifySettings
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.contract import Lead, Raw
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.metrics import Meter
from worker.queue.rq_queue import open_queue
from worker.settings.table import Settings
from worker.store.connection import connect, connect_async

PATIENCE = 20.0
NOW = 1_800_000_000.0
LEAD = Lead(email="ada@acme.example", name="Ada Acme")
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SITE = "https://www.acme.example"


def make_event(outcome: Outcome = Outcome.LEAD, **rest: Any) -> SourceEvent:
    return SourceEvent(outcome=outcome, lead=rest.pop("lead", LEAD), **rest)


def make_result(outcome: Outcome = Outcome.LEAD, **rest: Any) -> NormalizationResult:
    with_events = outcome not in (Outcome.REFUSED, Outcome.UNREADABLE, Outcome.HANDSHAKE)
    return NormalizationResult(
        outcome=outcome,
        events=rest.pop("events", [make_event(outcome)] if with_events else []),
        **rest,
    )


TOKEN = SourceSecret(env="K", value="s3cret")
SOURCES = [
    Source(name="contact"),
    Source(name="strict", origins=[SITE], redirect_origins=[SITE], redirect=f"{SITE}/thanks"),
    Source(
        name="partner",
        adapter="json",
        max_body=100,
        verify=VerifySettings(scheme="token", header="X-Key"),
        secrets=(TOKEN, SourceSecret(env="L", value="öld")),
    ),
    Source(name="linked", verify=VerifySettings(scheme="token", query="key"), secrets=(TOKEN,)),
    Source(name="typeform", adapter="typeform", dedupe_window=0.0),
    Source(name="google", adapter="google-ads"),
    Source(name="limited", rate_limit=Rate(count=2, seconds=60.0)),
    Source(name="shared", rate_limit_source=Rate(count=2, seconds=60.0)),
    Source(name="hourly", adapter="json", leads_per_hour=3),
    Source(name="teapot", reply=200),
    Source(name="silent", reply=204),
]


class World:
    """`result` is that of every request from now on; `requests` are those it was asked about."""

    def __init__(
        self, client: TestClient[Litestar], context: ServiceContext, queries: SubmissionQueries
    ) -> None:
        self.client = client
        self.context = context
        self.queries = queries
        self.actions = Actions(context.ledger, queries, context.settings.data_dir)
        self.result: NormalizationResult | Exception = make_result()
        self.requests: list[InboundRequest] = []

    def process_request(
        self, _source: Source, request: InboundRequest, _now: float
    ) -> NormalizationResult:
        self.requests.append(request)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def post(self, source: str = "contact", body: Any = None, **headers: str) -> Any:
        return self.client.post(
            f"/in/{source}",
            json={"email": "ada@acme.example"} if body is None else body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            follow_redirects=False,
        )

    def metric(self, text: str) -> float:
        """The value of a series in `/metrics`."""
        lines = self.client.get("/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(text + " "))


def redact_request(_source: Source, request: InboundRequest) -> Raw:
    return Raw(
        method=request.method,
        query=request.query,
        content_type=request.content_type,
        headers=[],
        body=request.body,
    )


class FixedSources:
    """Sources that never change."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self.sources = sources

    def poll(self) -> bool:
        return False


@contextmanager
def open_world(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str] | None = None,
    spool: Path | None = None,
) -> Iterator[World]:
    """Open the application over a Redis; with `spool`, a folder, it also spools."""
    store, astore, cipher = (
        connect(url, timeout=PATIENCE),
        connect_async(url, timeout=PATIENCE),
        Cipher(),
    )
    settings = Settings.for_service(
        (env or {}) | ({"LEADLINE_DATA_DIR": str(spool)} if spool else {})
    )
    meter = Meter()
    spool_store = (
        Spool(settings.data_dir / SPOOL_FOLDER, settings.spool_max, cipher) if spool else None
    )
    context = ServiceContext(
        settings=settings,
        sources=FixedSources({source.name: source for source in SOURCES}),
        acceptor=Acceptor(astore, open_queue(store), cipher, spool=spool_store, meter=meter),
        ledger=Ledger(store, cipher),
        redis=store,
        aredis=astore,
        meter=meter,
    )
    queries = SubmissionQueries(context.ledger, context.sources, context.settings.data_dir)
    with TestClient(create_app(context, queries=queries)) as client:
        world = World(client, context, queries)
        monkeypatch.setattr(endpoint, "process_request", world.process_request)
        monkeypatch.setattr(endpoint, "redact_request", redact_request)
        yield world
