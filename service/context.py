"""What one service process works with, made once at its start and handed to everything."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from service.local.redis import running_url
from service.ops.actions import Actions
from service.ops.queries import Reader
from service.settings import source_file
from service.sources.source_file.watcher import Sources, WatchedSources
from service.web.request_id import new_id
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL, Spool
from worker.encryption import Vault
from worker.ledger import Ledger
from worker.metrics import Meter
from worker.queue.rq_queue import open_queue
from worker.settings import Settings, SettingsError
from worker.store.connection import connect, connect_async


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """`clock` tells Unix seconds. `redis` is for threads, `aredis` for the event loop; neither
    retries.
    """

    settings: Settings
    sources: Sources
    acceptor: Acceptor
    ledger: Ledger
    redis: Redis
    aredis: AsyncRedis
    meter: Meter
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = new_id

    @cached_property
    def reader(self) -> Reader:
        """What the operators' windows ask; one for all of them, as it holds an index."""
        return Reader(self.ledger, self.sources, self.settings.data_dir)

    @cached_property
    def actions(self) -> Actions:
        """What the operators' windows do."""
        return Actions(self.ledger, self.reader, self.settings.data_dir)


def build(settings: Settings, env: Mapping[str, str] | None = None) -> Dependencies:
    """Everything a service process needs, from its settings. Redis may be away.

    `env` holds the secrets that the source file names (None: the process's environment).
    Raises ConfigError with every fault of the source file, SettingsError where no Redis is named.
    """
    url = settings.redis_url or running_url(settings.data_dir)
    if url is None:
        raise SettingsError(
            [
                "REDIS_URL: expected a Redis URL, got nothing, and no embedded Redis runs in"
                " LEADLINE_DATA_DIR"
            ]
        )
    sources = WatchedSources(source_file(settings), os.environ if env is None else env)
    vault = Vault(settings.encryption_keys)
    meter = Meter()
    spool = Spool(settings.data_dir / SPOOL, settings.spool_max, vault)
    store, astore = (
        connect(url, name="leadline-service"),
        connect_async(url, name="leadline-service"),
    )
    return Dependencies(
        settings=settings,
        sources=sources,
        acceptor=Acceptor(
            astore,
            open_queue(store),
            vault,
            spool=spool,
            meter=meter,
            wait_replicas=settings.wait_replicas,
        ),
        ledger=Ledger(store, vault),
        redis=store,
        aredis=astore,
        meter=meter,
    )
