"""Builds the canonical lead from the fields of an event.

The order is: the source's `map`, what the product itself names, what names and values say
(`recognition`, `assignment`), attribution from URLs. Everything else is kept as answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service.sources.fields.assignment import assign, name_parts
from service.sources.fields.attribution import (
    MAX_URL_PARAMETERS,
    is_tracked,
    parse_page_url,
    tracking_from_url,
)
from service.sources.fields.countries import country_code
from service.sources.fields.effort import (
    COUNTRY_UNITS,
    PARAMETER_UNITS,
    UNUSUAL_VALUE_UNITS,
    Effort,
)
from service.sources.fields.explanation import explain_fields
from service.sources.fields.phones import to_e164
from service.sources.fields.recognition import make_plan
from service.sources.fields.text import clean_label
from service.sources.fields.transforms import is_whole, transform
from service.sources.fields.values import (
    VALUE_PARSERS,
    parse_answer,
    parse_value,
    read_money,
)
from service.sources.languages.words import to_phrase
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.ignored import drop_ignored, is_ignored
from service.sources.payload.tree import Path, Tree, text_of
from service.sources.request import FieldReading
from service.sources.schema import Source
from worker.contract import Lead, Money, Utm

# Values that may be tried as a landing page.
MAX_LANDING_PAGES = 20
_PLAIN_FIELDS = frozenset(Lead.__struct_fields__)
# More characters than the longest of the names below has.
MAX_SECRET_CHARS = 60
# Fields for machines and secrets, by their lower-case names: never kept as answers.
SECRET_NAMES = frozenset(
    (
        "_started", "_redirect", "_charset_", "_method", "_token", "_csrf", "csrf_token",
        "csrfmiddlewaretoken", "authenticity_token", "__requestverificationtoken", "_wpnonce",
        "__viewstate", "__viewstategenerator", "__eventvalidation", "__trustedproperties",
        "g-recaptcha-response", "h-captcha-response", "cf-turnstile-response",
        "frc-captcha-solution", "idempotency-key", "idempotency_key", "_idempotency_key",
        "password", "passwd", "pwd", "password_confirmation", "confirm_password",
    )
)  # fmt: skip


def build_lead(
    event: ParsedEvent,
    source: Source,
    effort: Effort,
    *,
    query: str = "",
    readings: list[FieldReading] | None = None,
) -> tuple[Lead, dict[str, str]]:
    """The lead, and the labels of unusable values, by the canonical field that got no other.

    `query` is that of the URL that was posted to, `effort` what the request may still cost. A list
    of `readings`, if there is one, gets how each field was read.
    """
    builder = LeadBuilder(effort)
    received_fields = event.fields
    event = drop_ignored(event, source)
    hidden = frozenset((*source.honeypot, source.verification.field or ""))
    fields = [field for field in event.fields if not _is_hidden(field, hidden)]
    used, partly_used = _apply_map(builder, event, source, fields, effort)
    if source.read.event_id and (match := event.find(source.read.event_id)):
        used.add(match[0])
    for target, value in event.lead_fields.items():
        builder.put(target, value)
    labels = _source_labels(source)
    plan = make_plan(fields, labels, effort)
    used_indexes = _indexes_of(fields, used)
    taken_indexes = used_indexes | _indexes_of(fields, partly_used)
    assignment = assign(plan, fields, builder.fields, taken_indexes, effort)
    if readings is not None:
        readings += explain_fields(
            received_fields,
            fields,
            event,
            source,
            labels=labels,
            used=used,
            partly_used=partly_used,
            taken=builder.fields,
            assignment=assignment,
        )
    for target, choice in assignment.choices.items():
        builder.fields.setdefault(target, choice.value)
        if choice.is_whole:
            used_indexes.add(choice.index)
    used_indexes |= assignment.repeated
    for target, label in assignment.rejected.items():
        builder.rejected.setdefault(target, label)
    rest = [field for index, field in enumerate(fields) if index not in used_indexes]
    _add_attribution(builder, event, rest, query)
    for field in rest:
        builder.add_answer(field.label, field.value)
    _apply_defaults(builder, source)
    rejected = {
        name: label for name, label in builder.rejected.items() if name not in builder.fields
    }
    return _finish_lead(builder, event, source, effort), rejected


class LeadBuilder:
    """A lead under construction; the first value of each field wins.

    `rejected` are the labels of values that were unusable, by canonical field.
    """

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self.fields: dict[str, Any] = {}
        self.answers: dict[str, str | list[str]] = {}
        self.rejected: dict[str, str] = {}

    def put(self, target: str, value: Tree, label: str = "") -> bool:
        """Offers a value for a canonical field; returns whether the field now has this value."""
        if target == "name" and isinstance(value, dict):
            parts = dict(name_parts(value, self.effort))
            for name, text in parts.items():
                self.fields.setdefault(name, text)
            return bool(parts)
        parsed = parse_value(target, value, self.effort)
        if parsed is None:
            if text_of(value):
                self.rejected.setdefault(target, label)
            return False
        return bool(self.fields.setdefault(target, parsed) == parsed)

    def add_answer(self, label: str, value: Tree) -> None:
        """Keeps a value under its label; several values of one label become a list."""
        answer = parse_answer(value)
        if answer is None:
            return
        name = clean_label(label)
        if name in self.answers:
            before = self.answers[name]
            answer = [
                *(before if isinstance(before, list) else [before]),
                *(answer if isinstance(answer, list) else [answer]),
            ]
        self.answers[name] = answer


def _indexes_of(fields: list[PayloadField], paths: set[Path]) -> set[int]:
    return {at for at, field in enumerate(fields) if field.path in paths} if paths else set()


def _is_hidden(field: PayloadField, hidden: frozenset[str]) -> bool:
    """Whether a field is a secret, a honeypot or for machines, and therefore not an answer."""
    name = field.path[-1] if field.path else field.label
    if name in hidden or _is_secret(name):
        return True
    if field.name_path is field.path and len(field.path) == 1 and field.title is None:
        return False  # its label is its name
    label = field.label
    return label in hidden or _is_secret(label)


def _is_secret(name: str) -> bool:
    return len(name) <= MAX_SECRET_CHARS and name.lower() in SECRET_NAMES


def _source_labels(source: Source) -> dict[str, str]:
    """Phrase -> canonical field, for the names in the source file's `read.labels`."""
    return {
        to_phrase(name): canonical_name(target)
        for target, names in source.read.labels.items()
        for name in names
    }


def _apply_map(
    builder: LeadBuilder,
    event: ParsedEvent,
    source: Source,
    fields: list[PayloadField],
    effort: Effort,
) -> tuple[set[Path], set[Path]]:
    """Fills the fields that `map` names; returns the paths of the values used, whole and in part.

    A value that is used in part also stays an answer, but becomes no other field.
    """
    used: set[Path] = set()
    partly_used: set[Path] = set()
    for written_path, rule in source.map_rules.items():
        match = event.find_mapped(written_path)
        if match is None or is_ignored(event, source, match[0]):
            continue
        path, value = match
        result = transform(rule, value, effort)
        if result is None:
            continue
        paths = [field.path for field in fields if field.path[: len(path)] == path]
        rest = used if is_whole(rule, value, result) else partly_used
        if rule.to.startswith("answers."):
            builder.add_answer(rule.to.removeprefix("answers."), result)
            rest.update(paths)
        elif builder.put(canonical_name(rule.to), result, written_path) and not _has_several(
            result
        ):
            rest.update(paths)
    return used, partly_used


def _apply_defaults(builder: LeadBuilder, source: Source) -> None:
    """Fills the fields that are still empty with the defaults of `map`."""
    for rule in source.map_rules.values():
        if rule.default is None:
            continue
        if rule.to.startswith("answers."):
            if clean_label(rule.to.removeprefix("answers.")) not in builder.answers:
                builder.add_answer(rule.to.removeprefix("answers."), rule.default)
        elif canonical_name(rule.to) not in builder.fields:
            builder.put(canonical_name(rule.to), rule.default)


def canonical_name(target: str) -> str:
    """The canonical name of a target of `map`.

    `utm.source` is `utm_source`, `gclid` is `click_ids.gclid`, `value` is `value.amount`.
    """
    if target.startswith("utm."):
        return f"utm_{target[4:]}"
    if target == "value":
        return "value.amount"
    if target in VALUE_PARSERS or target.startswith(("utm_", "click_ids.")):
        return target
    return f"click_ids.{target}"


def _has_several(value: Tree) -> bool:
    """Whether a list has different values: a field takes one, and all of them stay answers."""
    return isinstance(value, list) and len({text_of(item) for item in value}) > 1


def _add_attribution(
    builder: LeadBuilder, event: ParsedEvent, rest: Iterable[PayloadField], query: str
) -> None:
    """Adds attribution from the URL posted to, the page's, landing pages' and the referrer's."""
    if "page_url" not in builder.fields and (page_url := parse_page_url(event.referer or "")):
        builder.fields["page_url"] = page_url
    addresses = [f"?{query}" if query else "", builder.fields.get("page_url")]
    landing_pages = 0
    for field in rest:
        value = field.value
        if isinstance(value, str) and is_tracked(value):
            landing_pages += 1
            if landing_pages <= MAX_LANDING_PAGES:
                addresses.append(parse_page_url(value))
    for address in (*addresses, builder.fields.get("referrer")):
        if address and _may_read_parameters(address, builder.effort):
            for target, text in tracking_from_url(address):
                builder.fields.setdefault(target, text)


def _may_read_parameters(address: str, effort: Effort) -> bool:
    parameters = min(address.count("="), MAX_URL_PARAMETERS)
    return parameters > 0 and effort.take(PARAMETER_UNITS * parameters)


def _finish_lead(builder: LeadBuilder, event: ParsedEvent, source: Source, effort: Effort) -> Lead:
    fields = builder.fields
    if phone := fields.get("phone"):
        fields["phone"] = to_e164(phone, *_find_region(fields, source, effort), effort)
    if before := fields.pop("last_name_prefix", None):
        fields["last_name"] = f"{before} {fields['last_name']}"
    plain: dict[str, Any] = {}
    utm: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    for name, value in fields.items():
        if name in _PLAIN_FIELDS:
            plain[name] = value
        elif name.startswith("utm_"):
            utm[name[4:]] = value
        elif name.startswith("click_ids."):
            click_ids[name[10:]] = value
    amount, currency = fields.get("value.amount"), fields.get("value.currency")
    if amount is not None or currency is not None:
        plain["value"] = _read_value(amount, currency, fields.get("country"), source, effort)
    plain["is_test"] = bool(fields.get("is_test")) or event.is_test
    return Lead(**plain, utm=Utm(**utm), click_ids=click_ids, answers=builder.answers)


def _read_value(
    amount: float | str | None,
    currency: str | None,
    country: str | None,
    source: Source,
    effort: Effort,
) -> Money:
    """The value of a lead, with the currency that its text names in the lead's country."""
    if not isinstance(amount, str) or not effort.take(UNUSUAL_VALUE_UNITS + COUNTRY_UNITS):
        return Money(amount=amount, currency=currency)
    return read_money(
        amount, currency, country_code(country) if country else source.default_country
    )


def _find_region(
    fields: dict[str, Any], source: Source, effort: Effort
) -> tuple[str | None, str | None]:
    """The country in two letters, the lead's own before the source's, and the calling code."""
    country, dial_code = fields.get("country"), fields.get("phone_code")
    if dial_code and dial_code.isalpha():
        return dial_code, None
    if country or dial_code:
        return (
            country_code(country) if country and effort.take(COUNTRY_UNITS) else None
        ), dial_code
    return source.default_country, None
