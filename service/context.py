"""What one service process works with: built once at its start and passed to everything."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import structlog
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from service.settings import source_file
from service.sources.source_file.watcher import SourceFileWatcher, SourceProvider
from service.web.request_id import new_id
from service.web.untrusted_proxies import UntrustedProxies
from worker.accept.acceptor import Acceptor
from worker.accept.journal import Journal
from worker.accept.promise import UNTRUSTED_PROXY, Terms
from worker.accept.promise_watch import PromiseWatch
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.metrics import Meter
from worker.queue.rq_queue import open_queue
from worker.settings.table import Settings, SettingsError
from worker.store.connection import connect, connect_async


@dataclass(frozen=True, kw_only=True)
class ServiceContext:
    """`clock` returns Unix seconds, `new_id` the id of a new submission.

    `redis` is for threads, `aredis` for the event loop; neither retries by itself.
    """

    settings: Settings
    sources: SourceProvider
    acceptor: Acceptor
    ledger: Ledger
    redis: Redis
    aredis: AsyncRedis
    meter: Meter
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = new_id

    @cached_property
    def proxies(self) -> UntrustedProxies:
        return UntrustedProxies(self.settings.trusted_proxies)

    @cached_property
    def promise(self) -> PromiseWatch:
        """What the 2xx of this process stands on."""
        return PromiseWatch(
            self.redis,
            Terms.from_settings(self.settings, accepts=True),
            self.settings.data_dir,
            observed=lambda: [UNTRUSTED_PROXY] if self.proxies.are_present else [],
            clock=self.clock,
        )


def build(settings: Settings, env: Mapping[str, str] | None = None) -> ServiceContext:
    """Build the context of a service process from its settings. Redis may be down.

    `env` holds the secrets that the source file names; None means the process's environment.
    Raises ConfigError with every fault of the source file, SettingsError without a Redis URL.
    """
    url = settings.redis_url
    if url is None:
        raise SettingsError(["REDIS_URL: expected a Redis URL, got nothing"])
    sources = SourceFileWatcher(source_file(settings), os.environ if env is None else env)
    cipher = Cipher(settings.encryption_keys)
    meter = Meter()
    spool = Spool(settings.data_dir / SPOOL_FOLDER, settings.spool_max, cipher)
    redis = connect(url, name="leadline-service")
    aredis = connect_async(url, name="leadline-service")
    acceptor = Acceptor(
        aredis,
        open_queue(redis),
        cipher,
        spool=spool,
        journal=Journal(spool, settings.journal),
        meter=meter,
        wait_replicas=settings.wait_replicas,
        unverified_max=settings.unverified_max,
    )
    return ServiceContext(
        settings=settings,
        sources=sources,
        acceptor=acceptor,
        ledger=Ledger(redis, cipher),
        redis=redis,
        aredis=aredis,
        meter=meter,
    )


def warn_of_short_secrets(sources: SourceProvider) -> None:
    """Say what `leadline check` fails for: a secret that could be guessed."""
    for source in sources.sources.values():
        for secret in filter(None, (*source.secrets, source.challenge)):
            if secret.is_short:
                structlog.get_logger().warning(
                    "secret is short", source=source.name, variable=secret.env
                )
