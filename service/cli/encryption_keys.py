"""`leadline keys`: makes an encryption key, and brings everything stored under the first one."""

from __future__ import annotations

import base64
import os
import sys

import click

from service.cli import output, setup
from service.cli.erase import hand_over
from service.local.redis import find_redis_url
from worker import logs
from worker.accept.spool import SPOOL_FOLDER, count_spooled
from worker.encryption import KEY_BYTES
from worker.erasure.persistence import FilesKept, rewrite_files
from worker.ledger.audit import AuditTrail
from worker.ledger.resealing import Resealing

NO_KEYS = (
    "leadline: no encryption keys are set: make one with `leadline keys new` and put it into"
    " LEADLINE_ENCRYPTION_KEYS"
)


@click.group()
def keys() -> None:
    """Encryption keys: new, rotate.

    To change the key: make a new one, put it in front of the others in LEADLINE_ENCRYPTION_KEYS of
    every process, restart them, run `leadline keys rotate`, and remove the old one.
    """


@keys.command()
def new() -> None:
    """Print a new key."""
    click.echo(base64.b64encode(os.urandom(KEY_BYTES)).decode())
    if output.is_terminal():
        click.echo(
            "Put it in front of LEADLINE_ENCRYPTION_KEYS, before a comma; keep a copy elsewhere:"
            " without it nothing that is stored can be read.",
            err=True,
        )


@keys.command()
@output.json_option
def rotate(as_json: bool) -> None:
    """Encrypt everything that is stored under the first key.

    Service and workers go on meanwhile. An interrupted run is repeated: what is done is passed
    over. Exit code 1 while something is left under another key.
    """
    settings = setup.load_settings()
    logs.configure(settings.log_format, "keys", stream=sys.stderr)
    if not settings.encryption_keys:
        setup.exit_with_error(NO_KEYS)
    left: list[str] = []
    with setup.open_ledger(settings) as ledger:
        resealing = Resealing(ledger)
        with output.show_working("rotating") as report:
            url = find_redis_url(settings)
            if url:
                hand_over(settings, url, ledger.redis)
            resealing.rewrite(lambda count: report(f"{count:,} keys read"))
            report("Redis rewrites its files")
            try:
                left += rewrite_files(ledger.redis)
            except FilesKept as error:
                left.append(str(error))
        spooled = count_spooled(settings.data_dir / SPOOL_FOLDER)
        detail = f"resealed: {len(resealing.submissions)}; unreadable: {resealing.unreadable}"
        AuditTrail(ledger.redis).record(setup.operator_name(), "rotate keys", "keys", detail)
    if resealing.unreadable:
        left.append(
            f"{resealing.unreadable} values are under a key that is not listed: add it, and rotate"
            " again"
        )
    left += [f"{name}: it changed all the time: rotate again" for name in resealing.remaining]
    if spooled:
        left.append(
            f"{output.plural(spooled, 'submission')} in this machine's spools: rotate again once"
            " `leadline serve` has handed them over"
        )
    if as_json:
        output.print_json(
            {
                "submissions": len(resealing.submissions),
                "entries": resealing.entries,
                "left": left,
            }
        )
    else:
        click.echo(
            f"encrypted anew: {output.plural(len(resealing.submissions), 'submission')} and"
            f" {output.plural(resealing.entries, 'other value')}"
        )
    if left:
        setup.exit_with_error("leadline: keep the old keys for now:", *(f"  {x}" for x in left))
    if not as_json:
        click.echo("everything is under the first key; the others can be removed")
