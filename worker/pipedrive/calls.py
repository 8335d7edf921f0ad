"""Every API operation we use: name, method, path and cost (`x-token-cost` in Pipedrive's OpenAPI).

Leads, labels, sources, notes and users exist in v1 only. For persons, organisations, deals and
fields v1 has been unsupported since 2026, so they are called in v2:
https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide
"""

from __future__ import annotations

from msgspec import Struct

# One field may have 10,000 options, of up to 255 characters each and about 200 bytes beside that:
# https://pipedrive.readme.io/docs/core-api-concepts-custom-fields
MAX_FIELD_BYTES = 12_000_000


class Call(Struct, frozen=True):
    """One operation. `cost` is in API tokens; `max_bytes` is read of a response, None: as usual.

    `search` calls have a rate-limit window of their own. `create` calls make something new, so
    repeating one blindly makes a duplicate.
    """

    name: str
    method: str
    path: str
    cost: int
    search: bool = False
    create: bool = False
    max_bytes: int | None = None


LEADS_ADD = Call("leads.add", "POST", "/v1/leads", 10, create=True)
LEADS_GET = Call("leads.get", "GET", "/v1/leads/{id}", 2)
LEADS_LIST = Call("leads.list", "GET", "/v1/leads", 20)
LEADS_ARCHIVED = Call("leads.archived", "GET", "/v1/leads/archived", 40)
LEADS_UPDATE = Call("leads.update", "PATCH", "/v1/leads/{id}", 10)
LEADS_DELETE = Call("leads.delete", "DELETE", "/v1/leads/{id}", 6)

LABELS_LIST = Call("labels.list", "GET", "/v1/leadLabels", 10)
LABELS_ADD = Call("labels.add", "POST", "/v1/leadLabels", 10, create=True)
LABELS_UPDATE = Call("labels.update", "PATCH", "/v1/leadLabels/{id}", 10)
LABELS_DELETE = Call("labels.delete", "DELETE", "/v1/leadLabels/{id}", 6)
SOURCES_LIST = Call("sources.list", "GET", "/v1/leadSources", 2)

NOTES_ADD = Call("notes.add", "POST", "/v1/notes", 10, create=True)
NOTES_LIST = Call("notes.list", "GET", "/v1/notes", 20)

FILES_ADD = Call("files.add", "POST", "/v1/files", 10, create=True)
FILES_LIST = Call("files.list", "GET", "/v1/files", 20)

USERS_ME = Call("users.me", "GET", "/v1/users/me", 2)
USERS_LIST = Call("users.list", "GET", "/v1/users", 20)
CURRENCIES_LIST = Call("currencies.list", "GET", "/v1/currencies", 20)

PERSONS_ADD = Call("persons.add", "POST", "/api/v2/persons", 5, create=True)
PERSONS_GET = Call("persons.get", "GET", "/api/v2/persons/{id}", 1)
PERSONS_UPDATE = Call("persons.update", "PATCH", "/api/v2/persons/{id}", 5)
PERSONS_LIST = Call("persons.list", "GET", "/api/v2/persons", 10)
PERSONS_DELETE = Call("persons.delete", "DELETE", "/api/v2/persons/{id}", 3)
PERSONS_SEARCH = Call("persons.search", "GET", "/api/v2/persons/search", 20, search=True)

ORGANIZATIONS_ADD = Call("organizations.add", "POST", "/api/v2/organizations", 5, create=True)
ORGANIZATIONS_GET = Call("organizations.get", "GET", "/api/v2/organizations/{id}", 1)
ORGANIZATIONS_UPDATE = Call("organizations.update", "PATCH", "/api/v2/organizations/{id}", 5)
ORGANIZATIONS_LIST = Call("organizations.list", "GET", "/api/v2/organizations", 10)
ORGANIZATIONS_SEARCH = Call(
    "organizations.search", "GET", "/api/v2/organizations/search", 20, search=True
)

DEALS_LIST = Call("deals.list", "GET", "/api/v2/deals", 10)
DEALS_ARCHIVED = Call("deals.archived", "GET", "/api/v2/deals/archived", 20)
DEALS_UPDATE = Call("deals.update", "PATCH", "/api/v2/deals/{id}", 5)

DEAL_FIELDS_LIST = Call(
    "deal_fields.list", "GET", "/api/v2/dealFields", 10, max_bytes=MAX_FIELD_BYTES
)
DEAL_FIELDS_GET = Call(
    "deal_fields.get", "GET", "/api/v2/dealFields/{field_code}", 1, max_bytes=MAX_FIELD_BYTES
)
PERSON_FIELDS_LIST = Call(
    "person_fields.list", "GET", "/api/v2/personFields", 10, max_bytes=MAX_FIELD_BYTES
)
PERSON_FIELDS_GET = Call("person_fields.get", "GET", "/api/v2/personFields/{field_code}", 1)

# The OAuth scope that each group of operations needs, by the first part of their names, save those
# named in full: `security` of each operation in Pipedrive's OpenAPI.
SCOPES = {
    "leads": "leads:full",
    "labels": "leads:full",
    "sources": "leads:full",
    "notes": "contacts:full",
    "files": "contacts:full",
    "persons": "contacts:full",
    "organizations": "contacts:full",
    "deals": "deals:read",
    "deals.update": "deals:full",
    "deal_fields": "deals:read",
    "person_fields": "contacts:full",
    "users": "users:read",
    "users.me": "base",
    "currencies": "base",
}


def scope_of(call: Call) -> str | None:
    """Return the OAuth scope that the call needs; None for a call that is none of the API's."""
    return SCOPES.get(call.name) or SCOPES.get(call.name.partition(".")[0])


# The operations by name, in the order above.
CALLS: dict[str, Call] = {
    call.name: call for call in list(globals().values()) if isinstance(call, Call)
}
