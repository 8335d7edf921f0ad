"""Which remembered ids a refused request may have been refused for.

We remember the ids of persons, organisations and leads, and of what the source file names. Each may
be deleted, merged or made again since, and Pipedrive does not document how it then answers. So
whatever the status, the id that it complains about is resolved afresh once before the lead is dead:

| Pipedrive names                        | may be stale                                          |
|----------------------------------------|-------------------------------------------------------|
| a field with an id                     | that id                                               |
| the currency                           | the list of the account's currencies                  |
| any other field (`title`)              | none                                                  |
| a limit or a permission                | none, unless it names a person, organisation or lead  |
| no field, but a thing ("the label …")  | what was sent of it                                   |
| nothing                                | every id that was sent, save what we have just made   |
"""

from __future__ import annotations

import re
from collections.abc import Container

from worker.errors import Forbidden, Refused
from worker.pipedrive.metadata import MetadataKind
from worker.pipedrive.models import CUSTOM_KEY, SYNCED_FIELDS

PERSON, ORGANIZATION, LEAD = "person", "organization", "lead"
RECORDS = frozenset({PERSON, ORGANIZATION, LEAD})

# What an id of a request stands for, by its field.
BY_FIELD: dict[str, str] = {
    "person_id": PERSON,
    "organization_id": ORGANIZATION,
    "org_id": ORGANIZATION,
    "lead_id": LEAD,
    "channel": MetadataKind.CHANNELS,
    "owner_id": MetadataKind.OWNERS,
}

# What the labels of a request are, by what is written.
LABELS_OF: dict[str, str] = {
    "leads": MetadataKind.LABELS,
    "persons": MetadataKind.PERSON_LABELS,
    "deals": MetadataKind.DEAL_LABELS,
}

# The field that a word of a message means. In the plural most stand for a right ("no leads").
FIELD_BY_WORD = {
    r"person|contact": "person_id",
    r"organi[sz]ation|org": "organization_id",
    r"lead": "lead_id",
    r"labels?": "label_ids",
    r"channels?": "channel",
    r"owner|user": "owner_id",
}
WORDS = {
    re.compile(rf"\b(?:{word})\b", re.IGNORECASE): name for word, name in FIELD_BY_WORD.items()
}

# A plan's limit or a missing right: no other id would help.
LIMIT = re.compile(
    r"\b(limit\w*|capping|plan|upgrade|scope|permissions?|privileges?|not permitted)\b"
    r"|feature_capping",
    re.IGNORECASE,
)

StaleIds = dict[str, int | str | None]


def find_stale_ids(error: Exception, created: Container[str]) -> StaleIds:
    """Return what may have to be resolved afresh, each with its id where it is a record's.

    `created` are the steps in which this submission created something; that is stale only if
    Pipedrive names it.
    """
    if not isinstance(error, Refused):
        return {}
    sent: StaleIds = {}
    for field, value in error.sent_ids.items():
        what = _meaning(error.call, field)
        if what is not None:
            sent[what] = value
    if error.field == "value.currency" and "value" in error.sent_ids:
        return {MetadataKind.CURRENCIES: None}
    if error.field is not None:
        named = {_meaning(error.call, error.field)}
        return {what: value for what, value in sent.items() if what in named}
    fields = (name for word, name in WORDS.items() if word.search(error.detail))
    worded = {what for name in fields if (what := _meaning(error.call, name)) in sent}
    if isinstance(error, Forbidden) and LIMIT.search(f"{error.detail} {error.vendor_code}"):
        worded &= RECORDS
    elif not worded:
        worded = {what for what in sent if what not in created}
    return {what: value for what, value in sent.items() if what in worded}


def _meaning(call: str, field: str) -> str | None:
    if CUSTOM_KEY.fullmatch(field) or field in SYNCED_FIELDS:
        of_person = call.startswith("persons.")
        return MetadataKind.PERSON_FIELDS if of_person else MetadataKind.DEAL_FIELDS
    if field == "label_ids":
        return LABELS_OF.get(call.partition(".")[0])
    return BY_FIELD.get(field)
