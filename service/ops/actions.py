"""Everything that operators do, in the console, by the API or in a terminal.

Each action leaves an entry in the audit trail.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, structs

from service.ops.exceptions import EmptyFilter, NotFound, NothingToEdit
from service.ops.filters import Filter, parse_states
from service.ops.schemas import BulkStatus, CauseCard, Page
from service.overview import LEAD_TOKENS, Paused, describe_pause
from service.sources.fields.effort import Effort
from service.sources.fields.emails import parse_email
from service.sources.fields.text import clean_line, clean_text
from worker.contract import Lead, State
from worker.erasure import erasure
from worker.erasure.erasure import Erasure
from worker.errors import NotAllowed, Overtaken
from worker.lead.edit import EditError, apply_edit
from worker.ledger import Ledger, Record, audit
from worker.ledger.audit import AuditTrail
from worker.ledger.bulk import ACTIONS, BulkActions, BulkProgress
from worker.ledger.identifiers import Identifier
from worker.ledger.ledger import Audited
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.store import keys
from worker.units import format_iso

# What people type into an edit is made as safe and regular as what the intake accepts.

MAX_EDIT_FIELDS = 200
# Levels of an edit's value; `answers`, a table of lists, is the deepest.
MAX_EDIT_DEPTH = 4
# Longer whole numbers do not fit into what is stored.
MAX_NUMBER = 10**18
MULTILINE_FIELDS = ("message", "answers")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def clean_edit(edit: Mapping[str, Any]) -> dict[str, Any]:
    """Clean the text of an edit, and bring its e-mail address and currency into their usual form.

    An empty value removes the field. Raises `EditError` with every fault at once: what is not a
    field of a lead, has the wrong type, or is not an address.
    """
    if len(edit) > MAX_EDIT_FIELDS:
        raise EditError({"edit": f"expected at most {MAX_EDIT_FIELDS} fields, got {len(edit)}"})
    faults: dict[str, str] = {}
    cleaned: dict[str, Any] = {}
    for name, value in edit.items():
        try:
            cleaned[clean_line(name)] = _normalize_value(name, value)
        except ValueError as fault:
            faults[clean_line(name)] = str(fault)
    try:
        apply_edit(Lead(), cleaned)
    except EditError as error:
        faults |= error.faults
    if faults:
        raise EditError(faults)
    return cleaned


def _normalize_value(name: str, value: Any) -> Any:
    value = _clean_value(name.partition(".")[0], value, 0)
    if name == "email" and isinstance(value, str) and value:
        address = parse_email(value, Effort())
        if address is None:
            raise ValueError("Enter a valid e-mail address")
        return address
    if name == "value.currency" and isinstance(value, str) and value:
        if not _CURRENCY.fullmatch(value.upper()):
            raise ValueError("Enter a three-letter currency code, such as EUR")
        return value.upper()
    return value


def parse_erased_email(text: str) -> str:
    """The address as it is stored, or as typed if only others would call it an address.

    Raises `EditError`.
    """
    address = text.strip()
    local, _, domain = address.rpartition("@")
    if not (local.strip("@") and domain) or len(address) > MAX_EMAIL_CHARS:
        raise EditError({"email": "Enter a valid e-mail address"})
    return parse_email(address, Effort()) or address


def _clean_value(group: str, value: Any, depth: int) -> Any:
    if depth > MAX_EDIT_DEPTH:
        raise ValueError("expected text, a number or a table, got something nested too deeply")
    if isinstance(value, str):
        return clean_text(value) if group in MULTILINE_FIELDS else clean_line(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a number, got NaN or infinity")
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        raise ValueError("expected a number of up to 18 digits, got a longer one")
    if isinstance(value, dict):
        return {
            clean_line(str(key)): _clean_value(group, each, depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_clean_value(group, each, depth + 1) for each in value]
    return value


Edit = Mapping[str, Any] | None
MAX_REASON_CHARS = 500
MAX_EMAIL_CHARS = 400


class Cost(Struct, frozen=True):
    """The most a bulk action may cost, in API tokens of Pipedrive.

    `left` is what is left today, None if unknown.
    """

    tokens: int
    left: int | None


class SubmissionFinder(Protocol):
    """The part of `service.ops.queries.SubmissionQueries` that the actions need."""

    def ids(self, filter: Filter) -> list[str]: ...

    def causes(self) -> Page[CauseCard]: ...


# For how long a repeated search is not recorded again, and how many are remembered.
SEARCH_SECONDS = 600.0
MAX_SEARCHES = 10_000


class Actions:
    """Safe for any thread. Every method may raise `StoreUnavailable`.

    `by` is the name of the operator's token, or `cli:` and the name of the user. `data_dir` is
    where the spools of this machine are.
    """

    def __init__(
        self, ledger: Ledger, queries: SubmissionFinder, data_dir: Path | None = None
    ) -> None:
        self.ledger = ledger
        self._sweeper = Sweeper(ledger, open_queue(ledger.redis))
        self._queries = queries
        self._data_dir = data_dir
        self.bulks = BulkActions(ledger)
        self.audit = AuditTrail(ledger.redis)
        self._searched_at: dict[tuple[str, str], float] = {}

    # One submission.

    def retry(
        self, submission_id: str, by: str, edit: Edit = None, if_updated_at: str | None = None
    ) -> State:
        """Deliver a dead letter again, with its lead edited first where there is an edit.

        `if_updated_at` is the `updated_at` that the person saw. Raises `NotFound`, `NotAllowed`,
        `Overtaken` where it changed since, `EditError` with the fields, `NothingToEdit`.
        """
        return self._replay(submission_id, by, "retry", edit, if_updated_at)

    def accept(
        self, submission_id: str, by: str, edit: Edit = None, if_updated_at: str | None = None
    ) -> State:
        """Deliver a quarantined submission that is not spam after all. Raises what `retry` does."""
        return self._replay(submission_id, by, "accept", edit, if_updated_at)

    def discard(self, submission_id: str, by: str, reason: str = "") -> State:
        """Give up a dead letter or a quarantined one. Raises `NotFound`, `NotAllowed`."""
        with _require_submission(submission_id):
            self.ledger.discard(submission_id, by, reason.strip()[:MAX_REASON_CHARS])
        return State.DISCARDED

    def undo(self, submission_id: str, by: str) -> State:
        """Take a discard back. Raises `NotFound`, `NotAllowed`."""
        with _require_submission(submission_id):
            return self.ledger.undiscard(submission_id, by)

    def record_reveal(self, target: str, by: str) -> None:
        """Record that somebody is about to look at personal data.

        `target` is a submission's id, or names a list or an export.
        """
        self.audit.record(by, "reveal", target)

    def record_search(self, filter: Filter, by: str) -> None:
        """Record that somebody who sees personal data masked searches for a text.

        The trail has a digest of it. A search that is repeated, as pages do by themselves, counts
        once in a while only.
        """
        digest, now = keys.digest(filter.q or "")[:12], time.monotonic()
        if now - self._searched_at.get((by, digest), -SEARCH_SECONDS) < SEARCH_SECONDS:
            return
        if len(self._searched_at) >= MAX_SEARCHES:
            self._searched_at.clear()
        self._searched_at[(by, digest)] = now
        self.audit.record(by, "search", "submissions", f"q={digest}")

    def _replay(
        self, submission_id: str, by: str, action: str, edit: Edit, if_updated_at: str | None
    ) -> State:
        lead, as_of = (
            self._apply_edit(submission_id, action, edit, if_updated_at)
            if edit or if_updated_at
            else (None, None)
        )
        detail = f"edited: {', '.join(sorted(edit))}" if edit else ""
        allowed = ACTIONS[action]
        with _require_submission(submission_id):
            return self._sweeper.replay(
                submission_id,
                by,
                action,
                lead,
                allowed=allowed,
                audit=Audited(action, detail),
                if_updated_at=as_of,
            )

    def _apply_edit(
        self, submission_id: str, action: str, edit: Edit, if_updated_at: str | None
    ) -> tuple[Lead | None, float]:
        """The edited lead, and when the record from which it was made last changed."""
        record = self._find_record(submission_id)
        if record.state not in ACTIONS[action]:
            raise NotAllowed(submission_id, record.state, action)
        if if_updated_at and if_updated_at != format_iso(record.updated_at):
            raise Overtaken(submission_id, record.state, action)
        if not edit:
            return None, record.updated_at
        if record.unreadable or not record.has_content:
            state = (
                "encrypted under a key that LEADLINE_ENCRYPTION_KEYS does not list"
                if record.unreadable
                else "erased"
            )
            raise NothingToEdit(f"{submission_id} has no content to edit: it is {state}")
        return apply_edit(record.lead or Lead(), clean_edit(edit)), record.updated_at

    def _find_record(self, submission_id: str) -> Record:
        record = self.ledger.get(submission_id) if keys.is_safe_id(submission_id) else None
        if record is None:
            raise NotFound("there is no submission with this id")
        return record

    # All deliveries, causes and people.

    def pause(self, by: str, reason: str = "") -> Paused | None:
        """Start no delivery until somebody resumes; those under way are finished."""
        self.ledger.gate.pause(reason.strip()[:MAX_REASON_CHARS], by)
        return self.paused()

    def resume(self, by: str) -> Paused | None:
        """Deliver again. Returns what still holds deliveries up: the gate, or None."""
        self.ledger.gate.resume(by)
        return self.paused()

    def paused(self) -> Paused | None:
        return describe_pause(self.ledger.gate.find_pause())

    def ignore_cause(self, cause_id: str, by: str) -> None:
        """Take a cause off the list until another lead fails for it. Raises `NotFound`."""
        self._require_cause(cause_id)
        self.audit.record(by, "ignore", cause_id)
        audit.ignore_cause(self.ledger.redis, cause_id, self.ledger.now())

    def reopen_cause(self, cause_id: str, by: str) -> None:
        """Put an ignored cause back on the list. Raises `NotFound`."""
        self._require_cause(cause_id)
        self.audit.record(by, "reopen", cause_id)
        audit.unignore_cause(self.ledger.redis, cause_id)

    def _require_cause(self, cause_id: str) -> None:
        if all(cause.id != cause_id for cause in self._queries.causes().items):
            raise NotFound("there is no such cause, or it has no dead letters any more")

    def erase(self, email: str, by: str) -> Erasure:
        """Erase everything about an e-mail address, from disk too, which takes seconds.

        The result names what is left: what Pipedrive has, and what could not be erased. Raises
        `EditError`.
        """
        who: Identifier = ("email", parse_erased_email(email))
        result = erasure.erase(self.ledger, who, by, data_dir=self._data_dir)
        self.audit.record(by, "erase", keys.digest(*who), result.summary)
        return result

    # Many submissions.

    def start_bulk(
        self,
        action: str,
        filter: Filter,
        expect: int,
        by: str,
        edit: Mapping[str, Any] | None = None,
    ) -> BulkStatus:
        """Apply one action to everything that matches now and whose state allows it.

        It continues in the background: see `worker.ledger.bulk`. Raises `EmptyFilter`,
        `FilterError`, `EditError`, and `CountDiffers` where their number is not `expect`.
        """
        edit = clean_edit(edit) if edit else None
        bulk = self.bulks.create(
            action,
            self.find_matching(action, filter),
            expect,
            by,
            edit=edit,
            detail=_describe_for_audit(filter, edit),
        )
        return self.bulk_status(bulk)

    def find_matching(self, action: str, filter: Filter) -> list[str]:
        """The ids that a bulk action would take, the oldest change first.

        Raises `EmptyFilter`, `FilterError`.
        """
        if filter.is_empty:
            raise EmptyFilter("the filter is empty: name a state, a source, a cause or a text")
        requested = set(parse_states(filter.state)) if filter.state else set(State)
        allowed = [state.value for state in ACTIONS[action] if state in requested]
        return (
            self._queries.ids(structs.replace(filter, state=",".join(allowed)))[::-1]
            if allowed
            else []
        )

    def bulk_status(self, bulk: str) -> BulkStatus:
        """The status of a bulk action. Raises `NotFound`, also if it ended over a week ago."""
        progress = self.bulks.progress(bulk) if keys.is_safe_id(bulk) else None
        if progress is None:
            raise NotFound("there is no bulk action with this id")
        return build_bulk_status(progress)

    def stop_bulk(self, bulk: str, by: str) -> BulkStatus:
        """Stop a bulk action unless it is over; what is left stays as it is. Raises `NotFound`."""
        self.bulk_status(bulk)
        self.bulks.stop(bulk, by)
        return self.bulk_status(bulk)

    def newest_bulks(self, limit: int = 20) -> list[BulkStatus]:
        """The newest bulk actions, newest first."""
        return [build_bulk_status(progress) for progress in self.bulks.list_newest(limit)]

    def estimate_cost(self, count: int) -> Cost:
        """What a bulk action may cost, for the confirmation before it."""
        left = self.ledger.redis.get(self.ledger.account.allowance("left"))
        return Cost(count * LEAD_TOKENS, int(left) if left else None)


def build_bulk_status(progress: BulkProgress) -> BulkStatus:
    """The progress with its times as ISO 8601 text."""
    return BulkStatus(
        id=progress.id,
        action=progress.action,
        count=progress.count,
        left=progress.left,
        delivered=progress.delivered,
        dead=progress.dead,
        stopped=progress.stopped,
        done=progress.done,
        by=progress.by,
        at=format_iso(progress.at),
        skipped=progress.skipped,
        ended_at=format_iso(progress.ended_at),
    )


def _describe_for_audit(filter: Filter, edit: Edit) -> str:
    """The filter for the audit trail.

    A digest stands for the search, which may be somebody's address.
    """
    parts = filter.parameters() | ({"q": keys.digest(filter.q)[:12]} if filter.q else {})
    edited = [f"edited: {', '.join(sorted(edit))}"] if edit else []
    return "; ".join([f"{name}={value}" for name, value in parts.items()] + edited)


@contextmanager
def _require_submission(submission_id: str) -> Iterator[None]:
    """Raise `NotFound` instead of `NotAllowed` for a submission that does not exist."""
    if not keys.is_safe_id(submission_id):
        raise NotFound("there is no submission with this id")
    try:
        yield
    except NotAllowed as error:
        if error.state is None:
            raise NotFound("there is no submission with this id") from None
        raise
