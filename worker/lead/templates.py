"""Templates of the source file: `{company|name} via {form_name|source}`, filled from one lead.

Names are looked up as data and never reach attributes of objects.

    {name}              a field of the canonical lead (`name` is the full name); empty if absent
    {company|name}      the first one that is not empty
    {name|'Unknown'}    a quoted text as a fallback (single or double quotes)
    {answers.Your team} an answer by its label: exactly, else ignoring case and punctuation
    {click_ids.foo}     a click id that is not listed in `CLICK_IDS`
    {{ and }}           braces as text
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from msgspec import Struct

from worker.contract import Lead, Utm
from worker.lead.canonical import CANONICAL_FIELDS, PLAIN_FIELDS

CLICK_IDS = (
    "gclid", "gbraid", "wbraid", "dclid", "gad_source", "gad_campaignid", "fbclid", "msclkid",
    "li_fat_id", "ttclid", "twclid",
    "epik", "sclid", "ScCid", "rdt_cid", "qclid", "yclid", "irclickid", "mc_cid", "mc_eid", "_fbc",
    "_fbp", "_ga",
)  # fmt: skip
UTM_PARTS = Utm.__struct_fields__
SUBMISSION_NAMES = ("source", "submission_id", "received_date")
# Every name a template may use, besides `answers.…` and `click_ids.…`.
TEMPLATE_NAMES = frozenset(
    (
        *(field.name for field in CANONICAL_FIELDS),
        *CLICK_IDS,
        *SUBMISSION_NAMES,
    )
)
# Any name may follow these prefixes.
OPEN_PREFIXES = ("answers.", "click_ids.")


class TemplateError(ValueError):
    """The template cannot be used.

    `position` counts characters from 1; `name` is the unknown field, if that is the fault.
    """

    def __init__(
        self, message: str, *, position: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(message if position is None else f"{message} (at character {position})")
        self.position = position
        self.name = name


class TemplateContext(Struct, frozen=True):
    """What templates and rules can read from one submission, as text; empty if absent."""

    texts: dict[str, str]
    answers: dict[str, str]
    click_ids: dict[str, str]

    def get(self, name: str) -> str:
        """Return the text of a name that passed `check_name`."""
        if name.startswith("answers."):
            return _find_by_label(self.answers, name.removeprefix("answers."))
        if name.startswith("click_ids."):
            return _find_by_label(self.click_ids, name.removeprefix("click_ids."))
        if name in CLICK_IDS:
            return _find_by_label(self.click_ids, name)
        return self.texts.get(name, "")


class FieldReference(Struct, frozen=True):
    name: str


# The alternatives between two braces: fields and quoted texts.
Choice = tuple[FieldReference | str, ...]


class Template(Struct, frozen=True):
    """A checked template. `names` are the fields it reads."""

    text: str
    parts: tuple[str | Choice, ...]
    names: frozenset[str]

    def render(self, context: TemplateContext) -> str:
        """Return the text with its fields filled in, trimmed; empty if nothing is left."""
        return "".join(
            part if isinstance(part, str) else _first_text(part, context) for part in self.parts
        ).strip()


def build_context(
    lead: Lead, source: str, submission_id: str, received_at: float, zone: tzinfo = UTC
) -> TemplateContext:
    """Return the texts of a lead that templates can read.

    `received_at` is in Unix seconds; `received_date` is its day in `zone`.
    """
    texts = {name: as_text(getattr(lead, name)) for name, *_ in PLAIN_FIELDS if name != "name"}
    texts |= {f"utm_{part}": as_text(getattr(lead.utm, part)) for part in UTM_PARTS}
    texts["name"] = lead.full_name or ""
    texts["value.amount"] = as_text(lead.value.amount if lead.value else None)
    texts["value.currency"] = as_text(lead.value.currency if lead.value else None)
    texts["source"] = source
    texts["submission_id"] = submission_id
    texts["received_date"] = datetime.fromtimestamp(received_at, zone).date().isoformat()
    answers = {label: as_text(value) for label, value in lead.answers.items()}
    return TemplateContext(texts=texts, answers=answers, click_ids=dict(lead.click_ids))


def as_text(value: object) -> str:
    """Return a value as people read it; empty text for None.

    Booleans become yes and no, lists are joined by commas, whole numbers have no point.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(text for item in value if (text := as_text(item)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def check_name(name: str, *, position: int | None = None) -> None:
    """Accept a name that templates and rules may use; raise `TemplateError` for any other.

    The error suggests the nearest valid name.
    """
    if name in TEMPLATE_NAMES or any(
        name.startswith(prefix) and name[len(prefix) :].strip() for prefix in OPEN_PREFIXES
    ):
        return
    raise TemplateError(f"unknown field {name!r}{_suggest(name)}", position=position, name=name)


@lru_cache(maxsize=2048)
def compile_template(text: str) -> Template:
    """Parse and check a template, once for any number of leads.

    Raises `TemplateError`, which says where the fault is and what to write instead.
    """
    parts = tuple(_parse_parts(text))
    names = frozenset(
        item.name
        for part in parts
        if not isinstance(part, str)
        for item in part
        if isinstance(item, FieldReference)
    )
    return Template(text=text, parts=parts, names=names)


_PIECE = re.compile(r"\{\{|\}\}|\{|\}|[^{}]+")
_ALTERNATIVE = re.compile(
    r"""\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<name>[^|{}]*?))\s*(?P<end>[|}])"""
)


def _parse_parts(text: str) -> Iterator[str | Choice]:
    at = 0
    while piece := _PIECE.match(text, at):
        at = piece.end()
        match piece.group():
            case "{":
                choice, at = _parse_choice(text, at)
                yield choice
            case "}":
                raise TemplateError(
                    "a closing brace without an opening one; write }} for a brace as text",
                    position=at,
                )
            case "{{" | "}}" as brace:
                yield brace[0]
            case literal:
                yield literal


def _parse_choice(text: str, start: int) -> tuple[Choice, int]:
    """Parse the alternatives after an opening brace; also return where the text continues."""
    items: list[FieldReference | str] = []
    at = start
    while match := _ALTERNATIVE.match(text, at):
        quoted = match["single"] if match["single"] is not None else match["double"]
        items.append(
            quoted if quoted is not None else _parse_field(match["name"], match.start("name") + 1)
        )
        at = match.end()
        if match["end"] == "}":
            return tuple(items), at
    raise TemplateError(
        "an opening brace is not closed; write {{ for a brace as text", position=start
    )


def _parse_field(name: str, position: int) -> FieldReference:
    if not name:
        raise TemplateError("a field's name is missing between the braces", position=position)
    check_name(name, position=position)
    return FieldReference(name)


def _first_text(choice: Choice, context: TemplateContext) -> str:
    for item in choice:
        if text := item if isinstance(item, str) else context.get(item.name):
            return text
    return ""


def _find_by_label(values: dict[str, str], label: str) -> str:
    """Return the text of the label, else of the first that differs only in case and punctuation."""
    if values.get(label):
        return values[label]
    normalized = _normalize_label(label)
    return next(
        (text for key, text in values.items() if text and _normalize_label(key) == normalized), ""
    )


def _normalize_label(label: str) -> str:
    return re.sub(r"[\W_]+", " ", label.casefold()).strip() or label


def _suggest(name: str) -> str:
    if name in {"answers", "click_ids"} or name in OPEN_PREFIXES:
        return f": name one, as in {name.rstrip('.')}.NAME"
    if name in {"utm", "value"}:
        return f": did you mean {'utm_source' if name == 'utm' else 'value.amount'}?"
    near = difflib.get_close_matches(
        name.strip().casefold(), sorted(TEMPLATE_NAMES), n=1, cutoff=0.6
    )
    return f": did you mean {near[0]}?" if near else "; answers are read as answers.NAME"
