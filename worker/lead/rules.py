"""Attribution rules: the first match is applied on top of the source's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from worker.contract import Lead
from worker.errors import Unmappable
from worker.lead.settings import LeadMapping, LeadSettings, MatchKind, Rule
from worker.lead.templates import TemplateContext, TemplateError, build_context, check_name


def apply_rules(mapping: LeadMapping, context: TemplateContext) -> tuple[LeadSettings, int | None]:
    """Return the settings for this lead, and the index of the rule that matched.

    A rule's labels and custom fields are added to the source's; its other keys replace the
    source's. Raises Unmappable for a rule about a field that does not exist.
    """
    for index, rule in enumerate(mapping.rules):
        setting = f"sources.{mapping.source}.rules[{index}].when"
        if all(_matches(context, name, accepted, setting) for name, accepted in rule.when.items()):
            return _override(mapping.lead, rule), index
    return mapping.lead, None


def find_match(
    mapping: LeadMapping, lead: Lead, submission_id: str, received_at: float
) -> list[MatchKind] | None:
    """Return the setting `match` for this lead; the source's if its rules cannot be applied."""
    if all(rule.match is None for rule in mapping.rules):
        return mapping.lead.match
    context = build_context(lead, mapping.source, submission_id, received_at)
    try:
        return apply_rules(mapping, context)[0].match
    except Unmappable:
        return mapping.lead.match


def _matches(
    context: TemplateContext, name: str, accepted: str | Sequence[str], setting: str
) -> bool:
    """Return whether a field has one of the accepted values, ignoring case.

    An empty text means that the field is absent, `*` means any value.
    """
    try:
        check_name(name)
    except TemplateError as error:
        raise Unmappable(str(error), setting=setting, field=name) from error
    text = context.get(name).strip().casefold()
    values = [accepted] if isinstance(accepted, str) else accepted
    return any(text != "" if value == "*" else text == value.strip().casefold() for value in values)


def _override(lead: LeadSettings, rule: Rule) -> LeadSettings:
    changes: dict[str, Any] = {
        name: value
        for name in rule.__struct_fields__
        if name != "when" and (value := getattr(rule, name)) is not None
    }
    changes["labels"] = [*lead.labels, *rule.labels]
    changes["custom"] = {**lead.custom, **(rule.custom or {})}
    return structs.replace(lead, **changes)
