"""Which function does which operation."""

from __future__ import annotations

from collections.abc import Callable

from service.sandbox.account import custom_fields
from service.sandbox.account.company import Answer, Company
from service.sandbox.resources import deals, leads, notes, organizations, persons, users
from service.sandbox.validation import Call

Handler = Callable[[Call, Company], Answer]

HANDLERS: dict[str, Handler] = {
    "leads.list": leads.list_leads,
    "leads.archived": leads.list_archived,
    "leads.get": leads.get_lead,
    "leads.add": leads.add_lead,
    "leads.update": leads.update_lead,
    "leads.delete": leads.delete_lead,
    "leads.search": leads.search_leads,
    "leads.convert": deals.convert_lead,
    "leads.conversion": deals.get_conversion,
    "labels.list": leads.list_labels,
    "labels.add": leads.add_label,
    "labels.update": leads.update_label,
    "labels.delete": leads.delete_label,
    "sources.list": leads.list_sources,
    "lead_fields.list": custom_fields.list_lead_fields,
    "notes.list": notes.list_notes,
    "notes.get": notes.get_note,
    "notes.add": notes.add_note,
    "notes.update": notes.update_note,
    "notes.delete": notes.delete_note,
    "users.list": users.list_users,
    "users.me": users.get_me,
    "currencies.list": users.list_currencies,
    "persons.list": persons.list_persons,
    "persons.get": persons.get_person,
    "persons.add": persons.add_person,
    "persons.update": persons.update_person,
    "persons.delete": persons.delete_person,
    "persons.search": persons.search_persons,
    "organizations.list": organizations.list_organizations,
    "organizations.get": organizations.get_organization,
    "organizations.add": organizations.add_organization,
    "organizations.update": organizations.update_organization,
    "organizations.delete": organizations.delete_organization,
    "organizations.search": organizations.search_organizations,
    "deal_fields.list": custom_fields.list_deal_fields,
    "deal_fields.get": custom_fields.get_deal_field,
    "person_fields.list": custom_fields.list_person_fields,
    "person_fields.get": custom_fields.get_person_field,
    "deals.list": deals.list_deals,
}
