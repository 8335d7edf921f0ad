"""Creates with unknown outcome: let them settle, look for what they made, adopt it or let the step be tried again.

Pipedrive has no idempotency key, so a create whose answer was lost cannot be repeated blindly. It may also still be
committing when its connection breaks, so it settles first. Only list endpoints are asked: the search index lags.
"""

from __future__ import annotations

from collections.abc import Callable

from worker.contract import Result
from worker.delivery.run import Run
from worker.doubles import suspect
from worker.errors import Settling
from worker.memory import normal_name
from worker.note import marks

SKEW_SECONDS = 300.0
"""How far Pipedrive's clock may be behind ours when the newest persons are looked through."""


def settle(run: Run, seconds: float) -> None:
    """Clears up an announced create. Raises `Settling` while it is too young to be looked for."""
    step, announced_at = run.record.announced, run.record.announced_at
    if step is None or announced_at is None:
        return
    # By the clock that wrote the announcement: a worker's own may be an hour ahead.
    if run.ledger.now() < announced_at + seconds:
        raise Settling(step, announced_at + seconds)
    run.step = f"look for the {step}"
    facts = LOOK[step](run, announced_at)
    run.note_down(f"look for the {step}", "adopted" if facts else "absent")
    if not facts:
        suspect(run.ledger.redis, run.record.id, step, run.ledger.now())
    # The announcement changes hands first, so that a late answer to the old one cannot be taken for the new one's.
    run.leases.announce(run.lease, step)
    run.learn(step, **facts)


def _organization(run: Run, announced_at: float) -> dict[str, str | int | None]:
    wanted = normal_name(run.plan.organization or "")
    for found in run.pipedrive.organizations.newest(since=announced_at - SKEW_SECONDS):
        if normal_name(found.name or "") == wanted:
            return {"organization_id": found.id}
    return {}


def _person(run: Run, announced_at: float) -> dict[str, str | int | None]:
    """The newest persons by e-mail, else phone, else (a person who gave neither) by name."""
    email, phone, name = run.lead.email, run.lead.phone, run.plan.person.name if run.plan.person else None
    for found in run.pipedrive.persons.newest(since=announced_at - SKEW_SECONDS):
        emails = {entry.value.casefold() for entry in found.emails}
        phones = {entry.value for entry in found.phones}
        if email.casefold() in emails if email else phone in phones if phone else found.name == name:
            return {"person_id": found.id, "person_created": 1}
    return {}


def _lead(run: Run, _: float) -> dict[str, str | int | None]:
    """By `origin_id` among the person's (else the organisation's) leads, open and archived, and deals it was converted to.

    Every origin_id holds the submission's id, which is compared: its template may have changed since the create.
    """
    target = {"person_id": run.person_id} if run.person_id is not None else {"organization_id": run.organization_id}
    for found in [*run.pipedrive.leads.of(**target), *run.pipedrive.leads.archived_of(**target)]:
        if run.record.id in (found.origin_id or ""):
            return {"lead_id": found.id, "result": Result.CREATED}
    deal_target = {"person_id": run.person_id} if run.person_id is not None else {"org_id": run.organization_id}
    for deal in run.pipedrive.deals.of(**deal_target):
        if run.record.id in (deal.origin_id or ""):
            return {"lead_id": deal.source_lead_id or f"deal:{deal.id}", "result": Result.CREATED}
    return {}


def _note(run: Run, _: float) -> dict[str, str | int | None]:
    for found in run.pipedrive.notes.of_lead(run.lead_id or ""):
        if marks(found.content or "", run.record.id):
            return {"note_id": found.id}
    return {}


LOOK: dict[str, Callable[[Run, float], dict[str, str | int | None]]] = {
    "organization": _organization,
    "person": _person,
    "lead": _lead,
    "note": _note,
}
"""How each create is looked for; its keys are the names that are announced."""
