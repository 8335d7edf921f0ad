"""Standing in line for the allowance: a bounded wait inside the slot, in the order of asking.

Sending a delivery back to the ledger for each full window cost eight workers a third of the window and most of two processors;
a wait of some seconds costs nothing. Calls of a delivery that has begun go before those that begin one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.errors import OutOfAllowance
from worker.pipedrive.allowance import Allowance, Place
from worker.pipedrive.calls import Call

FRESH_SECONDS = 10.0
"""The longest wait of a delivery's first call: a third of the lease, which is renewed meanwhile."""
BEGUN_SECONDS = 5.0


class InLine:
    """Limits of the client that wait for their turn. `pause` sleeps for some seconds and returns True to give up at once.

    `fresh` says whether the next call is the first of a delivery, `who` of which submission it is ("" for none).
    """

    def __init__(
        self,
        allowance: Allowance,
        pause: Callable[[float], object],
        fresh: Callable[[], bool] = lambda: False,
        who: Callable[[], str] = lambda: "",
    ) -> None:
        self._allowance = allowance
        self._pause = pause
        self._fresh = fresh
        self._who = who

    def before(self, call: Call) -> None:
        """Takes one call's share, now or in a few seconds. Raises `OutOfAllowance`, `Gated` or `StoreUnavailable`."""
        place = Place(fresh=self._fresh(), who=self._who())
        patience = FRESH_SECONDS if place.fresh else BEGUN_SECONDS
        while wait := self._allowance.ask(call, place, patience):
            if self._pause(wait):
                self._allowance.leave(place)
                raise OutOfAllowance(place.until, budget=False)

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self._allowance.after(call, status, headers)
