"""What the buttons of one lead do. Each posts, and leads back to where it was pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from service.ops import errors
from service.ops.console import lead_form
from service.ops.console.lead import LeadPanel, UnsavedEdit
from service.ops.console.leads import LeadsPage
from service.ops.console.page import Console
from service.ops.console.request import ConsoleRequest, Redirect, View
from service.ops.console.urls import HOME_URL, LEADS_URL, ListLocation, safe_back_url, with_flash
from service.web.problems import HttpProblem
from worker.contract import State
from worker.errors import NotAllowed
from worker.lead.edit import EditError


class ConsoleActions:
    """`retry`, `accept`, `discard`, `undo` of a lead; `ignore`, `unignore` of a cause; `pause`,
    `resume`.
    """

    def __init__(self, console: Console, lead: LeadPanel, list_page: LeadsPage) -> None:
        self._console = console
        self._lead = lead
        self._list = list_page

    def retry(self, request: ConsoleRequest) -> View | Redirect:
        """With the form of the lead, saved first."""
        id = request.path["id"]
        if not request.field("edit"):
            return self._done(
                request, "retried", lambda: self._console.actions.retry(id, request.user.name)
            )
        detail = self._lead.detail(id, reveal=True)
        if detail.state not in (State.DEAD, State.QUARANTINED):
            return Redirect(
                with_flash(safe_back_url(request.field("back")) or HOME_URL, done="not-allowed")
            )
        edit = lead_form.parse_edit(request.form, detail.lead or {})
        if request.field("request") != lead_form.fingerprint(detail.lead):
            said = (
                "Somebody changed this lead meanwhile. What you unsaved is below, against what it is"
                " now: save again to keep it."
            )
            return self._again(request, {}, said)
        held = detail.state is State.QUARANTINED
        deliver = self._console.actions.accept if held else self._console.actions.retry
        if not edit:
            return self._done(
                request, "accepted" if held else "retried", lambda: deliver(id, request.user.name)
            )
        try:
            return self._done(request, "mended", lambda: deliver(id, request.user.name, edit))
        except EditError as error:
            return self._again(request, error.faults, "Not saved: see the fields marked below.")
        except errors.NothingToMend as error:
            return self._again(request, {}, f"Not saved: {error}.")

    def accept(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request,
            "accepted",
            lambda: self._console.actions.accept(request.path["id"], request.user.name),
        )

    def discard(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request,
            "discarded",
            lambda: self._console.actions.discard(request.path["id"], request.user.name),
        )

    def undo(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request,
            "undone",
            lambda: self._console.actions.undo(request.path["id"], request.user.name),
        )

    def ignore(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request,
            "ignored",
            lambda: self._console.actions.ignore_cause(request.path["id"], request.user.name),
        )

    def unignore(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request,
            "watched",
            lambda: self._console.actions.reopen_cause(request.path["id"], request.user.name),
        )

    def pause(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request,
            "paused",
            lambda: self._console.actions.pause(request.user.name, request.field("reason")),
        )

    def resume(self, request: ConsoleRequest) -> View | Redirect:
        return self._done(
            request, "resumed", lambda: self._console.actions.resume(request.user.name)
        )

    def _done(self, request: ConsoleRequest, word: str, do: Callable[[], Any]) -> Redirect:
        """Back to the page that asked, which says what was done."""
        back = safe_back_url(request.field("back")) or HOME_URL
        of = request.path.get("id", "")
        try:
            do()
        except NotAllowed:
            return Redirect(with_flash(back, done="not-allowed", of=of))
        except errors.NotFound:
            raise HttpProblem("not-found") from None
        # A lead that left the list it was opened from is not what one goes back to.
        return Redirect(
            with_flash(_closed(back, of) if word == "discarded" else back, done=word, of=of)
        )

    def check(self, request: ConsoleRequest) -> View:
        """What would be sent if the lead were saved as it is unsaved. Nothing is saved."""
        detail = self._lead.detail(request.path["id"], reveal=True)
        edit = lead_form.parse_edit(request.form, detail.lead or {})
        try:
            return self._form(request, UnsavedEdit(request.form, {}, None, edit), status=200)
        except EditError as error:
            return self._again(
                request, error.faults, "It could not be saved so: see the fields marked below."
            )

    def _again(self, request: ConsoleRequest, faults: dict[str, str], said: str) -> View:
        return self._form(request, UnsavedEdit(request.form, faults, said), status=422)

    def _form(self, request: ConsoleRequest, unsaved: UnsavedEdit, status: int) -> View:
        """The form once more, with what was unsaved."""
        back = safe_back_url(request.field("back")) or LEADS_URL
        location = ListLocation.read(dict(parse_qsl(back.partition("?")[2])), request.path["id"])
        shown = self._list.beside(request, location, self._lead(request, location, unsaved))
        return View(template="list.html", values=shown, status=status)


def _closed(back: str, id: str) -> str:
    """The list behind an open lead."""
    path, mark, query = back.partition("?")
    return (LEADS_URL if path == f"{LEADS_URL}/{id}" else path) + mark + query
