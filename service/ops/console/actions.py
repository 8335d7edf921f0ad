"""What the buttons of one lead do. Each posts, and leads back to where it was pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from service.ops import actions
from service.ops.console import lead_form
from service.ops.console.lead import LeadView, Typed
from service.ops.console.leads import ListPage
from service.ops.console.page import Site
from service.ops.console.request import Go, View, Visit
from service.ops.console.urls import HOME, LIST, Place, ours, told
from service.web.problems import HttpProblem
from worker.contract import State
from worker.errors import NotAllowed
from worker.lead.edit import EditError


class Acting:
    """`retry`, `accept`, `discard`, `undo` of a lead; `ignore`, `unignore` of a cause; `pause`,
    `resume`.
    """

    def __init__(self, site: Site, lead: LeadView, list_page: ListPage) -> None:
        self._site = site
        self._lead = lead
        self._list = list_page

    def retry(self, seen: Visit) -> View | Go:
        """With the form of the lead, saved first."""
        id = seen.path["id"]
        if not seen.given("edit"):
            return self._done(seen, "retried", lambda: self._site.actions.retry(id, seen.me.name))
        detail = self._lead.detail(id, reveal=True)
        if detail.state not in (State.DEAD, State.QUARANTINED):
            return Go(told(ours(seen.given("back")) or HOME, done="not-allowed"))
        edit = lead_form.edit_of(seen.form, detail.lead or {})
        if seen.given("seen") != lead_form.fingerprint(detail.lead):
            said = (
                "Somebody changed this lead meanwhile. What you typed is below, against what it is"
                " now: save again to keep it."
            )
            return self._again(seen, {}, said)
        held = detail.state is State.QUARANTINED
        deliver = self._site.actions.accept if held else self._site.actions.retry
        if not edit:
            return self._done(
                seen, "accepted" if held else "retried", lambda: deliver(id, seen.me.name)
            )
        try:
            return self._done(seen, "mended", lambda: deliver(id, seen.me.name, edit))
        except EditError as error:
            return self._again(seen, error.faults, "Not saved: see the fields marked below.")
        except actions.NothingToMend as error:
            return self._again(seen, {}, f"Not saved: {error}.")

    def accept(self, seen: Visit) -> View | Go:
        return self._done(
            seen, "accepted", lambda: self._site.actions.accept(seen.path["id"], seen.me.name)
        )

    def discard(self, seen: Visit) -> View | Go:
        return self._done(
            seen, "discarded", lambda: self._site.actions.discard(seen.path["id"], seen.me.name)
        )

    def undo(self, seen: Visit) -> View | Go:
        return self._done(
            seen, "undone", lambda: self._site.actions.undo(seen.path["id"], seen.me.name)
        )

    def ignore(self, seen: Visit) -> View | Go:
        return self._done(
            seen, "ignored", lambda: self._site.actions.ignore(seen.path["id"], seen.me.name)
        )

    def unignore(self, seen: Visit) -> View | Go:
        return self._done(
            seen, "watched", lambda: self._site.actions.unignore(seen.path["id"], seen.me.name)
        )

    def pause(self, seen: Visit) -> View | Go:
        return self._done(
            seen, "paused", lambda: self._site.actions.pause(seen.me.name, seen.given("reason"))
        )

    def resume(self, seen: Visit) -> View | Go:
        return self._done(seen, "resumed", lambda: self._site.actions.resume(seen.me.name))

    def _done(self, seen: Visit, word: str, do: Callable[[], Any]) -> Go:
        """Back to the page that asked, which says what was done."""
        back = ours(seen.given("back")) or HOME
        of = seen.path.get("id", "")
        try:
            do()
        except NotAllowed:
            return Go(told(back, done="not-allowed", of=of))
        except actions.NotFound:
            raise HttpProblem("not-found") from None
        # A lead that left the list it was opened from is not what one goes back to.
        return Go(told(_closed(back, of) if word == "discarded" else back, done=word, of=of))

    def check(self, seen: Visit) -> View:
        """What would be sent if the lead were saved as it is typed. Nothing is saved."""
        detail = self._lead.detail(seen.path["id"], reveal=True)
        edit = lead_form.edit_of(seen.form, detail.lead or {})
        try:
            return self._form(seen, Typed(seen.form, {}, None, edit), status=200)
        except EditError as error:
            return self._again(
                seen, error.faults, "It could not be saved so: see the fields marked below."
            )

    def _again(self, seen: Visit, faults: dict[str, str], said: str) -> View:
        return self._form(seen, Typed(seen.form, faults, said), status=422)

    def _form(self, seen: Visit, typed: Typed, status: int) -> View:
        """The form once more, with what was typed."""
        back = ours(seen.given("back")) or LIST
        place = Place.read(dict(parse_qsl(back.partition("?")[2])), seen.path["id"])
        shown = self._list.beside(seen, place, self._lead(seen, place, typed))
        return View(template="list.html", values=shown, status=status)


def _closed(back: str, id: str) -> str:
    """The list behind an open lead."""
    path, mark, query = back.partition("?")
    return (LIST if path == f"{LIST}/{id}" else path) + mark + query
