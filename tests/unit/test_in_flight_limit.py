from __future__ import annotations

import threading

from worker.delivery.client_factory import in_flight_places
from worker.pipedrive.rate_limiter import ApiLimits
from worker.queue.slots import InFlightLimit


def elsewhere(entrance: InFlightLimit, seconds: float = 0.0) -> bool:
    """Whether another thread may enter."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(entrance.enter(seconds)))
    thread.start()
    thread.join(10)
    return found[0]


def test_so_many_and_no_more() -> None:
    """A place is one thread's, however often it asks, until it leaves; leaving twice makes one
    place.
    """
    entrance = InFlightLimit(2)
    assert entrance.enter(0)
    assert entrance.enter(0)
    assert elsewhere(entrance)
    assert not elsewhere(entrance)
    entrance.leave()
    entrance.leave()
    assert elsewhere(entrance)
    assert not elsewhere(entrance)


def test_a_place_that_is_left_wakes_the_next() -> None:
    """A thread that waits at the entrance goes in when another leaves."""
    entrance, inside = InFlightLimit(1), threading.Event()
    entrance.enter(0)

    def wait() -> None:
        if entrance.enter(10):
            inside.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not inside.is_set()
    entrance.leave()
    assert inside.wait(10)
    thread.join(10)


def test_without_a_number_everybody_enters() -> None:
    """Where nothing paces the calls, nothing holds the slots back."""
    entrance = InFlightLimit()
    assert all(elsewhere(entrance) for _ in range(100))
    entrance.leave()


def test_how_many_wait_for_their_first_call() -> None:
    """A tenth of the window, two at least, never more than there are slots."""
    found = [
        in_flight_places(ApiLimits(calls_per_window=burst, daily_tokens=1), slots)
        for burst, slots in ((20, 32), (80, 32), (480, 32), (20, 1))
    ]
    assert found == [2, 8, 32, 2]
    assert in_flight_places(None, 32) is None
