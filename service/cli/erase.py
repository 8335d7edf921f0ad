"""`leadline erase`: erases a person, and lists what is left to remove in Pipedrive."""

from __future__ import annotations

import asyncio
import sys
import time

import click
import msgspec
import redis

from service.cli import output, setup
from service.ops.actions import parse_erased_email
from service.sources.fields.phones import to_e164
from worker import logs
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.encryption import Cipher
from worker.erasure import erasure
from worker.erasure.erasure import Erasure, UnansweredCreate
from worker.errors import StoreUnavailable
from worker.lead.edit import EditError
from worker.ledger import Ledger
from worker.ledger.audit import AuditTrail
from worker.ledger.identifiers import Identifier
from worker.queue.rq_queue import open_queue
from worker.settings.table import Settings
from worker.store.connection import connect, connect_async
from worker.store.keys import digest

HAND_OVER_SECONDS = 60.0


@click.command()
@click.option(
    "--email",
    "emails",
    multiple=True,
    metavar="ADDRESS",
    help="Every submission with this address; repeatable.",
)
@click.option(
    "--phone",
    "phones",
    multiple=True,
    metavar="NUMBER",
    help="Every submission with this number, best as +49…; repeatable.",
)
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this submission; repeatable.")
@click.option("--dry-run", is_flag=True, help="Count what would be erased; erase nothing.")
@output.yes_option
@output.json_option
def erase(
    emails: tuple[str, ...],
    phones: tuple[str, ...],
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a person from submissions, spools and Redis's files.

    What is in Pipedrive stays there; it is listed, to be removed by hand. Asks first. Exit code 1
    if anything could not be erased.
    """
    try:
        identifiers: list[Identifier] = [("email", parse_erased_email(each)) for each in emails]
    except EditError as error:
        raise click.UsageError(f"--email: {error.faults['email']}") from None
    identifiers += [("phone", to_e164(each, None)) for each in phones]
    identifiers += [("id", each) for each in ids]
    if not identifiers:
        raise click.UsageError("name the person by --email or --phone, or a submission by --id")
    settings = setup.load_settings()
    logs.configure(settings.log_format, "erase", stream=sys.stderr)
    with (
        setup.redis_url(settings) as url,
        connect(url, timeout=setup.STORE_TIMEOUT_SECONDS) as client,
    ):
        ledger = Ledger(client, Cipher(settings.encryption_keys))
        try:
            if dry_run:
                return _print_dry_run(_find_ids(ledger, identifiers), as_json)
            _confirm(ledger, identifiers, yes=yes)
            with output.show_working("erasing"):
                parts = [_erase(settings, url, client, ledger, who) for who in identifiers]
        except StoreUnavailable as error:
            setup.exit_with_error(
                f"leadline: {error}; the erasure may be incomplete: repeat it once Redis is back"
            )
    _print_erasure(_merge(parts), as_json)


def _confirm(ledger: Ledger, identifiers: list[Identifier], *, yes: bool) -> None:
    """Asks with the number of submissions, which is counted only where somebody can answer."""
    question = "Erase the person for good? This cannot be undone."
    if not yes and output.is_interactive():
        count = len(_find_ids(ledger, identifiers))
        question = f"Erase {output.plural(count, 'submission')} for good? This cannot be undone."
    output.confirm(question, yes=yes)


def _find_ids(ledger: Ledger, identifiers: list[Identifier]) -> list[str]:
    with output.show_working("looking for submissions"):
        return sorted({one for who in identifiers for one in erasure.find_submissions(ledger, who)})


def _erase(
    settings: Settings, url: str, client: redis.Redis, ledger: Ledger, who: Identifier
) -> Erasure:
    by = setup.operator_name()
    part = erasure.erase(
        ledger,
        who,
        by,
        data_dir=settings.data_dir,
        hand_over=lambda: hand_over(settings, url, client),
    )
    detail = f"erased: {part.erased}; left: {len(part.left)}"
    AuditTrail(client).record(by, "erase", digest(*who), detail)
    return part


def hand_over(settings: Settings, url: str, client: redis.Redis) -> None:
    """Hands the spools of dead processes to Redis, as the next service would."""
    cipher = Cipher(settings.encryption_keys)
    spool = Spool(settings.data_dir / SPOOL_FOLDER, settings.spool_max, cipher)
    if spool.adopt() == 0:
        return spool.close()

    async def drain() -> None:
        async with connect_async(url, timeout=5.0) as astore:
            acceptor = Acceptor(astore, open_queue(client), cipher, spool=spool)
            await acceptor.start()
            deadline = time.monotonic() + HAND_OVER_SECONDS
            while spool.count and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            await acceptor.stop()

    asyncio.run(drain())


def _merge(parts: list[Erasure]) -> Erasure:
    unknown = {(each.id, each.step) for part in parts for each in part.unanswered}
    return Erasure(
        erased=sum(part.erased for part in parts),
        persons=sorted({each for part in parts for each in part.persons}),
        leads=sorted({each for part in parts for each in part.leads}),
        unanswered=[UnansweredCreate(*each) for each in sorted(unknown)],
        left=list(dict.fromkeys(each for part in parts for each in part.left)),
    )


def _print_dry_run(ids: list[str], as_json: bool) -> None:
    if as_json:
        return output.print_json({"would_erase": len(ids), "ids": ids})
    click.echo(f"would erase {output.plural(len(ids), 'submission')}")
    for each in ids:
        click.echo(f"  {each}")


def _print_erasure(done: Erasure, as_json: bool) -> None:
    if as_json:
        output.print_json(msgspec.to_builtins(done))
    else:
        click.echo(f"erased {output.plural(done.erased, 'submission')}")
        _print_pipedrive(done)
    if done.left:
        left = (f"  {each}" for each in done.left)
        setup.exit_with_error("leadline: some data could not be erased:", *left)


def _print_pipedrive(done: Erasure) -> None:
    rows: list[tuple[str, object]] = [("person", each) for each in done.persons]
    rows += [("lead", each) for each in done.leads]
    rows += [
        (each.step, f"unknown: look for {each.id} in origin_id and notes")
        for each in done.unanswered
    ]
    if rows:
        output.print_table(["what", "id"], rows, title="Still in Pipedrive: remove it by hand")
