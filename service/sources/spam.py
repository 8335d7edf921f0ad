"""Signs of a robot: a field that people cannot see is filled, or a form is filled quicker than
anybody can.
"""

from __future__ import annotations

import re

from service.sources.payload.tree import Tree, resolve, text_of
from service.sources.schema import Source

STARTED_FIELD = "_started"
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?", re.ASCII)
MILLISECONDS_FROM = 1e11
"""A Unix time beyond this is in milliseconds: in seconds it would be the year 5138."""


def parse_unix_time(text: str) -> float | None:
    """Seconds from Unix seconds or milliseconds; None for anything else."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    number = float(text)
    return number / 1000 if number > MILLISECONDS_FROM else number


def find_spam_reason(trees: list[Tree], source: Source, now: float) -> str | None:
    """Why this looks like spam, or None. `trees` are where the fields may stand; `now` in Unix
    seconds.

    A `_started` that is missing, in the future or no time proves nothing: pages are cached, and
    clocks are wrong.
    """
    for name in source.honeypot:
        if _find_text(trees, name):
            return f"the honeypot {name} is filled"
    started = (
        parse_unix_time(_find_text(trees, STARTED_FIELD) or "") if source.min_fill_seconds else None
    )
    if started is not None and 0 <= now - started < source.min_fill_seconds:
        return f"filled in {now - started:.1f} s, less than {source.min_fill_seconds:g} s"
    return None


def _find_text(trees: list[Tree], name: str) -> str | None:
    return next(
        (text for tree in trees if (found := resolve(tree, name)) and (text := text_of(found[1]))),
        None,
    )
