"""Pages for what went otherwise: not allowed, not there, not readable just now."""

from __future__ import annotations

from service.ops.console.visit import View
from service.problems import HttpProblem

HEADINGS = {403: "Not allowed", 404: "There is nothing here", 409: "Not possible any more", 503: "It cannot be read just now"}


def state(status: int, text: str, *, again: str | None = None) -> View:
    """`again` is the address that is worth another try."""
    heading = HEADINGS.get(status, "That did not work")
    return View(template="state.html", values={"heading": heading, "text": text, "again": again}, status=status)


def refused(problem: HttpProblem) -> View:
    """A refusal in the console's own words."""
    if problem.kind == "forbidden":
        text = "Your token may look, not act. Ask for one with the role operator in LEADLINE_OPS_TOKENS."
        return state(403, text)
    if problem.kind == "not-found":
        return state(404, "No submission, cause or bulk action has this address; it may have been erased.")
    return state(problem.status, problem.detail)
