"""`leadline dead …`: what could not be delivered, why, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli import listed, show, start
from service.ops.find import states
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
@click.option("--cause", help="Only of this cause: its id, its code, its step, or a word of what it says.")
@click.option("--q", help="Only what this search finds, as in the console's search box.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@show.json_option
def list_(source: str | None, cause: str | None, q: str | None, limit: int, as_json: bool) -> None:
    """The newest dead letters with their causes. Names are masked."""
    with listed.opened([State.DEAD]) as desk:
        wanted = listed.filter_of(source=source, cause=cause, q=q)
        listed.print_items("Dead letters", listed.first(desk.reader, wanted, limit), as_json=as_json)


@dead.command("show")
@click.argument("submission_id")
@click.option("--masked", is_flag=True, help="Without personal data.")
@show.json_option
def show_(submission_id: str, masked: bool, as_json: bool) -> None:
    """One submission whole: lead, cause, deliveries, timeline. Shows personal data."""
    with listed.opened([State.DEAD]) as desk:
        found = desk.reader.submission(submission_id, reveal=not masked)
        if not masked:
            desk.revealed(submission_id)
        listed.print_detail(found, as_json=as_json)


@dead.command("export")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--source", help="Only of this source.")
@click.option("--cause", help="Only of this cause: its id, its code, its step, or a word of what it says.")
@click.option(
    "--state",
    default=State.DEAD.value,
    show_default=True,
    callback=listed.checked_states,
    help="One, or several with commas.",
)
@click.option("--q", help="Only what this search finds, as in the console's search box.")
@click.option("--reveal", is_flag=True, help="With personal data; kept in the audit trail.")
@click.option("--bom", is_flag=True, help="Begin a CSV with the mark by which Excel knows UTF-8.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write into this file, not onto standard output.")
def export(
    form: str,
    source: str | None,
    cause: str | None,
    state: str,
    q: str | None,
    reveal: bool,
    bom: bool,
    output: Path | None,
) -> None:
    """The dead letters (or other submissions) with their leads, as a file. Personal data are masked unless --reveal."""
    with listed.opened([State(name) for name in states(state)]) as desk:
        batches = desk.reader.lines(listed.filter_of(state=state, source=source, cause=cause, q=q), reveal=reveal)
        if reveal:
            desk.revealed(f"an export as {form}")
        listed.write(batches, form, output, bom=bom)


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
    with listed.opened([State.DEAD]) as desk:
        store = desk.store
        chosen = list(ids) or desk.reader.ids(listed.filter_of(source=source, cause=cause))
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
