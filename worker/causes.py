"""Errors in plain words: what happened, what to do about it, and where.

The texts for each kind of error are on its class (`worker.errors`) and are filled in here. They
name no person, because causes are counted and shown to viewers. Every dead letter says what to do
and is safe to retry, because the ledger knows what has already been done.
"""

from __future__ import annotations

import re

from worker import errors
from worker.contract import NO_CONTACT_WHY, Cause
from worker.errors import (
    AccountFault,
    FetchError,
    Forbidden,
    Invalid,
    LeadlineError,
    PipedriveError,
    Unauthorized,
    UnknownName,
    Unmappable,
)
from worker.lead.fields import LEAD_FIELDS, LeadFieldKind
from worker.store import keys

MAX_DETAIL_CHARS = 500
CAUSE_ID_CHARS = 16

# The code of an error that nobody raised on purpose: a bug.
INTERNAL_CODE = "internal"
INTERNAL_HINT = (
    "a fault in Leadline: the worker's log has the details under this submission's id; retry after"
    " an update"
)

# The cause of a dead letter that has none; one from an older version may lack it.
UNRECORDED = Cause(step="unknown", code="unknown", detail="no cause was recorded")

# Pipedrive's fields by the key of `[sources.X.lead]` that they are written from.
SETTING_BY_API_FIELD = {
    name: field.setting
    for field in LEAD_FIELDS
    if field.kind is not LeadFieldKind.ORGANIZATION
    for name in (field.api_name, *field.other_names)
} | {"content": "note"}

# The visibility of what else is created, by the first part of the call's name.
VISIBILITY_SETTINGS = {"persons": "person_visible_to", "organizations": "organization_visible_to"}

# Pipedrive's fields by the canonical field of the lead that they are written from.
CANONICAL_BY_API_FIELD = {
    "email": "email",
    "emails": "email",
    "phone": "phone",
    "phones": "phone",
    "name": "name",
    "org_id": "company",
    "organization_id": "company",
    "person_id": "email",
}

# What to do about a name that the account lacks, by a word in its kind.
UNKNOWN_NAME_HINTS = {
    "label": (
        "add the label {name!r} in Pipedrive or correct {place}, then retry; `create_labels = true`"
        " adds missing labels"
    ),
    "channel": "add {name!r} to the source channels in Pipedrive or correct {place}, then retry",
    "owner": "invite or activate the user {name!r} in Pipedrive or correct {place}, then retry",
    "field": "add the custom field {name!r} in Pipedrive or correct {place}, then retry",
}

# What to do about a name that these credentials may not list; it may well exist.
UNLISTED_HINT = (
    "give the credentials permission to list the account's users (an app: add the scope users:read"
    " and connect it again), or give the user's id in {place}, then retry"
)

# What to do about a 403, by what it is about.
MISSING_SCOPE_HINT = (
    "the app lacks the scope {scope}: add it to the app and connect it again, then retry"
)
VISIBILITY_HINT = (
    "the account's plan, or the API user, does not have this visibility: correct or remove {place},"
    " then retry"
)
PERMISSION_HINT = (
    "give the API user the permission in Pipedrive, use the credentials of a user who has it, or"
    " remove {place}, then retry"
)
OPEN_LIMIT_HINT = (
    "the plan's limit is reached: archive or delete open leads and deals, or upgrade the plan, then"
    " retry"
)
ENTITY_LIMIT_HINT = (
    "the plan's limit is reached ({entity}): delete what nobody needs in Pipedrive, or upgrade the"
    " plan, then retry"
)

# A limit of the plan, by code (`feature_capping_deals_limit`) or only by words ("You've reached the
# activity type per company limit."): https://developers.pipedrive.com/changelog
_LIMIT_CODE = re.compile(r"capping_([a-z_]{1,40}?)_limit|capping")
_LIMIT_WORDS = re.compile(
    r"\breached (?:the |your |its )?(?:maximum (?:number of )?)?([a-z ]{0,60}?)"
    r"(?: per (?:company|user|account))? ?\b(?:usage )?limit\b"
    r"|\blimit (?:of|for) ([a-z ]{1,60}?) (?:is|was|has been) (?:reached|exceeded)\b"
    r"|\b([a-z ]{1,40}?) limit (?:is |was |has been )?(?:reached|exceeded)\b",
    re.IGNORECASE,
)


# -- causes of errors


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
        hint=_hint(error, _place(setting)),
    )


def no_contact(source: str, step: str, why: str | None, field: str = "email") -> Cause:
    """The cause of death of a genuine event that names nobody to contact."""
    return Cause(
        step=step,
        code="no-contact",
        detail=why or NO_CONTACT_WHY,
        field=field,
        setting=f"sources.{source}.map",
        hint=(
            "map the field that holds the e-mail address or the phone number, then retry; or add it"
            " by hand"
        ),
    )


def truncate(text: str) -> str:
    """The text in at most `MAX_DETAIL_CHARS` characters."""
    return text if len(text) <= MAX_DETAIL_CHARS else text[: MAX_DETAIL_CHARS - 1] + "…"


_EMAIL = re.compile(r"[^\s@<>\"'(),;:]{1,64}@[^\s@<>\"'(),;:]{1,255}")
_PHONE = re.compile(r"\+\d[\d ()/.-]{4,20}\d", re.ASCII)


def _detail(error: BaseException) -> str:
    """The error's message without e-mail addresses and phone numbers.

    For a bug it is only the class, because the message may quote anything.
    """
    if not isinstance(error, LeadlineError):
        return type(error).__name__
    text = " ".join(str(error)[: 4 * MAX_DETAIL_CHARS].split()) or type(error).__name__
    return truncate(_PHONE.sub("[phone]", _EMAIL.sub("[e-mail]", text)))


def _setting(error: BaseException, source: str) -> str | None:
    """The environment variable, or the dotted key in the source file, to correct."""
    if isinstance(error, Unmappable | FetchError):
        return error.setting
    if isinstance(error, Unauthorized | AccountFault):
        return error.variable
    if isinstance(error, Invalid | Forbidden) and error.field:
        field = _first_part(error.field)
        if field in SETTING_BY_API_FIELD:
            key = SETTING_BY_API_FIELD[field]
            if field == "visible_to":
                key = VISIBILITY_SETTINGS.get(error.call.partition(".")[0], key)
            return f"sources.{source}.lead.{key}"
        if isinstance(error, Invalid):
            return f"sources.{source}.{'map' if field in CANONICAL_BY_API_FIELD else 'lead'}"
    return None


def _first_part(field: str) -> str:
    """`value` of `value.currency`, `emails` of `emails[0].value`."""
    return re.split(r"[.\[]", field)[0]


def _hint(error: BaseException, place: str) -> str:
    if not isinstance(error, LeadlineError):
        return INTERNAL_HINT
    if isinstance(error, UnknownName):
        words = error.kind.split()
        if error.partial:
            return UNLISTED_HINT.format(place=place)
        hints = (hint for word, hint in UNKNOWN_NAME_HINTS.items() if word in words)
        return next(hints, error.hint).format(name=error.name, place=place)
    if isinstance(error, Invalid) and (
        written_from := CANONICAL_BY_API_FIELD.get(_first_part(error.field or ""))
    ):
        return f"edit the lead's `{written_from}` or correct {place}, then retry"
    if isinstance(error, Forbidden):
        return _forbidden_hint(error, place)
    return error.hint.format(place=place)


def _forbidden_hint(error: Forbidden, place: str) -> str:
    if error.scope is not None:
        return MISSING_SCOPE_HINT.format(scope=error.scope)
    entity = _full_entity(error)
    if entity is not None:
        counted_together = not entity or re.search(r"\b(leads?|deals?)$", entity)
        return OPEN_LIMIT_HINT if counted_together else ENTITY_LIMIT_HINT.format(entity=entity)
    if error.field == "visible_to":
        return VISIBILITY_HINT.format(place=place)
    if error.field in SETTING_BY_API_FIELD:
        return PERMISSION_HINT.format(place=place)
    return error.hint


def _full_entity(error: Forbidden) -> str | None:
    """What the plan allows no more of, as Pipedrive calls it; empty if it does not say.

    None if the error is about no such limit.
    """
    match = _LIMIT_CODE.search(error.vendor_code or "") or _LIMIT_WORDS.search(error.detail)
    if match is None:
        return None
    return next((group for group in match.groups() if group), "").replace("_", " ").strip().lower()


def _place(setting: str | None) -> str:
    """Describes where a setting is in the source file.

    `sources.contact.lead.labels` becomes "`labels` of [sources.contact.lead]".
    """
    if not setting:
        return "the source file"
    source, custom, field = setting.partition(".lead.custom.")
    if custom:
        return f"`{field}` of [{source}.lead.custom]"
    table, _, key = setting.rpartition(".")
    if key in {"map", "lead"} or table.count(".") == 0:
        return f"[{setting}]"
    return f"`{key}` of [{table}]"


# -- titles and ids of causes


def cause_id(cause: Cause | None) -> str:
    """An id shared by all dead letters with the same cause; the same on every machine."""
    of = cause or UNRECORDED
    return keys.digest(of.step, of.code, of.field or "", of.setting or "")[:CAUSE_ID_CHARS]


def title(cause: Cause) -> str:
    """One line that says what failed, at which field or step. Viewers may read it."""
    act, doing = _activity(cause)
    template = TITLES.get(cause.code, f"It failed while {{doing}} ({cause.code})")
    words = (cause.field or "").split()
    return template.format(
        act=act,
        doing=doing,
        subject=_subject(cause),
        kind=next((label for word, label in KIND_LABELS.items() if word in words), "name"),
    )


# Titles by the code of a cause: our errors, and deaths without an error.
TITLES = {
    error.code: error.title
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, LeadlineError)
} | {
    "no-contact": f"No contact details: {NO_CONTACT_WHY}",
    "poison": "This lead crashes the worker",
    INTERNAL_CODE: "Leadline itself failed while {doing}",
    UNRECORDED.code: "No cause was recorded",
}

# What an unknown name refers to, by a word in its kind.
KIND_LABELS = {"label": "label", "channel": "channel", "owner": "user", "field": "custom field"}

# Steps that write one thing in Pipedrive; the failed call says what was being done with it.
STEP_THINGS = {
    "organization": "organisation",
    "person": "person",
    "lead": "lead",
    "note": "note",
    "file": "file",
}

# The other steps, as worded after "permission to" and after "while".
STEP_ACTIVITIES = {
    "intake": ("receive it", "receiving it"),
    "plan": ("prepare it", "preparing it"),
    "fetch": ("fetch the full lead", "fetching the full lead"),
    "names": ("look up labels, channels and fields", "looking up labels, channels and fields"),
    "settle": ("check whether it was created", "checking whether it was created"),
    "store": ("record the outcome", "recording the outcome"),
    "worker": ("deliver it", "delivering it"),
}

# What a call does, by the last part of its name (`persons.add`); all others only read.
CALL_VERBS = {"add": ("create", "creating"), "update": ("update", "updating")}
_CALL = re.compile(r"\b[a-z_]+\.([a-z_]+): ", re.ASCII)

# Labels for fields of Pipedrive whose API names mean little to people.
FIELD_LABELS = {
    field.api_name: field.label for field in LEAD_FIELDS if field.kind is not LeadFieldKind.MONEY
} | {
    "email": "e-mail address",
    "emails": "e-mail address",
    "phones": "phone number",
    "phone": "phone number",
    "org_id": "organisation",
    "person_id": "person",
}


def _activity(cause: Cause) -> tuple[str, str]:
    """What the step was doing, as ("create the person", "creating the person")."""
    if cause.step not in STEP_THINGS:
        unknown = (f"do the step “{cause.step}”", f"doing the step “{cause.step}”")
        return STEP_ACTIVITIES.get(cause.step, unknown)
    call = _CALL.search(cause.detail)
    if call is None:
        act, doing = "write", "writing"
    else:
        act, doing = CALL_VERBS.get(call[1], ("look up", "looking up"))
    return f"{act} the {STEP_THINGS[cause.step]}", f"{doing} the {STEP_THINGS[cause.step]}"


def _subject(cause: Cause) -> str:
    """What was being written: "the lead's currency", "the person"."""
    thing = f"the {STEP_THINGS.get(cause.step, 'lead')}"
    return f"{thing}'s {_field_label(cause.field)}" if cause.field else thing


def _field_label(field: str) -> str:
    """`currency` of `value.currency`, "e-mail address" of `emails[0].value`."""
    first = _first_part(field)
    if first in FIELD_LABELS:
        return FIELD_LABELS[first]
    if re.fullmatch(r"[0-9a-f]{40}", field):
        return "custom field"
    return field.rpartition(".")[2].replace("_", " ")
