"""The stock account: users, labels, lead sources, currencies, channels and fields.

It is the same on every machine.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, NamedTuple

from msgspec import Struct

COMPANY_ID = 7_300_001
COMPANY_NAME = "Sandbox Ltd"
COMPANY_DOMAIN = "sandbox"
CREATED_AT = "2024-01-15T09:00:00.000Z"
DEFAULT_CURRENCY = "EUR"

LABELS = (
    ("Hot", "red"),
    ("Warm", "yellow"),
    ("Cold", "blue"),
    ("Website", "green"),
    ("PPC", "purple"),
    ("Partner", "orange"),
)
SOURCES = (
    "Manually created",
    "Deal",
    "Web forms",
    "Prospector",
    "Leadbooster",
    "Live chat",
    "Import",
    "Website visitors",
    "Workflow automation",
    "API",
)
CHANNELS = {
    64: "Prospector",
    65: "Lead Suggestions",
    66: "Web forms",
    67: "Chatbot",
    68: "Live chat",
    69: "Web visitors",
    70: "Campaigns",
    71: "Marketplace",
    72: "Messaging Inbox",
    73: "Paid search",
    74: "Partner",
}
CURRENCIES = (
    ("EUR", "Euro", 2, "€"),
    ("USD", "US Dollar", 2, "$"),
    ("GBP", "Pound Sterling", 2, "£"),
    ("CHF", "Swiss Franc", 2, "CHF"),
    ("SEK", "Swedish Krona", 2, "kr"),
    ("NOK", "Norwegian Krone", 2, "kr"),
    ("DKK", "Danish Krone", 2, "kr"),
    ("PLN", "Polish Zloty", 2, "zł"),
    ("CZK", "Czech Koruna", 2, "Kč"),
    ("CAD", "Canadian Dollar", 2, "$"),
    ("AUD", "Australian Dollar", 2, "$"),
    ("NZD", "New Zealand Dollar", 2, "$"),
    ("JPY", "Japanese Yen", 0, "¥"),
    ("INR", "Indian Rupee", 2, "₹"),
    ("BRL", "Brazilian Real", 2, "R$"),
)


class StockUser(NamedTuple):
    """A person who works in the account."""

    id: int
    name: str
    email: str
    admin: bool


USERS = (
    StockUser(1, "Sandbox Admin", "admin@sandbox.example", True),
    StockUser(12, "Robin Sales", "robin@sandbox.example", False),
)


class StockField(Struct, frozen=True, kw_only=True):
    """A field of leads and deals, or of persons. `options` (enum and set fields): id -> label."""

    code: str
    name: str
    kind: str
    options: dict[int, str] | None = None
    custom: bool = False


def custom_key(owner: str, name: str) -> str:
    """The 40-hex key of a custom field; `owner` is `deal` or `person`."""
    return hashlib.sha1(f"{owner}:{name}".encode(), usedforsecurity=False).hexdigest()


def label_id(name: str) -> str:
    """The UUID of a stock label."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"leadline-sandbox-label:{name}"))


def _custom(owner: str, name: str, kind: str, options: dict[int, str] | None = None) -> StockField:
    return StockField(
        code=custom_key(owner, name), name=name, kind=kind, options=options, custom=True
    )


def _by_code(*fields: StockField) -> dict[str, StockField]:
    return {field.code: field for field in fields}


DEAL_FIELDS = _by_code(
    StockField(code="title", name="Title", kind="varchar"),
    StockField(code="value", name="Value", kind="monetary"),
    StockField(code="owner_id", name="Owner", kind="user"),
    StockField(code="person_id", name="Contact person", kind="people"),
    StockField(code="org_id", name="Organization", kind="org"),
    StockField(code="expected_close_date", name="Expected close date", kind="date"),
    StockField(code="visible_to", name="Visible to", kind="visible_to"),
    StockField(code="origin", name="Source origin", kind="varchar"),
    StockField(code="origin_id", name="Source origin ID", kind="varchar"),
    StockField(code="channel", name="Source channel", kind="enum", options=CHANNELS),
    StockField(code="channel_id", name="Source channel ID", kind="varchar"),
    StockField(
        code="label_ids",
        name="Labels",
        kind="set",
        options={201: "Hot", 202: "Website", 203: "Renewal"},
    ),
    _custom("deal", "Budget", "varchar"),
    _custom(
        "deal", "Company size", "enum", {101: "1-10", 102: "11-50", 103: "51-200", 104: "201+"}
    ),
    _custom("deal", "Interests", "set", {111: "Product", 112: "Service", 113: "Partnership"}),
    _custom("deal", "Message", "text"),
    _custom("deal", "Lead score", "double"),
    _custom("deal", "Start date", "date"),
)
PERSON_FIELDS = _by_code(
    StockField(code="name", name="Name", kind="varchar"),
    StockField(code="owner_id", name="Owner", kind="user"),
    StockField(code="org_id", name="Organization", kind="org"),
    StockField(code="emails", name="Email", kind="varchar"),
    StockField(code="phones", name="Phone", kind="phone"),
    StockField(
        code="label_ids",
        name="Labels",
        kind="set",
        options={5: "Customer", 6: "Hot lead", 7: "Warm lead", 8: "Cold lead"},
    ),
    StockField(code="visible_to", name="Visible to", kind="visible_to"),
    _custom("person", "Newsletter", "varchar"),
    _custom("person", "Preferred contact", "enum", {121: "E-mail", 122: "Phone"}),
)
# What contact sync adds to the fields of persons.
SYNCED_FIELDS = _by_code(
    StockField(code="postal_address", name="Postal address", kind="address"),
    StockField(code="notes", name="Notes", kind="text"),
    StockField(code="im", name="Instant messenger", kind="varchar"),
    StockField(code="birthday", name="Birthday", kind="date"),
    StockField(code="job_title", name="Job title", kind="varchar"),
)
ORGANIZATION_LABELS = {1: "Customer", 2: "Prospect"}


def stock_labels() -> list[dict[str, Any]]:
    """The lead labels of a fresh account."""
    return [
        {
            "id": label_id(name),
            "name": name,
            "color": color,
            "add_time": CREATED_AT,
            "update_time": CREATED_AT,
        }
        for name, color in LABELS
    ]
