"""Derives `deploy/env.example` and the rows of `check --settings` from the table of settings.

Also finds the source file. `python -m service.settings` prints `deploy/env.example`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec import Struct

from worker.settings.table import SETTINGS, Setting, Settings
from worker.settings.types import STATE_BY_RETENTION_KEY

SOURCE_FILE = "leadline.toml"
EXAMPLE = "leadline.example.toml"

_HEADER = """\
# Leadline's settings: environment variables, each with its unit and default. A variable that is
# unset or empty has its default. Durations are written 10s, 5m, 2h, 30d; sizes 256KiB, 10MB.
# The secrets of a source have the names that its `secret_env`, `challenge_env` and `token_env`
# give. Generated from the table in worker/settings/table.py by `python -m service.settings`.
"""


class SettingRow(Struct, frozen=True):
    """A setting as `leadline check --settings` shows it; of a secret, only whether it is set."""

    name: str
    value: str
    default: str
    unit: str
    help: str


def describe_settings(settings: Settings) -> list[SettingRow]:
    """Each setting with the value in force."""
    return [
        SettingRow(
            row.name, _format_value(row, key, settings), row.default_text, row.unit, row.help
        )
        for key, row in SETTINGS.items()
    ]


def _format_value(row: Setting, key: str, settings: Settings) -> str:
    value = getattr(settings, key)
    if value == row.default_value:
        return row.default_text
    if row.secret:
        return "*** (set)"
    if key == "retry_delays":
        return ",".join(f"{delay:g}s" for delay in value)
    if key == "retention":
        names = {state: name for name, state in STATE_BY_RETENTION_KEY.items()}
        return ",".join(
            f"{names[state]}={'never' if seconds is None else f'{seconds:g}s'}"
            for state, seconds in value.items()
        )
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def env_example() -> str:
    """The text of `deploy/env.example`."""
    blocks = [_HEADER]
    for row in SETTINGS.values():
        blocks.append(
            f"# {row.help}\n# unit: {row.unit}; default:"
            f" {row.default_text}\n#{row.name}={row.default or ''}\n"
        )
    return "\n".join(blocks)


def source_file(settings: Settings) -> Path:
    """The source file: `LEADLINE_CONFIG`, else `leadline.toml` here, else the packaged example.

    The file that `LEADLINE_CONFIG` names need not exist.
    """
    if settings.config is not None:
        return settings.config
    local = Path(SOURCE_FILE)
    return local if local.is_file() else packaged_example()


def packaged_example() -> Path:
    """The example source file of the installed package, or of the checkout it runs from."""
    package = Path(__file__).resolve().parent
    installed = package / EXAMPLE
    return installed if installed.is_file() else package.parent / "deploy" / EXAMPLE


if __name__ == "__main__":
    sys.stdout.write(env_example())
