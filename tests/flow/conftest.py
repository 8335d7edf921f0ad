"""The whole pipeline in one process: real Redis, served sandbox, deliveries called by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
import redis as redis_py
from msgspec import structs

from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Lead, Raw, State, Submission
from worker.delivery import Delivery, DeliveryContext
from worker.delivery.client_factory import PipedriveClientFactory
from worker.encryption import Cipher
from worker.fate import Policy
from worker.lead.settings import LeadMapping, LeadSettings
from worker.ledger import Ledger, Record
from worker.ledger.contact_cache import ContactCache
from worker.ledger.rollback import RollbackDetector
from worker.metrics import Meter
from worker.queue.leases import Leases
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.settings.table import Settings
from worker.settings.types import Secret
from worker.store import keys

TOKEN = "sandbox-token"


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    with serve_in_thread(SandboxSettings(port=0, search_delay_seconds=0.5)) as url:
        yield url


class Account:
    """The sandbox, as a test looks at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=20, trust_env=False)
        self.http.post("/_sandbox/reset").raise_for_status()

    def state(self) -> dict[str, Any]:
        return dict(self.http.get("/_sandbox/state").raise_for_status().json())

    def fault(self, match: dict[str, Any], effect: dict[str, Any]) -> None:
        self.http.post(
            "/_sandbox/faults", json={"match": match, "effect": effect}
        ).raise_for_status()

    def preset(self, name: str) -> None:
        """Turn on the fault of this name (`service.sandbox.fault_presets`)."""
        self.http.post(f"/_sandbox/faults/{name}").raise_for_status()

    def heal(self) -> None:
        self.http.delete("/_sandbox/faults").raise_for_status()

    @property
    def leads(self) -> list[dict[str, Any]]:
        return list(self.state()["leads"])

    @property
    def persons(self) -> list[dict[str, Any]]:
        return list(self.state()["persons"])

    @property
    def notes(self) -> list[dict[str, Any]]:
        return list(self.state()["notes"])

    def calls(self, operation: str | None = None) -> list[str]:
        """The operations called, oldest first."""
        operations = [call["operation"] for call in self.state()["calls"]]
        return [name for name in operations if operation is None or name == operation]

    def finds_person(self, email: str) -> bool:
        """Whether the search index, which lags, has a person with this address."""
        answer = self.http.get(
            "/api/v2/persons/search",
            params={"term": email, "fields": "email", "exact_match": "true"},
            headers={"x-api-token": "sandbox-token"},
        )
        return bool(answer.raise_for_status().json()["data"]["items"])

    def tokens(self) -> int:
        return int(self.http.get("/_sandbox/totals").raise_for_status().json()["tokens"])


@pytest.fixture
def account(sandbox_url: str) -> Account:
    return Account(sandbox_url)


class Pipeline:
    """Accepts leads, and delivers them on demand.

    `advance` moves the clock of ledger and worker forward, `frozen_at` stops it.
    """

    def __init__(
        self,
        redis: redis_py.Redis,
        aredis: Callable[[], AbstractAsyncContextManager[Any]],
        account: Account,
    ) -> None:
        self.redis, self._aredis, self.account = redis, aredis, account
        self.lead_settings = LeadSettings(labels=["Website"], channel="Web forms", note=False)
        self.policy = Policy((10.0, 60.0), 90.0, 30.0)
        self.skew = 0.0
        self.frozen_at: float | None = None
        self.meter = Meter()
        self.ledger = Ledger(
            redis,
            Cipher(()),
            self.clock,
            rollback=RollbackDetector(None, self.policy.settle_seconds),
        )
        self.sweeper = Sweeper(self.ledger, open_queue(redis))

    def clock(self) -> float:
        return (time.time() if self.frozen_at is None else self.frozen_at) + self.skew

    def advance(self, seconds: float) -> None:
        """Let time pass while workers are alive."""
        self.skew += seconds
        self.redis.hset(keys.ROLLBACK, "tick_at", self.clock())

    def settings(self, **changes: Any) -> None:
        self.lead_settings = structs.replace(self.lead_settings, **changes)

    def build_context(self) -> tuple[DeliveryContext, PipedriveClientFactory]:
        settings = Settings(
            pipedrive_api_token=Secret(TOKEN),
            pipedrive_base_url=self.account.url,
            pipedrive_plan="unlimited",
            allow_private_urls=True,
        )
        clients = PipedriveClientFactory(settings, self.redis, self.meter, self.clock)
        context = DeliveryContext(
            ledger=self.ledger,
            leases=Leases(self.ledger),
            contacts=ContactCache(self.redis),
            metadata=clients.metadata,
            sweeper=self.sweeper,
            meter=self.meter,
            policy=self.policy,
            mappings={"contact": LeadMapping("contact", self.lead_settings)},
            clock=self.clock,
            pause=lambda _: None,
        )
        return context, clients

    def delivery(self) -> Delivery:
        """A slot of its own, as another process would have it."""
        context, clients = self.build_context()
        return Delivery(context, clients.new_client)

    def accept(self, **fields: Any) -> str:
        return self._accept(submission(state=State.QUEUED), fields)

    def accept_request(self, raw: Raw, **fields: Any) -> str:
        """Accept a lead that came in this request."""
        return self._accept(structs.replace(submission(state=State.QUEUED), raw=raw), fields)

    def _accept(self, mine: Submission, fields: dict[str, Any]) -> str:
        lead = Lead(**({"name": "Ada Lovelace", "email": "ada@example.com"} | fields))
        asyncio.run(
            accept(
                self._aredis,
                self.redis,
                [structs.replace(mine, lead=lead, received_at=self.clock())],
            )
        )
        return mine.id

    def deliver(self, submission_id: str, delivery: Delivery | None = None) -> Record:
        (delivery or self.delivery())(submission_id)
        return self.record(submission_id)

    def record(self, submission_id: str) -> Record:
        record = self.ledger.get(submission_id)
        assert record is not None
        return record

    def accept_and_deliver(self, **fields: Any) -> Record:
        """Accept a lead and deliver it at once."""
        return self.deliver(self.accept(**fields))

    def deliver_later(self, submission_id: str, seconds: float) -> Record:
        """Deliver again after `seconds` have passed."""
        self.advance(seconds)
        self.sweeper.sweep()
        return self.deliver(submission_id)


@pytest.fixture
def pipeline(
    redis: redis_py.Redis, aredis: Callable[[], AbstractAsyncContextManager[Any]], account: Account
) -> Pipeline:
    return Pipeline(redis, aredis, account)
