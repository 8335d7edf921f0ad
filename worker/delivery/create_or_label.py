"""The lead of a delivery: created, or labelled where the person has an open one or an open deal.

Each step checks whether it is done already, does it if not, and records it.
"""

from __future__ import annotations

from msgspec import structs

from worker.contract import Result
from worker.delivery import unknown_outcome
from worker.delivery.contacts import assign_owner, identities_in_cache
from worker.delivery.context import DeliveryRun
from worker.delivery.refused import LEAD
from worker.errors import Forbidden, Gone, Invalid
from worker.ledger.contact_cache import CachedPerson
from worker.pipedrive.models import (
    Deal,
    PipedriveLead,
    parse_timestamp,
)
from worker.pipedrive.request_bodies import (
    ResolvedNames,
    lead_body,
    lead_patch,
)


def create_or_label_lead(
    run: DeliveryRun, person: CachedPerson | None, names: ResolvedNames
) -> None:
    """Label the person's open lead if the source wants that and there is one, else create one."""
    if run.lead_id is not None:
        if not run.lead_id.startswith(unknown_outcome.DEAL_PREFIX):
            _remember_adopted_lead(run, person, run.lead_id)
        return
    if run.plan.existing == "label" and person is not None:
        open_lead = _find_open_lead(run, person)
        if open_lead is not None:
            _label_lead(run, open_lead, names)
            return
        open_deal = _find_open_deal(run, person.person_id)
        if open_deal is not None:
            _label_deal(run, open_deal, names)
            return
    _create_lead(run, names)


def _remember_adopted_lead(run: DeliveryRun, person: CachedPerson | None, lead_id: str) -> None:
    """Remember a lead for the person's next submission to label.

    An earlier attempt created it, or it was found after its create had an unknown outcome.
    """
    if person is not None and person.lead_id is None:
        _remember_lead(run, lead_id, run.record.received_at)


def _remember_lead(run: DeliveryRun, lead_id: str, added_at: float) -> None:
    for identity in identities_in_cache(run):
        run.contacts.remember_lead(*identity, lead_id, added_at)


def _find_open_lead(run: DeliveryRun, person: CachedPerson) -> PipedriveLead | None:
    """Return the lead to label, if any.

    That is the remembered lead, else, for a person that we did not create, the newest open lead. By
    one of two identities we may not remember what came by the other.
    """
    after = run.plan.existing_since
    if person.lead_id is not None:
        lead = read_open_lead(run, person.lead_id)
        if lead is not None:
            return lead if parse_timestamp(lead.add_time) >= after else None
        for identity in identities_in_cache(run):
            run.contacts.forget_lead(*identity)
    if person.created and (len(run.identities) == 1 or run.person_created):
        return None
    leads = [
        lead
        for lead in run.pipedrive.leads.list_all_of_person(person.person_id)
        if _is_open(lead) and lead.id not in (person.lead_id, run.refused.get(LEAD))
    ]
    newest = max(leads, key=lambda lead: parse_timestamp(lead.add_time), default=None)
    return newest if newest is not None and parse_timestamp(newest.add_time) >= after else None


def read_open_lead(run: DeliveryRun, lead_id: str) -> PipedriveLead | None:
    """Return a lead that can still be labelled; None if it is gone, archived or was refused."""
    if lead_id == run.refused.get(LEAD):
        return None
    try:
        lead = run.pipedrive.leads.get(lead_id)
    except Gone:
        return None
    return lead if _is_open(lead) else None


def _is_open(lead: PipedriveLead) -> bool:
    return not lead.is_archived and not lead.is_deleted


def _label_lead(run: DeliveryRun, lead: PipedriveLead, names: ResolvedNames) -> None:
    """Add the labels and fill empty channel fields.

    Pipedrive replaces the whole list of labels, so the lead is read first. The update can safely be
    repeated, so it is not announced.
    """
    changes = lead_patch(run.plan, names, lead=structs.asdict(lead))
    if changes:
        try:
            run.pipedrive.leads.update(lead.id, changes)
        except Invalid as error:
            _narrow_down(run, lead, error)
            raise
    run.record_facts("", lead_id=lead.id, result=Result.LABELLED)
    _remember_lead(run, lead.id, parse_timestamp(lead.add_time))


def _find_open_deal(run: DeliveryRun, person_id: int) -> Deal | None:
    """Return the open deal that changed last, if the source wants that; none of a new person."""
    if not run.plan.existing_deals or run.person_created:
        return None
    deals = run.pipedrive.deals.list_all(person_id=person_id, status="open")
    latest = max(deals, key=_last_change, default=None)
    return latest if latest and _last_change(latest) >= run.plan.existing_since else None


def _last_change(deal: Deal) -> float:
    return max(parse_timestamp(deal.add_time), parse_timestamp(deal.update_time))


def _label_deal(run: DeliveryRun, deal: Deal, names: ResolvedNames) -> None:
    """Add the labels that deals have too; the note follows, and stands for a lead.

    The update can safely be repeated, so it is not announced. If the credentials may not make it,
    the note is added all the same.
    """
    merged = list(dict.fromkeys([*deal.label_ids, *names.deal_label_ids]))
    if merged != deal.label_ids:
        try:
            run.pipedrive.deals.update(deal.id, {"label_ids": merged})
        except (Invalid, Forbidden) as error:
            run.record_attempt("lead", "left out", f"the deal could not be labelled: {error.code}")
    lead_id = f"{unknown_outcome.DEAL_PREFIX}{deal.id}"
    run.record_facts("", lead_id=lead_id, result=Result.LABELLED)


def _narrow_down(run: DeliveryRun, lead: PipedriveLead, error: Invalid) -> None:
    """Read a lead again whose update was refused without a reason.

    If it is still open, it is not the lead that was refused but a label or the channel; else a
    person archived or converted it since we read it.
    """
    stale = run.find_stale_ids(error)
    if LEAD in stale and len(stale) > 1:
        is_open = read_open_lead(run, lead.id) is not None
        error.sent_ids = {
            field: value
            for field, value in error.sent_ids.items()
            if (field == "lead_id") is not is_open
        }


def _create_lead(run: DeliveryRun, names: ResolvedNames) -> None:
    names = assign_owner(run, names)
    body = lead_body(run.plan, names, person_id=run.person_id, organization_id=run.organization_id)
    lead = run.create("lead", lambda: run.pipedrive.leads.add(body))
    run.record_facts("lead", lead_id=lead.id, result=Result.CREATED)
    if lead.origin_id == run.plan.origin_id:  # else the response does not show what was written
        written = {key for key, value in lead.custom.items() if value is not None}
        run.ignored_fields = frozenset(names.custom) - written
    _remember_lead(run, lead.id, run.clock())
