"""`leadline up` runs everything on one machine; `serve`, `work` and `sandbox` run one part each."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import click

from service.cli import setup
from service.local.generated_secrets import SECRETS_FILE, load_or_create
from service.local.processes import Child, Supervisor
from service.local.redis import EmbeddedRedisError, find_redis_url
from service.local.stack import Endpoints, LocalStack, StartError, leadline_argv
from service.ports import find_free_port
from service.sandbox.fault_presets import PRESETS
from service.settings import packaged_example, source_file
from service.sources.fetched_records import SourceRecords
from service.sources.schema import SourceFile
from service.sources.source_file.loader import SecretUse
from worker import logs
from worker.errors import StoreUnavailable
from worker.queue.liveness import find_worker_fault
from worker.settings.table import Settings
from worker.store.connection import connect

# The sources' secrets that workers use.
WORKER_SECRETS: tuple[SecretUse, ...] = ("fetch",)

# A container's health check has few seconds.
HEALTH_TIMEOUT_SECONDS = 2.0

Plan = Literal["lite", "growth", "premium", "ultimate"]


@click.command()
def serve() -> None:
    """Run the HTTP service.

    Accepts as long as submissions can be stored; needs no Pipedrive credentials.
    """
    from service.server import serve as run

    settings = setup.load_settings(Settings.for_service)
    setup.load_source_file(settings)
    with setup.redis_url(settings) as url:
        os.environ["REDIS_URL"] = url
        run(setup.load_settings(Settings.for_service))


@click.command()
@click.option(
    "--healthy",
    is_flag=True,
    help="Run nothing: exit 0 only if this host's workers live and make progress.",
)
def work(healthy: bool) -> None:
    """Run the RQ workers.

    They wait for Redis and never exit because of it.
    """
    from worker.main import work as run

    if healthy:
        _check_workers()
        return
    settings = setup.load_settings(Settings.for_worker)
    sources = setup.watch_source_file(settings, secrets=WORKER_SECRETS)
    with setup.redis_url(settings) as url:
        if settings.worker_processes > 1:
            _supervise_workers(settings.worker_processes, url)
            return
        logs.configure(settings.log_format, "worker")
        run(settings, url, sources.mappings, SourceRecords(sources), sources.poll)


def _check_workers() -> None:
    """Exits with 1 and one line if this host's workers do not live, or hang."""
    settings = setup.load_settings()
    url = find_redis_url(settings)
    try:
        if url is None:
            raise StoreUnavailable("no Redis is running")
        with connect(url, timeout=HEALTH_TIMEOUT_SECONDS) as client:
            fault = find_worker_fault(client, socket.gethostname(), settings.worker_processes)
    except StoreUnavailable as error:
        fault = f"whether the workers make progress cannot be told: {error}"
    if fault:
        setup.exit_with_error(f"leadline: {fault}")


def _supervise_workers(processes: int, url: str) -> None:
    env = os.environ | {"REDIS_URL": url, "LEADLINE_WORKER_PROCESSES": "1"}
    children = [Child(f"worker-{n + 1}", leadline_argv("work"), env=env) for n in range(processes)]
    with Supervisor(children) as supervisor:
        supervisor.run_until_signal()


class _SandboxCommand(click.Command):
    """Lists the faults on demand below the options."""

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        from service.sandbox.fault_effects import describe_faults

        with formatter.section("Faults"):
            width = max(map(len, PRESETS))
            for name, preset in PRESETS.items():
                formatter.write(f"  {name:{width}}  {preset.text}\n")
        with formatter.section("Effects of your own faults"):
            formatter.write_text(
                "POST one to /_sandbox/faults, DELETE there to end all:"
                ' {"match": {"operation": "leads.add", "count": 1}, "effect": {"kind": "meanwhile",'
                ' "change": "merge-person", "status": 400}}'
            )
            formatter.write_dl(describe_faults())


@click.command(cls=_SandboxCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8090, show_default=True, help="0 takes a free one.")
@click.option(
    "--plan",
    type=click.Choice(["lite", "growth", "premium", "ultimate"]),
    help="Enforce this plan's limits.",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the account in this file. Default: in memory.",
)
@click.option(
    "--search-delay",
    default=2.0,
    show_default=True,
    help="Seconds until the search finds new items.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=click.Choice(list(PRESETS)),
    metavar="NAME",
    help="Start with this fault, one of those below. Repeatable.",
)
@click.option("--contact-sync", is_flag=True, help="Give persons the fields of contact sync.")
def sandbox(
    host: str,
    port: int,
    plan: Plan | None,
    state_file: Path | None,
    search_delay: float,
    faults: tuple[str, ...],
    contact_sync: bool,
) -> None:
    """Run a stand-in for Pipedrive on loopback.

    Shows a page of its leads, persons and calls. POST /_sandbox/faults/NAME turns a fault on while
    it runs, DELETE /_sandbox/faults turns all of them off.
    """
    from service.sandbox.serve import run as serve_sandbox
    from service.sandbox.settings import SandboxSettings

    port = port or find_free_port(host)
    state_path = str(state_file) if state_file else None
    settings = SandboxSettings(
        host=host,
        port=port,
        plan=plan,
        state_file=state_path,
        search_delay_seconds=search_delay,
        faults=faults,
        contact_sync=contact_sync,
    )
    click.echo(f"Pipedrive sandbox on http://{host}:{port}  (x-api-token: {settings.api_token})")
    try:
        serve_sandbox(settings)
    except OSError as error:
        setup.exit_with_error(
            f"leadline: cannot listen on {host}:{port}: {error.strerror or error}; choose another"
            " with --port"
        )


# `leadline up`: everything on this machine, until Ctrl-C.

# The variables that the packaged example names as its sources' secrets.
EXAMPLE_SECRETS = ("PARTNER_KEY", "WEBHOOK_SECRET")


@click.command()
def up() -> None:
    """Run everything on this machine in the foreground.

    Redis, service and workers; a Pipedrive sandbox unless there are credentials. Ctrl-C stops it.
    """
    settings = setup.load_settings()
    env = with_example_secrets(settings, os.environ)
    sources = setup.load_source_file(settings, env)
    logs.configure(settings.log_format, "up")
    try:
        with LocalStack(settings, env, data_dir=settings.data_dir) as stack:
            generated = [name for name in EXAMPLE_SECRETS if name in env and name not in os.environ]
            _print_endpoints(stack.endpoints, sources)
            _print_secrets(stack.endpoints, settings, {name: env[name] for name in generated})
            _print_example(stack.endpoints, sources)
            stack.run_until_signal()
    except (StartError, EmbeddedRedisError) as error:
        setup.exit_with_error(f"leadline: {error}")


def with_example_secrets(settings: Settings, env: Mapping[str, str]) -> dict[str, str]:
    """The environment, with secrets for the sources of the packaged example if it is used.

    The demo's copy of the example counts as well.
    """
    path = source_file(settings)
    if path.is_file() and path.read_text("utf-8", "replace").startswith(
        packaged_example().read_text("utf-8")
    ):
        return load_or_create(settings.data_dir, EXAMPLE_SECRETS) | dict(env)
    return dict(env)


def _print_endpoints(endpoints: Endpoints, sources: SourceFile) -> None:
    click.echo("\nLeadline is up. Ctrl-C stops it; accepted submissions survive.\n")
    for name, source in sources.sources.items():
        click.echo(f"  intake    {endpoints.service_url}/in/{name}  ({source.adapter})")
    click.echo(f"  API       {endpoints.service_url}/docs")
    click.echo(f"  console   {endpoints.service_url}/ops")
    if endpoints.sandbox_url:
        click.echo(f"  Pipedrive {endpoints.sandbox_url}  (sandbox: leads, persons and calls)")
    else:
        click.echo(f"  Pipedrive {endpoints.pipedrive_url}")


def _print_secrets(endpoints: Endpoints, settings: Settings, generated: Mapping[str, str]) -> None:
    """Show the console's token and the secrets generated for the example, but in no journal.

    The journal of a service is kept, and read by others.
    """
    if not _is_journal(sys.stdout.fileno()):
        click.echo(
            f"  token     {endpoints.operator_token}  (to sign in there; for programs:"
            " Authorization: Bearer)"
        )
        for name, value in generated.items():
            click.echo(f"  {name}={value}")
    elif settings.ops_tokens and not generated:
        click.echo("  token     an operator's of LEADLINE_OPS_TOKENS")
    else:
        names = ", ".join(["the console's token", *generated])
        click.echo(f"  secrets   {names}: in {settings.data_dir / SECRETS_FILE}")


def _is_journal(stream: int) -> bool:
    """Whether systemd's journal reads the stream, as systemd.exec(5) says."""
    status = os.fstat(stream)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _print_example(endpoints: Endpoints, sources: SourceFile) -> None:
    first = next(iter(sources.sources), None)
    if first:
        click.echo(
            "\nTry: curl -i -d 'name=Ada Lovelace' -d 'email=ada@example.com'"
            f" {endpoints.service_url}/in/{first}\n"
        )
