"""Bulk actions: the question, the start, how it goes, Stop and undo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from service.ops import errors
from service.ops.console import lead_form, rendering
from service.ops.console.bulk_progress import run
from service.ops.console.page import Console
from service.ops.console.rendering import INPUTS
from service.ops.console.request import ConsoleRequest, Redirect, View
from service.ops.console.urls import HOME_URL, safe_back_url, with_flash
from service.ops.filters import Filter
from service.ops.schemas import CauseCard
from service.web.problems import HttpProblem
from worker.contract import Moment, State
from worker.errors import NotAllowed
from worker.lead.edit import EditError
from worker.ledger.bulk import ACTIONS, CANARIES, CountDiffers
from worker.store import keys

# The question before a bulk action: exactly how many, of which sources, at what cost, and which go
# first.

VERBS = {"retry": "Retry", "accept": "Accept", "discard": "Discard"}
USUAL = ("email", "phone", "name", "company")
"""Offered first where the cause names no field that a lead has."""


class BulkConfirmation(Struct, frozen=True, kw_only=True):
    """What `ops/bulk.html` asks. `filter` are the parameters to post back."""

    action: str
    title: str
    button: str
    count: int
    states: str
    sources: list[tuple[str, int]]
    tokens: str | None
    too_many: bool
    canaries: str | None
    filter: list[tuple[str, str]]
    error: str | None
    cause: str | None
    detail: str | None
    hint: str | None
    setting: str | None


def ask(
    console: Console,
    action: str,
    filter: Filter,
    *,
    cause: CauseCard | None = None,
    mend: bool = False,
    error: str | None = None,
) -> BulkConfirmation:
    """Raises `FilterError`, `EmptyFilter`, `StoreUnavailable`."""
    count = len(console.actions.find_matching(action, filter))
    verb = f"Mend & {VERBS[action].lower()}" if mend else VERBS[action]
    cost = console.actions.estimate_cost(count) if action != "discard" else None
    return BulkConfirmation(
        action=action,
        title=f"{verb} {rendering.plural(count, 'lead')}",
        button=f"{verb} {rendering.number(count)}",
        count=count,
        states=(
            " or ".join(rendering.STATES[state].lower() for state in ACTIONS[action])
            if action != "retry"
            else ""
        ),
        sources=_sources(console, action, filter),
        tokens=_cost(cost.tokens, cost.left) if cost else None,
        too_many=bool(cost and cost.left is not None and cost.tokens > cost.left),
        canaries=_canaries(count) if action != "discard" else None,
        filter=list(filter.parameters().items()),
        error=error,
        cause=cause.title if cause else None,
        detail=cause.detail if cause else None,
        hint=cause.hint if cause else None,
        setting=cause.setting if cause else None,
    )


def mend_fields(
    cause: CauseCard | None, unsaved: Mapping[str, list[str]], faults: Mapping[str, str]
) -> dict[str, Any]:
    """The inputs of one edit for all: the failing field first, the others folded."""
    failing = lead_form.find_input_name(cause.field) if cause else None
    every = [
        structs.replace(each, value=unsaved.get(each.key, [""])[0], error=faults.get(each.name))
        for each in _inputs(failing)
    ]
    first = [failing] if failing else [] if cause and cause.setting else list(USUAL)
    shown = [each for each in every if each.name in first or each.error or each.value]
    shown.sort(key=lambda each: each.name != failing)
    return {
        "mend": True,
        "fields": shown,
        "more_fields": [each for each in every if each not in shown],
        "input_attributes": INPUTS,
    }


def _inputs(failing: str | None) -> list[lead_form.FormInput]:
    own = failing is not None and failing not in {each.name for each in lead_form.PLAIN}
    named = (
        [
            lead_form.FormInput(
                name=failing, label=failing.partition(".")[2], group=lead_form.ANSWERS
            )
        ]
        if failing and own
        else []
    )
    return [*named, *lead_form.PLAIN]


def _sources(console: Console, action: str, filter: Filter) -> list[tuple[str, int]]:
    asked = filter.state.split(",") if filter.state else [state.value for state in State]
    states = ",".join(state.value for state in ACTIONS[action] if state.value in asked)
    names = (
        [filter.source]
        if filter.source
        else [line.source for line in console.queries.activity(1).sources]
    )
    counted = [
        (name, console.queries.count(structs.replace(filter, state=states, source=name)))
        for name in names
    ]
    return [(name, count) for name, count in counted if count]


def _cost(tokens: int, left: int | None) -> str:
    if left is None:
        return f"at most {rendering.number(tokens)}; what the day has left is not known"
    over = ": the rest waits until they reset at midnight UTC" if tokens > left else ""
    return f"at most {rendering.number(tokens)} of the {rendering.number(left)} left today{over}"


def _canaries(count: int) -> str | None:
    if count <= CANARIES:
        return None
    return (
        f"{CANARIES} go ahead; the rest follows once one of them is delivered, and stays as it is"
        f" if all {CANARIES} fail"
    )


REFRESH_SECONDS = 2
MOST_PICKED = 200


class BulkPages:
    def __init__(self, console: Console) -> None:
        self._console = console

    def question(self, request: ConsoleRequest) -> View:
        """`GET /ops/bulk?action=&state=&…`. Raises `FilterError`, `StoreUnavailable`, HttpProblem
        403, 404.
        """
        _operators_only(request)
        action = request.query.get("action", "")
        if action not in ACTIONS:
            raise HttpProblem("not-found")
        filter = Filter.parse(request.query)
        if filter.empty:
            raise HttpProblem("not-found")
        return self._ask(
            request,
            action,
            filter,
            safe_back_url(request.query.get("back")) or HOME_URL,
            cause=self._cause(filter.cause),
        )

    def mend(self, request: ConsoleRequest) -> View:
        """`GET /ops/causes/{id}/mend`. Raises as `question`."""
        _operators_only(request)
        cause = self._cause(request.path["id"])
        if cause is None:
            raise HttpProblem("not-found")
        filter = Filter(state=State.DEAD.value, cause=cause.id)
        return self._ask(
            request,
            "retry",
            filter,
            safe_back_url(request.query.get("back")) or HOME_URL,
            cause=cause,
            mend=True,
        )

    def start(self, request: ConsoleRequest) -> View | Redirect:
        """`POST /ops/bulk`, with what the question asked."""
        action, back = request.field("action"), safe_back_url(request.field("back")) or HOME_URL
        if action not in ACTIONS or not request.field("expect").isdecimal():
            raise HttpProblem("not-found")
        filter = Filter.parse({name: request.field(name) for name in Filter.__struct_fields__})
        edit, mend = lead_form.parse_bulk_edit(request.form), bool(request.field("mend"))
        cause = self._cause(filter.cause)
        try:
            self._console.actions.start_bulk(
                action, filter, int(request.field("expect")), request.user.name, edit or None
            )
        except CountDiffers as error:
            taken = (
                f", {error.taken} more belong to a bulk action that is not over"
                if error.taken
                else ""
            )
            said = (
                f"Nothing was begun: it was {request.field('expect')}, and is {error.count}"
                f" now{taken}. Look again."
            )
            return self._ask(request, action, filter, back, cause=cause, mend=mend, error=said)
        except EditError as error:
            said = "Nothing was begun: see the fields marked below."
            return self._ask(
                request,
                action,
                filter,
                back,
                cause=cause,
                mend=True,
                error=said,
                faults=error.faults,
            )
        except errors.EmptyFilter:
            raise HttpProblem("not-found") from None
        return Redirect(back)

    def picked(self, request: ConsoleRequest) -> Redirect:
        """`POST /ops/bulk/picked`: the leads whose boxes are ticked."""
        action, back = request.field("action"), safe_back_url(request.field("back")) or HOME_URL
        ids = list(dict.fromkeys(request.form.get("id", [])))[:MOST_PICKED]
        if action not in ACTIONS or not ids:
            return Redirect(with_flash(back, done="nothing-picked"))
        bulks = self._console.actions.bulks
        try:
            bulks.make(action, ids, len(ids), request.user.name)
        except CountDiffers as error:
            if not error.count:
                return Redirect(with_flash(back, done="not-allowed"))
            # Of what was ticked some has moved on: the others are what is meant.
            bulks.make(action, ids, error.count, request.user.name)
        return Redirect(back)

    def progress(self, request: ConsoleRequest) -> View:
        """`GET /ops/bulk/{id}`. Raises HttpProblem 404, `StoreUnavailable`."""
        try:
            found = run(self._console.actions.bulk_status(request.path["id"]), request)
        except errors.NotFound:
            raise HttpProblem("not-found") from None
        refresh = None if found.over else REFRESH_SECONDS
        return View(template="run.html", values={"run": found, "refresh": refresh, "tray": []})

    def stop(self, request: ConsoleRequest) -> Redirect:
        """`POST /ops/bulk/{id}/stop`."""
        try:
            self._console.actions.stop_bulk(request.path["id"], request.user.name)
        except errors.NotFound:
            raise HttpProblem("not-found") from None
        return Redirect(
            with_flash(safe_back_url(request.field("back")) or HOME_URL, done="stopped")
        )

    def undo(self, request: ConsoleRequest) -> Redirect:
        """`POST /ops/bulk/{id}/undo`: what a bulk action discarded, and is still discarded, goes
        back to where it was.
        """
        bulk = request.path["id"]
        for id in self._discarded_by(bulk):
            try:
                self._console.actions.undo(id, request.user.name)
            except (NotAllowed, errors.NotFound):
                continue
        return Redirect(with_flash(safe_back_url(request.field("back")) or HOME_URL, done="undone"))

    def _discarded_by(self, bulk: str) -> list[str]:
        """Those whose last change was this bulk action's."""
        ids = self._console.queries.ids(Filter(state=State.DISCARDED.value))
        with self._console.context.redis.pipeline(transaction=False) as pipe:
            for id in ids:
                pipe.lindex(keys.timeline(id), -1)
            last: list[Any] = pipe.execute()
        why = f"bulk {bulk}"
        return [
            id
            for id, raw in zip(ids, last, strict=True)
            if raw and msgspec.json.decode(raw, type=Moment).why == why
        ]

    def _ask(
        self,
        request: ConsoleRequest,
        action: str,
        filter: Filter,
        back: str,
        *,
        cause: CauseCard | None = None,
        mend: bool = False,
        error: str | None = None,
        faults: dict[str, str] | None = None,
    ) -> View:
        try:
            asked = ask(self._console, action, filter, cause=cause, mend=mend, error=error)
        except errors.EmptyFilter:
            raise HttpProblem("not-found") from None
        fields = mend_fields(cause, request.form, faults or {}) if mend else {"mend": False}
        values = {"ask": asked, "back": back, **fields}
        return View(template="bulk.html", values=values, status=422 if error else 200)

    def _cause(self, id: str | None) -> CauseCard | None:
        return (
            next((card for card in self._console.queries.causes().items if card.id == id), None)
            if id
            else None
        )


def _operators_only(request: ConsoleRequest) -> None:
    if not request.user.is_operator:
        raise HttpProblem("forbidden")
