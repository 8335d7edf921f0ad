"""One line of what a check found."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """`warn` works and deserves a look; `fail` does not work, or loses submissions."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """`setting` is the environment variable, the place in the source file or Redis's own setting to
    mend, where there is one.
    """

    level: Level
    subject: str
    message: str
    setting: str | None = None


def ok(subject: str, message: str, setting: str | None = None) -> Finding:
    return Finding(Level.OK, subject, message, setting)


def warn(subject: str, message: str, setting: str | None = None) -> Finding:
    return Finding(Level.WARN, subject, message, setting)


def fail(subject: str, message: str, setting: str | None = None) -> Finding:
    return Finding(Level.FAIL, subject, message, setting)
