"""Attribution rules: the first that matches is laid over the source's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from worker.errors import Unmappable
from worker.lead.settings import LeadSettings, Rule, SourceWriting
from worker.lead.templates import Context, TemplateError, check_name


def apply_rules(writing: SourceWriting, seen: Context) -> tuple[LeadSettings, int | None]:
    """The settings that hold for this lead, and the place (from 0) of the rule that matched.

    A rule's labels and custom fields are added to the source's; its other keys replace the
    source's. Raises Unmappable for a rule over a field that does not exist.
    """
    for index, rule in enumerate(writing.rules):
        setting = f"sources.{writing.source}.rules[{index}].when"
        if all(_matches(seen, name, wanted, setting) for name, wanted in rule.when.items()):
            return _overlay(writing.lead, rule), index
    return writing.lead, None


def _matches(seen: Context, name: str, wanted: str | Sequence[str], setting: str) -> bool:
    """Whether a field has one of the values, whatever the case; empty text stands for absent, `*`
    for any value.
    """
    try:
        check_name(name)
    except TemplateError as error:
        raise Unmappable(str(error), setting=setting, field=name) from error
    text = seen.get(name).strip().casefold()
    values = [wanted] if isinstance(wanted, str) else wanted
    return any(text != "" if value == "*" else text == value.strip().casefold() for value in values)


def _overlay(lead: LeadSettings, rule: Rule) -> LeadSettings:
    changes: dict[str, Any] = {
        name: value
        for name in rule.__struct_fields__
        if name != "when" and (value := getattr(rule, name)) is not None
    }
    changes["labels"] = [*lead.labels, *rule.labels]
    changes["custom"] = {**lead.custom, **(rule.custom or {})}
    return structs.replace(lead, **changes)
