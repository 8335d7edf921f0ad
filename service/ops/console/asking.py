"""The question before a bulk action: exactly how many, of which sources, at what cost, and which go first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from service.ops.answers import CauseCard
from service.ops.console import leadform, words
from service.ops.console.shell import INPUTS
from service.ops.console.site import Site
from service.ops.find import Filter
from worker.bulk import ACTIONS, CANARIES
from worker.contract import State

VERBS = {"retry": "Retry", "accept": "Accept", "discard": "Discard"}
USUAL = ("email", "phone", "name", "company")
"""Offered first where the cause names no field that a lead has."""


class Ask(Struct, frozen=True, kw_only=True):
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
    site: Site, action: str, filter: Filter, *, cause: CauseCard | None = None, mend: bool = False, error: str | None = None
) -> Ask:
    """Raises `FilterError`, `EmptyFilter`, `StoreUnavailable`."""
    count = len(site.actions.matching(action, filter))
    verb = f"Mend & {VERBS[action].lower()}" if mend else VERBS[action]
    cost = site.actions.cost(count) if action != "discard" else None
    return Ask(
        action=action,
        title=f"{verb} {words.plural(count, 'lead')}",
        button=f"{verb} {words.number(count)}",
        count=count,
        states=" or ".join(words.STATES[state].lower() for state in ACTIONS[action]) if action != "retry" else "",
        sources=_sources(site, action, filter),
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


def mend_fields(cause: CauseCard | None, typed: Mapping[str, list[str]], faults: Mapping[str, str]) -> dict[str, Any]:
    """The inputs of one edit for all: the failing field first, the others folded."""
    failing = leadform.field_of(cause.field) if cause else None
    every = [structs.replace(each, value=typed.get(each.key, [""])[0], error=faults.get(each.name)) for each in _inputs(failing)]
    first = [failing] if failing else [] if cause and cause.setting else list(USUAL)
    shown = [each for each in every if each.name in first or each.error or each.value]
    shown.sort(key=lambda each: each.name != failing)
    return {
        "mend": True,
        "fields": shown,
        "more_fields": [each for each in every if each not in shown],
        "input_attributes": INPUTS,
    }


def _inputs(failing: str | None) -> list[leadform.Input]:
    own = failing is not None and failing not in {each.name for each in leadform.PLAIN}
    named = [leadform.Input(name=failing, label=failing.partition(".")[2], group=leadform.ANSWERS)] if failing and own else []
    return [*named, *leadform.PLAIN]


def _sources(site: Site, action: str, filter: Filter) -> list[tuple[str, int]]:
    asked = filter.state.split(",") if filter.state else [state.value for state in State]
    states = ",".join(state.value for state in ACTIONS[action] if state.value in asked)
    names = [filter.source] if filter.source else [line.source for line in site.reader.chart(1).sources]
    counted = [(name, site.reader.count(structs.replace(filter, state=states, source=name))) for name in names]
    return [(name, count) for name, count in counted if count]


def _cost(tokens: int, left: int | None) -> str:
    if left is None:
        return f"at most {words.number(tokens)}; what the day has left is not known"
    over = ": the rest waits until they reset at midnight UTC" if tokens > left else ""
    return f"at most {words.number(tokens)} of the {words.number(left)} left today{over}"


def _canaries(count: int) -> str | None:
    if count <= CANARIES:
        return None
    return f"{CANARIES} go ahead; the rest follows once one of them is delivered, and stays as it is if all {CANARIES} fail"
