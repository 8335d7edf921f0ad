"""Faults by name: what Pipedrive answers on bad days, in its own words where they are known.

    leadline sandbox --fault trial-over
    POST /_sandbox/faults/trial-over

`DELETE /_sandbox/faults` ends them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]

HOUR = 3600
PAGE = "<!DOCTYPE html><title>Welcome</title><p>This is somebody else's website."
NOT_FOUND_PAGE = "<!DOCTYPE html><title>404 Not Found</title><h1>Not Found</h1>"
PROXY_PAGE = "<!DOCTYPE html><title>407</title><h1>Proxy Authentication Required</h1>"
NO_TOKENS = {"x-daily-ratelimit-token-remaining": "0"}

# Every call below `/v1` and `/api`: all save those for access tokens. It is one match, because each
# counts its hits and its seconds by itself.
API: tuple[Json, ...] = ({"path": "/[va]*"},)
TOKEN_URL: tuple[Json, ...] = ({"operation": "oauth.token"},)
LEADS: tuple[Json, ...] = ({"operation": "leads.*"},)
NEW_LEAD: tuple[Json, ...] = ({"operation": "leads.add"},)


class FaultPreset(NamedTuple):
    """A fault: what it is, for `--help`; which calls it hits, and what they are answered.

    `matches` and `answer` are as in the body of `POST /_sandbox/faults`.
    """

    text: str
    matches: tuple[Json, ...]
    answer: Json

    def rules(self, name: str) -> list[Json]:
        """The rules, as in the body of `POST /_sandbox/faults`."""
        effect = {"kind": "answer"} | self.answer
        return [{"name": name, "match": match, "effect": effect} for match in self.matches]


def _refusal(status: int, error: str, **more: Any) -> Json:
    return {"status": status, "body": {"success": False, "error": error} | more}


def _page(status: int, html: str) -> Json:
    return {"status": status, "html": html}


def _too_many(headers: Json) -> Json:
    return _refusal(429, "Request over limit", errorCode=429) | {"headers": headers}


def _for_seconds(seconds: float, matches: tuple[Json, ...]) -> tuple[Json, ...]:
    return tuple({**match, "seconds": seconds} for match in matches)


PRESETS: dict[str, FaultPreset] = {
    # -- the account
    "trial-over": FaultPreset(
        "the account isn't open: its trial is over (402)",
        API,
        _refusal(402, "Company account is not open"),
    ),
    "oauth-trial-over": FaultPreset(
        "the same at the OAuth token URL",
        TOKEN_URL,
        _refusal(402, "Company account is not open"),
    ),
    "feature-off": FaultPreset(
        "the account's plan has no leads (415)", LEADS, _refusal(415, "Feature is not enabled")
    ),
    "token-refused": FaultPreset(
        "the credentials are rejected (401)",
        API,
        _refusal(401, "unauthorized access", errorCode=401),
    ),
    # -- the address and the version
    "wrong-host": FaultPreset(
        "another website answers every call (200, HTML)", API, _page(200, PAGE)
    ),
    "wrong-host-404": FaultPreset(
        "another website knows no such page (404, HTML)",
        API,
        _page(404, NOT_FOUND_PAGE),
    ),
    "wrong-host-json": FaultPreset(
        "another API answers (200, JSON without `success`)",
        API,
        {"status": 200, "body": {"status": "ok"}},
    ),
    "proxy-refuses": FaultPreset(
        "a proxy in between wants credentials of its own (407, HTML)",
        API,
        _page(407, PROXY_PAGE),
    ),
    "oauth-wrong-host": FaultPreset(
        "another website answers at the OAuth token URL",
        TOKEN_URL,
        _page(404, NOT_FOUND_PAGE),
    ),
    "endpoint-removed": FaultPreset(
        "leads can no longer be created (404 Unknown method)",
        NEW_LEAD,
        {"status": 404, "body": {"status": False, "error": "Unknown method ."}},
    ),
    "search-removed": FaultPreset(
        "persons can no longer be searched (410)",
        ({"operation": "persons.search"},),
        _refusal(410, "Old resource permanently unavailable", code="ERR_GONE"),
    ),
    # -- limits
    "budget-early": FaultPreset(
        "the day's tokens are used up, and back after 25 s as stated",
        _for_seconds(25, API),
        _too_many(NO_TOKENS | {"retry-after": "25"}),
    ),
    "budget-bought": FaultPreset(
        "the day's tokens are used up for six hours, and bought after a minute",
        _for_seconds(60, API),
        _too_many(NO_TOKENS | {"retry-after": str(6 * HOUR)}),
    ),
    "rate-limit-silent": FaultPreset(
        "429 to every call, without a stated wait", API, _too_many({})
    ),
    "entity-limit": FaultPreset(
        "the plan's limit of leads is reached (403 without a code)",
        NEW_LEAD,
        _refusal(403, "Couldn't add lead. You've reached the lead per company limit."),
    ),
    # -- rights
    "scope-mismatch": FaultPreset(
        "the app lacks the scope leads:full (403)",
        LEADS,
        _refusal(403, "Scope and URL mismatch", errorCode=403),
    ),
    "users-scope-missing": FaultPreset(
        "the app lacks the scope users:read (403)",
        ({"operation": "users.list"},),
        _refusal(403, "Scope and URL mismatch", errorCode=403),
    ),
    "visibility-refused": FaultPreset(
        "the account's plan lacks the visibility that is set (403)",
        ({"body_contains": '"visible_to"'},),
        _refusal(403, "You do not have permission to use this visibility."),
    ),
    # -- values
    "channel-refused": FaultPreset(
        "the channel is wrong, and `error_info` says so (400)",
        ({"operation": "leads.add", "body_contains": '"channel"'},),
        _refusal(
            400,
            "Couldn't create lead, body is invalid.",
            error_info='"channel" must be a number',
            data=None,
            additional_data=None,
        ),
    ),
    "email-refused": FaultPreset(
        "the e-mail address is wrong (400, `emails.0.value`)",
        ({"operation": "persons.add"},),
        _refusal(
            400,
            "Validation failed: emails.0.value: Invalid email",
            code="ERR_SCHEMA_VALIDATION_FAILED",
        ),
    ),
}


def describe_presets() -> dict[str, str]:
    """What each fault is, by name."""
    return {name: preset.text for name, preset in PRESETS.items()}
