"""The steps of a delivery: organisation, person, lead or label, note.

Each step checks whether it is done already, does it if not, and records it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from msgspec import structs

from worker.contract import Json, Result
from worker.delivery import unknown_outcome
from worker.delivery.context import DeliveryRun
from worker.delivery.refused import LEAD, ORGANIZATION, PERSON, find_stale_ids
from worker.delivery.unknown_outcome import NOTE_TARGETS, NoteTarget, note_targets
from worker.errors import Forbidden, Gone, Invalid, Refused
from worker.lead.owner_turns import owner_in_turn
from worker.lead.uploads import UploadedFile
from worker.ledger.contact_cache import CachedPerson, normalize_name
from worker.ledger.identifiers import PersonIdentity, is_one_of
from worker.pipedrive.models import (
    Deal,
    Organization,
    Person,
    PipedriveLead,
    contact_texts,
    parse_timestamp,
)
from worker.pipedrive.request_bodies import (
    ONLY_WHEN_CREATED,
    ResolvedNames,
    SearchQuery,
    file_body,
    lead_body,
    lead_patch,
    missing_fields,
    note_body,
    organization_body,
    organization_search,
    person_body,
    person_searches,
)
from worker.store import keys
from worker.store.connection import call_redis


def resolve_organization(run: DeliveryRun, names: ResolvedNames) -> None:
    """Find the organisation in our cache, else by an exact search, else create it."""
    name = run.plan.organization
    if name is None or run.organization_id is not None:
        return
    organization_id = run.contacts.find_organization(name)
    if organization_id is not None and organization_id != run.refused.get(ORGANIZATION):
        run.record_facts("", organization_id=organization_id)
        return
    organization_id = _find_organization(run, name)
    if organization_id is not None:
        run.record_facts("", organization_id=organization_id)
    else:
        body = organization_body(name, assign_owner(run, names), run.plan.organization_details)
        created = run.create("organization", lambda: run.pipedrive.organizations.add(body))
        organization_id = created.id
        run.record_facts("organization", organization_id=organization_id)
    run.contacts.remember_organization(name, organization_id)


def assign_owner(run: DeliveryRun, names: ResolvedNames) -> ResolvedNames:
    """Return the names with the owner whose turn it is, if several take turns.

    The owner is recorded before anything is created, so that a retry does not change it; only a
    submission that creates something takes a turn.
    """
    if not names.owners:
        return names
    if run.owner_id not in [share.owner for share in names.owners]:
        run.record_facts("", owner_id=int(owner_in_turn(names.owners, _take_turn(run) - 1)))
    return structs.replace(names, owner_id=run.owner_id)


def _take_turn(run: DeliveryRun) -> int:
    """Count a turn of these owners over all workers; the first is 1."""
    owners = keys.digest(run.record.source, repr(run.plan.owners))
    key = run.ledger.account.owner_turns
    return int(call_redis(lambda: run.ledger.redis.hincrby(key, owners, 1)))


def enrich_contacts(run: DeliveryRun, names: ResolvedNames) -> None:
    """Add what an organisation and a person lack that existed before this submission."""
    plan, organization_id, person_id = run.plan, run.organization_id, run.person_id
    if not plan.enrich:
        return
    if plan.organization and organization_id and "organization" not in run.created_steps:
        body = organization_body(plan.organization, names, plan.organization_details)
        organizations = run.pipedrive.organizations
        _add_missing(
            run,
            "organization",
            body,
            lambda: organizations.get(organization_id),
            lambda missing: organizations.update(organization_id, missing),
        )
    if plan.person and person_id and not run.person_created:
        body = person_body(plan.person, names, organization_id=organization_id)
        status = "marketing_status" if "marketing_status" in body else None
        persons = run.pipedrive.persons
        _add_missing(
            run,
            "person",
            body,
            lambda: persons.get(person_id, include_fields=status),
            lambda missing: persons.update(person_id, missing),
        )


def _add_missing(
    run: DeliveryRun,
    step: str,
    body: Json,
    read: Callable[[], Person | Organization],
    update: Callable[[Json], object],
) -> None:
    """Read a record and add what it lacks of `body`; nothing is overwritten.

    The update can safely be repeated, so it is not announced. If the credentials may not make it,
    the lead still goes through.
    """
    if not body.keys() - ONLY_WHEN_CREATED:
        return
    try:
        if missing := missing_fields(body, structs.asdict(read())):
            update(missing)
    except (Invalid, Forbidden) as error:
        run.record_attempt(step, "left out", f"what it lacks could not be added: {error.code}")


def _find_organization(run: DeliveryRun, name: str) -> int | None:
    """Return the oldest organisation of this name.

    An exact match is not always exact, so hits are compared again.
    """
    hits = run.pipedrive.organizations.search(**organization_search(name))
    matches = [
        hit.id
        for hit in hits
        if normalize_name(hit.name or "") == normalize_name(name)
        and hit.id != run.refused.get(ORGANIZATION)
    ]
    return (
        min(matches, default=None)
        or _refused_but_alive(run, ORGANIZATION, run.pipedrive.organizations.get)
        or unknown_outcome.find_among_newest(run, "organization")
    )


def resolve_person(run: DeliveryRun, names: ResolvedNames) -> CachedPerson | None:
    """Find the person in our cache, else by a search, else create it.

    Returns None for a lead without a person. Search hits are compared again; of several persons
    with the same e-mail (else phone) the oldest is taken, and the attempt says so.
    """
    if run.plan.person is None:
        return None
    if run.person_id is not None:
        person = _remembered_person(run, run.person_id)
        return person or _remember(
            run,
            CachedPerson(
                person_id=run.person_id,
                created=run.person_created and run.lookup_before is None,
            ),
            # Whom this submission created, nobody had by any identity.
            run.identities if run.person_created else run.identities[:1],
        )
    person = _find_person(run)
    if person is not None:
        run.record_facts("", person_id=person.person_id)
        return person
    person_id = _refused_but_alive(
        run, PERSON, run.pipedrive.persons.get
    ) or unknown_outcome.find_among_newest(run, "person")
    if person_id is not None:
        run.record_facts("", person_id=person_id)
        return _remember(run, CachedPerson(person_id=person_id), run.identities[:1])
    names = assign_owner(run, names)
    body = person_body(run.plan.person, names, organization_id=run.organization_id)
    created_id = run.create("person", lambda: run.pipedrive.persons.add(body)).id
    run.record_facts("person", person_id=created_id, person_created=1)
    return _remember(run, CachedPerson(person_id=created_id, created=True), run.identities)


def _find_person(run: DeliveryRun) -> CachedPerson | None:
    """Find the person by each of its identities in turn: in our cache, else by a search.

    The identities before the one that finds the person are nobody's, and become theirs.
    """
    searches = person_searches(run.plan.person) if run.plan.person else []
    for count, identity in enumerate(run.identities):
        person = _cached_person(run, identity)
        if person is not None:
            return _remember(run, person, run.identities[:count])
        for kind, query in searches:
            if kind == identity[0] and (person_id := _search_person(run, identity, query)):
                person = CachedPerson(person_id=person_id)
                return _remember(run, person, run.identities[: count + 1])
    return None


def _remembered_person(run: DeliveryRun, person_id: int) -> CachedPerson | None:
    """Return the person with this id from our cache."""
    cached = (_cached_person(run, identity) for identity in run.identities)
    return next((each for each in cached if each and each.person_id == person_id), None)


def _cached_person(run: DeliveryRun, identity: PersonIdentity) -> CachedPerson | None:
    """Return the person from our cache.

    An entry from before Redis was set back does not know all of the person's leads.
    """
    person = run.contacts.find_person(*identity)
    if person is not None and run.person_id is None and person.person_id == run.refused.get(PERSON):
        return None
    return (
        structs.replace(person, created=False)
        if person and person.restored_at != run.lease.store.restored_at
        else person
    )


def _remember(
    run: DeliveryRun, person: CachedPerson, identities: Sequence[PersonIdentity]
) -> CachedPerson:
    """Cache the person by these identities: what found them, and what nobody else has."""
    for identity in identities:
        run.contacts.remember_person(
            *identity,
            person.person_id,
            created=person.created,
            restored_at=run.lease.store.restored_at,
        )
        if person.lead_id is not None and person.lead_at is not None:
            run.contacts.remember_lead(*identity, person.lead_id, person.lead_at)
    return person


def _identities_in_cache(run: DeliveryRun) -> Iterable[PersonIdentity]:
    """Yield the identities by which the cache holds this delivery's person.

    Of two identities one may be somebody else's, such as a shared phone.
    """
    for identity in run.identities:
        person = run.contacts.find_person(*identity) if len(run.identities) > 1 else None
        if len(run.identities) == 1 or (person and person.person_id == run.person_id):
            yield identity


def _search_person(run: DeliveryRun, identity: PersonIdentity, query: SearchQuery) -> int | None:
    """Return the id of the person with this e-mail (else phone).

    An exact match is not always exact, and a phone is stored as it was typed, so hits are compared
    again.
    """
    kind, _ = identity
    hits = run.pipedrive.persons.search(**query)
    matches = sorted(
        hit.id
        for hit in hits
        if is_one_of(identity, contact_texts(hit, kind)) and hit.id != run.refused.get(PERSON)
    )
    if len(matches) > 1:
        run.record_attempt(
            "person",
            "several",
            f"{len(matches)} persons have this {kind}; took the oldest, {matches[0]}",
        )
    return matches[0] if matches else None


def _refused_but_alive(
    run: DeliveryRun, step: str, get: Callable[[int], Person | Organization]
) -> int | None:
    """Return the id that was refused if its record exists after all: the refusal meant another."""
    refused_id = run.refused.get(step)
    if not isinstance(refused_id, int):
        return None
    try:
        record = get(refused_id)
    except (Gone, Invalid, Forbidden):
        return None
    return None if record.is_deleted or record.id != refused_id else record.id


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
    for identity in _identities_in_cache(run):
        run.contacts.remember_lead(*identity, lead_id, added_at)


def _find_open_lead(run: DeliveryRun, person: CachedPerson) -> PipedriveLead | None:
    """Return the lead to label, if any.

    That is the remembered lead, else, for a person that we did not create, the newest open lead. By
    one of two identities we may not remember what came by the other.
    """
    after = run.plan.existing_since
    if person.lead_id is not None:
        lead = _read_open_lead(run, person.lead_id)
        if lead is not None:
            return lead if parse_timestamp(lead.add_time) >= after else None
        for identity in _identities_in_cache(run):
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


def _read_open_lead(run: DeliveryRun, lead_id: str) -> PipedriveLead | None:
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
        is_open = _read_open_lead(run, lead.id) is not None
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


def add_note(run: DeliveryRun) -> None:
    """Add the one note of the submission: to its lead, else to what is left of it.

    A person may have converted or deleted the lead by now. It is not created again, because that
    would make a second one; the attempt says where the note went.
    """
    content = run.plan.note_for(run.result)
    if content is None or run.note_id is not None or run.lead_id is None:
        return
    note_id = _add_to_lead(
        run, "note", lambda target: _create_note(run, note_body(content, **target))
    )
    run.record_facts("note", note_id=note_id)


def _add_to_lead(run: DeliveryRun, step: str, create: Callable[[NoteTarget], int]) -> int:
    """Create a note or a file on the lead, else on what is left of it.

    What follows goes to the same place. Raises `Refused` if it is the note or the file that was
    refused, or if nothing is left.
    """
    refusal: Refused | None = None
    targets = [run.moved_to] if run.moved_to else note_targets(run, run.lead_id or "")
    for target in targets:
        try:
            created = create(target)
        except Refused as error:
            if not _is_target_refused(run, error, target):
                # No id was refused: nothing is resolved afresh.
                error.sent_ids = {}
                raise
            refusal = error
            continue
        if refusal is not None:
            run.moved_to = target
        if run.moved_to is not None:
            [(field, value)] = target.items()
            place = f"{NOTE_TARGETS[field]} {value}"
            run.record_attempt(step, "moved", f"the lead is gone: added to the {place}")
        return created
    assert refusal is not None
    raise refusal


def _create_note(run: DeliveryRun, body: Json) -> int:
    return run.create("note", lambda: run.pipedrive.notes.add(body)).id


def _is_target_refused(run: DeliveryRun, error: Refused, target: NoteTarget) -> bool:
    """Return whether a note or file was refused because what it was to be added to is gone.

    Without a reason, the lead is read again.
    """
    [field] = target
    if error.field is not None or isinstance(error, Gone):
        return error.field in (None, field)
    if field != "lead_id":
        return True
    if run.lead_id is None or not find_stale_ids(error, ()):
        return False
    return _read_open_lead(run, run.lead_id) is None


def attach_files(run: DeliveryRun) -> None:
    """Attach the files that were posted, one after another, to the lead or what is left of it.

    A file that Pipedrive refuses, for its size or the account's space, is left out: the lead is
    there already.
    """
    if run.lead_id is None:
        return
    for number, upload in enumerate(run.uploads[run.files_done :], run.files_done + 1):
        try:
            _add_to_lead(run, "file", partial(_create_file, run, upload))
        except Refused as error:
            run.record_attempt("file", "left out", f"file {number}: {error.code}")
            run.record_facts("", files_done=number)
        else:
            run.record_facts("file", files_done=number)


def _create_file(run: DeliveryRun, upload: UploadedFile, target: NoteTarget) -> int:
    return run.create("file", lambda: run.pipedrive.files.add(file_body(upload, **target))).id
