"""What the server insists on and the OpenAPI documents do not say: laid over the extracted schemas.

Rules that need the account (does this label exist?) are with the operations themselves.
"""

from __future__ import annotations

from typing import Any

SHORT = {"maxLength": 255}
NAME = {"minLength": 1, "maxLength": 255}
VISIBLE_TO = {"enum": [1, 3, 5, 7]}
CHANNELS = {"items": {"type": "object", "required": ["value"], "properties": {"value": {"minLength": 1, "maxLength": 255}}}}
TERM = {"minLength": 1, "maxLength": 255}
PAGE = {"minimum": 1, "maximum": 500}

_PERSON = {"name": NAME, "visible_to": VISIBLE_TO, "emails": CHANNELS, "phones": CHANNELS, "notes": {"maxLength": 10_000}}
_ORGANIZATION = {"name": NAME, "visible_to": VISIBLE_TO}
_LEAD = {"title": NAME, "channel_id": SHORT, "value": {"properties": {"currency": {"minLength": 3}}}}
_NOTE = {"content": {"minLength": 1, "maxLength": 100_000}}

BODIES: dict[str, dict[str, Any]] = {
    "leads.add": _LEAD | {"origin_id": SHORT},
    "leads.update": _LEAD | {"title": NAME | {"type": "string"}},
    "labels.add": {"name": NAME},
    "labels.update": {"name": NAME},
    "notes.add": _NOTE,
    "notes.update": _NOTE,
    "persons.add": _PERSON,
    "persons.update": _PERSON,
    "organizations.add": _ORGANIZATION,
    "organizations.update": _ORGANIZATION,
}
"""Operation -> property of its body -> further schema."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "term": TERM,
    "limit": PAGE,
    "start": {"minimum": 0},
    "updated_since": {"format": "date-time"},
    "updated_until": {"format": "date-time"},
}
"""Query parameter, whatever the operation -> further schema."""
