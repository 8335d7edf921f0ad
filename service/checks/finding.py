"""One line of what a check found."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from worker.errors import (
    Blocked,
    BudgetSpent,
    Forbidden,
    Gone,
    Invalid,
    LeadlineError,
    NotSent,
    OutcomeUnknown,
    OutOfAllowance,
    RateLimited,
    Reauthorise,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    Unmappable,
)


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


# What a person at a terminal should do about an error of Pipedrive's or ours: next step and the
# setting it concerns.

PASSING = (RateLimited, OutOfAllowance, StoreUnavailable, Blocked)
"""Errors that say nothing about the account or the settings."""

ADVICE: dict[type[BaseException], tuple[str, str | None]] = {
    LeadlineError: ("try again", None),
    StoreUnavailable: ("is Redis running at the address in REDIS_URL?", "REDIS_URL"),
    OutOfAllowance: (
        (
            "try again when the workers leave room: PIPEDRIVE_PLAN and PIPEDRIVE_SEATS say how much"
            " there is"
        ),
        None,
    ),
    Unmappable: ("correct the name, or add it in Pipedrive", None),
    NotSent: (
        "check that this machine reaches PIPEDRIVE_BASE_URL (name, proxy, certificates)",
        "PIPEDRIVE_BASE_URL",
    ),
    OutcomeUnknown: ("it may have happened: look before you repeat it", None),
    Unavailable: (
        "see status.pipedrive.com and PIPEDRIVE_BASE_URL, and try again",
        "PIPEDRIVE_BASE_URL",
    ),
    RateLimited: ("wait a moment and try again", None),
    BudgetSpent: ("try again when the day's API tokens reset", None),
    Unauthorized: ("set a valid PIPEDRIVE_API_TOKEN", "PIPEDRIVE_API_TOKEN"),
    Reauthorise: (
        "connect the app again and set the new PIPEDRIVE_REFRESH_TOKEN",
        "PIPEDRIVE_REFRESH_TOKEN",
    ),
    Blocked: ("stop what calls Pipedrive beyond its limits, and try again later", None),
    Forbidden: ("use the credentials of a user who has the permission, or a larger plan", None),
    Invalid: ("correct what Pipedrive complains of", None),
    Gone: ("compare the id with a list: it may be deleted or merged", None),
}
"""By class of error; a subclass without a line of its own has its parent's."""


def advice(error: LeadlineError) -> tuple[str, str | None]:
    """The next step, and the setting to look at where it is one."""
    return next(ADVICE[kind] for kind in type(error).__mro__ if kind in ADVICE)
