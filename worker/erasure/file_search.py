"""Searches files byte by byte for an address: Redis's, the spools, and what else is beside them.

It says whether the promise was kept, and changes nothing. What is encrypted, compressed or base64
shows no address; what Redis holds was read in plain before (`worker.erasure.stored_mentions`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import redis

from worker.ledger.email_search import EmailPattern

CHUNK_BYTES = 1 << 20
# Longer than any spelling of an address, so that one that spans two chunks is not missed.
OVERLAP_BYTES = 8_192
MAX_FILES = 10_000


def find_files_with(pattern: EmailPattern, folders: Iterable[Path]) -> list[Path]:
    """The files in these folders, and in those below, in which the address stands."""
    return [path for path in _each_file(folders) if _holds(path, pattern)]


def redis_folder(client: redis.Redis) -> Path | None:
    """Where Redis keeps its files, if it tells and if that is on this machine."""
    try:
        values = cast("dict[str, str]", client.config_get("dir"))
    except redis.RedisError:
        return None
    folder = Path(values.get("dir", ""))
    with suppress(OSError):
        if folder.is_absolute() and _is_of_this_redis(folder, client):
            return folder
    return None


def _is_of_this_redis(folder: Path, client: redis.Redis) -> bool:
    """Whether files that Redis names are there: the same path may exist on two machines."""
    try:
        names = cast("dict[str, str]", client.config_get("*name"))
    except redis.RedisError:
        return False
    return any(
        (folder / name).exists()
        for key, name in names.items()
        if key in ("appenddirname", "dbfilename", "appendfilename") and name
    )


def _each_file(folders: Iterable[Path]) -> Iterator[Path]:
    passed: set[Path] = set()
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name).resolve()
                if path not in passed and len(passed) < MAX_FILES and path.is_file():
                    passed.add(path)
                    yield path


def _holds(path: Path, pattern: EmailPattern) -> bool:
    tail = b""
    with suppress(OSError), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if pattern.occurs_in(tail + chunk, base64_depth=0):
                return True
            tail = chunk[-OVERLAP_BYTES:]
    return False
