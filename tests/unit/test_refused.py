"""Which remembered ids a refused request may have been refused for."""

from __future__ import annotations

from typing import Any

import pytest

from worker.delivery.refused import find_stale_ids
from worker.errors import Forbidden, Gone, Invalid, Refused, Unavailable

KEY = "a" * 40
LEAD_IDS = {
    "title": None, "person_id": 5, "organization_id": 6, "label_ids": None, "channel": None,
    "owner_id": None, "origin_id": None, KEY: None,
}  # fmt: skip
EVERY = {"person", "organization", "labels", "channels", "owners", "deal_fields"}


def refused(kind: type[Refused], detail: str, call: str = "leads.add", **options: Any) -> Refused:
    error = kind(call, detail, **options)
    error.sent_ids = LEAD_IDS
    return error


@pytest.mark.parametrize(
    ("kind", "detail", "options", "stale"),
    [
        (Invalid, "no", {"field": "person_id"}, {"person"}),
        (Invalid, "no", {"field": "organization_id"}, {"organization"}),
        (Forbidden, "no", {"field": "owner_id"}, {"owners"}),
        (Gone, "no", {"field": "label_ids"}, {"labels"}),
        (Invalid, "no", {"field": "channel"}, {"channels"}),
        (Invalid, "no", {"field": KEY}, {"deal_fields"}),
        (Invalid, "no", {"field": "title"}, set()),
        (Invalid, "no", {"field": "value.currency"}, set()),
        (Forbidden, "no", {"field": "visible_to"}, set()),
        (Invalid, "no", {"field": "lead_id"}, set()),
        (Invalid, "Couldn't create lead, body is invalid.", {}, EVERY),
        (Gone, "Object was not found.", {}, EVERY),
        (Refused, "no reason given", {}, EVERY),
        (Gone, "Person not found", {}, {"person"}),
        (Invalid, "Contact is merged", {}, {"person"}),
        (Invalid, "Organisation does not exist", {}, {"organization"}),
        (Invalid, "Label does not exist", {}, {"labels"}),
        (Invalid, "The user is not active", {}, {"owners"}),
        (Forbidden, "You cannot see this person", {}, {"person"}),
        (Forbidden, "No permission to use this organization", {}, {"organization"}),
        (Forbidden, "No permission to add leads", {}, set()),
        (Forbidden, "You've reached the leads per company limit.", {}, set()),
        (Forbidden, "no", {"vendor_code": "feature_capping_deals_limit"}, set()),
        (Forbidden, "Scope and URL mismatch", {}, set()),
        (Forbidden, "forbidden", {}, EVERY),
    ],
)
def test_the_table(
    kind: type[Refused], detail: str, options: dict[str, Any], stale: set[str]
) -> None:
    """The field or the thing that Pipedrive names is stale; without a name, whatever was sent."""
    assert find_stale_ids(refused(kind, detail, **options), ()).keys() == stale


def test_ids_come_with_what_they_stand_for() -> None:
    """Records have an id, names none."""
    stale = find_stale_ids(refused(Invalid, "no"), ())
    assert (stale["person"], stale["organization"], stale["labels"]) == (5, 6, None)


def test_what_was_just_created_is_stale_only_if_it_is_named() -> None:
    """A person whom we have just created is above suspicion, unless Pipedrive says otherwise."""
    assert "person" not in find_stale_ids(refused(Invalid, "no"), {"person"})
    assert find_stale_ids(refused(Gone, "Person not found"), {"person"}) == {"person": 5}


def test_fields_belong_to_what_is_written() -> None:
    """The same key is a field of persons where a person is written, synced fields included."""
    error = refused(Invalid, "no", call="persons.add", field=KEY)
    assert find_stale_ids(error, ()).keys() == {"person_fields"}
    error.field, error.sent_ids = "job_title", {"name": None, "job_title": None}
    assert find_stale_ids(error, ()).keys() == {"person_fields"}


def test_no_answer_is_no_refusal() -> None:
    """Only a refusal says something about ids."""
    error = Unavailable("leads.get", "Service Unavailable", status=503)
    error.sent_ids = {"lead_id": "x"}
    assert find_stale_ids(error, ()) == {}
