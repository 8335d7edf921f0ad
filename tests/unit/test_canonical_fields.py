from __future__ import annotations

from service.ops.console.lead_form import INPUT_KINDS, PLAIN_INPUTS
from service.sources.fields.values import KIND_PARSERS, VALUE_PARSERS
from worker.contract import Lead, Money, Utm
from worker.lead.canonical import CANONICAL_FIELDS, PLAIN_FIELDS, FieldKind
from worker.lead.edit import PLAIN_NAMES
from worker.lead.fields import LEAD_FIELDS
from worker.lead.plan import LeadPlan
from worker.lead.settings import LeadSettings
from worker.lead.templates import TEMPLATE_NAMES
from worker.pipedrive.redaction import FIELD_NAMES

NESTED = {"utm", "value", "click_ids", "answers"}


def test_each_field_of_a_lead_has_a_row() -> None:
    """The table names every field of the canonical lead, and nothing else."""
    assert {field.name for field in PLAIN_FIELDS} == set(Lead.__struct_fields__) - NESTED
    nested = {field.name for field in CANONICAL_FIELDS} - {field.name for field in PLAIN_FIELDS}
    assert nested == {
        *(f"utm_{part}" for part in Utm.__struct_fields__),
        *(f"value.{part}" for part in Money.__struct_fields__),
    }


def test_a_row_reaches_everybody() -> None:
    """A row gives a field its parser, its input, its name in templates and its place in an edit."""
    assert set(KIND_PARSERS) == set(FieldKind)
    assert set(INPUT_KINDS) <= set(FieldKind)
    names = [field.name for field in CANONICAL_FIELDS]
    assert [each.name for each in PLAIN_INPUTS] == names
    assert set(names) <= TEMPLATE_NAMES
    assert {name for name in names if not name.startswith("utm_")} == set(VALUE_PARSERS) - {"value"}
    assert {field.name for field in PLAIN_FIELDS} == PLAIN_NAMES


def test_each_field_of_pipedrives_lead_has_its_setting() -> None:
    """A row of what is written names a setting, an attribute of the plan and a field we know."""
    assert {field.setting for field in LEAD_FIELDS} <= set(LeadSettings.__struct_fields__)
    assert {field.plan_name for field in LEAD_FIELDS} <= set(LeadPlan.__struct_fields__)
    assert {field.api_name for field in LEAD_FIELDS} <= FIELD_NAMES


def test_no_field_gets_lost_on_the_way_to_pipedrive() -> None:
    """A field is in the note unless it has a place of its own, in Pipedrive or in the note."""
    placed = {
        "name", "first_name", "last_name", "email", "phone", "company",  # person and organisation
        "message", "consent", "page_url", "referrer", "form_name",  # lines of their own in the note
        "form_id", "event_id", "occurred_at", "is_test",  # about the event, not about the person
    }  # fmt: skip
    assert {field.name for field in PLAIN_FIELDS if not field.in_note} == placed
