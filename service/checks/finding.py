"""A finding: one line of a check's result."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """`warn`: works, but deserves a look; `fail`: does not work, or loses submissions."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """`setting` names what to change: a variable, a key of the source file or of Redis; or None."""

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
