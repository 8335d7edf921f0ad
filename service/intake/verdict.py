"""What a judged request is answered with where nothing is stored. Shared by the door and the preview, so that they agree."""

from __future__ import annotations

from service.intake import submissions
from service.problems import HttpProblem
from service.sources.config import Source
from service.sources.reading import Answer, Outcome, Reading

HANDSHAKES = "POST, OPTIONS"
_READ_AS = {413: "too-large", 415: "media-type"}


def check_reading(source: Source, reading: Reading) -> None:
    """Raises HttpProblem for what is not to be stored."""
    if reading.outcome is Outcome.REFUSED:
        kind = "handshake" if reading.status == 403 else "not-genuine"
        challenge = {"WWW-Authenticate": f'Signature realm="{source.name}"'} if kind == "not-genuine" else {}
        raise HttpProblem(kind, reading.detail, errors=reading.problems, headers=challenge, why=reading.why)
    if reading.outcome is Outcome.UNREADABLE:
        status = reading.status if 400 <= reading.status < 500 else 400
        raise HttpProblem(_READ_AS.get(status, "unreadable"), reading.detail, status=status, errors=reading.problems)
    if submissions.nobody_to_reach(source, reading):
        raise HttpProblem("no-contact", errors=reading.problems)


def handshake(reading: Reading) -> Answer:
    """The answer to a handshake. Raises HttpProblem for a GET that is none, or that is refused."""
    if reading.outcome is Outcome.HANDSHAKE:
        if reading.answer is None:
            raise HttpProblem("unreadable")
        return reading.answer
    if reading.outcome is Outcome.REFUSED and reading.status == 403:
        raise HttpProblem("handshake", reading.detail, why=reading.why)
    raise HttpProblem("method", "Submissions are posted.", headers={"Allow": HANDSHAKES})


def in_product_terms(source: Source, problem: HttpProblem) -> None:
    """Adds what a product needs to show the problem to its users."""
    if source.adapter == "google-ads":
        # Google shows `message` to the advertiser who presses "Send test data".
        problem.extensions["message"] = problem.detail
