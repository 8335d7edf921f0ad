"""`leadline status`, `causes`, `pause`, `resume`, `bulk`, `audit`: the installation as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import click

from service.cli import decisions, output, queries, setup
from service.ops.filters import FilterError
from service.ops.items import read_audit_page
from service.overview import Overview, count_causes, describe_held_back, read_overview
from worker.contract import State
from worker.fate import REASONS
from worker.ledger.audit import AuditTrail

# `leadline causes …`: why dead letters failed, and which causes to ignore.


@click.group()
def causes() -> None:
    """Causes of dead letters: list, ignore, reopen."""


@causes.command("list")
@output.json_option
def list_causes(as_json: bool) -> None:
    """List the causes, the most frequent first, ignored ones last."""
    with queries.open_session([State.DEAD]) as session, output.show_working("reading"):
        page = session.queries.causes()
    if as_json:
        output.print_json(page)
        return
    output.print_table(
        ["id", "count", "last seen", "ignored", "sources", "cause", "mend"],
        [
            (
                cause.id,
                cause.count,
                cause.last_seen,
                "yes" if cause.ignored else "",
                cause.sources,
                cause.title,
                cause.hint,
            )
            for cause in page.items
        ],
        title="Causes",
    )


@causes.command()
@click.argument("cause_ids", nargs=-1, required=True)
def ignore(cause_ids: tuple[str, ...]) -> None:
    """Ignore causes until another lead fails for them."""
    with decisions.open_actions([State.DEAD]) as actions:

        def ignore_one(cause: str) -> str:
            actions.ignore_cause(cause, setup.operator_name())
            return "ignored"

        decisions.apply_to_each(cause_ids, ignore_one)


@causes.command()
@click.argument("cause_ids", nargs=-1, required=True)
def reopen(cause_ids: tuple[str, ...]) -> None:
    """Stop ignoring causes."""
    with decisions.open_actions([State.DEAD]) as actions:

        def reopen_one(cause: str) -> str:
            actions.reopen_cause(cause, setup.operator_name())
            return "open"

        decisions.apply_to_each(cause_ids, reopen_one)


# `leadline status`: the counts, what is paused or degraded, dead letters by cause.


@click.command()
@output.json_option
def status(as_json: bool) -> None:
    """Show queue, dead letters by cause, budget, workers."""
    settings = setup.load_settings()
    with setup.open_ledger(settings) as ledger:
        now = read_overview(ledger, settings.data_dir)
        if as_json:
            output.print_json(now)
            return
        groups = count_causes(ledger)
    output.print_table(
        ["state", "count", "oldest"],
        [
            (state, count, output.format_age(now.oldest_seconds.get(state)))
            for state, count in now.states.items()
            if count
        ],
        title="Submissions",
        empty="none yet",
    )
    output.print_table(
        ["count", "step", "setting", "cause", "mend"],
        [(cause.count, cause.step, cause.setting, cause.detail, cause.hint) for cause in groups],
        title="Dead letters by cause",
    )
    for line in _describe(now):
        click.echo(line)


def _describe(now: Overview) -> Iterator[str]:
    left, leads = now.tokens.left, now.tokens.leads
    tokens = "not counted" if left is None else f"{left} left today, enough for about {leads} leads"
    yield f"workers: {now.workers}   API tokens: {tokens}   total: {sum(now.states.values())}"
    if now.paused:
        until = f" until {now.paused.until}" if now.paused.until else ""
        yield f"PAUSED since {now.paused.since}{until}: {now.paused.reason}  (leadline resume)"
        if now.paused.until and now.paused.reason in REASONS:
            advice = f"; {now.paused.advice}" if now.paused.advice else ""
            yield f"  {REASONS[now.paused.reason]}{advice}"
    if now.held_back:
        lines = "; ".join(describe_held_back(now.held_back))
        yield f"held back in the last hour by the bounds of a source: {lines}"
    if now.spool:
        yield f"in this machine's spool: {now.spool}, waiting for Redis to take them"
    if now.duplicates:
        yield (
            f"made twice in Pipedrive: {now.duplicates}; the worker's log names them: merge them by"
            " hand"
        )
    if "newer-records" in now.degraded:
        yield (
            "some submissions were accepted by a newer release and wait for a worker of it: start"
            " one, or stop the older workers"
        )
    if not now.workers:
        yield decisions.NO_WORKER


# `leadline pause` and `leadline resume`: for everybody, until somebody resumes.


@click.command()
@click.argument("reason", default="")
def pause(reason: str) -> None:
    """Stop delivering.

    Submissions are still accepted, and deliveries in progress are finished.
    """
    with setup.open_ledger(setup.load_settings()) as ledger:
        ledger.gate.pause(reason, setup.operator_name())
    click.echo("paused: nothing is delivered until `leadline resume`")


@click.command()
def resume() -> None:
    """Deliver again."""
    with setup.open_ledger(setup.load_settings()) as ledger:
        before = ledger.gate.find_pause()
        ledger.gate.resume(setup.operator_name())
    click.echo(f"resumed (was: {before.reason})" if before else "nothing was paused")


# `leadline bulk …`: the progress of bulk actions, whoever started them.


@click.group()
def bulk() -> None:
    """Bulk actions: list, show, stop."""


@bulk.command("list")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="At most this many.",
)
@output.json_option
def list_bulks(limit: int, as_json: bool) -> None:
    """List the newest bulk actions with their outcomes."""
    with decisions.open_actions() as actions:
        newest = actions.newest_bulks(limit)
    if as_json:
        output.print_json({"items": newest, "next": None, "total": len(newest)})
        return
    columns = (
        "id", "action", "by", "at", "count", "delivered", "dead", "done", "skipped", "left",
        "stopped",
    )  # fmt: skip
    rows = [[getattr(each, name) for name in columns] for each in newest]
    output.print_table(columns, rows, title="Bulk actions")


@bulk.command("show")
@click.argument("bulk_id")
@output.json_option
def show_(bulk_id: str, as_json: bool) -> None:
    """Show the progress of one bulk action."""
    with decisions.open_actions() as actions:
        progress = actions.bulk_status(bulk_id)
    if as_json:
        output.print_json(progress)
    else:
        decisions.print_bulk(progress)


@bulk.command()
@click.argument("bulk_id")
def stop(bulk_id: str) -> None:
    """Stop a bulk action. What it has not begun stays as it is."""
    with decisions.open_actions() as actions:
        decisions.print_bulk(actions.stop_bulk(bulk_id, setup.operator_name()))


# `leadline audit`: who did what to which submission.


@click.command()
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="At most this many.",
)
@click.option("--cursor", help="The `next` of the page before, as --json prints it.")
@output.json_option
def audit(limit: int, cursor: str | None, as_json: bool) -> None:
    """Show who did what to which submission.

    The newest entries come first. Holds no personal data.
    """
    with setup.open_ledger(setup.load_settings()) as ledger:
        try:
            page = read_audit_page(AuditTrail(ledger.redis), cursor, limit)
        except FilterError as error:
            raise click.BadParameter(str(error), param_hint="--cursor") from None
    if as_json:
        output.print_json(page)
        return
    output.print_table(
        ["at", "who", "action", "target", "detail"],
        [(each.at, each.who, each.action, each.target, each.detail) for each in page.items],
        title=f"Audit ({len(page.items)} of {page.total})",
    )
