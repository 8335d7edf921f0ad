"""`leadline audit`: who did what to which submission."""

from __future__ import annotations

import click

from service.cli import show, start
from service.ops.answers import Audited, Page
from service.times import iso
from worker.audit import Audit


@click.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Entries.")
@click.option("--cursor", help="`next` of the page before.")
@show.json_option
def audit(limit: int, cursor: str | None, as_json: bool) -> None:
    """The newest entries of the trail, the latest first. Holds no personal data."""
    with start.opened(start.settings()) as store:
        try:
            found, following, total = Audit(store.redis).page(cursor, limit)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--cursor") from None
    entries = [Audited(iso(entry.at) or "", entry.who, entry.action, entry.target, entry.detail) for entry in found]
    if as_json:
        show.print_json(Page(entries, following, total))
        return
    show.table(
        f"Audit ({len(entries)} of {total})",
        ["at", "who", "action", "target", "detail"],
        [(each.at, each.who, each.action, each.target, each.detail) for each in entries],
    )
