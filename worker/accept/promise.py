"""What breaks the promise that a 2xx leaves only after the submission is on disk. Pure.

A `Breach` says what is wrong, what that means for leads and who must do what. Its `what` is the
name under which logs, `/readyz`, metrics, alerts, `leadline check` and the console show it.

| what            | leads are refused | mended by the journal |
|-----------------|-------------------|-----------------------|
| version         | yes               | no                    |
| cluster         | yes               | no                    |
| eviction        | yes               | no                    |
| append_only     | yes               | yes                   |
| fsync           | yes               | yes                   |
| replicas        | no: spooled       |                       |
| max_memory      | no: advice only   |                       |
| data_dir        | if the journal must be written there |    |
| disk_space      | no                |                       |
| clock           | no                |                       |
| untrusted_proxy | no                |                       |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from worker.settings.table import Settings
from worker.store.durability import MIN_VERSION, NO_EVICTION, Durability, Sync

# Redis's clock and ours may differ by this much before signatures and waits suffer.
MAX_CLOCK_SECONDS = 10.0

WHATS = (
    "version",
    "cluster",
    "eviction",
    "append_only",
    "fsync",
    "replicas",
    "max_memory",
    "data_dir",
    "disk_space",
    "clock",
    "untrusted_proxy",
)

REFUSED = "no lead is accepted: senders get a 503 and are asked to come again"
RISKED = "leads are accepted all the same (LEADLINE_ACCEPT_UNSAFE_REDIS) and may be lost"
_OPERATOR = "whoever runs this Redis must"


class Breach(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that breaks the promise.

    `setting` is what to change. `refuses`: no submission is acknowledged meanwhile. `advice`: it
    breaks nothing yet, so it is a log line, a metric and a warning of `check`, and no more.
    """

    what: str
    cause: str
    effect: str
    action: str
    setting: str
    refuses: bool = False
    advice: bool = False

    @property
    def sentence(self) -> str:
        return f"{self.cause}: {self.effect}; {self.action}"


class Terms(Struct, frozen=True, kw_only=True):
    """The settings under which the promise is given.

    `accepts`: this process acknowledges submissions, as the service does. `spool_max` is in bytes.
    """

    accepts: bool
    journal: Literal["auto", "always", "never"] = "auto"
    accept_unsafe_redis: bool = False
    wait_replicas: int = 0
    spool_max: int = 0

    @classmethod
    def from_settings(cls, settings: Settings, *, accepts: bool) -> Terms:
        return cls(
            accepts=accepts,
            journal=settings.journal,
            accept_unsafe_redis=settings.accept_unsafe_redis,
            wait_replicas=settings.wait_replicas if accepts else 0,
            spool_max=settings.spool_max if accepts else 0,
        )

    def needs_journal(self, durability: Durability | None) -> bool:
        """Whether a 2xx rests on the journal; without an answer of Redis it rests on the spool."""
        if self.journal == "auto":
            return durability is not None and durability.sync is not Sync.EACH_WRITE
        return self.journal == "always"


class Surroundings(Struct, frozen=True, kw_only=True):
    """What the promise stands on now; None where it could not be read.

    `data_dir_error` says why files cannot be written there, "" if they can. `free_bytes` is the
    space left. `clock_seconds` is by how much Redis's clock is ahead of ours.
    """

    durability: Durability | None = None
    data_dir: str = ""
    data_dir_error: str = ""
    free_bytes: int | None = None
    clock_seconds: float | None = None


def find_breaches(surroundings: Surroundings, terms: Terms) -> Iterator[Breach]:
    """Every breach, the gravest first."""
    durability = surroundings.durability
    if durability is not None:
        yield from redis_breaches(durability, terms)
    yield from _machine_breaches(surroundings, terms)


def redis_breaches(durability: Durability, terms: Terms) -> Iterator[Breach]:
    """What Redis itself is or does."""
    if durability.is_outdated:
        oldest = ".".join(map(str, MIN_VERSION))
        yield _unmendable(
            terms,
            what="version",
            cause=f"Redis is compatible with version {durability.version_text} only",
            action=f"{_OPERATOR} update it to {oldest} or newer",
            setting="REDIS_URL",
        )
    if durability.is_cluster:
        yield _unmendable(
            terms,
            what="cluster",
            cause="Redis is a cluster, which spreads one submission's keys over several nodes",
            action="name a single server, or one with sentinels, in REDIS_URL",
            setting="REDIS_URL",
        )
    if durability.evicts:
        yield _unmendable(
            terms,
            what="eviction",
            cause=(
                "Redis drops submissions when its memory is full: its maxmemory-policy is"
                f" {durability.eviction_policy}"
            ),
            action=f"{_OPERATOR} set maxmemory-policy {NO_EVICTION}",
            setting="maxmemory-policy",
        )
    if terms.journal == "never":
        yield from sync_breaches(durability, terms)
    if durability.replicas < terms.wait_replicas:
        awaited = f"{terms.wait_replicas} replica{'' if terms.wait_replicas == 1 else 's'}"
        yield Breach(
            what="replicas",
            cause=(f"each submission waits for {awaited}, but {durability.replicas} are connected"),
            effect="leads wait in the spool of the machine that took them",
            action=f"{_OPERATOR} connect replicas, or lower LEADLINE_WAIT_REPLICAS",
            setting="LEADLINE_WAIT_REPLICAS",
        )
    if durability.max_memory == 0:
        yield Breach(
            what="max_memory",
            cause="Redis may use all of the machine's memory: its maxmemory is not set",
            effect="the system may kill it, or other programs, when memory runs out",
            action=f"{_OPERATOR} set maxmemory to about half of the machine's memory",
            setting="maxmemory",
            advice=True,
        )


def sync_breaches(durability: Durability, terms: Terms) -> Iterator[Breach]:
    """How Redis fails to keep by itself what it acknowledged; the journal mends each."""
    problem = _sync_problem(durability)
    if problem is not None:
        what, cause, setting = problem
        yield _unmendable(
            terms,
            what=what,
            cause=cause,
            action=(
                f"{_OPERATOR} set appendonly yes and appendfsync always, or set LEADLINE_JOURNAL"
                " to auto"
            ),
            setting=setting,
        )


def _sync_problem(durability: Durability) -> tuple[str, str, str] | None:
    """Its `what`, its cause, and the setting of Redis; None if each write is synced."""
    if durability.sync is Sync.EACH_WRITE:
        return None
    if durability.append_only is None:
        return (
            "append_only",
            "Redis does not say whether it keeps what it acknowledged",
            ("appendonly"),
        )
    if not durability.append_only:
        loss = "only snapshots are kept" if durability.snapshots else "NOTHING IS KEPT"
        cause = f"{loss} when Redis stops: it has no append-only file"
        return "append_only", cause, "appendonly"
    if durability.fsync is None:
        return "fsync", "Redis does not say when its append-only file is synced", "appendfsync"
    if durability.fsync == "always" or (
        durability.fsync == "everysec" and not durability.fsync_on_rewrite
    ):
        return (
            "fsync",
            "Redis syncs nothing while its append-only file is rewritten",
            "no-appendfsync-on-rewrite",
        )
    lost = "the last second or two" if durability.fsync == "everysec" else "up to half a minute"
    cause = f"{lost} can be lost with Redis's machine: its appendfsync is {durability.fsync}"
    return "fsync", cause, "appendfsync"


def _unmendable(terms: Terms, *, what: str, cause: str, action: str, setting: str) -> Breach:
    return Breach(
        what=what,
        cause=cause,
        effect=RISKED if terms.accept_unsafe_redis else REFUSED,
        action=action,
        setting=setting,
        refuses=not terms.accept_unsafe_redis,
    )


def _machine_breaches(surroundings: Surroundings, terms: Terms) -> Iterator[Breach]:
    """What is wrong with this machine."""
    if surroundings.data_dir_error:
        yield _data_dir_breach(surroundings, terms)
    elif surroundings.free_bytes is not None and surroundings.free_bytes < terms.spool_max:
        free = surroundings.free_bytes // 1024**2
        yield Breach(
            what="disk_space",
            cause=(
                f"{surroundings.data_dir} has {free} MiB left, less than LEADLINE_SPOOL_MAX allows"
                " the spool"
            ),
            effect="leads may be refused while Redis is away",
            action="free space there, or set LEADLINE_DATA_DIR to another disk",
            setting="LEADLINE_DATA_DIR",
        )
    ahead = surroundings.clock_seconds
    if ahead is not None and abs(ahead) > MAX_CLOCK_SECONDS:
        order = "ahead of" if ahead > 0 else "behind"
        yield Breach(
            what="clock",
            cause=f"Redis's clock is {abs(ahead):.0f} s {order} this machine's",
            effect="signed posts may be refused, and times of leads are wrong",
            action="synchronise both machines' clocks (NTP)",
            setting="clock",
        )


def _data_dir_breach(surroundings: Surroundings, terms: Terms) -> Breach:
    refuses = False
    if not terms.accepts:
        effect = "after a restore of Redis, leads may be created twice"
    elif terms.needs_journal(surroundings.durability):
        refuses = not terms.accept_unsafe_redis
        effect = REFUSED if refuses else RISKED
    else:
        effect = "there is no spool, so leads are refused while Redis is away"
    return Breach(
        what="data_dir",
        cause=f"{surroundings.data_dir} cannot be written ({surroundings.data_dir_error})",
        effect=effect,
        action="whoever runs this machine must make it writable, or set LEADLINE_DATA_DIR",
        setting="LEADLINE_DATA_DIR",
        refuses=refuses,
    )


UNTRUSTED_PROXY = Breach(
    what="untrusted_proxy",
    cause=(
        "requests name other clients in X-Forwarded-For, Forwarded or X-Real-IP: they come through"
        " a proxy that LEADLINE_TRUSTED_PROXIES does not name, or from a sender that forges it"
    ),
    effect=(
        "behind such a proxy all visitors have one address, so limits per address meet all of them"
    ),
    action=(
        "if the proxy is yours, name it in LEADLINE_TRUSTED_PROXIES (`private` stands for all"
        " private ranges)"
    ),
    setting="LEADLINE_TRUSTED_PROXIES",
)
