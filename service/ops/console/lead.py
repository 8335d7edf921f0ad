"""One lead beside the list: its form, what it died of at the field it concerns, and the tabs of its
story.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from service.ops.console import lead_form
from service.ops.console.lead_form import inputs
from service.ops.console.page import Console
from service.ops.console.rendering import INPUTS
from service.ops.console.request import ConsoleRequest
from service.ops.console.urls import ListLocation
from service.ops.dry_run import DryRunResult
from service.ops.errors import NotFound
from service.ops.schemas import Detail
from service.web.problems import HttpProblem
from worker.contract import WORKING, State
from worker.errors import StoreUnavailable
from worker.ledger.bulk import ACTIONS

# The bytes that came in, as text where they are text, else as a hex dump. Never as anything a
# browser would run.

LONGEST = 64 * 1024
"""Bytes shown; an export has them all."""

ROW = 16


class BodyText(Struct, frozen=True):
    """`kind` is `text`, `json` or `hex`; `cut` says how many bytes are not shown."""

    kind: str
    text: str
    size: int
    cut: int


def shown(body_base64: str, content_type: str) -> BodyText:
    """What to show of a body."""
    body = base64.b64decode(body_base64)
    part, cut = body[:LONGEST], max(0, len(body) - LONGEST)
    if not cut and "json" in content_type and (pretty := _pretty(body)) is not None:
        return BodyText("json", pretty, len(body), 0)
    text = _text(part, cut)
    return (
        BodyText("text", text, len(body), cut)
        if text is not None
        else BodyText("hex", dump(part), len(body), cut)
    )


def dump(body: bytes) -> str:
    """`00000000  50 4b 03 04 …  |PK..|`, sixteen bytes a line."""
    rows = []
    for at in range(0, len(body), ROW):
        part = body[at : at + ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{at:08x}  {part.hex(' '):<{ROW * 3 - 1}}  |{letters}|")
    return "\n".join(rows)


def _pretty(body: bytes) -> str | None:
    """JSON on several lines; as it came where it is none. Formatting changes no token of it."""
    try:
        msgspec.json.decode(body)
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _text(part: bytes, cut: int) -> str | None:
    for tail in range(4 if cut else 1):  # a cut may fall into the middle of a character
        try:
            text = part[: len(part) - tail].decode()
        except UnicodeDecodeError:
            continue
        return None if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text) else text
    return None


# Attribution in words: what was set, and by which rule, default or field of the payload.

SET_BY = {
    "payload": "sent with the form",
    "page_url": "in the address of the page",
    "default": "by default",
    "source": "by the source",
}


Line = tuple[str, str, str]
"""Label, value, and what set it."""


def attribution_lines(said: Mapping[str, Any]) -> list[Line]:
    """A `Detail.attribution`, line by line."""
    lines: list[Line] = (
        [("Cannot be with_flash", str(said["error"]), "")] if said.get("error") else []
    )
    if "rule" in said:
        lines.append(("Rule", _rule(said["rule"]), ""))
    for key, label in (("channel", "Channel"), ("channel_id", "Channel id")):
        if found := said.get(key):
            lines.append((label, *_value(found)))
    lines += [("Label", *_value(found)) for found in said.get("labels", [])]
    lines += [(f"utm_{name}", *_value(found)) for name, found in said.get("utm", {}).items()]
    return lines + [(name, *_value(found)) for name, found in said.get("click_ids", {}).items()]


def _rule(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return "none matches: the source's own settings hold"
    wanted = " and ".join(f"{name} is {_either(value)}" for name, value in rule["when"].items())
    return f"rule {rule['index'] + 1}: {wanted}"


def _either(value: str | list[str]) -> str:
    values = [value] if isinstance(value, str) else value
    return " or ".join(
        "anything" if each == "*" else "nothing" if each == "" else f"“{each}”" for each in values
    )


def _value(found: Mapping[str, Any]) -> tuple[str, str]:
    by = str(found.get("set_by") or "")
    location = found.get("setting") or found.get("template")
    said = SET_BY.get(by, f"by {by}")
    return str(found.get("value") or "none"), f"{said}: {location}" if location else said


# What a lead is now against what came in.


class FieldChange(Struct, frozen=True):
    """One field; an empty text where it was not there."""

    label: str
    before: str
    after: str


def changes(came_in: Mapping[str, Any] | None, lead: Mapping[str, Any] | None) -> list[FieldChange]:
    """The fields that differ, in the form's order; none where the lead is as it came."""
    if came_in is None or lead is None:
        return []
    old, new = ({each.name: each for each in inputs(either)} for either in (came_in, lead))
    labels = {name: each.label for name, each in (old | new).items()}
    pairs = {
        name: tuple(side[name].value if name in side else "" for side in (old, new))
        for name in labels
    }
    return [
        FieldChange(labels[name], before, after)
        for name, (before, after) in pairs.items()
        if before != after
    ]


TABS = {
    "would-send": "Would send",
    "came-in": "Came in",
    "attempts": "Attempts",
    "timeline": "Timeline",
    "attribution": "Attribution",
}
"""A tab by its name in the address; its template is `ops/tab_NAME.html`."""

GOOD_OUTCOMES = frozenset(
    {"ok", "found", "created", "known", "labelled", "delivered", "adopted", "none", "done"}
)


class Tab(Struct, frozen=True):
    name: str
    label: str
    href: str
    here: bool
    count: int = 0


class AllowedActions(Struct, frozen=True):
    """What the lead's state allows."""

    retry: bool
    accept: bool
    discard: bool
    undo: bool


class FilledGroup(Struct, frozen=True):
    title: str
    filled: list[lead_form.FormInput]


class VerificationNote(Struct, frozen=True):
    """How the request proved where it came from. `kind` is good, warn or plain."""

    kind: str
    title: str
    text: str


class LeadWarning(Struct, frozen=True):
    """Something to know before actions; backticks in `text` are shown as code."""

    title: str
    text: str


class UnsavedEdit(Struct, frozen=True):
    """An edit that is not saved: what was unsaved, what is wrong with it by field, what is said of
    it, and the edit to try.
    """

    unsaved: Mapping[str, list[str]]
    faults: Mapping[str, str]
    said: str | None
    edit: Mapping[str, Any] | None = None


class LeadPanel:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(
        self, request: ConsoleRequest, location: ListLocation, unsaved: UnsavedEdit | None = None
    ) -> dict[str, Any]:
        """The values of `ops/detail.html`. Raises HttpProblem 404, `StoreUnavailable`."""
        reveal = request.user.is_operator and (
            request.query.get("reveal") == "1" or unsaved is not None
        )
        detail = self.detail(location.id or "", reveal=reveal)
        if reveal:
            self._console.actions.audit.note(request.user.name, "reveal", detail.id)
        may = _may(detail)
        asked = request.query.get("edit") == "1" or unsaved is not None
        editing = asked and reveal and (may.retry or may.accept) and detail.lead is not None
        # Who reads what is shown in the open goes on doing so from tab to tab.
        flags = {"reveal": "1"} if reveal else {}
        flags |= {"edit": "1"} if editing else {}
        tab = location.tab if location.tab in _tabs(may) else _first_tab(detail, may)
        if unsaved is not None and unsaved.edit is not None:
            tab = "would-send"
        return {
            "detail": detail,
            "may": may,
            "editing": editing,
            "warnings": self.warnings(detail),
            "said": detail.cause.detail if detail.cause else None,
            "held": _held(detail),
            "gone": _gone(detail),
            "duplicate_href": location.opened(detail.duplicate_of) if detail.duplicate_of else None,
            "back_href": location.list,
            "reveal_href": location.opened(detail.id, reveal="1"),
            "edit_href": location.opened(detail.id, reveal="1", edit="1"),
            "read_href": location.opened(detail.id),
            "tab_name": tab,
            "tabs": [_tab(location, name, detail, name == tab, flags) for name in _tabs(may)],
            "would": self._would(detail, unsaved, reveal=reveal) if tab == "would-send" else None,
            "would_edited": unsaved is not None and bool(unsaved.edit),
            "good_outcomes": GOOD_OUTCOMES,
            **_fields(detail, editing, unsaved),
            **_story(detail),
        }

    def detail(self, id: str, *, reveal: bool) -> Detail:
        """Raises HttpProblem 404, `StoreUnavailable`."""
        try:
            return self._console.queries.submission(id, reveal=reveal)
        except NotFound:
            raise HttpProblem("not-found") from None

    def _would(
        self, detail: Detail, unsaved: UnsavedEdit | None, *, reveal: bool
    ) -> DryRunResult | None:
        """What a retry would send now; None where that cannot be with_flash."""
        if detail.lead is None and detail.raw is None:
            return None
        try:
            return self._console.queries.dry_run(
                detail.id, unsaved.edit if unsaved else None, reveal=reveal
            )
        except (NotFound, StoreUnavailable):
            return None

    def warnings(self, detail: Detail) -> list[LeadWarning]:
        """What the account lacks of what this lead's source names, before it is tried."""
        if detail.state not in (*WORKING, State.DEAD, State.QUARANTINED):
            return []
        found = [
            each
            for each in self._console.lacking()
            if detail.source in each.sources and each.needed
        ]
        known = detail.cause.setting if detail.cause else None
        return [
            LeadWarning("Not in the account:", f"{each.message}.")
            for each in found
            if known not in each.settings
        ]


def _may(detail: Detail) -> AllowedActions:
    allowed = {action: detail.state in states for action, states in ACTIONS.items()}
    return AllowedActions(
        allowed["retry"], allowed["accept"], allowed["discard"], detail.state is State.DISCARDED
    )


def _held(detail: Detail) -> str | None:
    """Why it is in quarantine."""
    if detail.state is not State.QUARANTINED:
        return None
    reasons = [each.why for each in detail.timeline if each.state is State.QUARANTINED and each.why]
    return reasons[0] if reasons else "no reason was kept"


def _gone(detail: Detail) -> str:
    if detail.sealed:
        return (
            "Its content is sealed under a key that this process does not have: list the key in"
            " LEADLINE_ENCRYPTION_KEYS."
        )
    if detail.state is State.ERASED:
        return "Its content was erased; what is left is its receipt."
    return "No lead was made of it: what it with_flash was not enough, or has yet to be fetched."


def _tabs(may: AllowedActions) -> list[str]:
    """What would be sent is with_flash of what could be."""
    return [name for name in TABS if name != "would-send" or may.retry or may.accept]


def _first_tab(detail: Detail, may: AllowedActions) -> str:
    if may.retry or may.accept:
        return "would-send"
    return "attempts" if detail.deliveries else "came-in"


def _tab(
    location: ListLocation, name: str, detail: Detail, here: bool, flags: dict[str, str]
) -> Tab:
    counts = {"attempts": len(detail.deliveries), "timeline": len(detail.timeline)}
    return Tab(name, TABS[name], location.on_tab(name, **flags), here, counts.get(name, 0))


def _fields(detail: Detail, editing: bool, unsaved: UnsavedEdit | None) -> dict[str, Any]:
    errors = _errors(detail) | dict(unsaved.faults if unsaved else {})
    found = lead_form.inputs(detail.lead or {}, errors)
    if unsaved:
        found = [
            structs.replace(each, value=unsaved.unsaved.get(each.key, [each.value])[0])
            for each in found
        ]
    groups = lead_form.groups(found)
    shown = [
        FilledGroup(group.title, [each for each in group.shown if each.value or each.error])
        for group in groups
    ]
    return {
        "groups": groups if editing else shown,
        "folded": [each for group in groups for each in group.folded],
        "request": lead_form.fingerprint(detail.lead),
        "form_error": unsaved.said if unsaved else None,
        "input_attributes": INPUTS,
    }


def _errors(detail: Detail) -> dict[str, str]:
    """What was said of the lead, at the field it concerns."""
    cause = detail.cause
    if (
        cause is None
        or detail.state is not State.DEAD
        or lead_form.find_input_name(cause.field) is None
    ):
        return {}
    return {cause.field or "": cause.detail or cause.title}


def _story(detail: Detail) -> dict[str, Any]:
    found = detail.raw
    body = shown(found.body_base64, found.content_type) if found else None
    ids: list[tuple[str, str | int | None]] = [
        ("Lead", detail.lead_id),
        ("Person", detail.person_id),
    ]
    ids += [("Organisation", detail.organization_id), ("Note", detail.note_id)]
    return {
        "body": body,
        "verdict": _verdict(detail),
        "changes": changes(detail.came_in, detail.lead),
        "attribution": attribution_lines(detail.attribution),
        "pipedrive_ids": [(label, id) for label, id in ids if id is not None],
    }


def _verdict(detail: Detail) -> VerificationNote | None:
    """Nothing is stored of a request that failed its check, so what is here passed it."""
    if detail.raw is None:
        return None
    if detail.raw.checked is None:
        text = (
            f"Anybody can post to {detail.source}; [sources.{detail.source}.verify] would ask for"
            " proof."
        )
        return VerificationNote("plain", "Nothing to check.", text)
    names = {
        "hmac": "The signature was right",
        "token": "The secret was right",
        "jwt": "The token's signature was right",
    }
    title = names.get(detail.raw.checked, "The signature was right")
    return VerificationNote(
        "good", f"{title}.", f"Checked by {detail.raw.checked} before it was accepted."
    )
