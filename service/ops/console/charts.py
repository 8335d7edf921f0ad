"""Charts as SVG made of attributes and classes alone: the pages' policy allows no inline style, and there is no script."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

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
                kind, round(place * step, 1), round(height - max(tall, 1), 1), round(step - 1.5, 1), max(tall, 1)
            )
        )
    return Markup('<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}</svg>').format(
        width, height, label, Markup("").join(bars)
    )


def columns(received: Sequence[int], delivered: Sequence[int], titles: Sequence[str], label: str, top: int = 0) -> Markup:
    """What came in as light columns, what was delivered as dark ones before them. `top` is the scale's end; 0: the highest."""
    width, height, step = 480, 56, 480 / max(1, len(received))
    top = max(top, 1, *received, *delivered)
    bars = []
    for place, (came, went, title) in enumerate(zip(received, delivered, titles, strict=True)):
        left = place * step + 0.5
        for kind, count, inset in (("came", came, 0.0), ("went", went, (step - 1) / 4)):
            tall = round(count / top * (height - 1), 1)
            if tall > 0:
                broad = round(step - 1 - 2 * inset, 1)
                bars.append(_BAR.format(kind, round(left + inset, 1), round(height - tall, 1), broad, tall, title))
    base = Markup('<line class="base" x1="0" y1="{0}" x2="{1}" y2="{0}"/>').format(height - 0.5, width)
    return Markup(
        '<svg class="columns" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}{}</svg>'
    ).format(width, height, label, base, Markup("").join(bars))


def shares(parts: Sequence[tuple[str, int]], label: str) -> Markup:
    """One bar in which each part has its share; `parts` are class names and counts. Small shares stay visible."""
    there = [(kind, count) for kind, count in parts if count > 0]
    total, width, least = sum(count for _, count in there), 1000.0, 6.0
    room = width - least * len(there)
    at, drawn = 0.0, []
    for kind, count in there:
        broad = least + room * count / total
        drawn.append(
            Markup('<rect class="{}" x="{}" y="0" width="{}" height="6"/>').format(kind, round(at, 1), round(broad - 1, 1))
        )
        at += broad
    label = label if drawn else "nothing yet"
    frame = Markup('<svg class="shares" viewBox="0 0 1000 6" role="img" aria-label="{}" preserveAspectRatio="none">{}</svg>')
    return frame.format(label, Markup("").join(drawn))
