"""Errors in plain words: what happened, what to mend, and where. Names no person: the causes are
counted and shown to viewers.

Every cause of a dead letter says what to do and is safe to retry (the ledger knows what is done
already).
"""

from __future__ import annotations

import re

from worker.contract import Cause
from worker.errors import (
    Absent,
    Blocked,
    BudgetSpent,
    CannotDecrypt,
    FetchError,
    FetchFailed,
    FetchForbidden,
    FetchLimited,
    FetchRefused,
    Forbidden,
    Gated,
    Gone,
    Invalid,
    LeadlineError,
    NotSent,
    OutcomeUnknown,
    OutOfAllowance,
    PipedriveError,
    RateLimited,
    Reauthorise,
    RecordGone,
    Refused,
    Restored,
    Settling,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    UnknownName,
    Unmappable,
)
from worker.store import keys

MAX_DETAIL_CHARS = 500
"""Characters of a detail."""

INTERNAL_CODE = "internal"
"""The code of an error nobody raised on purpose."""

SETTINGS = {
    "title": "title", "label_ids": "labels", "label": "labels", "channel": "channel",
    "channel_id": "channel_id",
    "origin_id": "origin_id", "owner_id": "owner_id", "owner": "owner_id", "value": "value",
    "amount": "value",
    "currency": "value", "expected_close_date": "expected_close", "visible_to": "visible_to",
    "custom_fields": "custom",
    "content": "note",
}  # fmt: skip
"""Pipedrive's fields by the key of `[sources.X.lead]` that they are written from."""

LEAD_FIELDS = {
    "email": "email", "emails": "email", "phone": "phone", "phones": "phone", "name": "name",
    "org_id": "company",
    "organization_id": "company", "person_id": "email",
}  # fmt: skip
"""Pipedrive's fields by the canonical field that they are written from."""

MEND = {
    "label": (
        "add the label {name!r} in Pipedrive or correct {place}, then retry; `create_labels = true`"
        " adds missing labels"
    ),
    "channel": "add {name!r} to the source channels in Pipedrive or correct {place}, then retry",
    "owner": "invite or activate the user {name!r} in Pipedrive or correct {place}, then retry",
    "field": "add the custom field {name!r} in Pipedrive or correct {place}, then retry",
}
"""What to do about a name that the account does not have, by the first word of its kind that stands
here.
"""

HINTS: dict[type[BaseException], str] = {
    BaseException: (
        "a fault in Leadline: the worker's log has the details under this submission's id; retry"
        " after an update"
    ),
    LeadlineError: "see the worker's log under this submission's id, then retry",
    StoreUnavailable: "nothing to do: the submission is taken up again once Redis answers",
    OutOfAllowance: (
        "nothing to do: it goes on when Pipedrive's limits allow, as PIPEDRIVE_PLAN and"
        " PIPEDRIVE_SEATS state them"
    ),
    CannotDecrypt: (
        "list the key it was sealed under in LEADLINE_ENCRYPTION_KEYS and restart the workers, then"
        " retry"
    ),
    Settling: "nothing to do: what was sent is looked for before anything is sent again",
    Restored: (
        "nothing to do: Redis was set back, and what was delivered since is looked for before"
        " anything is sent again"
    ),
    Absent: "retry it: what was sent was looked for and is not in Pipedrive",
    Gated: (
        "nothing to do: it goes on when Pipedrive takes calls again; the submission that met the"
        " refusal says why it did not"
    ),
    Unmappable: "correct {place}, then retry",
    FetchError: "correct {place} or what the product complains of, then retry",
    FetchFailed: (
        "see whether the product's API is up and {place} is right; once it answers again, retry"
    ),
    FetchLimited: "nothing to do: the record is asked for again once the product takes calls",
    FetchRefused: (
        "put a valid token into the variable that {place} names and restart the workers, then retry"
    ),
    FetchForbidden: (
        "give the token of {place} the permission to read leads or contacts at the product, then"
        " retry"
    ),
    RecordGone: (
        "the product has the record no more, or hides it from the token: discard it, or retry with"
        " another token"
    ),
    PipedriveError: "see status.pipedrive.com, then retry",
    NotSent: (
        "check that this machine reaches PIPEDRIVE_BASE_URL (name, proxy, certificates); if it went"
        " on for long, retry"
    ),
    OutcomeUnknown: "retry: Pipedrive is asked whether the create happened before it is sent again",
    Unavailable: "see status.pipedrive.com; once Pipedrive answers again, retry",
    RateLimited: "nothing to do: every delivery waits until Pipedrive takes calls again",
    BudgetSpent: (
        "nothing to do: delivery goes on when the day's API tokens reset; more seats or a larger"
        " plan give more tokens"
    ),
    Unauthorized: (
        "set a valid PIPEDRIVE_API_TOKEN and restart the workers; what waits is then delivered by"
        " itself"
    ),
    Reauthorise: (
        "connect the app again and set the new PIPEDRIVE_REFRESH_TOKEN; what waits is then"
        " delivered by itself"
    ),
    Blocked: (
        "stop other programs that use this Pipedrive account beyond its limits; delivery is tried"
        " again by itself"
    ),
    Refused: "mend what Pipedrive complains of, then retry",
    Invalid: "correct {place} or edit the lead, then retry",
    Forbidden: (
        "give the API user the permission in Pipedrive, or use the token of a user who has it, then"
        " retry"
    ),
    Gone: (
        "restore it in Pipedrive or retry: the person and the organisation are then looked for"
        " afresh"
    ),
}
"""What to mend, by class of error; a subclass without a line of its own has its parent's. `{place}`
is the setting.
"""

LIMIT = (
    "the plan's limit is reached: archive or delete open leads and deals, or enlarge the plan, then"
    " retry"
)
SCOPE = (
    "the app lacks a scope: connect it again with base, leads:full, contacts:full and deals:read,"
    " then retry"
)


def cause_of(error: BaseException, *, step: str, source: str) -> Cause:
    """The cause to record for an error of `step` while a submission of `source` was delivered."""
    setting = _setting(error, source)
    return Cause(
        step=step,
        code=error.code if isinstance(error, LeadlineError) else INTERNAL_CODE,
        detail=_detail(error),
        field=getattr(error, "field", None) if isinstance(error, LeadlineError) else None,
        status=error.status if isinstance(error, PipedriveError | FetchError) else None,
        setting=setting,
        hint=_hint(error, setting),
    )


def _detail(error: BaseException) -> str:
    """Our own words, or Pipedrive's without the people in them. Of a bug only its class: its words
    may be anything.
    """
    if not isinstance(error, LeadlineError):
        return type(error).__name__
    text = " ".join(str(error)[: 4 * MAX_DETAIL_CHARS].split()) or type(error).__name__
    return truncate(_PHONE.sub("[phone]", _EMAIL.sub("[e-mail]", text)))


def truncate(text: str) -> str:
    return text if len(text) <= MAX_DETAIL_CHARS else text[: MAX_DETAIL_CHARS - 1] + "…"


_EMAIL = re.compile(r"[^\s@<>\"'(),;:]{1,64}@[^\s@<>\"'(),;:]{1,255}")
_PHONE = re.compile(r"\+\d[\d ()/.-]{4,20}\d", re.ASCII)


def _setting(error: BaseException, source: str) -> str | None:
    if isinstance(error, Unmappable | FetchError):
        return error.setting
    if isinstance(error, Reauthorise):
        return "PIPEDRIVE_REFRESH_TOKEN"
    if isinstance(error, Unauthorized):
        return "PIPEDRIVE_API_TOKEN"
    if isinstance(error, Invalid) and error.field:
        field = _first_part(error.field)
        if field in SETTINGS:
            return f"sources.{source}.lead.{SETTINGS[field]}"
        return f"sources.{source}.{'map' if field in LEAD_FIELDS else 'lead'}"
    return None


def _first_part(field: str) -> str:
    """`value` of `value.currency`, `emails` of `emails[0].value`."""
    return re.split(r"[.\[]", field)[0]


def _hint(error: BaseException, setting: str | None) -> str:
    place = _place(setting)
    if isinstance(error, UnknownName):
        mend = next(
            (text for kind, text in MEND.items() if kind in error.kind.split()), HINTS[Unmappable]
        )
        return mend.format(name=error.name, place=place)
    if isinstance(error, Invalid) and (
        written_from := LEAD_FIELDS.get(_first_part(error.field or ""))
    ):
        return f"edit the lead's `{written_from}` or correct {place}, then retry"
    if isinstance(error, Forbidden) and "capping" in (error.vendor_code or ""):
        return LIMIT
    if isinstance(error, Forbidden) and "scope" in error.detail.casefold():
        return SCOPE
    return next(HINTS[kind] for kind in type(error).__mro__ if kind in HINTS).format(place=place)


def _place(setting: str | None) -> str:
    """`sources.contact.lead.labels` as people find it in the file: `labels` of
    [sources.contact.lead].
    """
    if not setting:
        return "the source file"
    source, custom, field = setting.partition(".lead.custom.")
    if custom:
        return f"`{field}` of [{source}.lead.custom]"
    table, _, key = setting.rpartition(".")
    return (
        f"[{setting}]"
        if key in {"map", "lead"} or table.count(".") == 0
        else f"`{key}` of [{table}]"
    )


def no_contact(source: str, step: str, why: str | None, field: str = "email") -> Cause:
    """A genuine event with nobody to reach in it."""
    return Cause(
        step=step,
        code="no-contact",
        detail=why or "there is no e-mail, phone, person or organisation in it",
        field=field,
        setting=f"sources.{source}.map",
        hint=(
            "map the field that holds the e-mail address or the phone number, then retry; or add it"
            " by hand"
        ),
    )


UNRECORDED = Cause(step="unknown", code="unknown", detail="no cause was recorded")
"""What stands for the cause of a dead letter that has none, as one of an older version may."""

ID_LENGTH = 16


def cause_id(cause: Cause | None) -> str:
    """What dead letters that died of the same thing have in common; the same after a restart and on
    any machine.
    """
    found = cause or UNRECORDED
    return keys.digest(found.step, found.code, found.field or "", found.setting or "")[:ID_LENGTH]


STEPS = {
    "intake": "when it came in", "plan": "before it was sent",
    "fetch": "when the rest of it was fetched",
    "names": "when its names were looked up", "settle": "when it was looked for",
    "organization": "at the organisation",
    "person": "at the person", "lead": "at the lead", "note": "at the note",
    "store": "when it was recorded",
    "worker": "in the worker",
}  # fmt: skip
"""Where a delivery was, in words."""

KINDS = {"label": "label", "channel": "channel", "owner": "owner", "field": "custom field"}
"""What an unknown name names, by the words of its kind."""

TITLES = {
    "no-contact": "Nobody to reach: no e-mail, phone or name",
    "unknown-name": "Pipedrive does not have the {kind} that the source file names",
    "unmappable": "The source file cannot be applied: {thing}",
    "invalid": "Pipedrive refuses {thing} {step}",
    "forbidden": "Pipedrive does not permit it {step}",
    "gone": "It is gone from Pipedrive {step}",
    "refused": "Pipedrive refuses it {step}",
    "pipedrive": "Pipedrive answered with an error {step}",
    "not-sent": "Pipedrive was not reached {step}",
    "outcome-unknown": "Whether it was created is unknown {step}",
    "unavailable": "Pipedrive did not answer {step}",
    "rate-limited": "Pipedrive takes no more calls for the moment",
    "budget-spent": "The day's Pipedrive tokens are spent",
    "out-of-allowance": "The calls that Pipedrive allows are used up",
    "unauthorized": "Pipedrive refuses the credentials",
    "reauthorise": "The app must be connected to Pipedrive again",
    "blocked": "Pipedrive blocks this account's calls",
    "settling": "It settles before it is looked for",
    "restored": "Redis was set back; it is looked for first",
    "absent": "What was sent has never arrived",
    "gated": "Delivery waits for Pipedrive",
    "fetch": "The rest of it cannot be read from its product",
    "fetch-failed": "The product that holds the rest of it did not answer",
    "fetch-limited": "The product that holds the rest of it takes no more calls",
    "fetch-refused": "The product that holds the rest of it refuses the token",
    "fetch-forbidden": "The token may not read the rest of it from its product",
    "record-gone": "The product no longer has the rest of it",
    "sealed": "Its content cannot be opened with the keys that are set",
    "store-unavailable": "Redis was away {step}",
    "lease-lost": "Another worker took it over",
    "not-allowed": "Its state did not allow the step",
    "overtaken": "Somebody changed it meanwhile",
    "poison": "Workers die of it",
    INTERNAL_CODE: "A fault in Leadline {step}",
    "error": "It failed {step}",
    UNRECORDED.code: "No cause was recorded",
}
"""What failed, in plain words, by the code of the cause. No person and no value stands in them:
viewers read them.
"""


def title(cause: Cause) -> str:
    """One line for people: what failed, and at which field or step."""
    kind = next(
        (words for word, words in KINDS.items() if word in (cause.field or "").split()), "name"
    )
    thing = f"the field “{cause.field}”" if cause.field else "it"
    step = STEPS.get(cause.step, f"at {cause.step}")
    known = TITLES.get(cause.code)
    return (
        known.format(kind=kind, thing=thing, step=step)
        if known
        else f"It failed {step} ({cause.code})"
    )
