"""From a lead and its source's settings to what will be written to Pipedrive: pure and offline, names not yet resolved to ids.

Below the plan stand the bodies made from it. Delivery and preview use the same ones, so that a preview is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from worker.contract import Json, Lead
from worker.draft import Draft, Sum
from worker.errors import Unmappable
from worker.fitting import LONGEST, fit, head
from worker.note import note_html
from worker.rules import apply_rules
from worker.templates import context
from worker.writing import LABEL_COLORS, SourceWriting


class CustomText(NamedTuple):
    """A custom field by name or key, whose it is (the person's or the lead's), and the text for it."""

    field: str
    is_person: bool
    text: str


class PersonPlan(Struct, frozen=True, kw_only=True):
    """The person to find or create. `name` is never empty: a full name, else the e-mail, the phone or the company."""

    name: str
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What one submission becomes. Labels, channel, owner and custom fields are names that the catalogue resolves.

    `person` is None for a lead that names nothing but a company; then `organization` is set. An open lead counts as
    existing if it was added at `existing_since` (Unix seconds) or later. `note_html` belongs to a new lead and may be
    None; `note_existing_html` to an open lead that is labelled, and is there whenever notes are wanted. `left_out` are
    plain sentences about values that could not be written. `matched_rule` counts from 0.
    """

    source: str
    submission_id: str
    title: str
    origin_id: str
    person: PersonPlan | None
    organization: str | None
    labels: tuple[str, ...]
    create_labels: bool
    label_color: LABEL_COLORS
    channel: str | None
    channel_id: str | None
    owner: int | str | None
    value: Sum | None
    expected_close: str | None
    visible_to: Literal["1", "3", "5", "7"] | None
    custom: tuple[CustomText, ...]
    existing: Literal["label", "new"]
    existing_window_seconds: float
    existing_since: float
    note_html: str | None
    note_existing_html: str | None
    left_out: tuple[str, ...]
    matched_rule: int | None


def plan(writing: SourceWriting, lead: Lead, *, submission_id: str, received_at: float, now: float) -> Plan:
    """Decide everything that can be decided without asking Pipedrive. Times in Unix seconds.

    Raises Unmappable, naming the setting, when there is nobody to write to or when a template is wrong.
    """
    seen = context(lead, writing.source, submission_id, received_at)
    settings, matched = apply_rules(writing, seen)
    draft = Draft(writing.source, settings, lead, seen)
    company = fit(" ".join((lead.company or "").split())) if settings.organization else ""
    person = _person(lead, writing.source, has_organization=bool(company))
    window = draft.duration("existing_window", settings.existing_window)
    value, close = draft.value(), draft.expected_close(received_at)
    new_note, existing_note = _notes(draft, submission_id, value)
    return Plan(
        source=writing.source,
        submission_id=submission_id,
        title=fit(draft.line("title", settings.title) or f"{person.name if person else company} via {writing.source}"),
        origin_id=draft.origin_id(submission_id),
        person=person,
        organization=company or None,
        labels=tuple(_unique(settings.labels)),
        create_labels=settings.create_labels,
        label_color=settings.label_color,
        channel=(settings.channel or "").strip() or None,
        channel_id=head(draft.line("channel_id", settings.channel_id), LONGEST) or None,
        owner=settings.owner_id,
        value=value,
        expected_close=close,
        visible_to=settings.visible_to,
        custom=tuple(_custom(draft)),
        existing=settings.existing,
        existing_window_seconds=window,
        existing_since=now - window,
        note_html=new_note,
        note_existing_html=existing_note,
        left_out=tuple(draft.left_out),
        matched_rule=matched,
    )


def _person(lead: Lead, source: str, *, has_organization: bool) -> PersonPlan | None:
    """None where an organisation is all there is; a company that may not become an organisation lends the person its name."""
    reach = lead.full_name or lead.email or lead.phone
    if not reach and has_organization:
        return None
    name = " ".join((reach or lead.company or "").split())
    if not name:
        setting = f"sources.{source}.map"
        raise Unmappable("nobody to write to: no e-mail, phone, person or company", setting=setting, field="email")
    return PersonPlan(
        name=fit(name),
        first_name=lead.first_name,
        last_name=lead.last_name,
        email=lead.email or None,
        phone=head(lead.phone or "", LONGEST) or None,
    )


def _custom(draft: Draft) -> Iterable[CustomText]:
    """The custom fields that have something to say."""
    for name, template in draft.settings.custom.items():
        if text := draft.text(f"custom.{name}", template):
            yield CustomText(name.removeprefix("person.").strip(), name.startswith("person."), text)


def _notes(draft: Draft, submission_id: str, value: Sum | None) -> tuple[str | None, str | None]:
    """The note of a new lead, if there is something to say, and that of an existing one."""
    settings = draft.settings
    if not settings.note:
        return None, None
    write = partial(
        note_html,
        draft.lead,
        source=draft.source,
        submission_id=submission_id,
        left_out=draft.left_out,
        value_written=value is not None and draft.writes_value,
    )
    return write(), write(always=True)


def _unique(names: Iterable[str]) -> Iterable[str]:
    """Each name once, in order, whatever its case: the first spelling stays."""
    seen: dict[str, str] = {}
    for name in names:
        if name.strip():
            seen.setdefault(name.strip().casefold(), name.strip())
    return seen.values()


# -- bodies, in Pipedrive's shapes: ids are handed in resolved; what is absent is left out, never sent as null ----------

Id = int | str
"""A number or UUID from Pipedrive; in a preview, the name or placeholder that stands for it."""


def organization_body(plan: Plan, *, owner_id: Id | None = None) -> Json:
    """`POST /api/v2/organizations`."""
    return _given(name=plan.organization, owner_id=owner_id)


def person_body(
    plan: Plan, *, organization_id: Id | None, owner_id: Id | None = None, custom: Mapping[str, Any] | None = None
) -> Json:
    """`POST /api/v2/persons`. `custom` maps the account's field keys to values of the field's type."""
    person = plan.person
    assert person is not None, "a plan without a person has no person's body"
    return _given(
        name=person.name,
        owner_id=owner_id,
        org_id=organization_id,
        emails=_contact(person.email),
        phones=_contact(person.phone),
        custom_fields=dict(custom) if custom else None,
    )


def lead_body(
    plan: Plan,
    *,
    person_id: Id | None,
    organization_id: Id | None,
    label_ids: Sequence[str] = (),
    channel: Id | None = None,
    owner_id: Id | None = None,
    custom: Mapping[str, Any] | None = None,
) -> Json:
    """`POST /v1/leads`. Custom fields stand beside the others, by key; they never displace one of them."""
    body = _given(
        title=plan.title,
        person_id=person_id,
        organization_id=organization_id,
        owner_id=owner_id,
        label_ids=list(dict.fromkeys(label_ids)) or None,
        value={"amount": plan.value.amount, "currency": plan.value.currency} if plan.value else None,
        expected_close_date=plan.expected_close,
        visible_to=plan.visible_to,
        origin_id=plan.origin_id,
        channel=channel,
        channel_id=plan.channel_id,
    )
    return body | {key: value for key, value in (custom or {}).items() if key not in body}


def note_body(plan: Plan, lead_id: str, *, existing: bool = False) -> Json:
    """`POST /v1/notes`, for a new lead or, with `existing`, for an open one that was labelled."""
    return {"content": plan.note_existing_html if existing else plan.note_html, "lead_id": lead_id}


def _contact(value: str | None) -> list[Json] | None:
    return [{"value": value, "primary": True, "label": "work"}] if value else None


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
