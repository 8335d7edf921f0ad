"""Which function does which operation."""

from __future__ import annotations

from collections.abc import Callable

from service.sandbox import deals, directory, fields, labels, leads, notes, organizations, persons
from service.sandbox.checks import Call
from service.sandbox.company import Answer, Company

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
    "labels.list": labels.list_labels,
    "labels.add": labels.add_label,
    "labels.update": labels.update_label,
    "labels.delete": labels.delete_label,
    "sources.list": labels.list_sources,
    "lead_fields.list": fields.list_lead_fields,
    "notes.list": notes.list_notes,
    "notes.get": notes.get_note,
    "notes.add": notes.add_note,
    "notes.update": notes.update_note,
    "notes.delete": notes.delete_note,
    "users.list": directory.list_users,
    "users.me": directory.get_me,
    "currencies.list": directory.list_currencies,
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
    "deal_fields.list": fields.list_deal_fields,
    "deal_fields.get": fields.get_deal_field,
    "person_fields.list": fields.list_person_fields,
    "person_fields.get": fields.get_person_field,
    "deals.list": deals.list_deals,
}
