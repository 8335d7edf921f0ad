"""The fields that are written to a lead in Pipedrive: one row each, from setting to API name.

Hints of causes, the field named in a complaint, the backtest and `leadline pipedrive leads` derive
from this table. A new field needs a row here, a setting in `worker.lead.settings`, a field of
`worker.lead.plan.LeadPlan`, and an argument of the request body.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class LeadFieldKind(StrEnum):
    """How the text of a setting becomes the value in the request."""

    TEXT = "text"
    # Contains the submission's id, so it differs for every lead; it can never be changed.
    ORIGIN = "origin"
    LABELS = "labels"
    CHANNEL = "channel"
    OWNER = "owner"
    MONEY = "money"
    DATE = "date"
    VISIBILITY = "visibility"
    ORGANIZATION = "organization"
    CUSTOM = "custom"


class LeadField(NamedTuple):
    """One field. `setting` is the key of `[sources.X.lead]`, `plan_name` the `LeadPlan` attribute.

    `label` is for people. `other_names` are further names that Pipedrive's errors use for it.
    """

    setting: str
    api_name: str
    kind: LeadFieldKind
    plan_name: str
    label: str
    other_names: tuple[str, ...] = ()


LEAD_FIELDS = (
    LeadField("title", "title", LeadFieldKind.TEXT, "title", "title"),
    LeadField("labels", "label_ids", LeadFieldKind.LABELS, "labels", "labels", ("label",)),
    LeadField("channel", "channel", LeadFieldKind.CHANNEL, "channel", "channel"),
    LeadField("channel_id", "channel_id", LeadFieldKind.TEXT, "channel_id", "channel id"),
    LeadField("origin_id", "origin_id", LeadFieldKind.ORIGIN, "origin_id", "origin"),
    LeadField("owner_id", "owner_id", LeadFieldKind.OWNER, "owner", "owner", ("owner",)),
    LeadField("value", "value", LeadFieldKind.MONEY, "value", "value", ("amount", "currency")),
    LeadField(
        "expected_close",
        "expected_close_date",
        LeadFieldKind.DATE,
        "expected_close",
        "expected close date",
    ),
    LeadField("visible_to", "visible_to", LeadFieldKind.VISIBILITY, "visible_to", "visibility"),
    LeadField(
        "organization",
        "organization_id",
        LeadFieldKind.ORGANIZATION,
        "organization",
        "organisation",
        ("org_id",),
    ),
    LeadField("custom", "custom_fields", LeadFieldKind.CUSTOM, "custom", "custom fields"),
)

# Every name that Pipedrive's errors may use for one of these fields.
API_NAMES = frozenset(
    name for field in LEAD_FIELDS for name in (field.api_name, *field.other_names)
)
