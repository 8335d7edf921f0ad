"""The secrets that `leadline up` makes up: the same at every start, in a file of their owner's."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

SECRETS_FILE = "up-secrets.json"


def load_or_create(data_dir: Path, names: Sequence[str]) -> dict[str, str]:
    """The secret of each name, of 32 characters; those that are missing are made and stored.

    Only the file's owner may read it. Raises OSError.
    """
    path = data_dir / SECRETS_FILE
    stored = _read(path)
    missing = {name: secrets.token_urlsafe(24) for name in names if name not in stored}
    if missing:
        stored |= missing
        data_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(stored, file)
        temporary.replace(path)
    return {name: stored[name] for name in names}


def _read(path: Path) -> dict[str, str]:
    """What is stored; {} where nothing usable is."""
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in stored.items()} if stored else {}
