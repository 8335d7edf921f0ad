"""Makes Redis rewrite its files, so that erased content is gone from them.

The append-only file holds every write until it is rewritten; a snapshot holds the data as it was
when it was taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import redis

from worker.errors import LeadlineError, StoreUnavailable
from worker.store.durability import Durability, read_durability

# The time limit for everything together.
REWRITE_TIMEOUT_SECONDS = 600.0

MAX_TRIES = 3
BUSY_FIELDS = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")


class FilesKept(LeadlineError):
    """Redis did not rewrite its files: erased content is still in them."""

    code = "files-kept"


def rewrite_files(
    client: redis.Redis,
    *,
    seconds: float = REWRITE_TIMEOUT_SECONDS,
    pause: Callable[[float], object] = time.sleep,
) -> list[str]:
    """Waits until append-only file and snapshot hold only what Redis holds now.

    Returns sentences that say what people must do elsewhere. Raises `FilesKept`, which says what to
    do, or `StoreUnavailable`.
    """
    deadline = time.monotonic() + seconds
    try:
        durability = read_durability(client)
        if durability.append_only:
            _run_until_done(client, "BGREWRITEAOF", "aof_last_bgrewrite_status", deadline, pause)
            _await_old_files_removed(client, deadline, pause)
        if _has_snapshots(client, durability):
            _run_until_done(client, "BGSAVE", "rdb_last_bgsave_status", deadline, pause)
        _forget_slow_commands(client)
        return _replica_advice(durability.replicas)
    except redis.ResponseError as error:
        raise FilesKept(f"Redis refuses to rewrite its files ({error}): {WHAT_TO_DO}") from error
    except redis.RedisError as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}") from error


WHAT_TO_DO = (
    "the content is erased but still in Redis's files; whoever runs this Redis must run"
    " BGREWRITEAOF, and BGSAVE where it takes snapshots, and remove older backups"
)


def start_rewrite(client: redis.Redis) -> None:
    """Asks for a rewrite and does not wait for it. Raises redis.RedisError."""
    if _persistence(client).get("aof_enabled"):
        client.bgrewriteaof()


def _persistence(client: redis.Redis) -> dict[str, Any]:
    return client.info("persistence")


def _run_until_done(
    client: redis.Redis,
    command: str,
    status: str,
    deadline: float,
    pause: Callable[[float], object],
) -> None:
    """Runs the command until it succeeds.

    A rewrite that was already running may have begun before the erasure, so we wait for it to end
    and then run our own.
    """
    for _ in range(MAX_TRIES):
        _await_idle(client, deadline, pause)
        try:
            client.execute_command(command)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            if "in progress" not in str(error):
                raise
            continue
        if _await_idle(client, deadline, pause)[status] == "ok":
            return
    raise FilesKept(
        f"Redis could not rewrite its files ({command} failed; is its disk full?): {WHAT_TO_DO}"
    )


def _await_idle(
    client: redis.Redis, deadline: float, pause: Callable[[float], object]
) -> dict[str, Any]:
    while any((info := _persistence(client)).get(name) for name in BUSY_FIELDS):
        if time.monotonic() > deadline:
            raise FilesKept(f"Redis is still writing its files: try again later; {WHAT_TO_DO}")
        pause(0.05)
    return info


def _read_config(client: redis.Redis, name: str) -> str | None:
    """The value of a setting; None if it may not be read, as hosted servers refuse CONFIG."""
    try:
        values = cast("dict[str, str]", client.config_get(name))
    except redis.ResponseError:
        return None
    return values.get(name)


def _has_snapshots(client: redis.Redis, durability: Durability) -> bool:
    """Whether there is or will be a snapshot, by Redis's settings, its statistics or the file."""
    if durability.snapshots is not False or _persistence(client).get("rdb_saves"):
        return True
    folder, name = _read_config(client, "dir"), _read_config(client, "dbfilename")
    return bool(folder and name and _exists(Path(folder) / name))


def _exists(path: Path) -> bool:
    with suppress(OSError):
        return path.exists()
    return False


def _await_old_files_removed(
    client: redis.Redis, deadline: float, pause: Callable[[float], object]
) -> None:
    """Waits until Redis has removed the files that a rewrite replaced, if we can see them.

    Redis does that in the background.
    """
    folder, name = _read_config(client, "dir"), _read_config(client, "appenddirname")
    if not folder or not name or not _exists(Path(folder) / name):
        return
    parts = Path(folder) / name
    while _replaced_files(parts):
        if time.monotonic() > deadline:
            raise FilesKept(
                f"Redis has not removed {_replaced_files(parts)} in {parts}: remove them by hand"
            )
        pause(0.05)


def _replaced_files(parts: Path) -> list[str]:
    with suppress(OSError):
        manifests = [path.read_text("utf-8", "replace") for path in parts.glob("*.manifest")]
        current = {
            line.split()[1]
            for text in manifests
            for line in text.splitlines()
            if not line.endswith("type h")
        }
        return sorted(
            path.name
            for path in parts.iterdir()
            if path.suffix in (".aof", ".rdb") and path.name not in current
        )
    return []


def _forget_slow_commands(client: redis.Redis) -> None:
    """Clears the logs in which Redis keeps the start of each slow or large command."""
    for command in (
        "SLOWLOG RESET",
        "COMMANDLOG RESET -1 large-request",
        "COMMANDLOG RESET -1 large-reply",
    ):
        with suppress(redis.ResponseError):
            client.execute_command(*command.split())  # type: ignore[no-untyped-call]


def _replica_advice(replicas: int) -> list[str]:
    return (
        [f"{replicas} replicas keep files of their own: run BGREWRITEAOF (and BGSAVE) on each"]
        if replicas
        else []
    )
