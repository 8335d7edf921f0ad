"""The ways a crash scan walks: how each begins, which process dies on it, and what must be true at
home.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec import structs

from tests.chaos.courier import Order, Report
from tests.chaos.ground import Ground
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.contract import Result, State
from worker.erasure.erasure import erase
from worker.erasure.retention import Retention
from worker.ledger import Record
from worker.metrics import SUBMISSIONS, series
from worker.settings import Settings
from worker.store import keys

EMAIL = "new@example.com"
AWAY = "unix:///nowhere/leadline.sock"
FORM = urlencode({"name": "Ada", "email": EMAIL, "message": "hello"})
FULL = {"note": True, "organization": True}
DROPPED = {"kind": "commit-then-drop"}

Problems = list[str]


@dataclass(frozen=True)
class Way:
    """`begin` sets the scene, `order` is what the process that dies was to do, `after` what its
    surroundings do about it.
    """

    name: str
    about: str
    begin: Callable[[Ground], None]
    order: Callable[[Ground], Order]
    judge: Callable[[Ground], Problems]
    after: Callable[[Ground, Report], Problems] = lambda _, __: []


def work(ground: Ground) -> Order:
    return ground.order("work")


def accepted(ground: Ground, **lead: str) -> str:
    return ground.road.accept(**{"email": EMAIL, "message": "hello"} | lead)


def dying(order: Order, at: int) -> Order:
    """The same, in a process that dies before its `at`-th message leaves."""
    return structs.replace(order, at=at)


# -- deliveries
# --------------------------------------------------------------------------------------------------


def new(ground: Ground) -> None:
    ground.reset(**FULL)
    accepted(ground, company="Acme Ltd")


def known(ground: Ground) -> None:
    """The person has an open lead of ours."""
    ground.reset(note=True)
    accepted(ground)
    ground.home()
    accepted(ground, message="again")


def refused_search(ground: Ground) -> None:
    new(ground)
    ground.account.fault(
        {"operation": "persons.search", "count": 1}, {"kind": "answer", "status": 503}
    )


def lost_answer(ground: Ground) -> None:
    new(ground)
    ground.account.fault({"operation": "leads.add", "count": 1}, DROPPED)


def to_be_looked_for(ground: Ground) -> None:
    """Every create of it was committed, and its answer lost; the lead's is to be looked for now."""
    lost_answer(ground)
    ground.courier.send(ground.order("work"))
    ground.road.ahead(100)
    ground.road.sweeper.sweep()


def unknown_label(ground: Ground) -> None:
    ground.reset(labels=["No such label"])
    accepted(ground)


def dead(ground: Ground) -> None:
    """Died of the source file, which was mended since."""
    unknown_label(ground)
    ground.home()
    ground.mended(labels=["Website"], note=True)


def replay(ground: Ground) -> Order:
    return ground.order("replay", id=ground.records()[0].id)


def replayed(ground: Ground) -> None:
    dead(ground)
    ground.road.sweeper.replay(ground.records()[0].id, "kim", "", None)


def due(ground: Ground) -> None:
    """Waits for its retry, whose time has come."""
    refused_search(ground)
    ground.courier.send(ground.order("work"))
    ground.road.ahead(100)


def replay_again(ground: Ground, report: Report) -> Problems:
    """The operator whose command died looks, and repeats it where it did nothing."""
    [record] = ground.records()
    if record.state is State.DEAD:
        ground.road.sweeper.replay(record.id, "kim", "", None)
    return (
        []
        if record.state in (State.DEAD, State.QUEUED)
        else [f"after the replay it is {record.state} ({report})"]
    )


# -- accepting
# --------------------------------------------------------------------------------------------------


def nothing(ground: Ground) -> None:
    ground.reset(note=True)


def post(ground: Ground, url: str | None = None) -> Order:
    order = ground.order("post", key="k1", form=FORM)
    return order if url is None else structs.replace(order, redis=url, env=ground.env(url))


def spooled_before(ground: Ground) -> None:
    """A submission lies in the spool of a process that is gone."""
    nothing(ground)
    report = ground.courier.send(post(ground, AWAY))
    assert [status for status, _ in report.told] == [202]
    assert count_spooled(ground.data / SPOOL_FOLDER) == 1


def sender_again(ground: Ground, report: Report) -> Problems:
    """The next service drains what is left; a sender without an answer posts again, with the same
    key.
    """
    told = [body for status, body in report.told if status == 202]
    if not told:
        again = ground.courier.send(post(ground))
        told = [body for status, body in again.told if status == 202]
    if count_spooled(ground.data / SPOOL_FOLDER):
        ground.courier.send(ground.order("drain"))
    left = count_spooled(ground.data / SPOOL_FOLDER)
    ids = {found[0] for body in told for found in [re.findall(r'"id":"(\w+)"', body)]}
    lost = [submission_id for submission_id in ids if ground.road.ledger.get(submission_id) is None]
    return [f"{left} still in the spool"] * bool(left) + [f"{lost} acknowledged and lost"] * bool(
        lost
    )


# -- erasing
# --------------------------------------------------------------------------------------------------

MONTH = 31 * 86_400.0


def several(ground: Ground) -> None:
    """One of the person's is delivered, others have yet to be."""
    ground.reset(note=True)
    accepted(ground)
    ground.home()
    for number in range(3):
        accepted(ground, message=f"again {number}")


def erased_again(ground: Ground, _: Report) -> Problems:
    """The operator asks again, and is told of everything that is in Pipedrive."""
    ledger = ground.road.ledger
    told = erase(ledger, ("email", EMAIL), "kim", pause=lambda _: ground.road.ahead(1.0))
    account, guessed = ground.account.state(), {each.step for each in told.unanswered}
    leads = {lead["id"] for lead in account["leads"]} - set(told.leads)
    persons = {person["id"] for person in account["persons"]} - set(told.persons)
    problems = (
        [f"{leads} in the account, and nobody is told"] if leads and "lead" not in guessed else []
    )
    problems += (
        [f"{persons} in the account, and nobody is told"]
        if persons and "person" not in guessed
        else []
    )
    return problems + [f"left: {told.left}"] * bool(told.left)


def old(ground: Ground) -> None:
    """The time of one content is over, and that of another's receipt."""
    ground.reset()
    for _ in range(2):
        accepted(ground)
        ground.home()
        ground.road.ahead(MONTH)
        if len(ground.records()) == 1:
            retained(ground, Report(survived=True))


def retained(ground: Ground, _: Report) -> Problems:
    """The next worker takes its turn."""
    Retention(ground.road.ledger, Settings().retention).run(ground.road.clock())
    return []


# -- at home
# --------------------------------------------------------------------------------------------------


def once(ground: Ground) -> Problems:
    """One record, delivered; one person, one lead of its own, one note; one organisation where a
    company was named.
    """
    records = ground.records()
    if len(records) != 1:
        return [f"{len(records)} records"]
    company = records[0].lead is not None and records[0].lead.company
    return [
        *_ended(records[0], Result.CREATED),
        *_account(ground, leads=1, notes=1, organizations=int(bool(company))),
    ]


def labelled(ground: Ground) -> Problems:
    first, second = sorted(ground.records(), key=lambda record: record.id)
    return [
        *_ended(first, Result.CREATED),
        *_ended(second, Result.LABELLED),
        *_account(ground, leads=1, notes=2),
    ]


def died(ground: Ground) -> Problems:
    [record] = ground.records()
    wrong = (
        record.state is not State.DEAD
        or record.cause is None
        or record.cause.code != "unknown-name"
    )
    return [f"is {record.state}, {record.cause}"] * wrong + _account(
        ground, persons=0, leads=0, notes=0
    )


def erased(ground: Ground) -> Problems:
    """Every submission of the person is erased and nothing of it remembered; the books balance."""
    problems = [
        f"{record.id} is {record.state}"
        for record in ground.records()
        if record.state is not State.ERASED
    ]
    problems += [
        f"{record.id} has content"
        for record in ground.records()
        if record.lead or record.raw or record.cause
    ]
    problems += ["the person is remembered"] * bool(
        ground.redis.exists(keys.DEFAULT_ACCOUNT.person("email", EMAIL))
    )
    return problems + _left(ground)


def receipted(ground: Ground) -> Problems:
    """One receipt, one that is not even that any more; both count."""
    states = [record.state for record in ground.records()]
    problems = [f"the records are {states}"] * (states != [State.ERASED])
    problems += [f"{ground.counts()[State.ERASED]} count as erased"] * (
        ground.counts()[State.ERASED] != 2
    )
    return problems + _left(ground)


def _ended(record: Record, result: Result) -> Problems:
    if (record.state, record.result) == (State.DELIVERED, result):
        return []
    return [f"{record.id} is {record.state} {record.result}: {record.cause}"]


def _account(
    ground: Ground, *, leads: int, notes: int, persons: int = 1, organizations: int = 0
) -> Problems:
    """Nothing twice, nothing missing; and nothing of the machinery left over."""
    account = ground.account.state()
    wanted = {"persons": persons, "leads": leads, "notes": notes, "organizations": organizations}
    found = {kind: len(account[kind]) for kind in wanted}
    problems = [f"{found} in the account, wanted {wanted}"] if found != wanted else []
    origins = [lead["origin_id"] for lead in account["leads"]]
    if len(origins) != len(set(origins)):
        problems.append(f"doubled by origin_id: {origins}")
    return problems + _left(ground)


def _left(ground: Ground) -> Problems:
    """Nothing of the machinery is left over, and the books balance."""
    left = list(ground.redis.scan_iter(f"{keys.DEFAULT_ACCOUNT.prefix}person_queue:*")) + [
        key for key in (keys.LEASES, keys.DUE) if ground.redis.exists(key)
    ]
    problems = [f"left over: {left}"] if left else []
    accepted_count = int(
        float(
            ground.redis.hget(
                keys.METRICS, series(SUBMISSIONS, source="contact", outcome="accepted")
            )
            or 0
        )
    )
    stored = sum(ground.counts().values())
    return (
        problems
        if stored == accepted_count
        else [*problems, f"{accepted_count} accepted, {stored} in the states"]
    )


DELIVERIES: Sequence[Way] = (
    Way("created", "new person, organisation, lead and note", new, work, once),
    Way("labelled", "a known person's open lead and a note", known, work, labelled),
    Way("waits", "Pipedrive answers 503, and it is tried again later", refused_search, work, once),
    Way("settles", "the lead is committed and its answer lost", lost_answer, work, once),
    Way("looks", "the lead of an earlier try is looked for and adopted", to_be_looked_for, work, once),
    Way("dies", "a label that the account does not have", unknown_label, work, died),
    Way("replay", "an operator's command: a dead letter back into the queue", dead, replay, once, replay_again),
    Way("replayed", "the delivery after that", replayed, work, once),
    Way("sweep", "what is due goes back into the queue", due, lambda g: g.order("sweep"), once),
)  # fmt: skip

ACCEPTING: Sequence[Way] = (
    Way("post", "a request, while Redis is there", nothing, post, once, sender_again),
    Way("post-spooled", "a request, while Redis is away", nothing, lambda g: post(g, AWAY), once, sender_again),
    Way("drain", "the hand-over of what was spooled", spooled_before, lambda g: g.order("drain"),
    once,
        sender_again),
)  # fmt: skip

ERASING: Sequence[Way] = (
    Way("erase", "an operator's command: a person with several submissions", several,
        lambda g: g.order("erase", key=EMAIL), erased, erased_again),
    Way("erased", "a delivery that dies, and then its submission is erased", new, work, erased, erased_again),
    Way("retention", "content whose time is over, and receipts", old, lambda g: g.order("retain"), receipted, retained),
)  # fmt: skip

WAYS = {way.name: way for way in (*ACCEPTING, *DELIVERIES, *ERASING)}
