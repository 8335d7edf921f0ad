"""Bulk actions: the question, the start, how it goes, Stop and undo."""

from __future__ import annotations

from typing import Any

import msgspec

from service.ops import actions
from service.ops.answers import CauseCard
from service.ops.console import leadform
from service.ops.console.address import HOME, ours, told
from service.ops.console.asking import ask, mend_fields
from service.ops.console.site import Site
from service.ops.console.tray import run
from service.ops.console.visit import Go, View, Visit
from service.ops.find import Filter
from service.problems import HttpProblem
from worker import keys
from worker.bulk import ACTIONS, CountDiffers
from worker.contract import Moment, State
from worker.errors import NotAllowed
from worker.mend import EditError

REFRESH_SECONDS = 2
MOST_PICKED = 200


class BulkPages:
    def __init__(self, site: Site) -> None:
        self._site = site

    def question(self, seen: Visit) -> View:
        """`GET /ops/bulk?action=&state=&…`. Raises `FilterError`, `StoreUnavailable`, HttpProblem 403, 404."""
        _operators_only(seen)
        action = seen.query.get("action", "")
        if action not in ACTIONS:
            raise HttpProblem("not-found")
        filter = Filter.parse(seen.query)
        if filter.empty:
            raise HttpProblem("not-found")
        return self._ask(seen, action, filter, ours(seen.query.get("back")) or HOME, cause=self._cause(filter.cause))

    def mend(self, seen: Visit) -> View:
        """`GET /ops/causes/{id}/mend`. Raises as `question`."""
        _operators_only(seen)
        cause = self._cause(seen.path["id"])
        if cause is None:
            raise HttpProblem("not-found")
        filter = Filter(state=State.DEAD.value, cause=cause.id)
        return self._ask(seen, "retry", filter, ours(seen.query.get("back")) or HOME, cause=cause, mend=True)

    def start(self, seen: Visit) -> View | Go:
        """`POST /ops/bulk`, with what the question asked."""
        action, back = seen.given("action"), ours(seen.given("back")) or HOME
        if action not in ACTIONS or not seen.given("expect").isdecimal():
            raise HttpProblem("not-found")
        filter = Filter.parse({name: seen.given(name) for name in Filter.__struct_fields__})
        edit, mend = leadform.edit_for_all(seen.form), bool(seen.given("mend"))
        cause = self._cause(filter.cause)
        try:
            self._site.actions.bulk(action, filter, int(seen.given("expect")), seen.me.name, edit or None)
        except CountDiffers as error:
            taken = f", {error.taken} more belong to a bulk action that is not over" if error.taken else ""
            said = f"Nothing was begun: it was {seen.given('expect')}, and is {error.count} now{taken}. Look again."
            return self._ask(seen, action, filter, back, cause=cause, mend=mend, error=said)
        except EditError as error:
            said = "Nothing was begun: see the fields marked below."
            return self._ask(seen, action, filter, back, cause=cause, mend=True, error=said, faults=error.faults)
        except actions.EmptyFilter:
            raise HttpProblem("not-found") from None
        return Go(back)

    def picked(self, seen: Visit) -> Go:
        """`POST /ops/bulk/picked`: the leads whose boxes are ticked."""
        action, back = seen.given("action"), ours(seen.given("back")) or HOME
        ids = list(dict.fromkeys(seen.form.get("id", [])))[:MOST_PICKED]
        if action not in ACTIONS or not ids:
            return Go(told(back, done="nothing-picked"))
        bulks = self._site.actions.bulks
        try:
            bulks.make(action, ids, len(ids), seen.me.name)
        except CountDiffers as error:
            if not error.count:
                return Go(told(back, done="not-allowed"))
            # Of what was ticked some has moved on: the others are what is meant.
            bulks.make(action, ids, error.count, seen.me.name)
        return Go(back)

    def progress(self, seen: Visit) -> View:
        """`GET /ops/bulk/{id}`. Raises HttpProblem 404, `StoreUnavailable`."""
        try:
            found = run(self._site.actions.bulk_progress(seen.path["id"]), seen)
        except actions.NotFound:
            raise HttpProblem("not-found") from None
        refresh = None if found.over else REFRESH_SECONDS
        return View(template="run.html", values={"run": found, "refresh": refresh, "tray": []})

    def stop(self, seen: Visit) -> Go:
        """`POST /ops/bulk/{id}/stop`."""
        try:
            self._site.actions.bulk_stop(seen.path["id"], seen.me.name)
        except actions.NotFound:
            raise HttpProblem("not-found") from None
        return Go(told(ours(seen.given("back")) or HOME, done="stopped"))

    def undo(self, seen: Visit) -> Go:
        """`POST /ops/bulk/{id}/undo`: what a bulk action discarded, and is still discarded, goes back to where it was."""
        bulk = seen.path["id"]
        for id in self._discarded_by(bulk):
            try:
                self._site.actions.undo(id, seen.me.name)
            except (NotAllowed, actions.NotFound):
                continue
        return Go(told(ours(seen.given("back")) or HOME, done="undone"))

    def _discarded_by(self, bulk: str) -> list[str]:
        """Those whose last change was this bulk action's."""
        ids = self._site.reader.ids(Filter(state=State.DISCARDED.value))
        with self._site.deps.redis.pipeline(transaction=False) as pipe:
            for id in ids:
                pipe.lindex(keys.timeline(id), -1)
            last: list[Any] = pipe.execute()
        why = f"bulk {bulk}"
        return [id for id, raw in zip(ids, last, strict=True) if raw and msgspec.json.decode(raw, type=Moment).why == why]

    def _ask(
        self,
        seen: Visit,
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
            asked = ask(self._site, action, filter, cause=cause, mend=mend, error=error)
        except actions.EmptyFilter:
            raise HttpProblem("not-found") from None
        fields = mend_fields(cause, seen.form, faults or {}) if mend else {"mend": False}
        values = {"ask": asked, "back": back, **fields}
        return View(template="bulk.html", values=values, status=422 if error else 200)

    def _cause(self, id: str | None) -> CauseCard | None:
        return next((card for card in self._site.reader.causes().items if card.id == id), None) if id else None


def _operators_only(seen: Visit) -> None:
    if not seen.me.acts:
        raise HttpProblem("forbidden")
