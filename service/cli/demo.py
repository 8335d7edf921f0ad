"""`leadline demo`: sends a sample of every kind through the whole system and shows the results."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
from msgspec import Struct, structs

from service.cli import output, setup
from service.cli.run import with_example_secrets
from service.local.redis import EmbeddedRedisError
from service.local.samples import MISSING_LABEL, WEBINAR, DemoSample, build_samples
from service.local.stack import SANDBOX_PORT, Endpoints, LocalStack, StartError
from service.settings import packaged_example
from worker import logs
from worker.contract import WORKING, Attempt, Result, State
from worker.delivery.client_factory import PipedriveClientFactory
from worker.encryption import Cipher
from worker.errors import LeadlineError, PipedriveError
from worker.ledger import Ledger, Record
from worker.metrics import Meter
from worker.pipedrive.calls import CALLS
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.models import PipedriveUser
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.store.connection import connect

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
# How long a sample may take to be delivered.
WAIT_SECONDS = 60.0

Echo = Callable[[str], None]


class PostedSample(Struct):
    """A sample and what became of it."""

    sample: DemoSample
    status: int
    id: str | None = None
    duplicate: bool = False
    record: Record | None = None
    tokens: int = 0
    person: str = ""
    title: str = ""
    labels: str = ""
    channel: str = ""
    channel_id: str = ""
    origin_id: str = ""

    @property
    def wrong(self) -> str | None:
        """How the result differs from the expected one; None if it does not."""
        expected, record = self.sample, self.record
        if self.status != expected.status:
            return f"answered {self.status}, expected {expected.status}"
        if expected.state is None:
            return None
        if record is None:
            return "nothing was stored"
        end = (record.state, record.result, self.duplicate)
        if end == (expected.state, expected.result, expected.duplicate):
            return None
        why = f": {record.cause.detail}" if record.cause else ""
        return (
            f"ended {record.state} {record.result or ''}, expected {expected.state}"
            f" {expected.result or ''}{why}"
        )

    @property
    def state(self) -> str:
        if self.sample.state is None:
            return "refused"
        if self.record is None:
            return "…"
        if self.duplicate:
            return "duplicate"
        result = f" ({self.record.result})" if self.record.result else ""
        return f"{self.record.state}{result}"

    def row(self) -> dict[str, object]:
        """The columns of the table by their names."""
        return {
            "sample": self.sample.name,
            "source": self.sample.source,
            "answer": self.status,
            "state": self.state,
            "person": self.person,
            "title": self.title,
            "labels": self.labels,
            "channel": self.channel,
            "channel_id": self.channel_id,
            "origin_id": self.origin_id,
            "tokens": self.tokens,
        }


@click.command()
@output.json_option
def demo(as_json: bool) -> None:
    """Send a sample of every kind and show what arrives.

    Exit code 0 only if each ends as it should. Runs in a directory of its own in LEADLINE_DATA_DIR,
    emptied first, and never against a real Pipedrive account.
    """
    settings = setup.load_settings()
    is_pointed = settings.has_credentials or "PIPEDRIVE_BASE_URL" in os.environ
    if is_pointed and urlsplit(settings.pipedrive_base_url).hostname not in LOOPBACK_HOSTS:
        setup.exit_with_error(
            "leadline: the demo makes up people, so it does not run against"
            f" {settings.pipedrive_base_url}:",
            "  unset PIPEDRIVE_BASE_URL and the Pipedrive credentials to use the sandbox",
        )
    folder = settings.data_dir / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = with_example_secrets(settings, os.environ) | {
        "LEADLINE_CONFIG": str(_write_source_file(folder))
    }
    logs.configure(settings.log_format, "demo", stream=(folder / "demo.log").open("w"))
    echo: Echo = _ignore if as_json else click.echo
    try:
        with LocalStack(
            settings, env, data_dir=folder, logs=folder / "logs", free_ports=True
        ) as stack:
            rows, wrong = _run_samples(stack.endpoints, env, echo)
    except (StartError, EmbeddedRedisError, LeadlineError, httpx.HTTPError) as error:
        setup.exit_with_error(f"leadline: the demo failed: {error}")
    if as_json:
        output.print_json({"samples": rows, "wrong": wrong})
    command = sys.argv[0] if sys.argv[0].endswith("leadline") else "leadline"
    echo(
        f"\nLook at it:  LEADLINE_DATA_DIR={folder} LEADLINE_CONFIG={folder / 'leadline.toml'}"
        f" {command} up"
    )
    api = f"http://{settings.host}:{settings.port}/docs"
    sandbox = f"http://127.0.0.1:{SANDBOX_PORT}/"
    echo(f"             then {api} (API) and {sandbox} (leads, persons, calls)")
    if wrong:
        setup.exit_with_error(
            f"leadline: {output.plural(len(wrong), 'sample')} did not end as expected:",
            *(f"  {line}" for line in wrong),
        )


def _ignore(_: str) -> None:
    """Prints nothing."""


def _write_source_file(folder: Path) -> Path:
    path = folder / "leadline.toml"
    path.write_text(packaged_example().read_text("utf-8") + WEBINAR, "utf-8")
    return path


def _run_samples(
    endpoints: Endpoints, env: Mapping[str, str], echo: Echo
) -> tuple[list[dict[str, object]], list[str]]:
    """Posts, waits, fixes and prints. Returns the rows, and what did not end as expected."""
    settings = endpoints.settings()
    with connect(endpoints.redis_url, timeout=setup.STORE_TIMEOUT_SECONDS) as client:
        pipedrive = PipedriveClientFactory(settings, client, Meter()).new_client()
        user = _sign_in(pipedrive, endpoints)
        echo(
            f"Pipedrive at {endpoints.pipedrive_url}: {user.company_name or user.name}. Posting to"
            f" {endpoints.service_url}\n"
        )
        ledger = Ledger(client, Cipher(settings.encryption_keys))
        posted = _post_all(endpoints, env, ledger, pipedrive)
        rows = [each.row() for each in posted]
        _print_rows(rows, echo)
        wrong = [f"{each.sample.name}: {each.wrong}" for each in posted if each.wrong]
        last, sweeper = posted[-1], Sweeper(ledger, open_queue(client))
        wrong += _fix_and_replay(last, ledger, pipedrive, sweeper, echo)
    return [*rows, last.row()], wrong


def _post_all(
    endpoints: Endpoints, env: Mapping[str, str], ledger: Ledger, pipedrive: Pipedrive
) -> list[PostedSample]:
    posted: list[PostedSample] = []
    samples, reporter = build_samples(env, time.time()), output.ProgressReporter()
    with httpx.Client(trust_env=False) as http:
        for number, sample in enumerate(samples, 1):
            reporter.report(f"{number} of {len(samples)}: {sample.name}")
            posted.append(_post(http, endpoints, sample))
            _wait_until_settled(ledger, posted[-1])
            _read_pipedrive(posted[-1], ledger, pipedrive)
    reporter.close()
    return posted


def _print_rows(rows: list[dict[str, object]], echo: Echo) -> None:
    if echo is not _ignore:
        output.print_table(list(rows[0]), [list(row.values()) for row in rows])


def _sign_in(pipedrive: Pipedrive, endpoints: Endpoints) -> PipedriveUser:
    try:
        return pipedrive.users.me()
    except PipedriveError as error:
        setup.exit_with_error(
            f"leadline: Pipedrive at {endpoints.pipedrive_url} does not respond as expected:"
            f" {error.detail}",
            "  start a stand-in there with `leadline sandbox`, or unset PIPEDRIVE_BASE_URL to"
            " get one",
        )


def _post(http: httpx.Client, endpoints: Endpoints, sample: DemoSample) -> PostedSample:
    headers = (
        sample.headers | {"origin": endpoints.service_url}
        if "text/html" in sample.headers["accept"]
        else sample.headers
    )
    response = http.post(
        f"{endpoints.service_url}/in/{sample.source}",
        headers=headers,
        content=sample.body,
        timeout=10,
    )
    posted = PostedSample(sample, response.status_code)
    if response.headers.get("content-type", "").startswith("application/json"):
        posted.id, posted.duplicate = response.json()["id"], response.json()["duplicate"]
    return posted


def _wait_until_settled(ledger: Ledger, posted: PostedSample) -> None:
    """Waits until the submission has ended: the newest one, if a browser's answer has no id."""
    if posted.sample.state is None:
        return
    deadline = time.monotonic() + WAIT_SECONDS
    if posted.id is None:
        posted.id = newest_id(ledger)
    while time.monotonic() < deadline:
        posted.record = ledger.get(posted.id) if posted.id else None
        if posted.record is not None and posted.record.state not in WORKING:
            return
        time.sleep(0.05)


def newest_id(ledger: Ledger) -> str | None:
    """The id of the latest submission: ids grow with time."""
    ids = [record.id for state in State for record in ledger.in_state(state, limit=1)]
    return max(ids, default=None)


def _read_pipedrive(posted: PostedSample, ledger: Ledger, pipedrive: Pipedrive) -> None:
    """Fills in what Pipedrive now holds of the sample."""
    record = posted.record
    if record is None or posted.id is None:
        return
    posted.tokens = (
        0 if posted.duplicate else sum(_cost(attempt) for attempt in ledger.attempts(posted.id))
    )
    if record.lead_id is None:
        return
    lead = pipedrive.leads.get(record.lead_id)
    labels = {label.id: label.name for label in pipedrive.labels.list()}
    channels = {option.id: option.label for option in pipedrive.deal_fields.get("channel").options}
    posted.title = lead.title
    posted.labels = ", ".join(labels.get(label, label) for label in lead.label_ids)
    posted.channel = (
        f"{channels.get(lead.channel, '?')} ({lead.channel})" if lead.channel is not None else ""
    )
    posted.channel_id, posted.origin_id = lead.channel_id or "", lead.origin_id or ""
    if lead.person_id is not None:
        posted.person = pipedrive.persons.get(lead.person_id).name or ""


def _cost(attempt: Attempt) -> int:
    return CALLS[attempt.step].cost if attempt.step in CALLS else 0


def _fix_and_replay(
    dead: PostedSample, ledger: Ledger, pipedrive: Pipedrive, sweeper: Sweeper, echo: Echo
) -> list[str]:
    """Fixes the dead letter where it failed (in Pipedrive) and replays it."""
    record = dead.record
    if record is None or record.state is not State.DEAD or record.cause is None:
        return ["there was no dead letter to fix"]
    echo(f"\nDead letter {record.id}: {record.cause.detail}")
    echo(f"  fix: {record.cause.hint}  [{record.cause.setting}]")
    pipedrive.labels.add(name=MISSING_LABEL, color="purple")
    echo(f"  $ leadline pipedrive labels add --name {MISSING_LABEL} --color purple")
    # After a replay, names are read from Pipedrive at most every two seconds.
    time.sleep(2)
    sweeper.replay(record.id, "demo", "fixed", None)
    echo(f"  $ leadline dead retry {record.id}")
    dead.sample = structs.replace(
        dead.sample, name="fixed and replayed", state=State.DELIVERED, result=Result.CREATED
    )
    _wait_until_settled(ledger, dead)
    _read_pipedrive(dead, ledger, pipedrive)
    _print_rows([dead.row()], echo)
    return [f"replayed: {dead.wrong}"] if dead.wrong else []
