"""What is made of the settings' table: the example file, the rows of `check --settings`, and where
the source file is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec import Struct

from worker.settings import SETTINGS, Settings, describe

SOURCE_FILE = "leadline.toml"
EXAMPLE = "leadline.example.toml"

_HEADER = """\
# Leadline's settings: environment variables, each with its unit and default. What is not set, or
# empty, has its default. Durations are written 10s, 5m, 2h, 30d; sizes 256KiB, 10MB.
# The secrets of a source have the names that its `secret_env`, `challenge_env` and `token_env`
# give them. Made from the table in worker/settings.py with `python -m service.settings`.
"""


class SettingRow(Struct, frozen=True):
    """A setting as `leadline check --settings` shows it; a secret's value shows only that it is
    set.
    """

    name: str
    value: str
    default: str
    unit: str
    help: str


def rows(settings: Settings) -> list[SettingRow]:
    return [
        SettingRow(row.name, value, row.default_text, row.unit, row.help)
        for row, value in describe(settings)
    ]


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
    """The source file to read, which need not exist where `LEADLINE_CONFIG` names it; else one that
    does.
    """
    if settings.config is not None:
        return settings.config
    beside = Path(SOURCE_FILE)
    return beside if beside.is_file() else packaged_example()


def packaged_example() -> Path:
    """The example beside the installed package, or in the checkout that it is installed from."""
    package = Path(__file__).resolve().parent
    installed = package / EXAMPLE
    return installed if installed.is_file() else package.parent / "deploy" / EXAMPLE


if __name__ == "__main__":
    sys.stdout.write(env_example())
