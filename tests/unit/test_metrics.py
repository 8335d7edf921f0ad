"""The counters of `worker.metrics`: the text of a series, a process's deltas, and what a scrape
shows.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import ConnectionError as RedisGone

from worker.contract import State
from worker.metrics import (
    BUCKETS,
    DELIVERY_SECONDS,
    INTAKE_SECONDS,
    MAX_PENDING_SERIES,
    OUTCOMES,
    RESULTS,
    SUBMISSIONS,
    Gauges,
    Meter,
    expose,
    parse_series,
    series,
)
from worker.store import keys


class Store:
    """A Redis of one hash; `down` makes it refuse."""

    def __init__(self) -> None:
        self.hash: dict[str, float] = {}
        self.down = False
        self.queued: list[tuple[str, float]] = []

    def pipeline(self, transaction: bool = True) -> Store:
        assert transaction
        self.queued = []
        return self

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def hincrbyfloat(self, key: str, name: str, amount: float) -> None:
        assert key == keys.METRICS
        self.queued.append((name, amount))

    def execute(self) -> None:
        if self.down:
            raise RedisGone("away")
        for name, amount in self.queued:
            self.hash[name] = self.hash.get(name, 0.0) + amount


class AsyncStore(Store):
    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def execute(self) -> None:  # type: ignore[override]
        super().execute()


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({}, "m"),
        ({"b": "2", "a": "1"}, 'm{a="1",b="2"}'),
        ({"a": 'say "x"'}, 'm{a="say \\"x\\""}'),
        ({"a": "back\\slash"}, 'm{a="back\\\\slash"}'),
        ({"a": "two\nlines"}, 'm{a="two\\nlines"}'),
        ({"a": "x,y}={"}, 'm{a="x,y}={"}'),
        ({"a": "\\n"}, 'm{a="\\\\n"}'),
    ],
)
def test_series_round_trips(labels: dict[str, str], text: str) -> None:
    """A series is written with sorted, escaped labels and read back as it was."""
    assert series("m", **labels) == text
    assert parse_series(text) == ("m", labels)


@pytest.mark.parametrize("text", ["", "1m", "m{", "m{a=1}", 'm{a="1"', 'm{a="1" b="2"}', "m\x00"])
def test_rubbish_is_no_series(text: str) -> None:
    """A field that is no series is skipped and is no error."""
    assert parse_series(text) is None
    assert expose(
        {text.encode(): b"1", b"\xff": b"2", b"m_total": b"no number"}, Gauges(redis_up=True)
    )


def test_deltas_reach_the_store_once() -> None:
    """What was counted is added to the hash by one flush and not again by the next."""
    meter, store = Meter(), Store()
    meter.count(SUBMISSIONS, source="contact", outcome="refused")
    meter.count(SUBMISSIONS, 2, source="contact", outcome="refused")
    assert meter.flush(store) is True  # type: ignore[arg-type]
    assert meter.flush(store) is True  # type: ignore[arg-type]
    assert store.hash == {'leadline_submissions_total{outcome="refused",source="contact"}': 3.0}
    assert meter.pending() == {}


def test_deltas_survive_a_failed_flush() -> None:
    """While Redis is down, deltas are kept, and those counted meanwhile are added to them."""
    meter, store = Meter(), Store()
    meter.count("leadline_x_total")
    store.down = True
    assert meter.flush(store) is False  # type: ignore[arg-type]
    meter.count("leadline_x_total")
    store.down = False
    assert meter.flush(store) is True  # type: ignore[arg-type]
    assert store.hash == {"leadline_x_total": 2.0}


async def _aflush(meter: Meter, store: Any) -> bool:
    return await meter.aflush(store)


def test_the_event_loop_has_its_own_flush() -> None:
    """`aflush` does what `flush` does."""
    import asyncio

    meter, store = Meter(), AsyncStore()
    meter.count("leadline_x_total", 4)
    store.down = True
    assert asyncio.run(_aflush(meter, store)) is False
    store.down = False
    assert asyncio.run(_aflush(meter, store)) is True
    assert store.hash == {"leadline_x_total": 4.0}


def test_a_meter_is_bounded() -> None:
    """New series beyond the bound are dropped; the known ones still count."""
    meter = Meter()
    for number in range(MAX_PENDING_SERIES + 50):
        meter.count("leadline_x_total", n=str(number))
    meter.count("leadline_x_total", n="0")
    assert len(meter.pending()) == MAX_PENDING_SERIES
    assert meter.pending()[series("leadline_x_total", n="0")] == 2.0


def test_threads_lose_no_count() -> None:
    """Eight threads that count together and flush together lose nothing."""
    meter, store = Meter(), Store()

    def work() -> None:
        for _ in range(2000):
            meter.count("leadline_x_total")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    meter.flush(store)  # type: ignore[arg-type]
    assert store.hash == {"leadline_x_total": 16_000.0}


@pytest.mark.parametrize(
    ("seconds", "least"),
    [
        (0.0004, "0.001"),
        (0.001, "0.001"),
        (0.0011, "0.0025"),
        (0.3, "0.5"),
        (10.0, "10"),
        (11.0, "+Inf"),
    ],
)
def test_a_duration_falls_into_its_bucket(seconds: float, least: str) -> None:
    """A duration counts in every bucket whose bound it does not exceed."""
    meter = Meter()
    meter.observe(INTAKE_SECONDS, seconds)
    values = samples(expose({}, Gauges(redis_up=True), pending=meter.pending()))
    bounds = [*(f"{bound:g}" for bound in BUCKETS[INTAKE_SECONDS]), "+Inf"]
    full = [
        bound for bound in bounds if values[f"{INTAKE_SECONDS}_bucket", (("le", bound),)] == 1.0
    ]
    assert full == bounds[bounds.index(least) :]
    assert values[f"{INTAKE_SECONDS}_count", ()] == 1.0
    assert values[f"{INTAKE_SECONDS}_sum", ()] == pytest.approx(seconds)


def test_everything_a_source_can_have_is_there_as_zero() -> None:
    """Before the first event, every outcome, result, state and bucket stands at zero."""
    values = samples(
        expose({}, Gauges(redis_up=True, workers=0, tokens_left=0.0), sources=["contact"])
    )
    for outcome in OUTCOMES:
        assert values[SUBMISSIONS, (("outcome", outcome), ("source", "contact"))] == 0.0
    for result in RESULTS:
        assert (
            values["leadline_deliveries_total", (("result", result), ("source", "contact"))] == 0.0
        )
    for state in State:
        assert values["leadline_state", (("state", state.value),)] == 0.0
        assert values["leadline_oldest_seconds", (("state", state.value),)] == 0.0
    for name in (
        "leadline_workers",
        "leadline_pipedrive_tokens_left",
        "leadline_spool_submissions",
    ):
        assert values[name, ()] == 0.0
    assert values[f"{DELIVERY_SECONDS}_count", ()] == 0.0


def test_stored_and_pending_counts_add_up() -> None:
    """A scrape shows stored and pending counts together, with one type line per family."""
    text = series(SUBMISSIONS, source="contact", outcome="refused")
    page = expose(
        {text.encode(): b"3", b"leadline_new_total": b"1.5"},
        Gauges(redis_up=True),
        sources=["contact"],
        pending={text: 2.0},
    )
    values = samples(page)
    assert values[SUBMISSIONS, (("outcome", "refused"), ("source", "contact"))] == 5.0
    assert values["leadline_new_total", ()] == 1.5
    assert page.decode().count("# TYPE leadline_submissions_total counter") == 1
    assert page.decode().count(f"# TYPE {INTAKE_SECONDS} histogram") == 1


def test_without_redis_the_gauges_are_left_out() -> None:
    """While Redis is down, the page says so instead of showing states as zero."""
    page = expose({}, Gauges(redis_up=False, spool=7)).decode()
    assert "leadline_up_redis 0.0" in page
    assert "leadline_spool_submissions 7.0" in page
    assert "leadline_state{" not in page
