"""What most commands begin with: settings, source file, Redis. Faults are printed together, and the
command ends with 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import click
import redis

from service.local.redis import AlreadyRunning, EmbeddedRedis, EmbeddedRedisError, find_running_url
from service.settings import source_file
from service.sources.schema import ConfigError, SourceFile
from service.sources.source_file.loader import SecretUse, load_sources
from service.sources.source_file.watcher import SourceFileWatcher
from worker.encryption import Cipher
from worker.errors import LeadlineError, StoreUnavailable
from worker.ledger import Ledger
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.settings import Settings, SettingsError, find_misspelt
from worker.store.connection import connect

T = TypeVar("T")


def exit_with_error(*lines: str) -> NoReturn:
    """Ends the command with exit code 1 and these lines on standard error."""
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)


def load_settings(load: Callable[[Mapping[str, str]], Settings] = Settings.for_all) -> Settings:
    """The settings of this process; every fault at once."""
    for name, meant in find_misspelt(os.environ).items():
        click.echo(f"warning: {name} is no setting; did you mean {meant}?", err=True)
    try:
        return load(os.environ)
    except SettingsError as error:
        exit_with_error(
            "leadline: the settings cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


def load_source_file(settings: Settings, env: Mapping[str, str] = os.environ) -> SourceFile:
    """The source file; every fault at once."""
    try:
        return load_sources(source_file(settings), env)
    except ConfigError as error:
        exit_with_error(
            "leadline: the source file cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


def watch_source_file(settings: Settings, *, secrets: Collection[SecretUse]) -> SourceFileWatcher:
    """The source file, read again whenever it changes; every fault at once."""
    try:
        return SourceFileWatcher(source_file(settings), os.environ, secrets=secrets)
    except ConfigError as error:
        exit_with_error(
            "leadline: the source file cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


@contextmanager
def redis_url(settings: Settings) -> Iterator[str]:
    """`REDIS_URL`, or the embedded Redis of the data directory: the one that runs, else one that
    lives as long as the command.
    """
    if settings.redis_url:
        yield settings.redis_url
        return
    running = find_running_url(settings.data_dir)
    if running:
        yield running
        return
    try:
        with EmbeddedRedis(settings.data_dir) as server:
            yield server.url
    except AlreadyRunning as error:
        exit_with_error(f"leadline: {error}")
    except EmbeddedRedisError as error:
        exit_with_error(f"leadline: {error}")


@dataclass(frozen=True)
class Store:
    """The ledger as operators use it."""

    redis: redis.Redis
    ledger: Ledger
    sweeper: Sweeper


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The ledger, for a command of an operator. An error of ours ends the command with one line."""
    with redis_url(settings) as url, connect(url, timeout=5.0) as client:
        ledger = Ledger(client, Cipher(settings.encryption_keys))
        try:
            yield Store(client, ledger, Sweeper(ledger, open_queue(client)))
        except StoreUnavailable as error:
            exit_with_error(f"leadline: {error}; is Redis running at the address in REDIS_URL?")
        except LeadlineError as error:
            exit_with_error(f"leadline: {error}")


def operator_name() -> str:
    """Who acts, for the timeline."""
    return f"cli:{os.environ.get('USER') or os.environ.get('LOGNAME') or os.getuid()}"
