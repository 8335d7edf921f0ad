"""`leadline check --send-test`: creates, labels, reads and deletes one lead of a test person.

Each step is a finding that says what it cost, or why it failed. Whatever was created is deleted,
even after a failure; what cannot be deleted is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from service.checks.finding import Finding, fail, ok, warn
from worker.errors import Gone, LeadlineError, OutcomeUnknown
from worker.pipedrive.client import CallReport, Pipedrive
from worker.pipedrive.metadata import MetadataKind, MetadataLookup
from worker.pipedrive.models import PipedriveLead

T = TypeVar("T")

SUBJECT = "test lead"
NAME = "Leadline test"
# `.example` is reserved, so nobody gets mail there.
EMAIL = "test@leadline.example"
# Marks what is created, so that people can tell it from a real lead.
ORIGIN_PREFIX = "leadline-test:"

# Deleting is tried several times, because somebody would have to delete by hand what is left.
DELETE_TRIES = 3
DELETE_PAUSE_SECONDS = 1.0
# How much earlier than ours Pipedrive's clock may say that a person was added.
CLOCK_SKEW_SECONDS = 120.0


class SampleLead:
    """Sends one test lead. The client adds each call that it makes to `reports`.

    `token` distinguishes this test from others; `clock` returns Unix seconds, `pause` sleeps.
    """

    def __init__(
        self,
        client: Pipedrive,
        lookup: MetadataLookup,
        reports: Sequence[CallReport],
        token: str,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._lookup = lookup
        self._reports = reports
        self._origin_id = ORIGIN_PREFIX + token
        self._email = f"{token}.{EMAIL}"
        self._started_at = clock()
        self._pause = pause
        self._person_id: int | None = None
        self._lead_id: str | None = None
        self._findings: list[Finding] = []

    def send(self) -> Iterator[Finding]:
        """Yield the findings. The first step that fails ends the test; what exists is deleted."""
        try:
            self._create_and_read()
        except LeadlineError as error:
            if isinstance(error, OutcomeUnknown):
                self._find_created()
        finally:
            self._delete()
        yield from self._findings
        cost, count = sum(report.cost for report in self._reports), len(self._reports)
        yield ok(SUBJECT, f"{count} calls, {cost} tokens")

    def _create_and_read(self) -> None:
        client = self._client
        person = self._step(
            "create a person",
            lambda: client.persons.add(name=NAME, emails=[{"value": self._email, "primary": True}]),
        )
        self._person_id = person.id
        lead = self._step(
            "create a lead with an origin_id",
            lambda: client.leads.add(
                title=NAME, person_id=person.id, origin_id=self._origin_id, channel_id=NAME
            ),
        )
        self._lead_id = lead.id
        labels = self._step("list the labels", lambda: self._lookup.table(MetadataKind.LABELS))
        label_ids = [str(label.id) for label in labels.items[:1]]
        if label_ids:
            self._step("label the lead", lambda: client.leads.update(lead.id, label_ids=label_ids))
        else:
            self._findings.append(warn(SUBJECT, "label the lead: the account has no label"))
        stored = self._step("read the lead", lambda: client.leads.get(lead.id))
        self._compare(stored, label_ids)

    def _compare(self, stored: PipedriveLead, label_ids: Sequence[str]) -> None:
        differing = [
            name
            for name, sent in (
                ("origin_id", self._origin_id),
                ("channel_id", NAME),
                ("label_ids", list(label_ids)),
                ("person_id", self._person_id),
            )
            if getattr(stored, name) != sent
        ]
        if differing:
            message = f"read the lead: Pipedrive stored another {' and '.join(differing)}"
            self._findings.append(fail(SUBJECT, message))

    def _step(self, what: str, call: Callable[[], T]) -> T:
        """Make the calls of one step and add its finding. Raises what they raise."""
        before = len(self._reports)
        try:
            answer = call()
        except LeadlineError as error:
            self._findings.append(fail(SUBJECT, f"{what}: {error}; {error.advice}", error.variable))
            raise
        cost = sum(report.cost for report in self._reports[before:])
        price = f"{cost} tokens" if cost else "no tokens, it was read above"
        self._findings.append(ok(SUBJECT, f"{what}: allowed, {price}"))
        return answer

    def _find_created(self) -> None:
        """Look for what a create without an answer may have created; a failure is a finding."""
        client = self._client
        try:
            if self._person_id is None:
                since = self._started_at - CLOCK_SKEW_SECONDS
                self._person_id = next(
                    (
                        person.id
                        for person in client.persons.list_newest(since=since)
                        if any(email.value == self._email for email in person.emails)
                    ),
                    None,
                )
            elif self._lead_id is None:
                self._lead_id = next(
                    (
                        lead.id
                        for lead in client.leads.list_all_of_person(self._person_id)
                        if lead.origin_id == self._origin_id
                    ),
                    None,
                )
        except LeadlineError as error:
            message = f"look for what may have been created: {error}; search for {self._email!r}"
            self._findings.append(fail(SUBJECT, message))

    def _delete(self) -> None:
        """Delete the lead, then its person."""
        client, lead_id, person_id = self._client, self._lead_id, self._person_id
        if lead_id is not None:
            self._delete_one("lead", lead_id, lambda: client.leads.delete(lead_id))
        if person_id is not None:
            self._delete_one("person", person_id, lambda: client.persons.delete(person_id))

    def _delete_one(self, what: str, id: object, call: Callable[[], object]) -> None:
        before = len(self._reports)
        for left in reversed(range(DELETE_TRIES)):
            try:
                call()
            except Gone:
                pass
            except LeadlineError as error:
                if left and error.transient:
                    self._pause(DELETE_PAUSE_SECONDS)
                    continue
                message = f"delete the {what}: {error}; the {what} {id} is left: delete it by hand"
                self._findings.append(fail(SUBJECT, message, error.variable))
                return
            cost = sum(report.cost for report in self._reports[before:])
            self._findings.append(ok(SUBJECT, f"delete the {what}: allowed, {cost} tokens"))
            return
