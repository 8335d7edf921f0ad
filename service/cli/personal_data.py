"""`leadline erase` and `leadline keys`: what is stored of people, and under which key.

`erase` erases a person, and lists what is left to remove in Pipedrive. `keys` makes an encryption
key, and brings everything stored under the first one.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Callable

import click
import msgspec
import redis
from msgspec import structs

from service.cli import output, setup
from service.cli.pipedrive_client import build_client
from service.local.redis import find_redis_url
from service.ops.actions import parse_erased_email
from service.sources.fields.effort import Effort
from service.sources.fields.phones import to_e164
from worker import logs
from worker.accept.acceptor import Acceptor
from worker.accept.spool import SPOOL_FOLDER, Spool, count_spooled
from worker.encryption import KEY_BYTES, Cipher
from worker.erasure import erasure
from worker.erasure.erasure import Erasure, Mentions, UnansweredCreate
from worker.erasure.persistence import FilesKept, rewrite_files
from worker.errors import Gone, LeadlineError, StoreUnavailable
from worker.lead.edit import EditError
from worker.ledger import Ledger
from worker.ledger.audit import AuditTrail
from worker.ledger.identifiers import Identifier
from worker.ledger.resealing import Resealing
from worker.queue.rq_queue import open_queue
from worker.settings.table import Settings
from worker.store.connection import connect, connect_async
from worker.store.keys import digest

HAND_OVER_SECONDS = 60.0
NO_KEYS = (
    "leadline: no encryption keys are set: make one with `leadline keys new` and put it into"
    " LEADLINE_ENCRYPTION_KEYS"
)


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
@click.option(
    "--in-pipedrive",
    is_flag=True,
    help="Also delete the leads that Leadline created in Pipedrive; persons stay.",
)
@output.yes_option
@output.json_option
def erase(
    emails: tuple[str, ...],
    phones: tuple[str, ...],
    ids: tuple[str, ...],
    dry_run: bool,
    in_pipedrive: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a person from submissions, spools and Redis's files.

    Submissions of others that mention the address stay, with [erased] in its place. What is in
    Pipedrive stays there; it is listed, to be removed by hand. Asks first. Exit code 1 if anything
    could not be erased.
    """
    try:
        identifiers: list[Identifier] = [("email", parse_erased_email(each)) for each in emails]
    except EditError as error:
        raise click.UsageError(f"--email: {error.faults['email']}") from None
    identifiers += [("phone", to_e164(each, None, None, Effort())) for each in phones]
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
            _confirm(ledger, identifiers, yes=yes, in_pipedrive=in_pipedrive)
            with output.show_working("erasing") as report:
                parts = [_erase(settings, url, client, ledger, who, report) for who in identifiers]
                done = _merge(parts)
                if in_pipedrive and done.created_leads:
                    report("deleting leads in Pipedrive")
                    done = _delete_leads(settings, url, done)
        except StoreUnavailable as error:
            setup.exit_with_error(
                f"leadline: {error}; the erasure may be incomplete: repeat it once Redis is back"
            )
    _print_erasure(done, as_json)


def _confirm(
    ledger: Ledger, identifiers: list[Identifier], *, yes: bool, in_pipedrive: bool
) -> None:
    """Asks with the number of submissions, which is counted only where somebody can answer."""
    what = "the person"
    if not yes and output.is_interactive():
        mentions = _find_ids(ledger, identifiers)
        what = output.plural(len(mentions.erased), "submission")
        if mentions.redacted:
            what += f", and the address in {len(mentions.redacted):,} of other people,"
    also = " Leads that Leadline created in Pipedrive are deleted as well." if in_pipedrive else ""
    output.confirm(f"Erase {what} for good? This cannot be undone.{also}", yes=yes)


def _find_ids(ledger: Ledger, identifiers: list[Identifier]) -> Mentions:
    with output.show_working("looking for submissions"):
        parts = [erasure.find_submissions(ledger, who) for who in identifiers]
    erased = {each for part in parts for each in part.erased}
    redacted = {each for part in parts for each in part.redacted} - erased
    return Mentions(sorted(erased), sorted(redacted))


def _erase(
    settings: Settings,
    url: str,
    client: redis.Redis,
    ledger: Ledger,
    who: Identifier,
    report: Callable[[str], object],
) -> Erasure:
    by = setup.operator_name()
    part = erasure.erase(
        ledger,
        who,
        by,
        data_dir=settings.data_dir,
        hand_over=lambda: hand_over(settings, url, client),
        report=report,
    )
    AuditTrail(client).record(by, "erase", digest(*who), part.summary)
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
        redacted=sum(part.redacted for part in parts),
        entries=sum(part.entries for part in parts),
        persons=sorted({each for part in parts for each in part.persons}),
        leads=sorted({each for part in parts for each in part.leads}),
        created_leads=sorted({each for part in parts for each in part.created_leads}),
        unanswered=[UnansweredCreate(*each) for each in sorted(unknown)],
        unfinished=list(dict.fromkeys(each for part in parts for each in part.unfinished)),
        left=list(dict.fromkeys(each for part in parts for each in part.left)),
    )


def _delete_leads(settings: Settings, url: str, done: Erasure) -> Erasure:
    """Deletes the leads that we created; what cannot be deleted is said, and stays listed."""
    if not settings.has_credentials:
        fault = "leads in Pipedrive: no credentials are set here; see `leadline erase --help`"
        return _with_faults(done, [fault])
    gone, faults = set(), []
    with build_client(settings, url) as client:
        for lead_id in done.created_leads:
            try:
                client.leads.delete(lead_id)
            except Gone:
                pass
            except LeadlineError as error:
                faults.append(f"lead {lead_id} in Pipedrive: {error}: erase again")
                continue
            gone.add(lead_id)
    leads = [each for each in done.leads if each not in gone]
    created = [each for each in done.created_leads if each not in gone]
    return _with_faults(structs.replace(done, leads=leads, created_leads=created), faults)


def _with_faults(done: Erasure, faults: list[str]) -> Erasure:
    return structs.replace(done, unfinished=done.unfinished + faults, left=[*faults, *done.left])


def _print_dry_run(mentions: Mentions, as_json: bool) -> None:
    if as_json:
        return output.print_json(
            {
                "would_erase": len(mentions.erased),
                "ids": mentions.erased,
                "would_redact": len(mentions.redacted),
                "redacted_ids": mentions.redacted,
            }
        )
    click.echo(f"would erase {output.plural(len(mentions.erased), 'submission')}")
    for each in mentions.erased:
        click.echo(f"  {each}")
    if mentions.redacted:
        count = output.plural(len(mentions.redacted), "submission")
        click.echo(f"would remove the address from {count} of other people")
        for each in mentions.redacted:
            click.echo(f"  {each}")


def _print_erasure(done: Erasure, as_json: bool) -> None:
    if as_json:
        output.print_json(msgspec.to_builtins(done))
    else:
        click.echo(f"erased {output.plural(done.erased, 'submission')}")
        if done.redacted:
            others = output.plural(done.redacted, "submission")
            click.echo(f"removed the address from {others} of other people, which stay")
        if done.entries:
            click.echo(f"removed the address from {output.plural(done.entries, 'other place')}")
        _print_pipedrive(done)
        out_of_reach = [each for each in done.left if each not in done.unfinished]
        click.echo("Left, because no erasure of Leadline reaches it:")
        for each in out_of_reach:
            click.echo(f"  {each}")
    if done.unfinished:
        lines = (f"  {each}" for each in done.unfinished)
        setup.exit_with_error("leadline: some data could not be erased:", *lines)


def _print_pipedrive(done: Erasure) -> None:
    rows: list[tuple[str, object]] = [("person", each) for each in done.persons]
    rows += [("lead", each) for each in done.leads]
    rows += [
        (each.step, f"unknown: look for {each.id} in origin_id and notes")
        for each in done.unanswered
    ]
    if rows:
        output.print_table(["what", "id"], rows, title="Still in Pipedrive: remove it by hand")


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
