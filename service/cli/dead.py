"""`leadline dead …`: what could not be delivered, why, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli import decisions, output, queries, setup
from service.cli.decisions import BulkRequest
from service.ops.filters import parse_states
from worker.contract import State

edits = click.option(
    "--set",
    "edits",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Mend a field of the lead first: --set email=ada@example.com",
)


@click.group()
def dead() -> None:
    """Dead letters: what could not be delivered."""


@dead.command("list")
@click.option("--source", help="Only of this source.")
@click.option(
    "--cause", help="Only of this cause: its id, its code, its step, or a word of what it says."
)
@click.option("--q", help="Only what this search finds, as in the console's search box.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@output.json_option
def list_(source: str | None, cause: str | None, q: str | None, limit: int, as_json: bool) -> None:
    """The newest dead letters with their causes. Names are masked."""
    with queries.open_session([State.DEAD]) as desk:
        wanted = queries.build_filter(source=source, cause=cause, q=q)
        queries.print_items(
            "Dead letters", queries.newest(desk.queries, wanted, limit), as_json=as_json
        )


@dead.command("show")
@click.argument("submission_id")
@click.option("--masked", is_flag=True, help="Without personal data.")
@output.json_option
def show_(submission_id: str, masked: bool, as_json: bool) -> None:
    """One submission whole: lead, cause, deliveries, timeline. Shows personal data."""
    with queries.open_session([State.DEAD]) as desk:
        found = desk.queries.submission(submission_id, reveal=not masked)
        if not masked:
            desk.record_reveal(submission_id)
        queries.print_detail(found, as_json=as_json)


@dead.command("export")
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True
)
@click.option("--source", help="Only of this source.")
@click.option(
    "--cause", help="Only of this cause: its id, its code, its step, or a word of what it says."
)
@click.option(
    "--state",
    default=State.DEAD.value,
    show_default=True,
    callback=queries.checked_states,
    help="One, or several with commas.",
)
@click.option("--q", help="Only what this search finds, as in the console's search box.")
@click.option("--reveal", is_flag=True, help="With personal data; kept in the audit trail.")
@click.option("--bom", is_flag=True, help="Begin a CSV with the mark by which Excel knows UTF-8.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write into this file, not onto standard output.",
)
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
    """The dead letters (or other submissions) with their leads, as a file. Personal data are masked
    unless --reveal.
    """
    with queries.open_session([State(name) for name in parse_states(state)]) as desk:
        batches = desk.queries.export_rows(
            queries.build_filter(state=state, source=source, cause=cause, q=q), reveal=reveal
        )
        if reveal:
            desk.record_reveal(f"an export as {form}")
        queries.write_export(batches, form, output, bom=bom)


@dead.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
@edits
def retry(submission_ids: tuple[str, ...], asked: BulkRequest, edits: tuple[str, ...]) -> None:
    """Deliver again, mended with --set where given: some by id, or all that match, of which three
    go first.
    """
    changes = dict(parse_edit(edit) for edit in edits)
    with decisions.open_actions([State.DEAD]) as desk:
        wanted = decisions.requested_filter(submission_ids, State.DEAD, asked)
        if wanted:
            decisions.run_bulk(desk, "retry", wanted, asked, changes)
        else:
            decisions.apply_to_each(
                submission_ids, lambda name: desk.retry(name, setup.operator_name(), changes)
            )


@dead.command()
@click.argument("submission_id")
@edits
def edit(submission_id: str, edits: tuple[str, ...]) -> None:
    """Mend fields of one lead and deliver it again."""
    if not edits:
        raise click.UsageError("say what to mend: --set FIELD=VALUE")
    changes = dict(parse_edit(edit) for edit in edits)
    with decisions.open_actions([State.DEAD]) as desk:
        decisions.apply_to_each(
            [submission_id], lambda name: desk.retry(name, setup.operator_name(), changes)
        )


@dead.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
@click.option("--why", default="", help="Kept in the timeline of those named by id.")
@click.option(
    "--undo", "undo_", is_flag=True, help="Bring discarded ones back: the same as `dead undo`."
)
def discard(submission_ids: tuple[str, ...], asked: BulkRequest, why: str, undo_: bool) -> None:
    """Give dead letters up: some by id, or all that match. `dead undo` brings them back."""
    with decisions.open_actions([State.DEAD]) as desk:
        wanted = decisions.requested_filter(submission_ids, State.DEAD, asked)
        if wanted and undo_:
            raise click.UsageError("name what to bring back by id")
        if wanted:
            decisions.run_bulk(desk, "discard", wanted, asked)
        elif undo_:
            decisions.apply_to_each(
                submission_ids, lambda name: desk.undo(name, setup.operator_name())
            )
        else:
            decisions.apply_to_each(
                submission_ids, lambda name: desk.discard(name, setup.operator_name(), why)
            )


@dead.command()
@click.argument("submission_ids", nargs=-1, required=True)
def undo(submission_ids: tuple[str, ...]) -> None:
    """Bring discarded ones back to where they were."""
    with decisions.open_actions([State.DEAD]) as desk:
        decisions.apply_to_each(submission_ids, lambda name: desk.undo(name, setup.operator_name()))


def parse_edit(edit: str) -> tuple[str, str]:
    """`FIELD=VALUE` taken apart."""
    field, equals, value = edit.partition("=")
    if not equals or not field:
        raise click.UsageError(f"expected FIELD=VALUE, got {edit!r}")
    return field.strip(), value
