"""The leases that this process holds, kept alive by one heartbeat for all slots.

There are two clocks: the ledger's lease ends by Redis's clock, but this process trusts it only
until a deadline on its own monotonic clock, which it reads before it sends the renewal. So a
process that was suspended finds its lease expired, whatever the wall clock says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from worker.errors import LeaseLost, StoreUnavailable
from worker.ledger import Ledger
from worker.ledger.rollback import NEVER_RESTORED

LEASE_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0


class Lease:
    """The right to deliver one submission.

    `store` is the status of the store when the delivery began (`worker.ledger.rollback`).
    """

    def __init__(
        self, submission_id: str, token: str, deadline: float, monotonic: Callable[[], float]
    ) -> None:
        self.submission_id = submission_id
        self.token = token
        self.deadline = deadline
        self.store = NEVER_RESTORED
        self._monotonic = monotonic

    def must_hold(self, seconds: float) -> None:
        """Raises `LeaseLost` unless the lease lasts `seconds` more; called before each create."""
        if self._monotonic() + seconds > self.deadline:
            raise LeaseLost(self.submission_id)


class Leases:
    """All leases of this process."""

    def __init__(self, ledger: Ledger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._held: dict[str, Lease] = {}
        self._lock = threading.Lock()

    def begin(self, submission_id: str, token: str) -> Lease:
        """Starts a lease. Called before the claim, so that our deadline is before the ledger's."""
        lease = Lease(submission_id, token, self._monotonic() + LEASE_SECONDS, self._monotonic)
        with self._lock:
            self._held[token] = lease
        return lease

    def announce(self, lease: Lease, step: str) -> None:
        """Announces a create and renews the lease in one step. Raises `LeaseLost`."""
        deadline = self._monotonic() + LEASE_SECONDS
        self._ledger.announce(lease.submission_id, lease.token, LEASE_SECONDS, step, lease.store)
        lease.deadline = deadline

    def get(self, token: str) -> Lease:
        """The lease that `begin` made for this token."""
        with self._lock:
            return self._held[token]

    def end(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop(lease.token, None)

    def heartbeat(self) -> None:
        """Renews every lease, then reports this process to the ledger.

        A lease that is lost, or that Redis could not renew, simply expires.
        """
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            deadline = self._monotonic() + LEASE_SECONDS
            try:
                if self._ledger.renew(lease.submission_id, lease.token, LEASE_SECONDS):
                    lease.deadline = max(lease.deadline, deadline)
            except StoreUnavailable:
                return
        self._ledger.store_status()

    def leave(self) -> None:
        """Signs the process off at its orderly end, so that nobody waits for its reports."""
        if not self._held:
            self._ledger.store_status(leaves=True)

    def __len__(self) -> int:
        return len(self._held)
