"""How pages are rendered: headers, static files, templates, and the formats and charts in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import Response
from markupsafe import Markup

from service.web import pages
from worker.contract import STATES, State, states_for

# -- formatting

MINUTE, HOUR, DAY = 60, 3600, 86_400

# A step of a delivery as people read it; a step that is not here is shown as it is stored.
STEPS = {
    "intake": "on arrival",
    "plan": "before sending",
    "fetch": "fetching the full lead",
    "names": "label lookup",
    "settle": "checking for a duplicate",
    "organization": "organisation",
    "look for the organization": "looking for the organisation",
    "store": "storing the outcome",
    "worker": "in the worker",
}


def number(value: float) -> str:
    """`1,204`: rounded, with thousands separators."""
    return f"{value:,.0f}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 lead`, `1,204 leads`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def megabytes(size: int) -> str:
    """Bytes as `12.3 MiB`."""
    return f"{size / 1_048_576:.1f} MiB"


def estimate(count: int) -> str:
    """A number that is only an estimate, with two significant digits: 431 is `430`."""
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


def parse_time(iso: str) -> datetime:
    """A time as `worker.units` writes it. Raises ValueError."""
    return datetime.fromisoformat(iso.replace("Z", "+00:00")).astimezone(UTC)


def relative(iso: str, now: datetime) -> str:
    """`12 min ago`, `in 40 s`, `now`."""
    seconds = (now - parse_time(iso)).total_seconds()
    if -1 < seconds < 5:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def due(iso: str, now: datetime) -> str:
    """`in 40 s`, and `due` once the time has passed and it has not happened yet."""
    return relative(iso, now) if parse_time(iso) > now else "due"


def absolute(iso: str) -> str:
    """`Sun 22 Nov 2026, 09:21:46 UTC`."""
    return parse_time(iso).strftime("%a %d %b %Y, %H:%M:%S UTC")


def clock(iso: str, now: datetime) -> str:
    """The time of day in UTC, with the date unless it is today."""
    time = parse_time(iso)
    return time.strftime("%H:%M:%S" if time.date() == now.date() else "%d %b %H:%M:%S")


# -- headers and static files

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
STATIC_PATH = "/ops/static"
MEDIA_TYPES = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "dom.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = pages.PAGE_HEADERS | {
    "Content-Security-Policy": POLICY,
    "Vary": "Cookie, Authorization",
    # Without a referrer browsers send `Origin: null`, and our own forms would look like another
    # site's.
    "Referrer-Policy": "same-origin",
}

SHORTCUTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("j", "k"), "next, previous"),
    (("Enter",), "open"),
    (("Esc",), "back to the list, close"),
    (("x",), "select"),
    (("a",), "select the page; again: all matching"),
    (("e",), "edit"),
    (("r",), "retry or accept"),
    (("d",), "discard"),
    (("u",), "undo"),
    (("/",), "search"),
    (("?",), "this help"),
)

# The attributes of an input by its kind: the only text of ours that templates take as HTML.
INPUT_ATTRIBUTES = {
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


@cache
def read_asset(name: str) -> tuple[bytes, str]:
    """The content of a static file and its fingerprint."""
    content = (STATIC / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def static_url(name: str) -> str:
    """The URL of a static file; it changes with the file's content, so it is cached for good."""
    return f"{STATIC_PATH}/{name}?v={read_asset(name)[1]}"


# -- templates


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static_url": static_url, "shortcuts": SHORTCUTS}
    environment.filters |= {
        "number": number,
        "plural": plural,
        "duration": duration,
        "absolute": absolute,
        "relative": _now_filter(relative),
        "due": _now_filter(due),
        "clock": _now_filter(clock),
        "pretty": lambda body: msgspec.json.format(msgspec.json.encode(body), indent=2).decode(),
        "states_for": lambda action: " ".join(states_for(action)),
        "state_color": lambda state: STATES[State(state)].color,
        "state": lambda state: STATES[State(state)].label,
        "step": lambda step: STEPS.get(step, step),
    }
    return environment


def _now_filter(format: Callable[[str, datetime], str]) -> Callable[[Context, str], str]:
    """A filter that knows the time at which the page is rendered."""

    @pass_context
    def filter(context: Context, iso: str) -> str:
        return format(iso, context["now"])

    return filter


def render_page(
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


# -- charts, as SVG made of attributes and classes only: the policy allows no inline style

_TITLED_BAR = Markup(
    '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
)
_PLAIN_BAR = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
_CHART = Markup(
    '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"'
    ' preserveAspectRatio="none">{}</svg>'
)


def sparkline(counts: Sequence[int], label: str) -> Markup:
    """A small column for each count, the last one marked; `label` says it in words."""
    width, height, step = 120, 24, 120 / max(1, len(counts))
    highest = max(1, *counts) if counts else 1
    bars = []
    for index, count in enumerate(counts):
        tall = max(round(count / highest * (height - 2), 1), 1)
        kind = "now" if index == len(counts) - 1 else "bar"
        left, top = round(index * step, 1), round(height - tall, 1)
        bars.append(_PLAIN_BAR.format(kind, left, top, round(step - 1.5, 1), tall))
    return _CHART.format("spark", width, height, label, Markup("").join(bars))


def column_chart(
    received: Sequence[int],
    delivered: Sequence[int],
    titles: Sequence[str],
    label: str,
    scale: int = 0,
) -> Markup:
    """Light columns for what was received, dark ones in front of them for what was delivered.

    `scale` is the count at full height; 0 takes the highest one.
    """
    width, height, step = 480, 56, 480 / max(1, len(received))
    scale = max(scale, 1, *received, *delivered)
    bars = []
    for index, (came, went, title) in enumerate(zip(received, delivered, titles, strict=True)):
        left = index * step + 0.5
        for kind, count, inset in (("received", came, 0.0), ("delivered", went, (step - 1) / 4)):
            tall = round(count / scale * (height - 1), 1)
            if tall > 0:
                x, y = round(left + inset, 1), round(height - tall, 1)
                broad = round(step - 1 - 2 * inset, 1)
                bars.append(_TITLED_BAR.format(kind, x, y, broad, tall, title))
    base = Markup('<line class="base" x1="0" y1="{0}" x2="{1}" y2="{0}"/>')
    bars.insert(0, base.format(height - 0.5, width))
    return _CHART.format("columns", width, height, label, Markup("").join(bars))


def outcome_bar(parts: Sequence[tuple[str, int, str]], scale: int, label: str) -> Markup:
    """One bar of `parts` (class name, count, title); `scale` is the count at full width."""
    width, height = 480, 16
    left, bars = 0.0, []
    for kind, count, title in parts:
        share = count / max(scale, 1) * width
        if count > 0:
            # One lead among thousands stays visible.
            visible = max(round(share - 1, 1), 1.5)
            bars.append(_TITLED_BAR.format(kind, round(left, 1), 0, visible, height, title))
        left += share
    return _CHART.format("outcomes", width, height, label, Markup("").join(bars))


def share_bar(parts: Sequence[tuple[str, int]], label: str) -> Markup:
    """One bar divided among `parts` (class name and count); small shares stay visible."""
    parts = [(kind, count) for kind, count in parts if count > 0]
    total, width, least = sum(count for _, count in parts), 1000.0, 6.0
    room = width - least * len(parts)
    left, bars = 0.0, []
    for kind, count in parts:
        broad = least + room * count / total
        bars.append(_PLAIN_BAR.format(kind, round(left, 1), 0, round(broad - 1, 1), 6))
        left += broad
    label = label if bars else "nothing yet"
    return _CHART.format("shares", 1000, 6, label, Markup("").join(bars))
