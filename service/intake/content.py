"""Whether two posts have the same content: a digest of a lead without its volatile answers."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from service.sources.fields.lead_builder import canonical_name
from service.sources.fields.text import clean_label
from service.sources.fields.volatile import is_volatile
from service.sources.schema import MapRule, Source
from worker.contract import Lead
from worker.store.keys import digest

# Answers among which those of the post are looked for; no form has more.
MAX_ANSWERS = 300


def content_digest(source: Source, lead: Lead) -> str:
    """A digest that two leads of a source share if they have the same content."""
    values = _flatten(lead)
    if source.dedupe_on:
        chosen = [_find(values, name, source) for name in source.dedupe_on]
        # Two posts do not match because both lack an address.
        if all(chosen):
            return digest("on", *(_encode(sorted(part.items())) for part in chosen))
    ignored = {key for name in source.dedupe_ignore for key in _find(values, name, source)}
    answers = (key for key in values if key[0] == "answers")
    ignored |= {key for key in islice(answers, MAX_ANSWERS) if is_volatile(key[1], values[key])}
    compared = {key: value for key, value in values.items() if key not in ignored}
    return digest(_encode(sorted(compared.items())))


# The values of a lead by group and name, such as `("answers", "Your team")`.
Key = tuple[str, str]


def _flatten(lead: Lead) -> dict[Key, Any]:
    values: dict[Key, Any] = {}
    for name, value in msgspec.to_builtins(lead).items():
        # A product's time of the event is the time of the post.
        if value is None or name == "occurred_at":
            continue
        if isinstance(value, dict):
            values |= {(name, inner): one for inner, one in value.items() if one is not None}
        else:
            values["", name] = value
    return values


def _find(values: dict[Key, Any], name: str, source: Source) -> dict[Key, Any]:
    """The values that a name in `dedupe_on` or `dedupe_ignore` means.

    The name is a field of the lead, a path in `map`, or an answer with everything below it.
    """
    line = source.map.get(name, name)
    target = line.to if isinstance(line, MapRule) else line
    label = clean_label(target.removeprefix("answers."))
    keys = {_lead_key(target), ("answers", label)}
    return {
        key: value
        for key, value in values.items()
        if key in keys or (key[0] == "answers" and key[1].startswith((f"{label}.", f"{label}[")))
    }


def _lead_key(target: str) -> Key:
    """The key of a canonical field in a flat lead: `utm_source` is `source` in `utm`."""
    name = canonical_name(target)
    for group, prefix in (("utm", "utm_"), ("click_ids", "click_ids."), ("value", "value.")):
        if name.startswith(prefix):
            return (group, name.removeprefix(prefix))
    return ("", name)


def _encode(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
