"""The buttons of a lead, of a cause, and of delivery. Each redirects to where it was pressed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from service.ops.console import lead_form
from service.ops.console.console_request import ConsoleRequest, Redirect, View
from service.ops.console.lead import LeadPanel, UnsavedEdit
from service.ops.console.leads import LeadsPage
from service.ops.console.page import Console
from service.ops.console.urls import LEADS_URL, ListLocation, safe_back_url, with_flash
from service.ops.exceptions import NotFound, NothingToEdit
from service.web.problems import HttpProblem
from worker.contract import ACTIONABLE, State
from worker.errors import NotAllowed
from worker.lead.edit import EditError

CHANGED_BY_ANOTHER = (
    "Someone else changed this lead. Your changes are below, on top of its current version. Save"
    " again to keep them."
)


class ConsoleActions:
    """Every method handles one POST. They raise HttpProblem 404 and `StoreUnavailable`."""

    def __init__(self, console: Console, panel: LeadPanel, leads: LeadsPage) -> None:
        self._actions = console.actions
        self._panel = panel
        self._leads = leads

    # -- a lead

    def retry(self, request: ConsoleRequest) -> View | Redirect:
        """Delivers again; if the lead's form was posted, its changes are saved first."""
        if not request.form_value("edit"):
            return self._act(request, "retried", self._actions.retry)
        id, by = request.path["id"], request.user.name
        detail = self._panel.find_detail(id, reveal=True)
        if detail.state not in ACTIONABLE:
            return Redirect(with_flash(request.back_url, done="not-allowed"))
        edit = lead_form.parse_edit(request.form, detail.lead or {})
        if request.form_value("fingerprint") != lead_form.fingerprint(detail.lead):
            return self._show_form(request, {}, CHANGED_BY_ANOTHER)
        quarantined = detail.state is State.QUARANTINED
        deliver = self._actions.accept if quarantined else self._actions.retry
        if not edit:
            return self._act(request, "accepted" if quarantined else "retried", deliver)
        try:
            return self._redirect(request, "saved", lambda: deliver(id, by, edit))
        except EditError as error:
            return self._show_form(request, error.faults, "Not saved: see the fields marked below.")
        except NothingToEdit as error:
            return self._show_form(request, {}, f"Not saved: {error}.")

    def check(self, request: ConsoleRequest) -> View:
        """Previews what would be sent with the posted changes. Nothing is saved."""
        detail = self._panel.find_detail(request.path["id"], reveal=True)
        edit = lead_form.parse_edit(request.form, detail.lead or {})
        try:
            unsaved = UnsavedEdit(request.form, {}, None, edit)
            return self._show_lead(request, unsaved, status=200)
        except EditError as error:
            message = "This can't be saved: see the fields marked below."
            return self._show_form(request, error.faults, message)

    def accept(self, request: ConsoleRequest) -> Redirect:
        return self._act(request, "accepted", self._actions.accept)

    def discard(self, request: ConsoleRequest) -> Redirect:
        return self._act(request, "discarded", self._actions.discard)

    def undo(self, request: ConsoleRequest) -> Redirect:
        return self._act(request, "undone", self._actions.undo)

    # -- a cause

    def ignore(self, request: ConsoleRequest) -> Redirect:
        return self._act(request, "ignored", self._actions.ignore_cause)

    def unignore(self, request: ConsoleRequest) -> Redirect:
        return self._act(request, "unignored", self._actions.reopen_cause)

    # -- delivery

    def pause(self, request: ConsoleRequest) -> Redirect:
        by, reason = request.user.name, request.form_value("reason")
        return self._redirect(request, "paused", lambda: self._actions.pause(by, reason))

    def resume(self, request: ConsoleRequest) -> Redirect:
        """Ends an operator's pause; a gate that Pipedrive's answers closed is tried at once."""
        still_closed = self._actions.resume(request.user.name)
        return self._redirect(request, "retrying" if still_closed else "resumed", lambda: None)

    # -- what the methods above share

    def _act(
        self, request: ConsoleRequest, done: str, act: Callable[[str, str], object]
    ) -> Redirect:
        """`act` takes the id in the path and who asked."""
        id, by = request.path["id"], request.user.name
        return self._redirect(request, done, lambda: act(id, by))

    def _redirect(self, request: ConsoleRequest, done: str, act: Callable[[], object]) -> Redirect:
        """Back to the page of the button, with the flash message `done`."""
        back_url, id = request.back_url, request.path.get("id", "")
        try:
            act()
        except NotAllowed:
            return Redirect(with_flash(back_url, done="not-allowed", of=id))
        except NotFound:
            raise HttpProblem("not-found") from None
        if done == "discarded":
            back_url = _without_lead(back_url, id)
        return Redirect(with_flash(back_url, done=done, of=id))

    def _show_form(self, request: ConsoleRequest, faults: dict[str, str], message: str) -> View:
        return self._show_lead(request, UnsavedEdit(request.form, faults, message), status=422)

    def _show_lead(self, request: ConsoleRequest, unsaved: UnsavedEdit, status: int) -> View:
        """The page with the form once more, filled with what was typed."""
        back_url = safe_back_url(request.form_value("back")) or LEADS_URL
        parameters = dict(parse_qsl(back_url.partition("?")[2]))
        location = ListLocation.parse(parameters, request.path["id"])
        panel = self._panel(request, location, unsaved)
        values = self._leads.build_values(request, location, panel)
        return View(template="leads.html", values=values, status=status)


def _without_lead(url: str, id: str) -> str:
    """The list behind the open lead, which has left that list."""
    path, mark, query = url.partition("?")
    return (LEADS_URL if path == f"{LEADS_URL}/{id}" else path) + mark + query
