"""What a 2xx stands on: how this Redis keeps what it acknowledged, as the server itself says.

Read from `CONFIG GET` where that is allowed, else from `INFO`. Managed servers often refuse or
rename CONFIG and some shorten INFO: what they do not say is None here, or `Sync.UNKNOWN`. Reading
costs one exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import redis
import redis.asyncio
from msgspec import Struct

from worker.errors import StoreUnavailable
from worker.store.connection import translate, translate_errors

MIN_VERSION = (6, 2)
NO_EVICTION = "noeviction"

_CONFIG_NAMES = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "save",
    "maxmemory",
    "maxmemory-policy",
)
_YES_NO = {"yes": True, "no": False}


class Sync(StrEnum):
    """When a write is on Redis's disk.

    EACH_WRITE    before its reply
    EVERY_SECOND  within two seconds of it
    NO_FILE       nobody can say: there is no append-only file, or nothing syncs it for certain
    UNKNOWN       the server does not say, as managed ones often don't: as good as NO_FILE
    """

    EACH_WRITE = "each write"
    EVERY_SECOND = "every second"
    NO_FILE = "no file"
    UNKNOWN = "unknown"


class Durability(Struct, frozen=True, kw_only=True):
    """One answer of the server. None, "" and () stand for what it does not say.

    `run_id` changes with every restart; `replication_id` also when a replica is promoted.
    `fsync` is `appendfsync`, `fsync_on_rewrite` whether it also holds while the file is rewritten,
    `append_only_writes` whether the last write to the file succeeded, `sync_pending` whether a sync
    of it is still to end, `snapshots` whether any are
    scheduled. `max_memory` and `used_memory` are bytes; a `max_memory` of 0 is no bound.
    `replicas` is how many are connected.
    """

    run_id: str = ""
    replication_id: str = ""
    software: str = "redis"
    version_text: str = ""
    is_cluster: bool = False
    is_replica: bool = False
    replicas: int = 0
    append_only: bool | None = None
    append_only_writes: bool = True
    sync_pending: bool = False
    fsync: str | None = None
    fsync_on_rewrite: bool = True
    snapshots: bool | None = None
    eviction_policy: str | None = None
    max_memory: int | None = None
    used_memory: int | None = None

    @property
    def sync(self) -> Sync:
        if self.append_only is None or (self.append_only and self.fsync is None):
            return Sync.UNKNOWN
        if not self.append_only or not self.fsync_on_rewrite:
            return Sync.NO_FILE
        return {"always": Sync.EACH_WRITE, "everysec": Sync.EVERY_SECOND}.get(
            self.fsync or "", Sync.NO_FILE
        )

    @property
    def server(self) -> str:
        """Which run of which server this is; another after a restart, a failover or a restore.

        The same text as the scripts' `server()` in `prelude.lua`.
        """
        return self.run_id + self.replication_id

    @property
    def version(self) -> tuple[int, ...]:
        """The Redis version that the server matches, as (major, minor); () if it says none."""
        numbers = self.version_text.split(".")[:2]
        return tuple(int(number) for number in numbers if number.isdecimal())

    @property
    def is_outdated(self) -> bool:
        """Whether the server says that it is older than the scripts need."""
        return bool(self.version) and self.version < MIN_VERSION

    @property
    def evicts(self) -> bool:
        """Whether the server says that it drops keys when its memory is full."""
        return self.eviction_policy not in (None, NO_EVICTION)


def read_durability(client: redis.Redis) -> Durability:
    """Raises StoreUnavailable."""
    with translate_errors(), client.pipeline(transaction=False) as pipe:
        _add_commands(pipe)
        replies = pipe.execute(raise_on_error=False)
    return _read_replies(replies)


async def aread_durability(client: redis.asyncio.Redis) -> Durability:
    """Like `read_durability`, for an event loop. Raises StoreUnavailable."""
    with translate_errors():
        async with client.pipeline(transaction=False) as pipe:
            _add_commands(pipe)
            replies = await pipe.execute(raise_on_error=False)
    return _read_replies(replies)


def _add_commands(pipe: Any) -> None:
    pipe.info()
    for name in _CONFIG_NAMES:
        pipe.config_get(name)


def _read_replies(replies: Sequence[Any]) -> Durability:
    info, *settings = (_unless_refused(reply) for reply in replies)
    config: dict[str, str] = {}
    for setting in settings:
        config |= setting
    return _interpret(info, config)


def _unless_refused(reply: Any) -> Mapping[str, Any]:
    """The reply, empty where the server refuses the command. Raises StoreUnavailable."""
    if not isinstance(reply, redis.RedisError):
        return reply if isinstance(reply, Mapping) else {}
    error = translate(reply)
    is_refusal = isinstance(reply, redis.ResponseError) and (
        isinstance(reply, redis.exceptions.NoPermissionError)
        or not isinstance(error, StoreUnavailable)
    )
    if is_refusal:
        return {}
    raise error from reply


def _interpret(info: Mapping[str, Any], config: Mapping[str, str]) -> Durability:
    append_only = _YES_NO.get(config.get("appendonly", ""))
    if append_only is None and "aof_enabled" in info:
        append_only = str(info["aof_enabled"]) == "1"
    policy = config.get("maxmemory-policy") or info.get("maxmemory_policy")
    return Durability(
        run_id=str(info.get("run_id", "")),
        replication_id=str(info.get("master_replid", "")),
        software=str(info.get("server_name", "redis")),
        version_text=str(info.get("redis_version", "")),
        is_cluster=str(info.get("cluster_enabled", "0")) == "1",
        is_replica=info.get("role") == "slave",
        replicas=int(info.get("connected_slaves", 0)),
        append_only=append_only,
        append_only_writes=info.get("aof_last_write_status", "ok") == "ok",
        sync_pending=int(info.get("aof_pending_bio_fsync", 0)) > 0,
        fsync=config.get("appendfsync"),
        fsync_on_rewrite=config.get("no-appendfsync-on-rewrite") != "yes",
        snapshots=bool(config["save"]) if "save" in config else None,
        eviction_policy=None if policy is None else str(policy),
        max_memory=_integer(config.get("maxmemory", info.get("maxmemory"))),
        used_memory=_integer(info.get("used_memory")),
    )


def _integer(value: Any) -> int | None:
    return int(value) if value is not None and str(value).isdecimal() else None
