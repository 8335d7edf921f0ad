"""Plans what to write to Pipedrive for a lead, by its source's settings.

Pure and offline: names are not resolved to ids yet. A value that is no amount or that Pipedrive
would refuse, and a date that cannot be read, are left out, and the note says so; the lead still
goes through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct, structs

from worker.contract import NO_CONTACT_WHY, Lead, Result
from worker.errors import Unmappable
from worker.lead.dates import parse_date
from worker.lead.money import ParsedMoney, currency_code, may_be_same, parse_money
from worker.lead.note import build_note
from worker.lead.owner_turns import OwnerShare, owner_shares
from worker.lead.regions import find_country
from worker.lead.rules import apply_rules
from worker.lead.settings import (
    LABEL_COLORS,
    ORGANIZATION_PREFIX,
    PERSON_PREFIX,
    LeadMapping,
    LeadSettings,
    MatchKind,
    Rule,
    Visibility,
)
from worker.lead.templates import (
    Template,
    TemplateContext,
    TemplateError,
    as_text,
    build_context,
    compile_template,
)
from worker.lead.text_length import MAX_FIELD_UNITS, shorten, shorten_around, truncate_end
from worker.units import int_if_whole, parse_duration

# For a sender's value that is quoted in a sentence.
MAX_QUOTED_CHARS = 120


class PlannedValue(Struct, frozen=True):
    """A lead's value as Pipedrive takes it; `currency` is an ISO 4217 code."""

    amount: float
    currency: str


class SettingsRenderer:
    """Renders settings and collects sentences about values that had to be left out.

    `country` is the code of the lead's country, which says what an ambiguous date or sign means.
    Every method may raise Unmappable if a setting is wrong.
    """

    def __init__(
        self,
        source: str,
        settings: LeadSettings,
        lead: Lead,
        context: TemplateContext,
        country: str | None,
    ) -> None:
        self.source = source
        self.settings = settings
        self.lead = lead
        self.context = context
        self.country = country
        self.left_out: list[str] = []

    def setting_path(self, key: str) -> str:
        """Return the dotted key in the source file, as causes name it."""
        return f"sources.{self.source}.lead.{key}"

    def template(self, key: str, text: str) -> Template:
        try:
            return compile_template(text)
        except TemplateError as error:
            raise Unmappable(str(error), setting=self.setting_path(key), field=key) from error

    def render(self, key: str, text: str) -> str:
        return self.template(key, text).render(self.context)

    def render_line(self, key: str, text: str) -> str:
        """Return the rendered text on one line, with single spaces."""
        return " ".join(self.render(key, text).split())

    def parse_duration(self, key: str, text: str) -> float:
        try:
            return parse_duration(text)
        except ValueError as error:
            raise Unmappable(str(error), setting=self.setting_path(key), field=key) from error

    def origin_id(self, submission_id: str) -> str:
        """Return the origin id, at most 255 characters long, with the whole submission id in it.

        We find a lead whose create had an unknown outcome by it.
        """
        text = self.render_line("origin_id", self.settings.origin_id)
        if submission_id not in text:
            raise Unmappable(
                "origin_id must contain {submission_id}",
                setting=self.setting_path("origin_id"),
                field="origin_id",
            )
        return shorten_around(text, submission_id)

    def value(self) -> PlannedValue | None:
        """Return the lead's value.

        The currency in the source file takes precedence over the one that the sender wrote.
        """
        settings = self.settings.value
        text = self.render_line("value.amount", settings.amount) if settings else ""
        if not settings or not text:
            return None
        named = self.render_line("value.currency", settings.currency)
        currency = currency_code(named, self.country)
        money = self._parse_amount(text, currency)
        chosen = currency or (money.currency if money else None)
        if named and not currency:
            why = f"the currency “{_quotable(named)}” is unknown"
        elif money is None:
            why = "it is not a number"
        elif money.amount < 0:
            why = "Pipedrive takes no negative values"
        elif not chosen:
            why = "it has no currency"
        else:
            if not money.agrees:
                self._leave_out(
                    f"The value “{_quotable(text)}” was written as {chosen},"
                    " as the source file says."
                )
            return PlannedValue(int_if_whole(money.amount), chosen)
        self._leave_out(f"The value “{_quotable(text)}” is left out: {why}.")
        return None

    @property
    def writes_value(self) -> bool:
        """Whether the value comes from the lead's own amount and not from an answer."""
        settings = self.settings.value
        return (
            settings is not None
            and "value.amount" in self.template("value.amount", settings.amount).names
        )

    def _parse_amount(self, text: str, currency: str | None) -> ParsedMoney | None:
        """Return the amount of a text; one that was read as a number is not parsed again."""
        amount = self.lead.value.amount if self.lead.value else None
        if (
            isinstance(amount, int | float)
            and not isinstance(amount, bool)
            and as_text(amount) == text
            and math.isfinite(amount)
        ):
            written = self.lead.value.currency if self.lead.value else None
            return ParsedMoney(amount, written, agrees=may_be_same(written, currency))
        return parse_money(text, currency, self.country)

    def expected_close(self, received_at: float, zone: tzinfo) -> str | None:
        """Return an ISO date; a duration counts from the day of the submission in `zone`."""
        text = self.render_line("expected_close", self.settings.expected_close or "")
        if not text:
            return None
        day = parse_date(text, self.country, zone) or _date_after(text, received_at, zone)
        if day is None:
            self._leave_out(
                f"The expected close date “{_quotable(text)}” is left out: it is not a date, or"
                " may be one of two."
            )
        return day

    def _leave_out(self, sentence: str) -> None:
        self.left_out.append(sentence)


def _date_after(duration: str, received_at: float, zone: tzinfo) -> str | None:
    try:
        received = datetime.fromtimestamp(received_at, zone)
        return (received + timedelta(seconds=parse_duration(duration))).date().isoformat()
    except (ValueError, OverflowError):
        return None


def _quotable(text: str) -> str:
    """Shorten a text and replace its closing quotes.

    `without_quotations` can then cut the quoted text out of a sentence.
    """
    return shorten(text, MAX_QUOTED_CHARS).replace("”", '"')


# A quotation of the sender in a sentence of `LeadPlan.left_out`. What is quoted after `field` is a
# name from the account.
_QUOTATION = re.compile(r"(?<!field )“[^”]*”")


class CustomFieldText(NamedTuple):
    """A custom field of the lead or the person, by name or key, and the text to write to it."""

    field: str
    is_person: bool
    text: str


class PersonPlan(Struct, frozen=True, kw_only=True):
    """The person to find or create.

    `name` is never empty: a full name, else the e-mail, the phone or the company. `match` says by
    what the person is found, in order; None is by e-mail, else by phone. `job_title` is written
    where the account has a field for it.
    """

    name: str
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    match: tuple[MatchKind, ...] | None = None
    job_title: str | None = None
    labels: tuple[str, ...] = ()
    visible_to: Visibility | None = None
    marketing_status: Literal["subscribed", "no_consent"] | None = None


class OrganizationDetails(Struct, frozen=True, kw_only=True):
    """What is written to an organisation besides its name."""

    visible_to: Visibility | None = None
    address: str | None = None
    website: str | None = None


class LeadPlan(Struct, frozen=True, kw_only=True):
    """What one submission becomes.

    Labels, channel, owners and custom fields are names that the metadata cache resolves; `owners`
    are several who take turns, instead of one `owner`. `person` is None for a lead that names only
    a company; then `organization` is set. An open lead counts as existing if it was added at
    `existing_since` (Unix seconds) or later; with `existing_deals` so does an open deal that has
    changed since. `files`: those that were posted are attached. `note_html` is the note on a new
    lead and may be None; `note_existing_html` is the note on an open lead that is labelled, and is
    set whenever the source wants notes. `left_out` are plain sentences about values that could not
    be written; `value_is_own` says that `value` comes from the lead's own amount and not from an
    answer. `custom` holds the fields of the lead and of the person, whose texts are read as they
    are written in `country` (a code), by the clock of `zone`. `enrich`: a person or organisation
    that exists gets what it lacks. `matched_rule` counts from 0.
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
    owners: tuple[OwnerShare, ...]
    value: PlannedValue | None
    expected_close: str | None
    visible_to: Visibility | None
    was_seen: bool
    organization_details: OrganizationDetails
    enrich: bool
    custom: tuple[CustomFieldText, ...]
    country: str | None
    zone: tzinfo
    existing: Literal["label", "new"]
    existing_window_seconds: float
    existing_since: float
    existing_deals: bool
    files: bool
    note_html: str | None
    note_existing_html: str | None
    left_out: tuple[str, ...]
    value_is_own: bool
    matched_rule: int | None

    def note_for(self, result: str | None) -> str | None:
        """Return the note for a delivery that created a lead, or labelled an open one."""
        return self.note_existing_html if result == Result.LABELLED else self.note_html


def build_plan(
    mapping: LeadMapping,
    lead: Lead,
    *,
    submission_id: str,
    received_at: float,
    now: float,
    zone: tzinfo = UTC,
) -> LeadPlan:
    """Decide everything that can be decided without asking Pipedrive. Times in Unix seconds.

    Days begin and end as in `zone`, the account's time zone; `needs_time_zone` says whether any
    date depends on it.
    Raises Unmappable, naming the setting, if there is nobody to write to or a template is wrong.
    """
    context = build_context(lead, mapping.source, submission_id, received_at, zone)
    settings, matched_rule = apply_rules(mapping, context)
    country = find_country(lead.country) if lead.country else mapping.default_country
    renderer = SettingsRenderer(mapping.source, settings, lead, context, country)
    company = shorten(" ".join((lead.company or "").split())) if settings.organization else ""
    person = _plan_person(lead, mapping.source, settings, has_organization=bool(company))
    window = renderer.parse_duration("existing_window", settings.existing_window)
    value, close = renderer.value(), renderer.expected_close(received_at, zone)
    shares = owner_shares(settings.owner_id)
    plan = LeadPlan(
        source=mapping.source,
        submission_id=submission_id,
        title=shorten(
            renderer.render_line("title", settings.title)
            or f"{person.name if person else company} via {mapping.source}"
        ),
        origin_id=renderer.origin_id(submission_id),
        person=person,
        organization=company or None,
        labels=tuple(_unique_names(settings.labels)),
        create_labels=settings.create_labels,
        label_color=settings.label_color,
        channel=(settings.channel or "").strip() or None,
        channel_id=truncate_end(
            renderer.render_line("channel_id", settings.channel_id), MAX_FIELD_UNITS
        )
        or None,
        owner=shares[0].owner if len(shares) == 1 else None,
        owners=shares if len(shares) > 1 else (),
        value=value,
        expected_close=close,
        visible_to=settings.visible_to,
        was_seen=settings.was_seen,
        organization_details=_plan_organization(renderer),
        enrich=settings.enrich == "empty",
        custom=tuple(_custom_texts(renderer)),
        country=country,
        zone=zone,
        existing=settings.existing,
        existing_window_seconds=window,
        existing_since=now - window,
        existing_deals=settings.existing_deals and settings.existing == "label",
        files=settings.files,
        note_html=None,
        note_existing_html=None,
        left_out=(),
        value_is_own=value is not None and renderer.writes_value,
        matched_rule=matched_rule,
    )
    return (
        _with_notes(plan, lead, renderer.left_out)
        if settings.note
        else structs.replace(plan, left_out=tuple(renderer.left_out))
    )


def find_mapping(mappings: Mapping[str, LeadMapping], source: str) -> LeadMapping:
    """Return how a source's leads are written; raise Unmappable for an unknown source."""
    mapping = mappings.get(source)
    if mapping is None:
        raise Unmappable(f"the source file has no source {source!r}", setting=f"sources.{source}")
    return mapping


def needs_time_zone(mapping: LeadMapping) -> bool:
    """Return whether a source may write a date or a time that depends on the account's zone."""
    tables: list[LeadSettings | Rule] = [mapping.lead, *mapping.rules]
    return any(table.expected_close or table.custom for table in tables) or (
        b"received_date" in msgspec.json.encode(tables)
    )


def leave_out(
    plan: LeadPlan, lead: Lead, sentences: Sequence[str], *, without_value: bool = False
) -> LeadPlan:
    """Add values that turned out not to fit, such as text for a numeric custom field.

    The notes then say so as well. `without_value`: the lead's value is one of them.
    """
    left_out = (*plan.left_out, *sentences)
    if without_value:
        plan = structs.replace(plan, value=None, value_is_own=False)
    return (
        _with_notes(plan, lead, left_out)
        if plan.note_existing_html
        else structs.replace(plan, left_out=left_out)
    )


def _plan_person(
    lead: Lead, source: str, settings: LeadSettings, *, has_organization: bool
) -> PersonPlan | None:
    """Return the person; None if the lead names only an organisation.

    If the source writes no organisations, a lead that names only a company becomes a person of that
    name.
    """
    reach = lead.full_name or lead.email or lead.phone
    if not reach and has_organization:
        return None
    name = " ".join((reach or lead.company or "").split())
    if not name:
        setting = f"sources.{source}.map"
        raise Unmappable(
            NO_CONTACT_WHY,
            setting=setting,
            field="email",
        )
    return PersonPlan(
        name=shorten(name),
        first_name=lead.first_name,
        last_name=lead.last_name,
        email=lead.email or None,
        phone=truncate_end(lead.phone or "", MAX_FIELD_UNITS) or None,
        match=tuple(settings.match) if settings.match else None,
        job_title=shorten(" ".join((lead.job_title or "").split())) or None,
        labels=tuple(_unique_names(settings.person_labels)),
        visible_to=settings.person_visible_to,
        marketing_status=_marketing_status(lead) if settings.marketing else None,
    )


def _marketing_status(lead: Lead) -> Literal["subscribed", "no_consent"] | None:
    """Return the status that the consent means; Pipedrive takes none without an e-mail.

    Refusing consent is not unsubscribing: Pipedrive lets a status be changed only once.
    """
    if lead.consent is None or not lead.email:
        return None
    return "subscribed" if lead.consent else "no_consent"


def _plan_organization(renderer: SettingsRenderer) -> OrganizationDetails:
    texts = {
        name.removeprefix(ORGANIZATION_PREFIX).strip().casefold(): renderer.render_line(
            f"custom.{name}", template
        )
        for name, template in renderer.settings.custom.items()
        if name.startswith(ORGANIZATION_PREFIX)
    }
    return OrganizationDetails(
        visible_to=renderer.settings.organization_visible_to,
        address=shorten(texts.get("address", "")) or None,
        website=shorten(texts.get("website", "")) or None,
    )


def _custom_texts(renderer: SettingsRenderer) -> Iterable[CustomFieldText]:
    """Yield the custom fields that have a text."""
    for name, template in renderer.settings.custom.items():
        if name.startswith(ORGANIZATION_PREFIX):
            continue
        if text := renderer.render(f"custom.{name}", template):
            yield CustomFieldText(
                name.removeprefix(PERSON_PREFIX).strip(), name.startswith(PERSON_PREFIX), text
            )


def _with_notes(plan: LeadPlan, lead: Lead, left_out: Sequence[str]) -> LeadPlan:
    def write(*, always: bool) -> str | None:
        return build_note(
            lead,
            source=plan.source,
            submission_id=plan.submission_id,
            left_out=left_out,
            value_written=plan.value_is_own,
            always=always,
        )

    return structs.replace(
        plan,
        left_out=tuple(left_out),
        note_html=write(always=False),
        note_existing_html=write(always=True),
    )


def _unique_names(names: Iterable[str]) -> Iterable[str]:
    """Return each name once, in order and ignoring case, in its first spelling."""
    spellings: dict[str, str] = {}
    for name in names:
        if name.strip():
            spellings.setdefault(name.strip().casefold(), name.strip())
    return spellings.values()


def without_quotations(sentence: str) -> str:
    """Return a sentence of `LeadPlan.left_out` with the sender's words replaced by `given`."""
    return _QUOTATION.sub("given", sentence)
