"""Switches that disable one protection of the product each, for tests only.

A suite that stays green without a protection proves nothing about it. In this process: `with
disable_protections("look-up"): ...`. In other processes: the variables of `process_environment`,
which `tests/chaos/shim/sitecustomize.py` reads when they start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from msgspec import structs

from worker import errors, fate
from worker.delivery import delivery, unknown_outcome
from worker.delivery.context import DeliveryRun
from worker.ledger import Ledger
from worker.ledger.rollback import StoreStatus
from worker.ledger.schedule import Schedule
from worker.queue.leases import Lease
from worker.store import keys, scripts

ENV_VARIABLE = "CHAOS_WITHOUT"

_settle, _source = unknown_outcome.settle_announced_create, scripts.source
_claim, _learn, _store_status = Ledger.claim, Ledger.learn, Ledger.store_status


def _repeat_blindly(run: DeliveryRun, _: fate.Policy) -> None:
    """An announced create is neither left to settle nor looked for: it is simply sent again."""
    if run.record.announced is not None:
        run.leases.announce(run.lease, run.record.announced)
        run.record_facts(run.record.announced)


def _look_at_once(run: DeliveryRun, policy: fate.Policy) -> None:
    _settle(run, structs.replace(policy, settle_seconds=0.0))


def _wait_the_delay_only(case: fate.Case) -> fate.Fate:
    return fate._settle(
        structs.replace(case, policy=structs.replace(case.policy, settle_seconds=0.0))
    )


def _no_person_queues(
    self: Ledger, submission_id: str, token: str, lease_seconds: float, **_: str
) -> Any:
    return _claim(self, submission_id, token, lease_seconds)


def _write_nothing_down(
    self: Ledger, submission_id: str, token: str, step: str, _: Mapping[str, Any]
) -> None:
    _learn(self, submission_id, token, step, {})


def _no_lookup(self: Ledger, *args: str, **options: Any) -> StoreStatus:
    return structs.replace(_store_status(self, *args, **options), needs_lookup=False)


def _script(name: str, old: str, new: str) -> Callable[[str], str]:
    """Replace a text in one of the scripts. Raises ValueError if the text is not there."""
    if old not in _source(name):
        raise ValueError(f"{name}.lua has no {old!r}")

    def source(script: str, account: keys.Account = keys.DEFAULT_ACCOUNT) -> str:
        text = _source(script, account)
        return text.replace(old, new) if script == name else text

    return source


def _attribute(owner: Any, name: str, other: Any) -> Callable[[], Any]:
    return lambda: mock.patch.object(owner, name, other)


LEASE_CHECK = "if get(id, 'state') ~= 'delivering' or get(id, 'lease') ~= token then return 0 end"
FIRST = "if key then first = redis.call('GET', key) end"

SWITCHES: dict[str, tuple[Callable[[], Any], ...]] = {
    "look-up": (_attribute(delivery, "settle_announced_create", _repeat_blindly),),
    "settle-time": (
        _attribute(delivery, "settle_announced_create", _look_at_once),
        lambda: mock.patch.dict(fate.FATES, {errors.OutcomeUnknown: _wait_the_delay_only}),
    ),
    "lease-deadline": (_attribute(Lease, "must_hold", lambda *_: None),),
    "lease-token": (
        lambda: mock.patch.object(scripts, "source", _script("ledger/announce", LEASE_CHECK, "")),
    ),
    "duplicate-key": (
        lambda: mock.patch.object(scripts, "source", _script("ledger/accept", FIRST, "")),
    ),
    "person-queue": (_attribute(Ledger, "claim", _no_person_queues),),
    "sweeper": (_attribute(Schedule, "abandoned", lambda *_: []),),
    "recorded-steps": (_attribute(Ledger, "learn", _write_nothing_down),),
    "rollback-lookup": (_attribute(Ledger, "store_status", _no_lookup),),
}
"""Name of a protection -> what takes it out.

`look-up`         an announced create with unknown outcome is looked for before it is repeated
`settle-time`     ... and not before it had time to be committed
`lease-deadline`  a process that was stopped asks its own clock right before a create
`lease-token`     a create is announced only under the lease that is in force
`duplicate-key`   record and duplicate key are one atomic step
`person-queue`    deliveries for one person go one after the other
`sweeper`         what a dead worker held goes back into the queue
`recorded-steps`  each id is written down before the next call
`rollback-lookup` what Redis may have forgotten is looked for before anything of it is made
"""


@contextmanager
def disable_protections(*names: str) -> Iterator[None]:
    """Disable protections in this process, then enable them again. Raises KeyError for a wrong name."""
    with ExitStack() as stack:
        for name in names:
            for switch in SWITCHES[name]:
                stack.enter_context(switch())
        yield


def process_environment(*names: str) -> dict[str, str]:
    """The environment variables under which a process runs without these protections."""
    here = Path(__file__).resolve().parent
    return {
        ENV_VARIABLE: ",".join(names),
        "PYTHONPATH": os.pathsep.join([str(here / "shim"), str(here.parents[1])]),
    }
