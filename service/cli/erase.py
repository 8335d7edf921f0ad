"""`leadline erase`: everything of a person, from records, spools and Redis's files; says what is
left to remove in Pipedrive.
"""

from __future__ import annotations

import asyncio
import sys
import time

import click
import msgspec
import redis

from service.cli import output, setup
from service.sources.fields.values import parse_email as address
from service.sources.fields.values import to_e164
from worker import logs
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL_FOLDER, Spool
from worker.encryption import Cipher
from worker.erasure import erasure
from worker.erasure.erasure import Erasure, UnansweredCreate
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.ledger.audit import AuditTrail
from worker.ledger.identifiers import Identifier
from worker.queue.rq_queue import open_queue
from worker.settings import Settings
from worker.store.connection import connect, connect_async
from worker.store.keys import digest

HAND_OVER_SECONDS = 60.0


@click.command()
@click.option(
    "--email",
    "emails",
    multiple=True,
    metavar="E",
    help="Every submission with this address. Several may be given.",
)
@click.option(
    "--phone",
    "phones",
    multiple=True,
    metavar="P",
    help="Every submission with this number, best as +49….",
)
@click.option("--id", "ids", multiple=True, metavar="ID", help="This submission alone.")
@click.option("--dry-run", is_flag=True, help="Say how many it would be, and erase nothing.")
@output.json_option
def erase(
    emails: tuple[str, ...],
    phones: tuple[str, ...],
    ids: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Erase a person: the content of every submission, our memory, spools, and Redis's files on
    disk.

    What is in Pipedrive stays there and is listed, to be removed by hand. Exit code 1 if anything
    could not be erased.
    """
    identifiers: list[Identifier] = [("email", address(each) or each) for each in emails]
    identifiers += [("phone", to_e164(each, None)) for each in phones]
    identifiers += [("id", each) for each in ids]
    if not identifiers:
        raise click.UsageError("say whom: --email, --phone or --id")
    settings = setup.load_settings()
    logs.configure(settings.log_format, "erase", stream=sys.stderr)
    with setup.redis_url(settings) as url, connect(url, timeout=5.0) as client:
        ledger = Ledger(client, Cipher(settings.encryption_keys))
        try:
            if dry_run:
                return _print_dry_run(
                    sorted(
                        {
                            each
                            for who in identifiers
                            for each in erasure.find_submissions(ledger, who)
                        }
                    ),
                    as_json,
                )
            erasure_result = _merge(
                [_erase(settings, url, client, ledger, who) for who in identifiers]
            )
        except StoreUnavailable as error:
            setup.exit_with_error(
                f"leadline: {error}; nothing is known to be finished: erase again once Redis is"
                " there"
            )
    _print_erasure(erasure_result, as_json)


def _erase(
    settings: Settings, url: str, client: redis.Redis, ledger: Ledger, who: Identifier
) -> Erasure:
    by = setup.operator_name()
    done = erasure.erase(
        ledger,
        who,
        by,
        data_dir=settings.data_dir,
        hand_over=lambda: hand_over(settings, url, client),
    )
    AuditTrail(client).note(
        by, "erase", digest(*who), f"erased: {done.erased}; left: {len(done.left)}"
    )
    return done


def hand_over(settings: Settings, url: str, client: redis.Redis) -> None:
    """Brings what processes that are gone left in their spools to the ledger, as the next service
    would.
    """
    cipher = Cipher(settings.encryption_keys)
    spool = Spool(settings.data_dir / SPOOL_FOLDER, settings.spool_max, cipher)
    if spool.adopt() == 0:
        return spool.close()

    async def handed_over() -> None:
        async with connect_async(url, timeout=5.0) as astore:
            acceptor = Acceptor(astore, open_queue(client), cipher, spool=spool)
            await acceptor.start()
            deadline = time.monotonic() + HAND_OVER_SECONDS
            while spool.count and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            await acceptor.stop()

    asyncio.run(handed_over())


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
    click.echo(f"would erase {len(ids)} submissions" + "".join(f"\n  {each}" for each in ids))


def _print_erasure(done: Erasure, as_json: bool) -> None:
    if as_json:
        output.print_json(msgspec.to_builtins(done))
    else:
        click.echo(f"erased {done.erased} submission{'' if done.erased == 1 else 's'}")
        _print_pipedrive(done)
    if done.left:
        setup.exit_with_error("leadline: not all is gone:", *(f"  {each}" for each in done.left))


def _print_pipedrive(done: Erasure) -> None:
    rows: list[tuple[str, object]] = [("person", each) for each in done.persons]
    rows += [("lead", each) for each in done.leads]
    rows += [
        (each.step, f"unknown: whatever has {each.id} in its origin_id or note")
        for each in done.unanswered
    ]
    if rows:
        output.table("Still in Pipedrive: remove it there by hand", ["what", "id"], rows)
