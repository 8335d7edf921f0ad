"""The organisation, the person and the owner of a delivery: found, created or completed.

Each step checks whether it is done already, does it if not, and records it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from worker.contract import Json
from worker.delivery import unknown_outcome
from worker.delivery.context import DeliveryRun
from worker.delivery.refused import ORGANIZATION, PERSON
from worker.errors import Forbidden, Gone, Invalid
from worker.lead.owner_turns import owner_in_turn
from worker.ledger.contact_cache import CachedPerson, normalize_name
from worker.ledger.identifiers import PersonIdentity, is_one_of
from worker.pipedrive.models import (
    Organization,
    Person,
    contact_texts,
)
from worker.pipedrive.request_bodies import (
    ONLY_WHEN_CREATED,
    ResolvedNames,
    SearchQuery,
    missing_fields,
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


def identities_in_cache(run: DeliveryRun) -> Iterable[PersonIdentity]:
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
