from __future__ import annotations

import threading

from worker.delivery.client_factory import in_flight_places
from worker.pipedrive.rate_limiter import ApiLimits
from worker.queue.slots import InFlightLimit


def elsewhere(limit: InFlightLimit, seconds: float = 0.0) -> bool:
    """Whether another thread may enter."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(limit.enter(seconds)))
    thread.start()
    thread.join(60)
    return results[0]


def test_so_many_and_no_more() -> None:
    """A thread holds one place, however often it asks, until it leaves; leaving twice frees one."""
    limit = InFlightLimit(2)
    assert limit.enter(0)
    assert limit.enter(0)
    assert elsewhere(limit)
    assert not elsewhere(limit)
    limit.leave()
    limit.leave()
    assert elsewhere(limit)
    assert not elsewhere(limit)


def test_a_place_that_is_left_wakes_the_next() -> None:
    """A waiting thread gets its place when another leaves."""
    limit, inside = InFlightLimit(1), threading.Event()
    limit.enter(0)

    def wait() -> None:
        if limit.enter(60):
            inside.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not inside.is_set()
    limit.leave()
    assert inside.wait(60)
    thread.join(60)


def test_without_a_number_everybody_enters() -> None:
    """Where nothing paces the calls, nothing holds the slots back."""
    limit = InFlightLimit()
    assert all(elsewhere(limit) for _ in range(100))
    limit.leave()


def test_how_many_wait_for_their_first_call() -> None:
    """A tenth of the window, two at least, never more than there are slots."""
    results = [
        in_flight_places(ApiLimits(calls_per_window=burst, daily_tokens=1), slots)
        for burst, slots in ((20, 32), (80, 32), (480, 32), (20, 1))
    ]
    assert results == [2, 8, 32, 2]
    assert in_flight_places(None, 32) is None
