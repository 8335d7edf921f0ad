"""`leadline causes …`: what dead letters died of, and which of it needs nobody."""

from __future__ import annotations

import click

from service.cli import decisions, output, queries, setup
from service.ops.filters import FilterError
from service.ops.items import read_audit_page
from worker.contract import State
from worker.ledger.audit import AuditTrail
from worker.ledger.status import causes as causes_of
from worker.ledger.status import overview
from worker.times import format_iso


@click.group()
def causes() -> None:
    """Dead letters by cause: list, ignore, reopen."""


@causes.command("list")
@output.json_option
def list_causes(as_json: bool) -> None:
    """The most frequent first, those that are ignored last."""
    with queries.open_session([State.DEAD]) as desk:
        page = desk.queries.causes()
    if as_json:
        output.print_json(page)
        return
    output.table(
        "Causes",
        ["id", "count", "what", "sources", "last seen", "mend", "ignored"],
        [
            (
                each.id,
                each.count,
                each.title,
                ", ".join(each.sources),
                each.last_seen,
                each.hint,
                "yes" * each.ignored,
            )
            for each in page.items
        ],
    )


@causes.command()
@click.argument("cause_ids", nargs=-1, required=True)
def ignore(cause_ids: tuple[str, ...]) -> None:
    """What died of it needs nobody, until it comes back."""
    with decisions.open_actions([State.DEAD]) as desk:

        def ignored(cause: str) -> str:
            desk.ignore_cause(cause, setup.operator_name())
            return "ignored"

        decisions.apply_to_each(cause_ids, ignored)


@causes.command()
@click.argument("cause_ids", nargs=-1, required=True)
def reopen(cause_ids: tuple[str, ...]) -> None:
    """It needs somebody again."""
    with decisions.open_actions([State.DEAD]) as desk:

        def reopened(cause: str) -> str:
            desk.reopen_cause(cause, setup.operator_name())
            return "open"

        decisions.apply_to_each(cause_ids, reopened)


# `leadline status`: the balance, what is paused or degraded, dead letters by cause.


@click.command()
@output.json_option
def status(as_json: bool) -> None:
    """Queue, dead letters by cause, budget, workers."""
    settings = setup.load_settings()
    with setup.open_store(settings) as store:
        now = overview(store.ledger, settings.data_dir)
        if as_json:
            output.print_json(now)
            return
        groups = causes_of(store.ledger)
    output.table(
        "Submissions",
        ["state", "count", "oldest"],
        [
            (state, count, _age(now.oldest_seconds.get(state)))
            for state, count in now.states.items()
            if count
        ],
        empty="none yet",
    )
    output.table(
        "Dead letters by cause",
        ["count", "step", "cause", "mend", "setting"],
        [(cause.count, cause.step, cause.detail, cause.hint, cause.setting) for cause in groups],
    )
    tokens = (
        "not counted"
        if now.tokens.left is None
        else f"{now.tokens.left} left today, about {now.tokens.leads} leads"
    )
    click.echo(f"workers: {now.workers}   API tokens: {tokens}   total: {sum(now.states.values())}")
    if now.paused:
        until = f" until {now.paused.until}" if now.paused.until else ""
        click.echo(
            f"PAUSED since {now.paused.since}{until}: {now.paused.reason}  (leadline resume)"
        )
    if now.spool:
        click.echo(f"spooled on this machine: {now.spool}, waiting for Redis to take them")
    if now.doubles:
        click.echo(
            f"made twice in Pipedrive: {now.doubles}; the worker's log names them, merge them by"
            " hand"
        )
    if "newer-records" in now.degraded:
        click.echo(
            "some submissions were taken by a newer release and wait for a worker of it: start one,"
            " or end the older ones"
        )
    if not now.workers:
        click.echo("no worker was seen within the last minute: start one with `leadline work`")


def _age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {seconds % 60} s"


# `leadline pause` and `leadline resume`: for everybody, until somebody says otherwise.


@click.command()
@click.argument("reason", default="")
def pause(reason: str) -> None:
    """Stop delivering; accepting goes on and what is in hand is finished."""
    with setup.open_store(setup.load_settings()) as store:
        store.ledger.gate.pause(reason, setup.operator_name())
    click.echo("paused: nothing is delivered until `leadline resume`")


@click.command()
def resume() -> None:
    """Deliver again, what waits first."""
    with setup.open_store(setup.load_settings()) as store:
        before = store.ledger.gate.find_pause()
        store.ledger.gate.resume(setup.operator_name())
    click.echo(f"resumed (was: {before.reason})" if before else "nothing was paused")


# `leadline bulk …`: how the actions on many submissions go, whoever made them.


@click.group()
def bulk() -> None:
    """Actions on many: list, show, stop."""


@bulk.command("list")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Actions."
)
@output.json_option
def list_bulks(limit: int, as_json: bool) -> None:
    """The newest, with their outcomes."""
    with decisions.open_actions() as desk:
        found = desk.newest_bulks(limit)
    if as_json:
        output.print_json({"items": found, "next": None, "total": len(found)})
        return
    output.table(
        "Bulk actions",
        ["id", "action", "by", "at", "count", "delivered", "dead", "done", "skipped", "left", "stopped"],
        [
            (each.id, each.action, each.by, each.at, each.count, each.delivered, each.dead,
            each.done, each.skipped, each.left,
             each.stopped)
            for each in found
        ],
    )  # fmt: skip


@bulk.command("show")
@click.argument("bulk_id")
@output.json_option
def show_(bulk_id: str, as_json: bool) -> None:
    """How one goes."""
    with decisions.open_actions() as desk:
        found = desk.bulk_status(bulk_id)
    if as_json:
        output.print_json(found)
    else:
        decisions.print_progress(found)


@bulk.command()
@click.argument("bulk_id")
def stop(bulk_id: str) -> None:
    """Leave what it did not begin as it is."""
    with decisions.open_actions() as desk:
        decisions.print_progress(desk.stop_bulk(bulk_id, setup.operator_name()))


# `leadline audit`: who did what to which submission.


@click.command()
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Entries."
)
@click.option("--cursor", help="`next` of the page before.")
@output.json_option
def audit(limit: int, cursor: str | None, as_json: bool) -> None:
    """The newest entries of the trail, the latest first. Holds no personal data."""
    with setup.open_store(setup.load_settings()) as store:
        try:
            page = read_audit_page(AuditTrail(store.redis), cursor, limit)
        except FilterError as error:
            raise click.BadParameter(str(error), param_hint="--cursor") from None
    if as_json:
        output.print_json(page)
        return
    output.table(
        f"Audit ({len(page.items)} of {page.total})",
        ["at", "who", "action", "target", "detail"],
        [(each.at, each.who, each.action, each.target, each.detail) for each in page.items],
    )
