"""The paths of `ignore`: what lies at or below them is never read for a field."""

from __future__ import annotations

import re
from typing import Any

from msgspec import structs

from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Path, text_of, walk_leaves
from service.sources.schema import SourceSettings

_BRACKETS = re.compile(r"\]?\[|\]$")


def drop_ignored(event: ParsedEvent, source: SourceSettings) -> ParsedEvent:
    """The event without what lies at ignored paths, also where the product itself names it."""
    if not source.ignore:
        return event
    lead_fields = event.lead_fields
    if lead_fields:
        hidden, others = _split_texts(event, source)
        lead_fields = {
            target: value
            for target, value in lead_fields.items()
            if (text := text_of(value)) not in hidden or text in others
        }
    fields = [field for field in event.fields if not is_ignored(event, source, field.path)]
    return structs.replace(event, fields=fields, lead_fields=lead_fields)


def is_ignored(event: ParsedEvent, source: SourceSettings, path: Path) -> bool:
    """Whether a path is at or below an ignored one, which starts at the root or at the top."""
    for scope in event.scopes:
        if path[: len(scope.path)] != scope.path:
            continue
        name = written_path(path[len(scope.path) :])
        for ignored in source.ignore:
            start = written_path((scope.aliases.get(ignored, ignored),))
            if name == start or name.startswith(f"{start}."):
                return True
    return False


def written_path(path: Path) -> str:
    """A path with dots alone: forms write `user[email]` where JSON has `email` in `user`."""
    return _BRACKETS.sub(".", ".".join(path)).rstrip(".")


def _split_texts(event: ParsedEvent, source: SourceSettings) -> tuple[set[Any], set[Any]]:
    """The texts of a payload at ignored paths, and all others.

    An adapter's own fields do not say where they came from, so they are known by their values.
    """
    hidden: set[Any] = set()
    others: set[Any] = set()
    for path, value in walk_leaves(event.top):
        (hidden if is_ignored(event, source, path) else others).add(text_of(value))
    return hidden, others
