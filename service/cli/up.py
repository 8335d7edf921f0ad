"""`leadline up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping

import click

from service.cli import setup
from service.local.redis import EmbeddedRedisError
from service.local.stack import Endpoints, LocalStack, StartError
from service.settings import packaged_example, source_file
from service.sources.schema import SourceFile
from worker import logs
from worker.settings.table import Settings

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
            _print_endpoints(stack.endpoints, sources, env if env != dict(os.environ) else {})
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
        return {name: secrets.token_hex(16) for name in EXAMPLE_SECRETS} | dict(env)
    return dict(env)


def _print_endpoints(endpoints: Endpoints, sources: SourceFile, env: Mapping[str, str]) -> None:
    click.echo("\nLeadline is up. Ctrl-C stops it; accepted submissions survive.\n")
    for name, source in sources.sources.items():
        click.echo(f"  intake    {endpoints.service_url}/in/{name}  ({source.adapter})")
    click.echo(f"  API       {endpoints.service_url}/docs")
    click.echo(f"  console   {endpoints.service_url}/ops")
    click.echo(
        f"  token     {endpoints.operator_token}  (to sign in there; for programs: Authorization:"
        " Bearer)"
    )
    if endpoints.sandbox_url:
        click.echo(f"  Pipedrive {endpoints.sandbox_url}  (sandbox: leads, persons and calls)")
    else:
        click.echo(f"  Pipedrive {endpoints.pipedrive_url}")
    secrets_made = [name for name in EXAMPLE_SECRETS if name in env]
    for name in secrets_made:
        click.echo(f"  {name}={env[name]}")
    first = next(iter(sources.sources), None)
    if first:
        click.echo(
            "\nTry: curl -i -d 'name=Ada Lovelace' -d 'email=ada@example.com'"
            f" {endpoints.service_url}/in/{first}\n"
        )
