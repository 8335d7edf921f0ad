"""Has Redis write its files anew, so that what was erased is gone from them.

The append-only file holds every write there was until it is rewritten, a snapshot what was there
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

SECONDS = 600.0
"""How long all of it may take."""

TRIES = 3
BUSY = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")


class FilesKept(LeadlineError):
    """Redis would not write its files anew: what was erased still stands in them."""

    code = "files-kept"


def rewrite(
    client: redis.Redis, *, seconds: float = SECONDS, pause: Callable[[float], object] = time.sleep
) -> list[str]:
    """Returns when append-only file and snapshot hold nothing but what Redis holds now; what others
    must do is returned in words.

    Raises `FilesKept` with what to do, `StoreUnavailable`.
    """
    deadline = time.monotonic() + seconds
    try:
        info = _persistence(client)
        if info.get("aof_enabled"):
            _until_done(client, "BGREWRITEAOF", "aof_last_bgrewrite_status", deadline, pause)
            _old_files_gone(client, deadline, pause)
        if _snapshots(client, info):
            _until_done(client, "BGSAVE", "rdb_last_bgsave_status", deadline, pause)
        _forget_slow_commands(client)
        return _replicas(client)
    except redis.ResponseError as error:
        raise FilesKept(f"Redis refuses to write its files anew ({error}): {TO_DO}") from error
    except redis.RedisError as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}") from error


TO_DO = (
    "the content is erased, and still stands in Redis's files; whoever runs this Redis must run"
    " BGREWRITEAOF, and BGSAVE where it takes snapshots, and remove older backups"
)


def ask_to_rewrite(client: redis.Redis) -> None:
    """Asks for it and does not wait. Raises redis.RedisError."""
    if _persistence(client).get("aof_enabled"):
        client.bgrewriteaof()


def _persistence(client: redis.Redis) -> dict[str, Any]:
    return client.info("persistence")


def _until_done(
    client: redis.Redis,
    command: str,
    status: str,
    deadline: float,
    pause: Callable[[float], object],
) -> None:
    """One that was under way before began too early to leave out what was erased since, so it is
    waited for and not counted.
    """
    for _ in range(TRIES):
        _idle(client, deadline, pause)
        try:
            client.execute_command(command)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            if "in progress" not in str(error):
                raise
            continue
        if _idle(client, deadline, pause)[status] == "ok":
            return
    raise FilesKept(
        f"Redis could not write its files anew ({command} failed; is its disk full?): {TO_DO}"
    )


def _idle(client: redis.Redis, deadline: float, pause: Callable[[float], object]) -> dict[str, Any]:
    while any((info := _persistence(client)).get(name) for name in BUSY):
        if time.monotonic() > deadline:
            raise FilesKept(f"Redis is still writing its files: ask again later; {TO_DO}")
        pause(0.05)
    return info


def _setting(client: redis.Redis, name: str) -> str | None:
    """None where it may not be read: hosted servers refuse CONFIG."""
    try:
        found = cast("dict[str, str]", client.config_get(name))
    except redis.ResponseError:
        return None
    return found.get(name)


def _snapshots(client: redis.Redis, info: dict[str, Any]) -> bool:
    """Whether there is a snapshot, or will be: by its settings (unless they say no), by what it
    did, by the file itself.
    """
    if _setting(client, "save") != "" or info.get("rdb_saves"):
        return True
    folder, name = _setting(client, "dir"), _setting(client, "dbfilename")
    return bool(folder and name and _there(Path(folder) / name))


def _there(path: Path) -> bool:
    with suppress(OSError):
        return path.exists()
    return False


def _old_files_gone(client: redis.Redis, deadline: float, pause: Callable[[float], object]) -> None:
    """The parts that a rewrite replaced are removed in the background; where they can be seen they
    are waited for.
    """
    folder, name = _setting(client, "dir"), _setting(client, "appenddirname")
    if not folder or not name or not _there(Path(folder) / name):
        return
    parts = Path(folder) / name
    while _replaced(parts):
        if time.monotonic() > deadline:
            raise FilesKept(
                f"Redis has not removed {_replaced(parts)} in {parts}: remove them by hand"
            )
        pause(0.05)


def _replaced(parts: Path) -> list[str]:
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
    """In memory alone; but slow or large commands stand there with the beginning of what they
    wrote.
    """
    for command in (
        "SLOWLOG RESET",
        "COMMANDLOG RESET -1 large-request",
        "COMMANDLOG RESET -1 large-reply",
    ):
        with suppress(redis.ResponseError):
            client.execute_command(*command.split())  # type: ignore[no-untyped-call]


def _replicas(client: redis.Redis) -> list[str]:
    replicas = int(client.info("replication").get("connected_slaves", 0))
    return (
        [f"{replicas} replicas keep files of their own: run BGREWRITEAOF (and BGSAVE) on each"]
        if replicas
        else []
    )
