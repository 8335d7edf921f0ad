"""`leadline status`: the balance, what is paused or degraded, dead letters by cause."""

from __future__ import annotations

import click

from service.cli import show, start
from service.overview import causes, overview


@click.command()
@show.json_option
def status(as_json: bool) -> None:
    """Queue, dead letters by cause, budget, workers."""
    settings = start.settings()
    with start.opened(settings) as store:
        now = overview(store.ledger, settings.data_dir)
        if as_json:
            show.print_json(now)
            return
        groups = causes(store.ledger)
    show.table(
        "Submissions",
        ["state", "count", "oldest"],
        [(state, count, _age(now.oldest_seconds.get(state))) for state, count in now.states.items() if count],
        empty="none yet",
    )
    show.table(
        "Dead letters by cause",
        ["count", "step", "cause", "mend", "setting"],
        [(cause.count, cause.step, cause.detail, cause.hint, cause.setting) for cause in groups],
    )
    tokens = "not counted" if now.tokens.left is None else f"{now.tokens.left} left today, about {now.tokens.leads} leads"
    click.echo(f"workers: {now.workers}   API tokens: {tokens}   total: {sum(now.states.values())}")
    if now.paused:
        until = f" until {now.paused.until}" if now.paused.until else ""
        click.echo(f"PAUSED since {now.paused.since}{until}: {now.paused.reason}  (leadline resume)")
    if now.spool:
        click.echo(f"spooled on this machine: {now.spool}, waiting for Redis to take them")
    if now.doubles:
        click.echo(f"made twice in Pipedrive: {now.doubles}; the worker's log names them, merge them by hand")
    if "newer-records" in now.degraded:
        click.echo("some submissions were taken by a newer release and wait for a worker of it: start one, or end the older ones")
    if not now.workers:
        click.echo("no worker was seen within the last minute: start one with `leadline work`")


def _age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {seconds % 60} s"
