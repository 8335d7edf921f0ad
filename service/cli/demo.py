"""`leadline demo`: the whole road on this machine, with a sample of every kind, shown as a
table.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
from msgspec import Struct, structs
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from service.cli import setup
from service.cli.up import with_example_secrets
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
WAIT_SECONDS = 60.0
COLUMNS = (
    "sample",
    "source",
    "answer",
    "state",
    "person",
    "lead title",
    "labels",
    "channel",
    "channel_id",
    "origin_id",
)


class PostedSample(Struct):
    """A sample and what came of it. `wrong` says how it ended otherwise than it must."""

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
        want, record = self.sample, self.record
        if self.status != want.status:
            return f"answered {self.status}, expected {want.status}"
        if want.state is None:
            return None
        if record is None:
            return "nothing was stored"
        if (record.state, record.result, self.duplicate) != (
            want.state,
            want.result,
            want.duplicate,
        ):
            why = f": {record.cause.detail}" if record.cause else ""
            return (
                f"ended {record.state} {record.result or ''}, expected {want.state}"
                f" {want.result or ''}{why}"
            )
        return None


@click.command()
def demo() -> None:
    """A sample of every kind through the whole road, shown as a table; exits 0 only if each ended
    as it must.

    Runs in a directory of its own inside LEADLINE_DATA_DIR, emptied before, and never against a
    real Pipedrive account.
    """
    settings = setup.load_settings()
    pointed = settings.has_credentials or "PIPEDRIVE_BASE_URL" in os.environ
    if pointed and urlsplit(settings.pipedrive_base_url).hostname not in LOOPBACK_HOSTS:
        setup.exit_with_error(
            "leadline: the demo makes up people, so it is not run against"
            f" {settings.pipedrive_base_url}:",
            "  unset PIPEDRIVE_BASE_URL and the Pipedrive credentials to use the sandbox",
        )
    folder = settings.data_dir / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = with_example_secrets(settings, os.environ) | {
        "LEADLINE_CONFIG": str(_write_source_file(folder))
    }
    console = Console(width=None if os.isatty(1) else 240, highlight=False)
    logs.configure(settings.log_format, "demo", stream=(folder / "demo.log").open("w"))
    try:
        with LocalStack(
            settings, env, data_dir=folder, logs=folder / "logs", free_ports=True
        ) as stack:
            wrong = _run_samples(console, stack.endpoints, env)
    except (StartError, EmbeddedRedisError, LeadlineError, httpx.HTTPError) as error:
        setup.exit_with_error(f"leadline: the demo failed: {error}")
    command = sys.argv[0] if sys.argv[0].endswith("leadline") else "leadline"
    console.print(
        f"\nLook at it:  LEADLINE_DATA_DIR={folder} LEADLINE_CONFIG={folder / 'leadline.toml'}"
        f" {command} up"
    )
    api = f"http://{settings.host}:{settings.port}/docs"
    console.print(
        f"             then {api} (API) and http://127.0.0.1:{SANDBOX_PORT}/ (leads, persons,"
        " calls)"
    )
    if wrong:
        setup.exit_with_error(
            f"leadline: {len(wrong)} of the samples ended otherwise:",
            *(f"  {line}" for line in wrong),
        )


def _write_source_file(folder: Path) -> Path:
    path = folder / "leadline.toml"
    path.write_text(packaged_example().read_text("utf-8") + WEBINAR, "utf-8")
    return path


def _run_samples(console: Console, endpoints: Endpoints, env: Mapping[str, str]) -> list[str]:
    """Posts, waits, mends, prints; returns what was wrong."""
    settings = endpoints.settings()
    with connect(endpoints.redis_url, timeout=5.0) as client:
        clients = PipedriveClientFactory(settings, client, Meter())
        pipedrive = clients.new_client()
        who = _sign_in(pipedrive, endpoints)
        console.print(
            f"Pipedrive at {endpoints.pipedrive_url}: {who.company_name or who.name}. Posting to"
            f" {endpoints.service_url}\n"
        )
        ledger = Ledger(client, Cipher(settings.encryption_keys))
        posted: list[PostedSample] = []
        live = Live(_table([]), console=console, refresh_per_second=8, transient=True)
        with live, httpx.Client(trust_env=False) as http:
            for sample in build_samples(env, time.time()):
                posted.append(_post(http, endpoints, sample))
                _wait_until_settled(ledger, posted[-1])
                _read_pipedrive(posted[-1], ledger, pipedrive)
                live.update(_table(posted))
        console.print(_table(posted))
        wrong = [f"{each.sample.name}: {each.wrong}" for each in posted if each.wrong]
        wrong += _mend_and_replay(
            console, posted[-1], ledger, pipedrive, Sweeper(ledger, open_queue(client))
        )
    return wrong


def _sign_in(pipedrive: Pipedrive, endpoints: Endpoints) -> PipedriveUser:
    try:
        return pipedrive.users.me()
    except PipedriveError as error:
        setup.exit_with_error(
            f"leadline: Pipedrive at {endpoints.pipedrive_url} does not answer as it should:"
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
    answer = http.post(
        f"{endpoints.service_url}/in/{sample.source}",
        headers=headers,
        content=sample.body,
        timeout=10,
    )
    posted = PostedSample(sample, answer.status_code)
    if answer.headers.get("content-type", "").startswith("application/json"):
        posted.id, posted.duplicate = answer.json()["id"], answer.json()["duplicate"]
    return posted


def _wait_until_settled(ledger: Ledger, posted: PostedSample) -> None:
    """Until the submission is where it stays, a minute at most. A browser's answer holds no id:
    then it is the newest.
    """
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
    """The id of the submission accepted last; ids grow with time."""
    ids = [record.id for state in State for record in ledger.in_state(state, limit=1)]
    return max(ids, default=None)


def _read_pipedrive(posted: PostedSample, ledger: Ledger, pipedrive: Pipedrive) -> None:
    """What Pipedrive holds of it now."""
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


def _mend_and_replay(
    console: Console, dead: PostedSample, ledger: Ledger, pipedrive: Pipedrive, sweeper: Sweeper
) -> list[str]:
    """The dead letter, mended where it failed (in Pipedrive) and replayed."""
    record = dead.record
    if record is None or record.state is not State.DEAD or record.cause is None:
        return ["there was no dead letter to mend"]
    console.print(f"\nDead letter {record.id}: {record.cause.detail}")
    console.print(f"  mend: {record.cause.hint}  [{record.cause.setting}]", markup=False)
    pipedrive.labels.add(name=MISSING_LABEL, color="purple")
    console.print(f"  $ leadline pipedrive labels add --name {MISSING_LABEL} --color purple")
    # The names are read again at most every other second.
    time.sleep(2)
    sweeper.replay(record.id, "demo", "mended", None)
    console.print(f"  $ leadline dead retry {record.id}")
    dead.sample = _expect_delivered(dead.sample)
    _wait_until_settled(ledger, dead)
    _read_pipedrive(dead, ledger, pipedrive)
    console.print(_table([dead]))
    return [f"replayed: {dead.wrong}"] if dead.wrong else []


def _expect_delivered(sample: DemoSample) -> DemoSample:
    return structs.replace(
        sample, name="mended and replayed", state=State.DELIVERED, result=Result.CREATED
    )


def _table(posted: list[PostedSample]) -> Table:
    table = Table(
        *COLUMNS, "tokens", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for each in posted:
        state = _state(each)
        cells = (
            each.sample.name,
            each.sample.source,
            each.status,
            state,
            each.person,
            each.title,
            each.labels,
            each.channel,
        )
        rest = (each.channel_id, each.origin_id, each.tokens or "")
        table.add_row(
            *(Text(str(cell), style="red" if each.wrong else "") for cell in (*cells, *rest))
        )
    return table


def _state(posted: PostedSample) -> str:
    if posted.sample.state is None:
        return "refused"
    if posted.record is None:
        return "…"
    if posted.duplicate:
        return "duplicate"
    return (
        f"{posted.record.state} ({posted.record.result})"
        if posted.record.result
        else posted.record.state.value
    )
