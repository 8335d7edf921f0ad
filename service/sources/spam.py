"""Signs of a robot: a field that people cannot see is filled, or the form is filled too quickly."""

from __future__ import annotations

from service.sources.payload.tree import Tree, resolve, text_of
from service.sources.schema import Source
from worker.units import parse_unix_time

STARTED_FIELD = "_started"


def find_spam_reason(trees: list[Tree], source: Source, now: float) -> str | None:
    """Why a submission looks like spam, or None. `now` is in Unix seconds.

    `trees` are searched in order for the honeypots and for `_started`. A `_started` that is
    missing, unreadable or in the future proves nothing: pages are cached, and clocks are wrong.
    """
    for name in source.honeypot:
        if _find_text(trees, name):
            return f'the hidden field "{name}" was filled in'
    if not source.min_fill_seconds:
        return None
    started = parse_unix_time(_find_text(trees, STARTED_FIELD) or "")
    if started is not None and 0 <= now - started < source.min_fill_seconds:
        return f"filled in {now - started:.1f} s, less than {source.min_fill_seconds:g} s"
    return None


def _find_text(trees: list[Tree], name: str) -> str | None:
    matches = (match for tree in trees if (match := resolve(tree, name)))
    return next((text for _, value in matches if (text := text_of(value))), None)
