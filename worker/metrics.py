"""Metrics of all processes together, for Prometheus.

Counters are in the Redis hash `keys.METRICS`, so that any service process can show what every
worker did. A field is a series as Prometheus writes it
(`leadline_submissions_total{outcome="accepted",source="contact"}`), and its value is the number.
The ledger's scripts count changes of state, in the same transaction and under the text of `series`.
Everything else is counted in the process's `Meter` and added to the hash every second or two.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import redis
import redis.asyncio
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from redis.exceptions import RedisError

from worker.contract import State
from worker.store import keys

SUBMISSIONS = "leadline_submissions_total"
DELIVERIES = "leadline_deliveries_total"
PIPEDRIVE_REQUESTS = "leadline_pipedrive_requests_total"
PIPEDRIVE_TOKENS = "leadline_pipedrive_tokens_total"
UNSTORED = "leadline_unstored_total"
LIMITED = "leadline_limited_total"
EVICTED = "leadline_evicted_total"
INTAKE_SECONDS = "leadline_intake_seconds"
DELIVERY_SECONDS = "leadline_delivery_seconds"

OUTCOMES = (
    "accepted",
    "duplicate",
    "quarantined",
    "ignored",
    "refused",
    "unreadable",
    "limited",
    "spooled",
)
# The settings of a source that hold something back, as `bound` of LIMITED.
BOUNDS = ("events", "rate_limit", "rate_limit_source", "leads_per_hour")
RESULTS = ("created", "labelled", "retry", "wait", "dead")

# Upper bounds in seconds: an intake takes milliseconds, a delivery up to days with its retries.
BUCKETS: dict[str, tuple[float, ...]] = {
    INTAKE_SECONDS: (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
    DELIVERY_SECONDS: (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0),
}

HELP = {
    SUBMISSIONS: "Requests and events received, by outcome.",
    DELIVERIES: "Delivery attempts, by result.",
    PIPEDRIVE_REQUESTS: "Calls to Pipedrive, by operation and HTTP status.",
    PIPEDRIVE_TOKENS: "Pipedrive API tokens spent, by operation.",
    LIMITED: (
        "Requests refused, and submissions held in quarantine, by the bound of the source; `events`"
        " are those of one request."
    ),
    UNSTORED: "Submissions answered with 503 because nothing could store them.",
    EVICTED: "Submissions of strangers removed to make room for newer ones.",
    INTAKE_SECONDS: "Time from receiving a request's headers to sending the response.",
    DELIVERY_SECONDS: "Time from receiving a submission to delivering it.",
}

# With this many unflushed series, new ones are dropped: counters must not fill the memory.
MAX_PENDING_SERIES = 10_000

_SERIES = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?", re.DOTALL)
_LABEL = re.compile(
    r'(?P<key>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:\\.|[^"\\])*)"(?:,|$)', re.DOTALL
)
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def series(name: str, **labels: str) -> str:
    """The text of one series, with its labels sorted by name."""
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels)) + "}"


def parse_series(text: str) -> tuple[str, dict[str, str]] | None:
    """Parses the name and labels of a series; None for any other text."""
    match = _SERIES.fullmatch(text)
    if match is None:
        return None
    labels: dict[str, str] = {}
    rest, at = match["labels"] or "", 0
    while at < len(rest):
        label = _LABEL.match(rest, at)
        if label is None:
            return None
        labels[label["key"]] = re.sub(
            r'\\[\\"n]', lambda escape: _ESCAPES[escape[0]], label["value"]
        )
        at = label.end()
    return match["name"], labels


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# The text of the series of one source, for a script that puts its name in.
EVICTED_SERIES = series(EVICTED, source="%s")


class Meter:
    """Counts of this process that are not yet in Redis; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deltas: dict[str, float] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        with self._lock:
            self._add(series(name, **labels), amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Adds one duration to the histogram `name`, whose bounds are in `BUCKETS`."""
        bounds = [f"{bound:g}" for bound in BUCKETS[name] if seconds <= bound]
        with self._lock:
            for bound in (*bounds, "+Inf"):
                self._add(series(f"{name}_bucket", le=bound, **labels), 1.0)
            self._add(series(f"{name}_sum", **labels), max(seconds, 0.0))
            self._add(series(f"{name}_count", **labels), 1.0)

    def pending(self) -> dict[str, float]:
        """The counts that are not yet in Redis, by series."""
        with self._lock:
            return dict(self._deltas)

    def flush(self, store: redis.Redis) -> bool:
        """Adds the counts to Redis; on failure keeps them for the next time and returns False."""
        taken = self._take()
        if not taken:
            return True
        try:
            with store.pipeline(transaction=True) as pipe:
                for text, amount in taken.items():
                    pipe.hincrbyfloat(keys.METRICS, text, amount)
                pipe.execute()
        except (RedisError, OSError):
            self._give_back(taken)
            return False
        return True

    async def aflush(self, store: redis.asyncio.Redis) -> bool:
        """Like `flush`, for the event loop."""
        taken = self._take()
        if not taken:
            return True
        try:
            async with store.pipeline(transaction=True) as pipe:
                for text, amount in taken.items():
                    pipe.hincrbyfloat(keys.METRICS, text, amount)
                await pipe.execute()
        except (RedisError, OSError):
            self._give_back(taken)
            return False
        except BaseException:
            self._give_back(taken)
            raise
        return True

    def _add(self, text: str, amount: float) -> None:
        if text in self._deltas or len(self._deltas) < MAX_PENDING_SERIES:
            self._deltas[text] = self._deltas.get(text, 0.0) + amount

    def _take(self) -> dict[str, float]:
        with self._lock:
            taken, self._deltas = self._deltas, {}
            return taken

    def _give_back(self, taken: Mapping[str, float]) -> None:
        with self._lock:
            for text, amount in taken.items():
                self._add(text, amount)


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """The current values at a scrape; None if a value is not known."""

    redis_up: bool
    states: Mapping[State, int] = field(default_factory=dict)
    oldest_seconds: Mapping[State, float] = field(default_factory=dict)
    workers: int | None = None
    tokens_left: float | None = None
    spool: int = 0
    duplicates: int = 0
    # How many things the account lacks, by whether submissions that need them die.
    account_lacks: Mapping[bool, int] | None = None
    # Whether deliveries are stopped, by reason.
    paused: Mapping[str, bool] = field(default_factory=dict)
    # Whether something breaks the promise of a 2xx, by its name.
    unsafe: Mapping[str, bool] = field(default_factory=dict)
    # Bytes that strangers have stored, and may store.
    unverified_bytes: int | None = None
    unverified_max: int | None = None


def expose(
    stored: Mapping[bytes, bytes],
    gauges: Gauges,
    *,
    sources: Iterable[str] = (),
    pending: Mapping[str, float] | None = None,
) -> bytes:
    """Renders stored counters, this process's pending counts and gauges as Prometheus text.

    Every series that a configured source can have is present from the start, with zero: a rate over
    a counter that appears only with its first event misses that event.
    """
    totals = dict.fromkeys(_expected_series(sources), 0.0)
    for text, amount in _parse_counters(stored):
        totals[text] = totals.get(text, 0.0) + amount
    for text, amount in (pending or {}).items():
        totals[text] = totals.get(text, 0.0) + amount
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_FixedCollector([*_counter_families(totals), *_gauge_families(gauges)]))
    return generate_latest(registry)


def _parse_counters(stored: Mapping[bytes, bytes]) -> Iterator[tuple[str, float]]:
    for text, value in stored.items():
        with contextlib.suppress(ValueError, UnicodeDecodeError):
            yield text.decode(), float(value)


def _expected_series(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        yield series(UNSTORED, source=source)
        for bound in BOUNDS:
            yield series(LIMITED, source=source, bound=bound)
        yield series(EVICTED, source=source)
        for outcome in OUTCOMES:
            yield series(SUBMISSIONS, source=source, outcome=outcome)
        for result in RESULTS:
            yield series(DELIVERIES, source=source, result=result)
    for name, bounds in BUCKETS.items():
        for bound in (*(f"{bound:g}" for bound in bounds), "+Inf"):
            yield series(f"{name}_bucket", le=bound)
        yield f"{name}_sum"
        yield f"{name}_count"


class _FixedCollector(Collector):
    """Metric families computed once, for a registry that is used once."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def _counter_families(totals: Mapping[str, float]) -> list[Metric]:
    families: dict[str, Metric] = {}
    for text in sorted(totals, key=_sort_key):
        parsed = parse_series(text)
        if parsed is None:
            continue
        name, labels = parsed
        family, kind = _family(name)
        if family not in families:
            families[family] = Metric(family, HELP.get(name, HELP.get(family, "")), kind)
        families[family].add_sample(name, labels, totals[text])
    return list(families.values())


def _family(name: str) -> tuple[str, str]:
    """The family a series belongs to, and its type."""
    for suffix in ("_bucket", "_sum", "_count"):
        if name.removesuffix(suffix) in BUCKETS:
            return name.removesuffix(suffix), "histogram"
    return (
        (name.removesuffix("_total"), "counter") if name.endswith("_total") else (name, "unknown")
    )


def _sort_key(text: str) -> tuple[str, float, str]:
    """A key that sorts series by name, and buckets by their bound as a number."""
    name, labels = parse_series(text) or (text, {})
    return name, float(labels.get("le", "0").replace("+Inf", "inf")), text


def _gauge_families(gauges: Gauges) -> list[Metric]:
    up = Metric(
        "leadline_up_redis",
        "1 while this process reaches Redis; at 0 the counters are those it saw last.",
        "gauge",
    )
    up.add_sample("leadline_up_redis", {}, 1.0 if gauges.redis_up else 0.0)
    families = [
        up,
        _single("leadline_spool_submissions", "Submissions in the local spool.", gauges.spool),
    ]
    if gauges.unsafe:
        text = "1 while this puts the promise of a 2xx at risk, on any machine."
        families.append(_flags("leadline_unsafe", text, "what", gauges.unsafe))
    if gauges.redis_up:
        families.append(_by_state("leadline_state", "Submissions in each state.", gauges.states))
        families.append(
            _single(
                "leadline_duplicates",
                "Submissions that exist twice in Pipedrive.",
                gauges.duplicates,
            )
        )
        families.append(
            _by_state(
                "leadline_oldest_seconds", "Age of the oldest in each state.", gauges.oldest_seconds
            )
        )
    if gauges.workers is not None:
        families.append(
            _single(
                "leadline_workers",
                "Worker processes with a heartbeat in the last minute.",
                gauges.workers,
            )
        )
    for name, text, size in (
        ("leadline_unverified_bytes", "What unverified submissions take.", gauges.unverified_bytes),
        ("leadline_unverified_max_bytes", "What they may take.", gauges.unverified_max),
    ):
        if size is not None:
            families.append(_single(name, text, size))
    if gauges.paused:
        text = "1 while deliveries are stopped for this reason; `operator` is a person's pause."
        families.append(_flags("leadline_paused", text, "reason", gauges.paused))
    if gauges.account_lacks is not None:
        families.append(_account_lacks(gauges.account_lacks))
    if gauges.tokens_left is not None:
        families.append(
            _single("leadline_pipedrive_tokens_left", "API tokens left today.", gauges.tokens_left)
        )
    return families


def _single(name: str, text: str, value: float) -> Metric:
    family = Metric(name, text, "gauge")
    family.add_sample(name, {}, float(value))
    return family


def _flags(name: str, text: str, label: str, values: Mapping[str, bool]) -> Metric:
    family = Metric(name, text, "gauge")
    for value, holds in values.items():
        family.add_sample(name, {label: value}, float(holds))
    return family


def _account_lacks(counts: Mapping[bool, int]) -> Metric:
    text = (
        "Names, permissions and scopes that the account lacks; submissions that need one with"
        ' needed="true" die.'
    )
    family = Metric("leadline_account_lacks", text, "gauge")
    for needed in (True, False):
        family.add_sample(
            "leadline_account_lacks", {"needed": str(needed).lower()}, float(counts.get(needed, 0))
        )
    return family


def _by_state(name: str, text: str, values: Mapping[State, float]) -> Metric:
    family = Metric(name, text, "gauge")
    for state in State:
        family.add_sample(name, {"state": state.value}, float(values.get(state, 0)))
    return family
