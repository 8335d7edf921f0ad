"""The settings: what is wrong with them, and what they leave closed or unwatched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from service.checks.finding import Finding, fail, ok, warn
from worker.pipedrive.client import DEFAULT_BASE
from worker.settings import Settings, SettingsError, misspelt

SETTINGS = "settings"


def check_settings(env: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings of one machine, or None where they cannot be used, and every finding."""
    spelling = [warn(SETTINGS, f"{name} is no setting; did you mean {meant}?", meant) for name, meant in misspelt(env).items()]
    try:
        settings = Settings.for_all(env)
    except SettingsError as error:
        return None, [*spelling, *(fail(SETTINGS, fault, fault.partition(":")[0]) for fault in error.faults)]
    found = [*spelling, *_open_ends(settings)]
    return settings, found if found else [ok(SETTINGS, "all settings can be used")]


def _open_ends(settings: Settings) -> Iterator[Finding]:
    if not settings.ops_tokens:
        yield warn(SETTINGS, "console closed: nobody has a token; set name:role:token", "LEADLINE_OPS_TOKENS")
    if settings.pipedrive_plan == "unlimited" and settings.pipedrive_base_url == DEFAULT_BASE:
        yield warn(SETTINGS, "nothing paces the calls to the real Pipedrive: name the account's plan", "PIPEDRIVE_PLAN")
    place = _first_that_exists(settings.data_dir)
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        yield fail(SETTINGS, f"{place} is no directory that can be written to: the local spool has no place", "LEADLINE_DATA_DIR")


def _first_that_exists(path: Path) -> Path:
    """The directory itself, or the nearest one above it: what is missing is made."""
    whole = path.absolute()
    return next((each for each in (whole, *whole.parents) if each.exists()), whole)
