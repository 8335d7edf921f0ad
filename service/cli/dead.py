"""`leadline dead …`: what could not be delivered, why, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli import decisions, output, queries, setup
from service.cli.decisions import BulkRequest
from service.ops.filters import parse_states
from worker.contract import State

edit_option = click.option(
    "--set",
    "edits",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Mend a field of the lead first, such as email=ada@example.com; repeatable.",
)


@click.group()
def dead() -> None:
    """Dead letters: list, show, retry, edit, discard, undo, export."""


@dead.command("list")
@queries.filter_options
@queries.limit_option
@output.json_option
def list_(source: str | None, cause: str | None, q: str | None, limit: int, as_json: bool) -> None:
    """List the newest dead letters with their causes. Names are masked."""
    with queries.open_session([State.DEAD]) as session:
        filter = queries.build_filter(source=source, cause=cause, q=q)
        page = queries.list_newest(session.queries, filter, limit)
    queries.print_items("Dead letters", page, as_json=as_json)


@dead.command("show")
@click.argument("submission_id")
@click.option("--masked", is_flag=True, help="Hide personal data.")
@output.json_option
def show_(submission_id: str, masked: bool, as_json: bool) -> None:
    """Show one submission: lead, cause, deliveries, timeline. Shows personal data."""
    with queries.open_session([State.DEAD]) as session:
        detail = session.queries.submission(submission_id, reveal=not masked)
        if not masked:
            session.actions.record_reveal(submission_id, setup.operator_name())
    queries.print_detail(detail, as_json=as_json)


@dead.command("export")
@click.option("--format", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@queries.filter_options
@click.option(
    "--state",
    default=State.DEAD.value,
    show_default=True,
    callback=queries.parse_states_option,
    help="One state, or several separated by commas.",
)
@click.option("--reveal", is_flag=True, help="Show personal data; noted in the audit trail.")
@click.option("--bom", is_flag=True, help="Begin a CSV with a byte order mark, for Excel.")
@click.option(
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output.",
)
def export(
    format: str,
    source: str | None,
    cause: str | None,
    state: str,
    q: str | None,
    reveal: bool,
    bom: bool,
    file: Path | None,
) -> None:
    """Export dead letters, or other submissions, with their leads.

    Personal data are masked unless --reveal is given.
    """
    with queries.open_session([State(name) for name in parse_states(state)]) as session:
        filter = queries.build_filter(state=state, source=source, cause=cause, q=q)
        batches = session.queries.export_rows(filter, reveal=reveal)
        if reveal:
            session.actions.record_reveal(f"an export as {format}", setup.operator_name())
        queries.write_export(batches, format, file, bom=bom)


@dead.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
@edit_option
def retry(submission_ids: tuple[str, ...], request: BulkRequest, edits: tuple[str, ...]) -> None:
    """Deliver dead letters again: some by id, or all that match.

    Of all that match, three are tried first; if they fail, the rest stays as it is.
    """
    edit = dict(map(parse_edit, edits))
    with decisions.open_actions([State.DEAD]) as actions:
        filter = decisions.requested_filter(submission_ids, State.DEAD, request)
        if filter:
            decisions.run_bulk(actions, "retry", filter, request, edit)
        else:
            by = setup.operator_name()
            decisions.apply_to_each(submission_ids, lambda one: actions.retry(one, by, edit))


@dead.command()
@click.argument("submission_id")
@edit_option
def edit(submission_id: str, edits: tuple[str, ...]) -> None:
    """Mend fields of one lead and deliver it again."""
    if not edits:
        raise click.UsageError("name the fields to change: --set FIELD=VALUE")
    changes = dict(map(parse_edit, edits))
    with decisions.open_actions([State.DEAD]) as actions:
        by = setup.operator_name()
        decisions.apply_to_each([submission_id], lambda one: actions.retry(one, by, changes))


@dead.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
@click.option("--reason", default="", help="Kept in the timeline of those named by id.")
@click.option("--undo", "is_undo", is_flag=True, help="Bring them back, as `dead undo` does.")
def discard(
    submission_ids: tuple[str, ...], request: BulkRequest, reason: str, is_undo: bool
) -> None:
    """Give up dead letters: some by id, or all that match. `dead undo` brings them back."""
    with decisions.open_actions([State.DEAD]) as actions:
        filter = decisions.requested_filter(submission_ids, State.DEAD, request)
        by = setup.operator_name()
        if filter and is_undo:
            raise click.UsageError("--undo takes ids")
        if filter:
            decisions.run_bulk(actions, "discard", filter, request)
        elif is_undo:
            decisions.apply_to_each(submission_ids, lambda one: actions.undo(one, by))
        else:
            decisions.apply_to_each(submission_ids, lambda one: actions.discard(one, by, reason))


@dead.command()
@click.argument("submission_ids", nargs=-1, required=True)
def undo(submission_ids: tuple[str, ...]) -> None:
    """Bring discarded submissions back to where they were."""
    with decisions.open_actions([State.DEAD]) as actions:
        by = setup.operator_name()
        decisions.apply_to_each(submission_ids, lambda one: actions.undo(one, by))


def parse_edit(edit: str) -> tuple[str, str]:
    """Field and value of `FIELD=VALUE`."""
    field, equals, value = edit.partition("=")
    if not equals or not field:
        raise click.UsageError(f"expected FIELD=VALUE, got {edit!r}")
    return field.strip(), value
