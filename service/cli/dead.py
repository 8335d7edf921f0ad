"""`leadline dead …`: what could not be delivered, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from service.cli import show, start
from service.times import iso
from worker.contract import Lead, State
from worker.errors import NotAllowed
from worker.ledger import Ledger, Record
from worker.mend import EditError, mend

edits = click.option(
    "--set", "edits", multiple=True, metavar="FIELD=VALUE", help="Mend a field of the lead first: --set email=ada@example.com"
)


@click.group()
def dead() -> None:
    """Dead letters: what could not be delivered."""


@dead.command("list")
@click.option("--source", help="Only of this source.")
@click.option("--cause", help="Only with this code, step, field or text in the cause.")
@click.option("--limit", default=50, show_default=True)
@show.json_option
def list_(source: str | None, cause: str | None, limit: int, as_json: bool) -> None:
    """The newest dead letters with their causes. Shows no personal data."""
    with start.opened(start.settings()) as store:
        found = [record for _, record in zip(range(limit), matching(store.ledger, source, cause), strict=False)]
        total = store.ledger.counts()[State.DEAD]
    if as_json:
        show.print_json({"items": [_item(record) for record in found], "next": None, "total": total})
        return
    show.table(
        f"Dead letters ({len(found)} of {total})",
        ["id", "source", "since", "tries", "step", "cause", "mend"],
        [(record.id, record.source, show.ago(record.updated_at), record.attempts, *_why(record)) for record in found],
    )


@dead.command("show")
@click.argument("submission_id")
@show.json_option
def show_(submission_id: str, as_json: bool) -> None:
    """One dead letter whole: lead, cause, attempts, timeline. Shows personal data."""
    with start.opened(start.settings()) as store:
        record = find(store.ledger, submission_id)
        attempts, timeline = store.ledger.attempts(submission_id), store.ledger.timeline(submission_id)
    if as_json:
        show.print_json(_item(record) | {"lead": record.lead, "deliveries": attempts, "timeline": timeline})
        return
    cause = record.cause
    if cause:
        click.echo(f"{record.id} is {record.state}: {cause.detail}\n  step {cause.step}, code {cause.code}")
        click.echo("".join(f"  {name}: {value}\n" for name, value in (("mend", cause.hint), ("setting", cause.setting)) if value))
    lead: dict[str, Any] = msgspec.to_builtins(record.lead) if record.lead else {}
    show.table("Lead", ["field", "value"], lead.items(), empty=_nothing(record))
    show.table(
        "Attempts",
        ["at", "step", "outcome", "status", "ms", "detail"],
        [(iso(a.at), a.step, a.outcome, a.status, a.duration_ms, a.detail) for a in attempts],
    )
    show.table("Timeline", ["at", "state", "by", "why"], [(iso(m.at), m.state, m.by, m.why) for m in timeline])


@dead.command()
@click.argument("submission_ids", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Every dead letter that matches --source and --cause.")
@click.option("--source")
@click.option("--cause")
@edits
def retry(submission_ids: tuple[str, ...], all_: bool, source: str | None, cause: str | None, edits: tuple[str, ...]) -> None:
    """Deliver again, mended with --set where given."""
    _retry(submission_ids, all_, source, cause, edits)


@dead.command()
@click.argument("submission_id")
@edits
def edit(submission_id: str, edits: tuple[str, ...]) -> None:
    """Mend fields of one lead and deliver it again."""
    if not edits:
        raise click.UsageError("say what to mend: --set FIELD=VALUE")
    _retry((submission_id,), False, None, None, edits)


@dead.command()
@click.argument("submission_ids", nargs=-1, required=True)
@click.option("--why", default="", help="Kept in the timeline.")
@click.option("--undo", is_flag=True, help="Bring discarded ones back.")
def discard(submission_ids: tuple[str, ...], why: str, undo: bool) -> None:
    """Give dead letters up; --undo brings them back."""
    with start.opened(start.settings()) as store:
        for submission_id in submission_ids:
            if undo:
                click.echo(f"{submission_id} {store.ledger.undiscard(submission_id, start.operator())}")
            else:
                store.ledger.discard(submission_id, start.operator(), why)
                click.echo(f"{submission_id} {State.DISCARDED}")


def _retry(ids: tuple[str, ...], all_: bool, source: str | None, cause: str | None, edits: tuple[str, ...]) -> None:
    if bool(ids) == all_:
        raise click.UsageError("name dead letters by id, or say --all")
    changes = dict(parse(edit) for edit in edits)
    refused = 0
    with start.opened(start.settings()) as store:
        chosen = list(ids) or [record.id for record in matching(store.ledger, source, cause)]
        for submission_id in chosen:
            try:
                lead = _mended(find(store.ledger, submission_id), changes)
                click.echo(f"{submission_id} {store.sweeper.replay(submission_id, start.operator(), 'retry', lead)}")
            except NotAllowed as error:
                refused += 1
                click.echo(str(error), err=True)
    if refused:
        start.stop(f"leadline: {refused} of {len(chosen)} could not be retried")


def _mended(record: Record, changes: dict[str, str]) -> Lead | None:
    if not changes:
        return None
    if record.lead is None:
        start.stop(f"leadline: {record.id} has no lead to mend: it is {_nothing(record)}")
    try:
        return mend(record.lead, changes)
    except EditError as error:
        faults = [f"  {name}: {fault}" for name, fault in error.faults.items()]
        start.stop(f"leadline: {record.id}: nothing was changed:", *faults)


def _nothing(record: Record) -> str:
    return "sealed under a key that LEADLINE_ENCRYPTION_KEYS does not list" if record.sealed else "erased"


def parse(edit: str) -> tuple[str, str]:
    """`FIELD=VALUE` taken apart."""
    field, equals, value = edit.partition("=")
    if not equals or not field:
        raise click.UsageError(f"expected FIELD=VALUE, got {edit!r}")
    return field.strip(), value


def find(ledger: Ledger, submission_id: str) -> Record:
    record = ledger.get(submission_id)
    if record is None:
        start.stop(f"leadline: no submission {submission_id}")
    return record


def matching(ledger: Ledger, source: str | None, cause: str | None) -> Iterator[Record]:
    """Dead letters, newest first, that match both."""
    for record in ledger.each_in(State.DEAD):
        words = msgspec.json.encode(record.cause).decode().casefold() if record.cause else ""
        if (source is None or record.source == source) and (cause is None or cause.casefold() in words):
            yield record


def _why(record: Record) -> tuple[str | None, str | None, str | None]:
    return (record.cause.step, record.cause.detail, record.cause.hint) if record.cause else (None, None, None)


def _item(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "source": record.source,
        "state": record.state,
        "result": record.result,
        "cause": record.cause,
        "attempts": record.attempts,
        "received_at": iso(record.received_at),
        "updated_at": iso(record.updated_at),
        "next_at": iso(record.next_at),
    }
