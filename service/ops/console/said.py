"""What was just done, told on the next page. It travels in the address as a word and ids, never as text to show."""

from __future__ import annotations

import re

from msgspec import Struct

from service.ops.console.address import told
from service.ops.console.visit import Visit

SECONDS = 10
ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

SENTENCES = {
    "retried": "It is on its way again.",
    "mended": "Saved, and on its way again.",
    "accepted": "Accepted: it is on its way.",
    "discarded": "Discarded.",
    "undone": "The discard is undone.",
    "paused": "Delivery is paused.",
    "resumed": "Delivery goes on.",
    "ignored": "Ignored until it happens again.",
    "watched": "Watched again.",
    "stopped": "Stopped: what was not begun stays as it is.",
    "unchanged": "Nothing was changed: the lead stays as it was.",
}
REFUSALS = {
    "not-allowed": "Not possible any more: somebody else was quicker, or it moved on meanwhile.",
    "nothing-picked": "Select at least one lead first.",
}


class Flash(Struct, frozen=True, kw_only=True):
    """`undo` is where to post to take it back, `back` the page to come back to."""

    text: str
    kind: str = ""
    seconds: int = SECONDS
    undo: str | None = None
    back: str | None = None
    href: str | None = None
    link: str = ""


def flash(seen: Visit) -> Flash | None:
    """None where nothing was done, or nothing we know."""
    word, of = seen.query.get("done", ""), seen.query.get("of", "")
    if word in REFUSALS:
        return Flash(text=REFUSALS[word], kind="bad")
    if word not in SENTENCES:
        return None
    one = ID.fullmatch(of) is not None
    if word == "discarded" and one and seen.me.acts:
        return Flash(text=SENTENCES[word], undo=f"/ops/leads/{of}/undo", back=told(seen.here))
    if word == "ignored" and one and seen.me.acts:
        return Flash(text=SENTENCES[word], undo=f"/ops/causes/{of}/unignore")
    return Flash(text=SENTENCES[word])
