"""The bodies of the calls that a delivery makes, in Pipedrive's shapes.

A preview builds its calls here as well, so that it shows what will be sent, with names and
placeholders instead of ids. Absent values are left out, never sent as null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from msgspec import Struct, field

from worker.contract import Json
from worker.lead.owner_turns import OwnerShare
from worker.lead.phone_numbers import search_words
from worker.lead.plan import LeadPlan, OrganizationDetails, PersonPlan
from worker.lead.settings import MATCH_KINDS, MatchKind
from worker.lead.uploads import UploadedFile
from worker.pipedrive.models import JOB_TITLE_FIELD, SYNCED_FIELDS

# A number or UUID from Pipedrive; in a preview, the name or placeholder that stands for it.
Id = int | str
# The shortest term of a search that is not exact.
MIN_TERM_CHARS = 2
NO_DETAILS = OrganizationDetails()


class ResolvedNames(Struct, frozen=True, kw_only=True):
    """The ids that the names in a plan stand for.

    `owners` take turns, if there is no `owner_id`. `custom` and `person_custom` map the account's
    field keys to values of the field's type; `writes_job_title`: the account has a field for the
    person's job title. `left_out` are sentences about texts that did not fit their custom field,
    and about the lead's value if the account `lacks_currency` of it. `account_labels` are the
    ids of all labels, where some may have been deleted since they were put on a lead.

    """

    label_ids: list[str] = field(default_factory=list)
    account_labels: frozenset[str] | None = None
    channel: Id | None = None
    owner_id: Id | None = None
    owners: tuple[OwnerShare, ...] = ()
    custom: dict[str, Any] = field(default_factory=dict)
    person_custom: dict[str, Any] = field(default_factory=dict)
    person_label_ids: list[Id] = field(default_factory=list)
    deal_label_ids: list[int] = field(default_factory=list)
    writes_job_title: bool = False
    left_out: tuple[str, ...] = ()
    lacks_currency: bool = False

    @staticmethod
    def unresolved(plan: LeadPlan) -> ResolvedNames:
        """Return the names themselves, for a preview that does not look anything up."""
        return ResolvedNames(
            label_ids=list(plan.labels),
            channel=plan.channel,
            owner_id=plan.owner,
            owners=plan.owners,
            custom={name: text for name, is_person, text in plan.custom if not is_person},
            person_custom={name: text for name, is_person, text in plan.custom if is_person},
            person_label_ids=list(plan.person.labels) if plan.person else [],
        )


class SearchQuery(TypedDict):
    """The parameters of a search."""

    term: str
    fields: str
    exact_match: bool


def organization_search(name: str) -> SearchQuery:
    return {"term": name, "fields": "name", "exact_match": True}


class PersonSearch(NamedTuple):
    """A search for a person, and by what its hits are compared."""

    kind: MatchKind
    query: SearchQuery


def person_searches(person: PersonPlan) -> list[PersonSearch]:
    """Return the searches for a person, in order and at most two; none without e-mail and phone.

    Pipedrive stores phones as they were typed, so a phone is searched by the groups of digits that
    all its forms contain; where it is all there is, as it stands first.
    """
    given = [kind for kind in person.match or MATCH_KINDS if getattr(person, kind)]
    kinds = given if person.match else given[:1]
    searches = []
    for kind in kinds:
        term = getattr(person, kind)
        exact = PersonSearch(kind, {"term": term, "fields": kind, "exact_match": True})
        if kind == "email" or kinds == ["phone"]:
            searches.append(exact)
        if kind == "phone" and len(words := search_words(term)) >= MIN_TERM_CHARS:
            query: SearchQuery = {"term": words, "fields": kind, "exact_match": False}
            searches.append(PersonSearch(kind, query))
    return searches


def organization_body(
    name: str, names: ResolvedNames, details: OrganizationDetails = NO_DETAILS
) -> Json:
    """`POST /api/v2/organizations`."""
    return _without_none(
        name=name,
        owner_id=names.owner_id,
        visible_to=_visibility(details.visible_to),
        address={"value": details.address} if details.address else None,
        website=details.website,
    )


def person_body(person: PersonPlan, names: ResolvedNames, *, organization_id: Id | None) -> Json:
    """`POST /api/v2/persons`. The fields of contact sync go beside the built-in ones."""
    custom = dict(names.person_custom)
    synced = {key: custom.pop(key) for key in SYNCED_FIELDS & custom.keys()}
    if person.job_title and names.writes_job_title:
        synced.setdefault(JOB_TITLE_FIELD, person.job_title)
    return (
        _without_none(
            name=person.name,
            owner_id=names.owner_id,
            org_id=organization_id,
            emails=_contact_list(person.email),
            phones=_contact_list(person.phone),
            label_ids=list(dict.fromkeys(names.person_label_ids)) or None,
            visible_to=_visibility(person.visible_to),
            marketing_status=person.marketing_status,
            custom_fields=custom or None,
        )
        | synced
    )


ONLY_WHEN_CREATED = frozenset({"name", "owner_id", "visible_to"})


def missing_fields(body: Json, record: Mapping[str, Any]) -> Json:
    """Return what of a person's or organisation's body the existing record lacks; never a change.

    For `PATCH /api/v2/persons/{id}` and `/organizations/{id}`; empty if nothing is missing. A
    marketing status is missing as long as there was no consent.
    """
    missing = {
        key: value
        for key, value in body.items()
        if key not in ONLY_WHEN_CREATED | {"marketing_status", "custom_fields"}
        and _is_empty(record.get(key))
    }
    statuses = record.get("marketing_status"), body.get("marketing_status")
    if statuses == ("no_consent", "subscribed"):
        missing["marketing_status"] = "subscribed"
    custom = {
        key: value
        for key, value in body.get("custom_fields", {}).items()
        if _is_empty(record.get("custom_fields", {}).get(key))
    }
    return missing | ({"custom_fields": custom} if custom else {})


def lead_body(
    plan: LeadPlan, names: ResolvedNames, *, person_id: Id | None, organization_id: Id | None
) -> Json:
    """`POST /v1/leads`. Custom fields go beside the others by key and never replace one."""
    body = _without_none(
        title=plan.title,
        person_id=person_id,
        organization_id=organization_id,
        owner_id=names.owner_id,
        label_ids=list(dict.fromkeys(names.label_ids)) or None,
        value=(
            {"amount": plan.value.amount, "currency": plan.value.currency} if plan.value else None
        ),
        expected_close_date=plan.expected_close,
        visible_to=plan.visible_to,
        was_seen=plan.was_seen or None,
        origin_id=plan.origin_id,
        channel=names.channel,
        channel_id=plan.channel_id,
    )
    return body | {key: value for key, value in names.custom.items() if key not in body}


def lead_patch(plan: LeadPlan, names: ResolvedNames, *, lead: Mapping[str, Any]) -> Json:
    """`PATCH /v1/leads/{id}` for an open lead; empty if there is nothing to change.

    `label_ids` replaces the list on the server, so it starts with the labels that the lead has,
    without those that the account no longer has. Channel fields are filled only if they are empty;
    `origin_id` cannot be changed.
    """
    present = list(lead.get("label_ids") or ())
    existing = names.account_labels
    remaining = [label for label in present if existing is None or label in existing]
    merged = list(dict.fromkeys([*remaining, *names.label_ids]))
    return _without_none(
        label_ids=merged if merged != present else None,
        channel=names.channel if lead.get("channel") is None else None,
        channel_id=None if lead.get("channel_id") else plan.channel_id,
    )


def note_body(content: str, **target: Id) -> Json:
    """`POST /v1/notes`; `target` is one of `lead_id`, `deal_id`, `person_id` and `org_id`."""
    return {"content": content, **target}


def file_body(upload: UploadedFile, **target: Id) -> Json:
    """`POST /v1/files`; `target` is what it is added to, as in a note."""
    return {**target, "file": upload}


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_empty(part) for part in value.values())
    return value is None or value in ("", [])


def _visibility(value: str | None) -> int | None:
    """Return a visibility as v2 takes it: leads take text, persons and organisations a number."""
    return int(value) if value else None


def _contact_list(value: str | None) -> list[Json] | None:
    return [{"value": value, "primary": True, "label": "work"}] if value else None


def _without_none(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
