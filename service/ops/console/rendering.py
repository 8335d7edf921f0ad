"""What every page has around it: the policy, the static files, the templates and what their filters
say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import Response
from markupsafe import Markup

from service.web import pages
from worker.contract import State

# Numbers, times and states in the words of the pages.

MINUTE, HOUR, DAY = 60, 3600, 86_400

STATES: dict[State, str] = {
    State.QUEUED: "Queued",
    State.DELIVERING: "Being delivered",
    State.DELIVERED: "Delivered",
    State.WAITING: "Waiting",
    State.DEAD: "Needs you",
    State.QUARANTINED: "In quarantine",
    State.IGNORED: "Ignored",
    State.DISCARDED: "Discarded",
    State.ERASED: "Erased",
}
"""A state as a person reads it; the word of contract and API stands beside it in a title."""


def number(value: float) -> str:
    """1,204."""
    return f"{value:,.0f}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 lead`, `1,204 leads`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def about(count: int) -> str:
    """Two figures of a number that is an estimate: 431 is `430`."""
    if count < 100:
        return str(count)
    places = len(str(count)) - 2
    return number(count // 10**places * 10**places)


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3 h 10 min`, `4 d 2 h`: two units at most."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        hours, minutes = divmod(whole // MINUTE, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(whole // HOUR, 24)
    return f"{days} d {hours} h" if hours and days < 10 else f"{days} d"


def read(moment: str) -> datetime:
    """An ISO 8601 time of ours. Raises ValueError."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(UTC)


def relative(moment: str, now: datetime) -> str:
    """`12 min ago`, `in 40 s`, `now`."""
    seconds = (now - read(moment)).total_seconds()
    if -1 < seconds < 5:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def absolute(moment: str) -> str:
    """`Sun 22 Nov 2026, 09:21:46 UTC`."""
    return read(moment).strftime("%a %d %b %Y, %H:%M:%S UTC")


def clock(moment: str, now: datetime) -> str:
    """The time of day in UTC, with the day where it is another one."""
    then = read(moment)
    return (
        then.strftime("%H:%M:%S") if then.date() == now.date() else then.strftime("%d %b %H:%M:%S")
    )


def hours_back(now: datetime, hours: int) -> str:
    """The hour that lies so many whole hours back, as the axis of a chart names it: `14:00`."""
    return (now - timedelta(hours=hours)).strftime("%H:00")


TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
STATIC_PATH = "/ops/static"
MEDIA = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The static files there are."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = pages.PAGE_HEADERS | {
    "Content-Security-Policy": POLICY,
    "Vary": "Cookie, Authorization",
    # Without a referrer a browser sends `Origin: null`, and our own forms could not be told from
    # others'.
    "Referrer-Policy": "same-origin",
}

KEYS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("j", "k"), "next, previous"),
    (("Enter",), "open"),
    (("Esc",), "back to the list, close"),
    (("x",), "select"),
    (("a",), "all matching"),
    (("e",), "edit"),
    (("r",), "retry or accept"),
    (("d",), "discard"),
    (("u",), "undo"),
    (("/",), "search"),
    (("?",), "this help"),
)

INPUTS = {
    kind: Markup(attributes)
    for kind, attributes in {
        "text": 'type="text" autocomplete="off"',
        "email": 'type="email" autocomplete="off" inputmode="email" spellcheck="false"',
        "tel": 'type="tel" autocomplete="off"',
        "url": 'type="url" autocomplete="off" spellcheck="false"',
        "decimal": 'type="text" inputmode="decimal" autocomplete="off"',
        "currency": (
            'type="text" maxlength="3" size="4" autocapitalize="characters" autocomplete="off"'
            ' spellcheck="false"'
        ),
    }.items()
}
"""The attributes of an input by its kind: the only text of ours that templates take as HTML."""


@cache
def asset(name: str) -> tuple[bytes, str]:
    """A static file and its fingerprint."""
    content = (STATIC / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file, another one whenever the file is."""
    return f"{STATIC_PATH}/{name}?v={asset(name)[1]}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, pages.TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": static, "key_help": KEYS}
    environment.filters |= {
        "number": number,
        "plural": plural,
        "duration": duration,
        "absolute": absolute,
        "relative": _relative,
        "clock": _clock,
        "pretty": lambda body: msgspec.json.format(msgspec.json.encode(body), indent=2).decode(),
        "state": lambda state: STATES[State(state)],
    }
    return environment


@pass_context
def _relative(context: Context, moment: str) -> str:
    return relative(moment, context["now"])


@pass_context
def _clock(context: Context, moment: str) -> str:
    return clock(moment, context["now"])


def page(
    template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> Response[bytes]:
    """A page of the console; every value is escaped."""
    now = datetime.now(UTC)
    text = _templates().get_template(template).render(now=now, **values)
    return Response(
        text.encode(),
        status_code=status,
        media_type="text/html",
        headers={**HEADERS, **(headers or {})},
    )


# Charts as SVG made of attributes and classes alone: the pages' policy allows no inline style, and
# there is no script.

_BAR = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')


def sparkline(counts: Sequence[int], label: str) -> Markup:
    """A small column for each count, the last one marked; `label` says the same in words."""
    width, height, step = 120, 24, 120 / max(1, len(counts))
    top = max(1, *counts) if counts else 1
    bars = []
    for place, count in enumerate(counts):
        tall = round(count / top * (height - 2), 1)
        kind = "now" if place == len(counts) - 1 else "bar"
        bars.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                kind,
                round(place * step, 1),
                round(height - max(tall, 1), 1),
                round(step - 1.5, 1),
                max(tall, 1),
            )
        )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}"'
        ' preserveAspectRatio="none">{}</svg>'
    ).format(width, height, label, Markup("").join(bars))


def columns(
    received: Sequence[int],
    delivered: Sequence[int],
    titles: Sequence[str],
    label: str,
    top: int = 0,
) -> Markup:
    """What came in as light columns, what was delivered as dark ones before them. `top` is the
    scale's end; 0: the highest.
    """
    width, height, step = 480, 56, 480 / max(1, len(received))
    top = max(top, 1, *received, *delivered)
    bars = []
    for place, (came, went, title) in enumerate(zip(received, delivered, titles, strict=True)):
        left = place * step + 0.5
        for kind, count, inset in (("came", came, 0.0), ("went", went, (step - 1) / 4)):
            tall = round(count / top * (height - 1), 1)
            if tall > 0:
                broad = round(step - 1 - 2 * inset, 1)
                bars.append(
                    _BAR.format(
                        kind, round(left + inset, 1), round(height - tall, 1), broad, tall, title
                    )
                )
    base = Markup('<line class="base" x1="0" y1="{0}" x2="{1}" y2="{0}"/>').format(
        height - 0.5, width
    )
    return Markup(
        '<svg class="columns" viewBox="0 0 {} {}" role="img" aria-label="{}"'
        ' preserveAspectRatio="none">{}{}</svg>'
    ).format(width, height, label, base, Markup("").join(bars))


def shares(parts: Sequence[tuple[str, int]], label: str) -> Markup:
    """One bar in which each part has its share; `parts` are class names and counts. Small shares
    stay visible.
    """
    there = [(kind, count) for kind, count in parts if count > 0]
    total, width, least = sum(count for _, count in there), 1000.0, 6.0
    room = width - least * len(there)
    at, drawn = 0.0, []
    for kind, count in there:
        broad = least + room * count / total
        drawn.append(
            Markup('<rect class="{}" x="{}" y="0" width="{}" height="6"/>').format(
                kind, round(at, 1), round(broad - 1, 1)
            )
        )
        at += broad
    label = label if drawn else "nothing yet"
    frame = Markup(
        '<svg class="shares" viewBox="0 0 1000 6" role="img" aria-label="{}"'
        ' preserveAspectRatio="none">{}</svg>'
    )
    return frame.format(label, Markup("").join(drawn))
