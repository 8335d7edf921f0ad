"""Bulk actions: confirm, start, progress, stop and undo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from service.ops.console import lead_form, rendering
from service.ops.console.bulk_progress import build_panel
from service.ops.console.console_request import ConsoleRequest, Redirect, View
from service.ops.console.leads import ACTION_LABELS
from service.ops.console.page import Console
from service.ops.console.urls import HOME_URL, safe_back_url, with_flash
from service.ops.exceptions import EmptyFilter, NotFound
from service.ops.filters import PARAMETERS, Filter
from service.ops.schemas import CauseCard
from service.web.problems import HttpProblem
from worker.contract import State
from worker.errors import NotAllowed
from worker.lead.canonical import FieldGroup
from worker.lead.edit import EditError
from worker.ledger.bulk import ACTIONS, CANARIES, CountDiffers

# How often a page without a script reloads itself while an action runs.
MAX_COUNT_DIGITS = 15
REFRESH_SECONDS = 2

MAX_SELECTED = 200

# Offered first where the cause names no field that a lead has.
COMMON_FIELDS = ("email", "phone", "name", "company")

# -- the question before a bulk action: how many leads, of which sources, at what cost


class BulkConfirmation(Struct, frozen=True, kw_only=True):
    """What `bulk_confirm.html` asks; `filter` are the parameters to post back.

    `leads` describes them: `9 quarantined leads`. `tokens` is the cost in words, and `too_many`
    says that it is more than is left today.
    """

    action: str
    title: str
    button: str
    count: int
    leads: str
    sources: list[tuple[str, int]]
    tokens: str | None
    too_many: bool
    canaries: str | None
    filter: list[tuple[str, str]]
    error: str | None
    cause: CauseCard | None


def build_confirmation(
    console: Console,
    action: str,
    filter: Filter,
    *,
    cause: CauseCard | None = None,
    mend: bool = False,
    error: str | None = None,
) -> BulkConfirmation:
    """Describe a bulk action to be confirmed; with `mend`, its leads can be edited too.

    Raises `FilterError`, `EmptyFilter`, `StoreUnavailable`.
    """
    count = len(console.actions.find_matching(action, filter))
    verb = ACTION_LABELS[action]
    if mend and lead_form.can_edit_leads(cause):
        verb = f"Edit & {verb.lower()}"
    button = f"{verb} {rendering.number(count)}"
    if mend and not lead_form.can_edit_leads(cause):
        button = f"I've fixed it, {button.lower()}"
    leads = _describe_leads(count, _states(action, filter))
    cost = console.actions.estimate_cost(count) if action != "discard" else None
    return BulkConfirmation(
        action=action,
        title=f"{verb} {rendering.plural(count, 'lead')}" if mend else f"{verb} {leads}",
        button=button,
        count=count,
        leads=leads,
        sources=_count_by_source(console, action, filter),
        tokens=_describe_cost(cost.tokens, cost.left) if cost else None,
        too_many=bool(cost and cost.left is not None and cost.tokens > cost.left),
        canaries=_describe_canaries(count) if action != "discard" else None,
        filter=list(filter.parameters().items()),
        error=error,
        cause=cause,
    )


def _states(action: str, filter: Filter) -> list[State]:
    """The states that the filter selects and that allow the action."""
    selected = filter.state.split(",") if filter.state else list(State)
    return [state for state in ACTIONS[action] if state in selected]


def _describe_leads(count: int, states: list[State]) -> str:
    """`9 quarantined leads`, `1 lead that needs you`."""
    if states == [State.QUARANTINED]:
        return rendering.plural(count, "quarantined lead")
    one, many = "lead that needs you", "leads that need you"
    if State.QUARANTINED in states:
        one, many = f"{one} or is quarantined", f"{many} or are quarantined"
    return rendering.plural(count, one, many)


def _count_by_source(console: Console, action: str, filter: Filter) -> list[tuple[str, int]]:
    states = ",".join(_states(action, filter))
    if filter.source:
        names = [filter.source]
    else:
        names = [each.source for each in console.queries.activity(1).sources]
    counted = [
        (name, console.queries.count(structs.replace(filter, state=states, source=name)))
        for name in names
    ]
    return [(name, count) for name, count in counted if count]


def _describe_cost(tokens: int, left: int | None) -> str:
    cost = f"at most {rendering.number(tokens)}"
    if left is None:
        return f"{cost}; how many are left today isn't known"
    over = "; the remaining leads wait until the tokens reset" if tokens > left else ""
    return f"{cost} of the {rendering.number(left)} left today{over}"


def _describe_canaries(count: int) -> str | None:
    if count <= CANARIES:
        return None
    return f"We try {CANARIES} first. If all {CANARIES} fail, the others are left untouched."


def mend_values(
    cause: CauseCard | None, form: Mapping[str, list[str]], faults: Mapping[str, str]
) -> dict[str, Any]:
    """The inputs of one edit for all leads: the failing field first, unusual ones collapsed."""
    failing = lead_form.find_input_name(cause.field) if cause else None
    inputs = [
        structs.replace(each, value=form.get(each.key, [""])[0], error=faults.get(each.name))
        for each in _mend_inputs(failing)
    ]
    common = COMMON_FIELDS if lead_form.can_edit_leads(cause) else ()
    offered = (failing,) if failing else common
    visible = [each for each in inputs if each.name in offered or each.error or each.value]
    visible.sort(key=lambda each: each.name != failing)
    return {
        "mend": True,
        "fields": visible,
        "more_fields": [each for each in inputs if each not in visible],
        "input_attributes": rendering.INPUT_ATTRIBUTES,
    }


def _mend_inputs(failing: str | None) -> list[lead_form.FormInput]:
    """The inputs that every lead has, and the failing one if it is an answer or a click id."""
    if failing is None or failing in {each.name for each in lead_form.PLAIN_INPUTS}:
        return list(lead_form.PLAIN_INPUTS)
    label = failing.partition(".")[2]
    failing_input = lead_form.FormInput(name=failing, label=label, group=FieldGroup.ANSWERS)
    return [failing_input, *lead_form.PLAIN_INPUTS]


# -- the pages and buttons


class BulkPages:
    """They raise `FilterError`, `StoreUnavailable` and HttpProblem 404."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def confirm(self, request: ConsoleRequest) -> View:
        """`GET /ops/bulk?action=&state=&…`. Raises HttpProblem 403 too."""
        _require_operator(request)
        action, filter = request.query.get("action", ""), Filter.parse(request.query)
        if action not in ACTIONS or filter.is_empty:
            raise HttpProblem("not-found")
        back_url = safe_back_url(request.query.get("back")) or HOME_URL
        cause = self._find_cause(filter.cause)
        return self._confirm(request, action, filter, back_url, cause=cause)

    def mend(self, request: ConsoleRequest) -> View:
        """`GET /ops/causes/{id}/mend`: a retry of all once the cause is fixed.

        Raises HttpProblem 403 too.
        """
        _require_operator(request)
        cause = self._find_cause(request.path["id"])
        if cause is None:
            raise HttpProblem("not-found")
        filter = Filter(state=State.DEAD.value, cause=cause.id)
        back_url = safe_back_url(request.query.get("back")) or HOME_URL
        return self._confirm(request, "retry", filter, back_url, cause=cause, mend=True)

    def start(self, request: ConsoleRequest) -> View | Redirect:
        """`POST /ops/bulk`, with what was confirmed."""
        action, expected = request.form_value("action"), request.form_value("expect")
        if action not in ACTIONS or not (
            expected.isdecimal() and len(expected) <= MAX_COUNT_DIGITS
        ):
            raise HttpProblem("not-found")
        filter = Filter.parse({name: request.form_value(name) for name in PARAMETERS})
        edit = lead_form.parse_bulk_edit(request.form) or None
        back_url, mend = request.back_url, bool(request.form_value("mend"))
        by = request.user.name
        try:
            self._console.actions.start_bulk(action, filter, int(expected), by, edit)
        except CountDiffers as error:
            message = _describe_difference(int(expected), error)
            cause = self._find_cause(filter.cause)
            return self._confirm(
                request, action, filter, back_url, cause=cause, mend=mend, error=message
            )
        except EditError as error:
            message = "Nothing was started: see the fields marked below."
            cause, faults = self._find_cause(filter.cause), error.faults
            return self._confirm(
                request, action, filter, back_url,
                cause=cause, mend=True, error=message, faults=faults,
            )  # fmt: skip
        except EmptyFilter:
            raise HttpProblem("not-found") from None
        return Redirect(back_url)

    def start_selected(self, request: ConsoleRequest) -> Redirect:
        """`POST /ops/bulk/selected`: the leads whose boxes are ticked."""
        action, by = request.form_value("action"), request.user.name
        ids = list(dict.fromkeys(request.form.get("id", [])))[:MAX_SELECTED]
        if action not in ACTIONS or not ids:
            return Redirect(with_flash(request.back_url, done="none-selected"))
        bulks = self._console.actions.bulks
        try:
            bulks.create(action, ids, len(ids), by)
        except CountDiffers as error:
            if not error.count:
                return Redirect(with_flash(request.back_url, done="none-left"))
            # Some have changed since they were ticked; the others are still meant.
            bulks.create(action, ids, error.count, by)
        return Redirect(request.back_url)

    def progress(self, request: ConsoleRequest) -> View:
        """`GET /ops/bulk/{id}`."""
        try:
            bulk = build_panel(self._console.actions.bulk_status(request.path["id"]), request)
        except NotFound:
            raise HttpProblem("not-found") from None
        refresh = None if bulk.finished else REFRESH_SECONDS
        values: dict[str, Any] = {"bulk": bulk, "refresh_seconds": refresh, "bulks": []}
        return View(template="bulk.html", values=values)

    def stop(self, request: ConsoleRequest) -> Redirect:
        """`POST /ops/bulk/{id}/stop`."""
        try:
            self._console.actions.stop_bulk(request.path["id"], request.user.name)
        except NotFound:
            raise HttpProblem("not-found") from None
        return Redirect(with_flash(request.back_url, done="stopped"))

    def undo(self, request: ConsoleRequest) -> Redirect:
        """`POST /ops/bulk/{id}/undo`: brings back what the action discarded, if it still is."""
        for id in self._find_discarded(request.path["id"]):
            try:
                self._console.actions.undo(id, request.user.name)
            except (NotAllowed, NotFound):
                continue
        return Redirect(with_flash(request.back_url, done="undone"))

    def _find_discarded(self, bulk: str) -> list[str]:
        """The submissions whose last change was made by this bulk action."""
        ids = self._console.queries.ids(Filter(state=State.DISCARDED.value))
        moments = self._console.context.ledger.last_moments(ids)
        why = f"bulk {bulk}"
        return [
            id
            for id, moment in zip(ids, moments, strict=True)
            if moment is not None and moment.why == why
        ]

    def _confirm(
        self,
        request: ConsoleRequest,
        action: str,
        filter: Filter,
        back_url: str,
        *,
        cause: CauseCard | None = None,
        mend: bool = False,
        error: str | None = None,
        faults: dict[str, str] | None = None,
    ) -> View:
        try:
            confirmation = build_confirmation(
                self._console, action, filter, cause=cause, mend=mend, error=error
            )
        except EmptyFilter:
            raise HttpProblem("not-found") from None
        fields = mend_values(cause, request.form, faults or {}) if mend else {"mend": False}
        fix_first = _fix_first(cause) if mend else ""
        values: dict[str, Any] = {
            "bulk": confirmation, "back_url": back_url, "fix_first": fix_first, **fields
        }  # fmt: skip
        return View(template="bulk_confirm.html", values=values, status=422 if error else 200)

    def _find_cause(self, id: str | None) -> CauseCard | None:
        if not id:
            return None
        cards = self._console.queries.causes().items
        return next((card for card in cards if card.id == id), None)


def _fix_first(cause: CauseCard | None) -> str:
    """What to do before the retry, where editing the leads would not help."""
    if cause is None or not cause.setting:
        return ""
    if cause.setting.startswith("sources."):
        where = "Fix it in Pipedrive or in leadline.toml first."
    else:
        where = f"Set {cause.setting} first."
    return f"{where} The leads themselves don't need editing."


def _describe_difference(expected: int, error: CountDiffers) -> str:
    match = "lead matches" if error.count == 1 else "leads match"
    text = f"Nothing was started: {error.count} {match} now, not {expected}."
    if error.taken:
        part = "is" if error.taken == 1 else "are"
        text += f" Another {error.taken} {part} part of a bulk action that is still running."
    return f"{text} Check and confirm again."


def _require_operator(request: ConsoleRequest) -> None:
    if not request.user.is_operator:
        raise HttpProblem("forbidden")
