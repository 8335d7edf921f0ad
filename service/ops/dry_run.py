"""What a retry would do now, and what the account lacks, for people who are about to retry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from service.ops.actions import clean_edit
from worker.contract import Lead
from worker.delivery.dry_run import DryRun, DryRunner
from worker.delivery.planned_steps import PlannedStep
from worker.drift.drift import DriftReport
from worker.lead.edit import apply_edit
from worker.lead.plan import without_quotations
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger, Record
from worker.units import format_iso


class DryRunProblem(Struct, frozen=True):
    """One reason why it would fail. `setting` is the TOML key or Pipedrive setting to change."""

    code: str
    detail: str
    field: str | None
    setting: str | None
    hint: str | None


class DryRunResult(Struct, frozen=True, kw_only=True):
    """What a delivery would do. Unless `revealed`, `title` is None and no step has a body.

    `tokens` is the most it may cost. `names_read_at` is when the account's names that it relies on
    were read; None where none were needed, or none were ever read.
    """

    id: str
    would: str
    steps: list[PlannedStep]
    problems: list[DryRunProblem]
    left_out: list[str]
    tokens: int
    title: str | None
    labels: list[str]
    channel: str | None
    channel_id: str | None
    owner: str | None
    names_read_at: str | None
    revealed: bool


class DriftItem(Struct, frozen=True):
    """Something that the source file names and the account lacks.

    `needed`: submissions that need it become dead letters. `available` are the names that exist.
    """

    kind: str
    name: str | None
    message: str
    needed: bool
    settings: list[str]
    sources: list[str]
    available: list[str] = field(name="known")


class AccountDrift(Struct, frozen=True):
    """The last check of the account; `at` is None before the first one.

    `error` says why the check could not see everything.
    """

    at: str | None
    items: list[DriftItem]
    error: str | None = None


def dry_run_record(
    ledger: Ledger,
    mappings: Mapping[str, LeadMapping],
    record: Record,
    edit: Mapping[str, Any] | None,
    *,
    reveal: bool,
    clock: Callable[[], float],
) -> DryRunResult:
    """Plan the delivery of a record, with its lead edited.

    Raises `EditError`, `StoreUnavailable`.
    """
    lead = record.lead or Lead()
    if edit:
        lead = apply_edit(lead, clean_edit(edit))
    dry_run = DryRunner(ledger.redis, mappings, clock).run(record, lead)
    return _build_result(record, dry_run, reveal)


def _build_result(record: Record, dry_run: DryRun, reveal: bool) -> DryRunResult:
    steps = dry_run.steps if reveal else [_drop_body(step) for step in dry_run.steps]
    return DryRunResult(
        id=record.id,
        would="fail" if dry_run.problems else "deliver",
        steps=steps,
        problems=[
            DryRunProblem(each.code, each.detail, each.field, each.setting, each.hint)
            for each in dry_run.problems
        ],
        left_out=dry_run.left_out
        if reveal
        else [without_quotations(sentence) for sentence in dry_run.left_out],
        tokens=dry_run.tokens,
        title=dry_run.title if reveal else None,
        labels=dry_run.labels,
        channel=dry_run.channel,
        channel_id=dry_run.channel_id,
        owner=dry_run.owner,
        names_read_at=format_iso(dry_run.names_read_at),
        revealed=reveal,
    )


def _drop_body(step: PlannedStep) -> PlannedStep:
    return PlannedStep(step.step, step.what, step.text, step.tokens, step.path, None)


def build_drift(report: DriftReport | None) -> AccountDrift:
    """The report of the drift check for people: what is needed first, times as text."""
    if report is None:
        return AccountDrift(None, [])
    items = [
        DriftItem(
            each.kind,
            each.name,
            each.message,
            each.needed,
            each.settings,
            each.sources,
            each.available,
        )
        for each in report.findings
    ]
    return AccountDrift(
        format_iso(report.at), sorted(items, key=lambda each: not each.needed), report.error
    )
