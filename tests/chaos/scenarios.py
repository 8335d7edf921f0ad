"""The scenarios of a crash scan: how each begins, which task dies, what must hold at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec import structs

from tests.chaos.environment import CrashEnvironment
from tests.chaos.victim import Task, TaskReport
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.contract import Result, State
from worker.erasure.erasure import erase
from worker.erasure.retention import RetentionSweep
from worker.ledger import Record
from worker.metrics import SUBMISSIONS, series
from worker.settings.table import Settings
from worker.store import keys

EMAIL = "new@example.com"
UNREACHABLE_REDIS = "unix:///nowhere/leadline.sock"
FORM = urlencode({"name": "Ada", "email": EMAIL, "message": "hello"})
FULL_SETTINGS = {"note": True, "organization": True}
ANSWER_LOST = {"kind": "commit-then-drop"}

Problems = list[str]


@dataclass(frozen=True)
class Scenario:
    """`set_up` prepares it, `build_task` is what the dying process does, `recover` what follows.

    `find_problems` then checks the store and the account.
    """

    name: str
    description: str
    set_up: Callable[[CrashEnvironment], None]
    build_task: Callable[[CrashEnvironment], Task]
    find_problems: Callable[[CrashEnvironment], Problems]
    recover: Callable[[CrashEnvironment, TaskReport], Problems] = lambda _, __: []


def work_task(environment: CrashEnvironment) -> Task:
    return environment.build_task("work")


def accept(environment: CrashEnvironment, **lead: str) -> str:
    return environment.pipeline.accept(**{"email": EMAIL, "message": "hello"} | lead)


def dying_task(task: Task, point: int) -> Task:
    """The same task, in a process that dies before its `point`-th message leaves."""
    return structs.replace(task, point=point)


# -- deliveries
# --------------------------------------------------------------------------------------------------


def new_person(environment: CrashEnvironment) -> None:
    environment.reset(**FULL_SETTINGS)
    accept(environment, company="Acme Ltd")


def known_person(environment: CrashEnvironment) -> None:
    """The person has an open lead of ours."""
    environment.reset(note=True)
    accept(environment)
    environment.finish()
    accept(environment, message="again")


def failed_search(environment: CrashEnvironment) -> None:
    new_person(environment)
    environment.account.fault(
        {"operation": "persons.search", "count": 1}, {"kind": "answer", "status": 503}
    )


def lost_answer(environment: CrashEnvironment) -> None:
    new_person(environment)
    environment.account.fault({"operation": "leads.add", "count": 1}, ANSWER_LOST)


def create_to_look_up(environment: CrashEnvironment) -> None:
    """Every create was committed and its answer lost; now the lead must be looked up."""
    lost_answer(environment)
    environment.victim.perform(environment.build_task("work"))
    environment.pipeline.advance(100)
    environment.pipeline.sweeper.sweep()


def refused_person(environment: CrashEnvironment) -> None:
    """The person is remembered, and merged into another one right before the lead is created."""
    environment.reset(note=True, existing="new")
    accept(environment)
    environment.finish()
    accept(environment, message="again")
    environment.account.fault(
        {"operation": "leads.add", "count": 1},
        {"kind": "meanwhile", "change": "merge-person", "status": 400},
    )


def converted_lead(environment: CrashEnvironment) -> None:
    """The lead becomes a deal right before its note is created."""
    new_person(environment)
    environment.account.fault(
        {"operation": "notes.add"}, {"kind": "meanwhile", "change": "convert-lead"}
    )


def unknown_label(environment: CrashEnvironment) -> None:
    environment.reset(labels=["No such label"])
    accept(environment)


def repaired_dead_letter(environment: CrashEnvironment) -> None:
    """Dead because of the source file, which has been repaired since."""
    unknown_label(environment)
    environment.finish()
    environment.change_lead_settings(labels=["Website"], note=True)


def replay_task(environment: CrashEnvironment) -> Task:
    return environment.build_task("replay", submission_id=environment.records()[0].id)


def replayed_dead_letter(environment: CrashEnvironment) -> None:
    repaired_dead_letter(environment)
    environment.pipeline.sweeper.replay(environment.records()[0].id, "kim", "", None)


def due_retry(environment: CrashEnvironment) -> None:
    """It waits for its retry, which is due now."""
    failed_search(environment)
    environment.victim.perform(environment.build_task("work"))
    environment.pipeline.advance(100)


def replay_again(environment: CrashEnvironment, report: TaskReport) -> Problems:
    """The operator whose command died looks, and repeats it if it did nothing."""
    [record] = environment.records()
    if record.state is State.DEAD:
        environment.pipeline.sweeper.replay(record.id, "kim", "", None)
    return (
        []
        if record.state in (State.DEAD, State.QUEUED)
        else [f"after the replay it is {record.state} ({report})"]
    )


# -- accepting
# --------------------------------------------------------------------------------------------------


def empty_store(environment: CrashEnvironment) -> None:
    environment.reset(note=True)


def post_task(environment: CrashEnvironment, url: str | None = None) -> Task:
    task = environment.build_task("post", key="k1", form=FORM)
    return task if url is None else structs.replace(task, redis_url=url, env=environment.env(url))


def journaled_post_task(environment: CrashEnvironment) -> Task:
    task = post_task(environment)
    return structs.replace(task, env=task.env | {"LEADLINE_JOURNAL": "always"})


def spooled_before(environment: CrashEnvironment) -> None:
    """A submission is in the spool of a process that is gone."""
    empty_store(environment)
    report = environment.victim.perform(post_task(environment, UNREACHABLE_REDIS))
    assert [status for status, _ in report.responses] == [202]
    assert count_spooled(environment.data_dir / SPOOL_FOLDER) == 1


def post_after_a_loss(environment: CrashEnvironment, report: TaskReport) -> Problems:
    """Redis loses everything as well; the next service hands the journal over."""
    environment.empty_redis()
    environment.victim.perform(environment.build_task("drain"))
    return post_again(environment, report)


def post_again(environment: CrashEnvironment, report: TaskReport) -> Problems:
    """The next service drains the spool; a sender without an answer posts again with the same key."""
    bodies = [body for status, body in report.responses if status == 202]
    if not bodies:
        again = environment.victim.perform(post_task(environment))
        bodies = [body for status, body in again.responses if status == 202]
    if count_spooled(environment.data_dir / SPOOL_FOLDER):
        environment.victim.perform(environment.build_task("drain"))
    left = count_spooled(environment.data_dir / SPOOL_FOLDER)
    ids = {ids_in_body[0] for body in bodies for ids_in_body in [re.findall(r'"id":"(\w+)"', body)]}
    lost = [
        submission_id
        for submission_id in ids
        if environment.pipeline.ledger.get(submission_id) is None
    ]
    return [f"{left} still in the spool"] * bool(left) + [f"{lost} acknowledged and lost"] * bool(
        lost
    )


# -- erasing
# --------------------------------------------------------------------------------------------------

MONTH = 31 * 86_400.0


def several_submissions(environment: CrashEnvironment) -> None:
    """One submission of the person is delivered, others are not yet."""
    environment.reset(note=True)
    accept(environment)
    environment.finish()
    for number in range(3):
        accept(environment, message=f"again {number}")


def erase_again(environment: CrashEnvironment, _: TaskReport) -> Problems:
    """The operator erases again, and the report names everything that is in Pipedrive."""
    ledger = environment.pipeline.ledger
    erasure = erase(
        ledger, ("email", EMAIL), "kim", pause=lambda _: environment.pipeline.advance(1.0)
    )
    account, guessed = environment.account.state(), {each.step for each in erasure.unanswered}
    leads = {lead["id"] for lead in account["leads"]} - set(erasure.leads)
    persons = {person["id"] for person in account["persons"]} - set(erasure.persons)
    problems = (
        [f"{leads} in the account, and not reported"] if leads and "lead" not in guessed else []
    )
    problems += (
        [f"{persons} in the account, and not reported"]
        if persons and "person" not in guessed
        else []
    )
    return problems + [f"left: {erasure.unfinished}"] * bool(erasure.unfinished)


def expired(environment: CrashEnvironment) -> None:
    """The retention of one submission's content is over, and that of another one's receipt."""
    environment.reset()
    for _ in range(2):
        accept(environment)
        environment.finish()
        environment.pipeline.advance(MONTH)
        if len(environment.records()) == 1:
            run_retention(environment, TaskReport(survived=True))


def run_retention(environment: CrashEnvironment, _: TaskReport) -> Problems:
    """The next worker runs the retention."""
    RetentionSweep(environment.pipeline.ledger, Settings().retention).run(
        environment.pipeline.clock()
    )
    return []


# -- at the end
# --------------------------------------------------------------------------------------------------


def check_delivered_once(environment: CrashEnvironment) -> Problems:
    """One delivered record; one person, lead and note; one organisation if a company was named."""
    records = environment.records()
    if len(records) != 1:
        return [f"{len(records)} records"]
    company = records[0].lead is not None and records[0].lead.company
    return [
        *_check_delivered(records[0], Result.CREATED),
        *_check_account(environment, leads=1, notes=1, organizations=int(bool(company))),
    ]


def check_labelled(environment: CrashEnvironment) -> Problems:
    first, second = sorted(environment.records(), key=lambda record: record.id)
    return [
        *_check_delivered(first, Result.CREATED),
        *_check_delivered(second, Result.LABELLED),
        *_check_account(environment, leads=1, notes=2),
    ]


def check_created_twice(environment: CrashEnvironment) -> Problems:
    """Two leads of the one person who is left, each with its note."""
    person_ids = {lead["person_id"] for lead in environment.account.state()["leads"]}
    persons = {person["id"] for person in environment.account.state()["persons"]}
    problems = [f"the leads are of {person_ids}, not of {persons}"] * (person_ids != persons)
    for record in environment.records():
        problems += _check_delivered(record, Result.CREATED)
    return problems + _check_account(environment, leads=2, notes=2)


def check_converted(environment: CrashEnvironment) -> Problems:
    """One deal with the note, and no lead."""
    [record] = environment.records()
    account = environment.account.state()
    deal_ids = [note["deal_id"] for note in account["notes"]]
    problems = [f"the notes are on the deals {deal_ids}"] * (
        deal_ids != [deal["id"] for deal in account["deals"]]
    )
    return [
        *problems,
        *_check_delivered(record, Result.CREATED),
        *_check_account(environment, leads=0, notes=1, organizations=1),
    ]


def check_dead(environment: CrashEnvironment) -> Problems:
    [record] = environment.records()
    wrong = (
        record.state is not State.DEAD
        or record.cause is None
        or record.cause.code != "unknown-name"
    )
    return [f"is {record.state}, {record.cause}"] * wrong + _check_account(
        environment, persons=0, leads=0, notes=0
    )


def check_erased(environment: CrashEnvironment) -> Problems:
    """Every submission of the person is erased, nothing of them is kept, and the counts agree."""
    problems = [
        f"{record.id} is {record.state}"
        for record in environment.records()
        if record.state is not State.ERASED
    ]
    problems += [
        f"{record.id} has content"
        for record in environment.records()
        if record.lead or record.raw or record.cause
    ]
    problems += ["the person is remembered"] * bool(
        environment.redis.exists(keys.DEFAULT_ACCOUNT.person("email", EMAIL))
    )
    return problems + _check_leftovers(environment)


def check_receipts(environment: CrashEnvironment) -> Problems:
    """One has a receipt, the other not even that any more; both count as erased."""
    states = [record.state for record in environment.records()]
    problems = [f"the records are {states}"] * (states != [State.ERASED])
    problems += [f"{environment.counts()[State.ERASED]} count as erased"] * (
        environment.counts()[State.ERASED] != 2
    )
    return problems + _check_leftovers(environment)


def _check_delivered(record: Record, result: Result) -> Problems:
    if (record.state, record.result) == (State.DELIVERED, result):
        return []
    return [f"{record.id} is {record.state} {record.result}: {record.cause}"]


def _check_account(
    environment: CrashEnvironment,
    *,
    leads: int,
    notes: int,
    persons: int = 1,
    organizations: int = 0,
) -> Problems:
    """Nothing twice, nothing missing, nothing left over."""
    account = environment.account.state()
    expected = {"persons": persons, "leads": leads, "notes": notes, "organizations": organizations}
    counts = {kind: len(account[kind]) for kind in expected}
    problems = [f"{counts} in the account, wanted {expected}"] if counts != expected else []
    origins = [lead["origin_id"] for lead in account["leads"]]
    if len(origins) != len(set(origins)):
        problems.append(f"doubled by origin_id: {origins}")
    return problems + _check_leftovers(environment)


def _check_leftovers(environment: CrashEnvironment) -> Problems:
    """No queue, lease or due entry is left over, and the counts agree."""
    left = list(environment.redis.scan_iter(f"{keys.DEFAULT_ACCOUNT.prefix}person_queue:*")) + [
        key for key in (keys.LEASES, keys.DUE) if environment.redis.exists(key)
    ]
    problems = [f"left over: {left}"] if left else []
    accepted_count = int(
        float(
            environment.redis.hget(
                keys.METRICS, series(SUBMISSIONS, source="contact", outcome="accepted")
            )
            or 0
        )
    )
    stored = sum(environment.counts().values())
    return (
        problems
        if stored == accepted_count
        else [*problems, f"{accepted_count} accepted, {stored} in the states"]
    )


DELIVERIES: Sequence[Scenario] = (
    Scenario("created", "new person, organisation, lead and note", new_person, work_task, check_delivered_once),
    Scenario("labelled", "a known person's open lead and a note", known_person, work_task, check_labelled),
    Scenario("waits", "Pipedrive answers 503, and it is tried again later", failed_search, work_task, check_delivered_once),
    Scenario("settles", "the lead is committed and its answer lost", lost_answer, work_task, check_delivered_once),
    Scenario("looks", "the lead of an earlier try is looked for and adopted", create_to_look_up, work_task, check_delivered_once),
    Scenario("refused", "a remembered person is refused and resolved afresh", refused_person, work_task, check_created_twice),
    Scenario("converted", "the lead becomes a deal before its note", converted_lead, work_task, check_converted),
    Scenario("dies", "a label that the account does not have", unknown_label, work_task, check_dead),
    Scenario("replay", "an operator's command: a dead letter back into the queue", repaired_dead_letter, replay_task, check_delivered_once, replay_again),
    Scenario("replayed", "the delivery after that", replayed_dead_letter, work_task, check_delivered_once),
    Scenario("sweep", "what is due goes back into the queue", due_retry, lambda env: env.build_task("sweep"), check_delivered_once),
)  # fmt: skip

ACCEPTING: Sequence[Scenario] = (
    Scenario("post", "a request, while Redis is there", empty_store, post_task, check_delivered_once, post_again),
    Scenario("post-journaled", "a request, while Redis may lose it, and then does", empty_store, journaled_post_task, check_delivered_once, post_after_a_loss),
    Scenario("post-spooled", "a request, while Redis is away", empty_store, lambda env: post_task(env, UNREACHABLE_REDIS), check_delivered_once, post_again),
    Scenario("drain", "the hand-over of what was spooled", spooled_before, lambda env: env.build_task("drain"),
    check_delivered_once,
        post_again),
)  # fmt: skip

ERASING: Sequence[Scenario] = (
    Scenario("erase", "an operator's command: a person with several submissions", several_submissions,
        lambda env: env.build_task("erase", key=EMAIL), check_erased, erase_again),
    Scenario("erased", "a delivery that dies, and then its submission is erased", new_person, work_task, check_erased, erase_again),
    Scenario("retention", "content whose time is over, and receipts", expired, lambda env: env.build_task("retain"), check_receipts, run_retention),
)  # fmt: skip

SCENARIOS = {scenario.name: scenario for scenario in (*ACCEPTING, *DELIVERIES, *ERASING)}
