"""How a source's leads are written to Pipedrive: the tables `lead` and `rules` of the source file.

`service.sources` loads and checks them; `leadline work` hands them to the worker.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

LABEL_COLORS = Literal[
    "blue", "brown", "dark-gray", "gray", "green", "orange", "pink", "purple", "red", "yellow"
]


# One owner; several who take turns; or several by weight.
OwnerSetting = int | str | list[int | str] | dict[str, int]
Visibility = Literal["1", "3", "5", "7"]
MatchKind = Literal["email", "phone"]
MATCH_KINDS: tuple[MatchKind, ...] = ("email", "phone")

# Before a name in `custom`: the field is the person's, or the organisation's.
PERSON_PREFIX = "person."
ORGANIZATION_PREFIX = "organization."
# The organisation's fields that may be written, in lower case.
ORGANIZATION_FIELDS = ("address", "website")


class ValueTemplates(Struct, frozen=True, forbid_unknown_fields=True):
    """Two templates, such as `{ amount = "{answers.budget}", currency = "EUR" }`."""

    amount: str
    currency: str


class LeadSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.lead]`. Texts marked (t) are templates over the canonical lead.

    None leaves a field out of the request.
    """

    title: str = "{company|name|email|phone} via {form_name|source}"  # (t)
    labels: list[str] = field(default_factory=list)
    create_labels: bool = False
    label_color: LABEL_COLORS = "gray"
    channel: str | None = None
    channel_id: str = "{utm_campaign|gclid|fbclid|msclkid}"  # (t)
    origin_id: str = "{source}:{submission_id}"  # (t)
    owner_id: OwnerSetting | None = None
    value: ValueTemplates | None = None
    expected_close: str | None = None  # duration from the submission ("30d"), date, or (t)
    visible_to: Visibility | None = None
    was_seen: bool = False
    organization: bool = True
    organization_visible_to: Visibility | None = None
    existing: Literal["label", "new"] = "label"
    existing_window: str = "30d"
    existing_deals: bool = False
    files: bool = False
    note: bool = True
    match: list[MatchKind] | None = None  # None: by e-mail, else by phone
    enrich: Literal["never", "empty"] = "never"
    person_labels: list[str] = field(default_factory=list)
    person_visible_to: Visibility | None = None
    marketing: bool = False
    # Field name or key -> (t); `person.` for the person's, `organization.` for the organisation's.
    custom: dict[str, str] = field(default_factory=dict)


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[sources.X.rules]]`: the first match wins.

    `when` maps a template name to one or several accepted values. The rule's labels are added to
    the source's; every other key it sets replaces the source's.
    """

    when: dict[str, str | list[str]]
    title: str | None = None
    labels: list[str] = field(default_factory=list)
    create_labels: bool | None = None
    label_color: LABEL_COLORS | None = None
    channel: str | None = None
    channel_id: str | None = None
    origin_id: str | None = None
    owner_id: OwnerSetting | None = None
    value: ValueTemplates | None = None
    expected_close: str | None = None
    visible_to: Visibility | None = None
    was_seen: bool | None = None
    organization: bool | None = None
    organization_visible_to: Visibility | None = None
    existing: Literal["label", "new"] | None = None
    existing_window: str | None = None
    existing_deals: bool | None = None
    files: bool | None = None
    note: bool | None = None
    match: list[MatchKind] | None = None
    enrich: Literal["never", "empty"] | None = None
    person_labels: list[str] | None = None
    person_visible_to: Visibility | None = None
    marketing: bool | None = None
    custom: dict[str, str] | None = None


class LeadMapping(Struct, frozen=True):
    """How one source's leads are written; the worker knows nothing else about a source.

    `default_country` is the country code of leads that name no country. `verified`: the source
    demands a proof of origin.
    """

    source: str
    lead: LeadSettings
    rules: list[Rule] = field(default_factory=list)
    # The line of the source in the source file, for messages.
    line: int | None = None
    default_country: str | None = None
    verified: bool = False
