"""One lead beside the list: its form, what went wrong at which field, and the tabs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from service.ops.console import lead_form
from service.ops.console.console_request import ConsoleRequest
from service.ops.console.lead_tabs import attribution_lines, format_body, list_changes
from service.ops.console.page import Console
from service.ops.console.rendering import INPUT_ATTRIBUTES
from service.ops.console.status_bar import describe_missing
from service.ops.console.urls import ListLocation
from service.ops.dry_run import DryRunResult
from service.ops.exceptions import NotFound
from service.ops.reading import REQUEST_ERASED, StoredReading
from service.ops.schemas import Detail
from service.web.problems import HttpProblem
from worker.contract import ACTIONABLE, WORKING, State
from worker.errors import StoreUnavailable
from worker.ledger.bulk import ACTIONS

# The tabs by their name in the URL; the template is `lead/NAME.html`.
TABS = {
    "preview": "Preview",
    "received": "Received",
    "reading": "How it was read",
    "attempts": "Attempts",
    "timeline": "Timeline",
    "attribution": "Attribution",
}

# Outcomes of an attempt that are not failures.
GOOD_OUTCOMES = frozenset(
    {"ok", "found", "created", "known", "labelled", "delivered", "adopted", "none", "done"}
)

VERIFIED_BY = {"hmac": "a valid signature", "token": "the right secret", "jwt": "a valid token"}


class Tab(Struct, frozen=True):
    name: str
    label: str
    url: str
    is_current: bool
    count: int = 0


class AllowedActions(Struct, frozen=True):
    """What can be done to the lead in its state."""

    retry: bool
    accept: bool
    discard: bool
    undo: bool

    @property
    def deliver(self) -> bool:
        return self.retry or self.accept


class FilledGroup(Struct, frozen=True):
    """A group of inputs as it is read: without the empty ones."""

    title: str
    filled: list[lead_form.FormInput]


class VerificationNote(Struct, frozen=True):
    """How the source's requests are verified. `kind` is good or plain."""

    kind: str
    text: str


class UnsavedEdit(Struct, frozen=True):
    """A posted form that was not saved.

    `faults` are messages by field, `message` one for the whole form; `edit` is what to preview.
    """

    form: Mapping[str, list[str]]
    faults: Mapping[str, str]
    message: str | None
    edit: Mapping[str, Any] | None = None


class LeadPanel:
    """The values of the open lead, for `lead/panel.html`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(
        self, request: ConsoleRequest, location: ListLocation, unsaved: UnsavedEdit | None = None
    ) -> dict[str, Any]:
        """Raises HttpProblem 404, `StoreUnavailable`."""
        reveal = request.user.is_operator and (
            request.query.get("reveal") == "1" or unsaved is not None
        )
        detail = self.find_detail(location.id or "", reveal=reveal)
        if reveal:
            self._console.actions.record_reveal(detail.id, request.user.name)
        allowed = _allowed_actions(detail)
        wants_edit = request.query.get("edit") == "1" or unsaved is not None
        editing = wants_edit and reveal and allowed.deliver and detail.lead is not None
        tab = location.tab if location.tab in _tab_names(allowed) else _default_tab(detail, allowed)
        if unsaved is not None and unsaved.edit is not None:
            tab = "preview"
        # Data stay revealed, and the form open, from tab to tab.
        flags = {"reveal": "1"} if reveal else {}
        flags |= {"edit": "1"} if editing else {}
        return {
            "detail": detail,
            "allowed": allowed,
            "editing": editing,
            "missing": self._missing(detail),
            "quarantine_reason": _quarantine_reason(detail),
            "no_lead": _why_no_lead(detail),
            "duplicate_url": (
                location.lead_url(detail.duplicate_of) if detail.duplicate_of else None
            ),
            "list_url": location.list_url,
            "reveal_url": location.lead_url(detail.id, reveal="1"),
            "edit_url": location.lead_url(detail.id, reveal="1", edit="1"),
            "read_url": location.lead_url(detail.id),
            "tab": tab,
            "tabs": [_tab(location, name, detail, tab, flags) for name in _tab_names(allowed)],
            "preview": self._preview(detail, unsaved, reveal=reveal) if tab == "preview" else None,
            "reading": self._reading(detail, reveal=reveal) if tab == "reading" else None,
            "preview_of_edit": unsaved is not None and bool(unsaved.edit),
            "last_rejection": _last_rejection(detail),
            "good_outcomes": GOOD_OUTCOMES,
            **_form_values(detail, editing, unsaved),
            **self._tab_values(detail),
        }

    def find_detail(self, id: str, *, reveal: bool) -> Detail:
        """Raises HttpProblem 404, `StoreUnavailable`."""
        try:
            return self._console.queries.submission(id, reveal=reveal)
        except NotFound:
            raise HttpProblem("not-found") from None

    def _preview(
        self, detail: Detail, unsaved: UnsavedEdit | None, *, reveal: bool
    ) -> DryRunResult | None:
        """What a retry would send now; None if that cannot be known."""
        if detail.lead is None and detail.raw is None:
            return None
        edit = unsaved.edit if unsaved else None
        try:
            return self._console.queries.dry_run(detail.id, edit, reveal=reveal)
        except (NotFound, StoreUnavailable):
            return None

    def _reading(self, detail: Detail, *, reveal: bool) -> StoredReading | None:
        """How its fields were read; None if there is nothing left to read."""
        if detail.raw is None:
            return None
        try:
            return self._console.queries.reading(detail.id, reveal=reveal)
        except (NotFound, StoreUnavailable):
            return None

    def _missing(self, detail: Detail) -> list[str]:
        """What Pipedrive lacks for this lead's source, apart from what it has failed on already."""
        if detail.state not in (*WORKING, *ACTIONABLE):
            return []
        failed_on = detail.cause.setting if detail.cause else None
        return [
            describe_missing(item)
            for item in self._console.drift().items
            if item.needed and detail.source in item.sources and failed_on not in item.settings
        ]

    def _tab_values(self, detail: Detail) -> dict[str, Any]:
        raw = detail.raw
        ids: list[tuple[str, str | int | None]] = [
            ("Lead", detail.lead_id),
            ("Person", detail.person_id),
            ("Organisation", detail.organization_id),
            ("Note", detail.note_id),
        ]
        return {
            "body": format_body(raw.body_base64, raw.content_type) if raw else None,
            "verification": self._verification(detail),
            "changes": list_changes(detail.came_in, detail.lead),
            "attribution": attribution_lines(detail.attribution),
            "pipedrive_ids": [(label, id) for label, id in ids if id is not None],
        }

    def _verification(self, detail: Detail) -> VerificationNote | None:
        """How the source verifies posts now; the check made on arrival is not stored."""
        if detail.raw is None:
            return None
        if detail.source not in self._console.context.sources.sources:
            return VerificationNote("plain", "This source is no longer in the source file.")
        if detail.raw.checked is None:
            return VerificationNote("plain", "Not verified: this source accepts posts from anyone.")
        proof = VERIFIED_BY.get(detail.raw.checked, "a valid signature")
        text = f"This source only accepts posts with {proof} ({detail.raw.checked})."
        return VerificationNote("good", text)


def _allowed_actions(detail: Detail) -> AllowedActions:
    allowed = {action: detail.state in states for action, states in ACTIONS.items()}
    return AllowedActions(
        allowed["retry"], allowed["accept"], allowed["discard"], detail.state is State.DISCARDED
    )


def _quarantine_reason(detail: Detail) -> str | None:
    if detail.state is not State.QUARANTINED:
        return None
    reasons = [each.why for each in detail.timeline if each.state is State.QUARANTINED and each.why]
    return reasons[0] if reasons else "no reason recorded"


def _why_no_lead(detail: Detail) -> str:
    """Why there is no lead to show, or no request."""
    if detail.sealed:
        return (
            "The content is encrypted with a key that this process doesn't have. Add the key to"
            " LEADLINE_ENCRYPTION_KEYS."
        )
    if detail.state is State.ERASED:
        return "Personal data erased. Only the receipt remains."
    if detail.lead is not None:
        return REQUEST_ERASED
    if detail.state in WORKING:
        return "The full lead hasn't been fetched yet."
    return "No lead could be made from this submission."


def _last_rejection(detail: Detail) -> int | None:
    """The HTTP status with which Pipedrive rejected a dead letter."""
    if detail.state is not State.DEAD or not detail.deliveries:
        return None
    last = detail.deliveries[-1]
    return last.status if last.step != "fetch" and (last.status or 0) >= 400 else None


def _tab_names(allowed: AllowedActions) -> list[str]:
    """Only what can be delivered has a preview."""
    return [name for name in TABS if name != "preview" or allowed.deliver]


def _default_tab(detail: Detail, allowed: AllowedActions) -> str:
    if allowed.deliver:
        return "preview"
    return "attempts" if detail.deliveries else "received"


def _tab(
    location: ListLocation, name: str, detail: Detail, current: str, flags: dict[str, str]
) -> Tab:
    counts = {"attempts": len(detail.deliveries), "timeline": len(detail.timeline)}
    url = location.tab_url(name, **flags)
    return Tab(name, TABS[name], url, name == current, counts.get(name, 0))


def _form_values(detail: Detail, editing: bool, unsaved: UnsavedEdit | None) -> dict[str, Any]:
    """The lead as a form, or as text."""
    errors = _field_errors(detail) | dict(unsaved.faults if unsaved else {})
    inputs = lead_form.build_inputs(detail.lead or {}, errors)
    if unsaved:
        inputs = [
            structs.replace(each, value=unsaved.form.get(each.key, [each.value])[0])
            for each in inputs
        ]
    groups = lead_form.group_inputs(inputs)
    filled = [
        FilledGroup(group.title, [each for each in group.visible if each.value or each.error])
        for group in groups
    ]
    return {
        "groups": groups if editing else filled,
        "collapsed": [each for group in groups for each in group.collapsed],
        "fingerprint": lead_form.fingerprint(detail.lead),
        "form_error": unsaved.message if unsaved else None,
        "input_attributes": INPUT_ATTRIBUTES,
    }


def _field_errors(detail: Detail) -> dict[str, str]:
    """What the lead failed on, at the field that it concerns."""
    cause = detail.cause
    if cause is None or detail.state is not State.DEAD:
        return {}
    if cause.field is None or lead_form.find_input_name(cause.field) is None:
        return {}
    return {cause.field: cause.detail or cause.title}
