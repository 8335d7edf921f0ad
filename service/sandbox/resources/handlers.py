"""Which function performs which operation."""

from __future__ import annotations

from collections.abc import Callable

from service.sandbox.account.company import Company, OperationResult
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources import (
    deal_handlers,
    field_handlers,
    file_handlers,
    lead_handlers,
    note_handlers,
    organization_handlers,
    person_handlers,
    user_handlers,
)
from service.sandbox.resources.organization_handlers import ORGANIZATIONS
from service.sandbox.resources.person_handlers import PERSONS

Handler = Callable[[ValidCall, Company], OperationResult]

HANDLERS: dict[str, Handler] = {
    "leads.list": lead_handlers.list_leads,
    "leads.archived": lead_handlers.list_archived,
    "leads.get": lead_handlers.get_lead,
    "leads.add": lead_handlers.add_lead,
    "leads.update": lead_handlers.update_lead,
    "leads.delete": lead_handlers.delete_lead,
    "leads.search": lead_handlers.search_leads,
    "leads.convert": deal_handlers.convert_lead,
    "leads.conversion": deal_handlers.get_conversion,
    "labels.list": lead_handlers.list_labels,
    "labels.add": lead_handlers.add_label,
    "labels.update": lead_handlers.update_label,
    "labels.delete": lead_handlers.delete_label,
    "sources.list": lead_handlers.list_sources,
    "lead_fields.list": field_handlers.list_lead_fields,
    "notes.list": note_handlers.list_notes,
    "notes.get": note_handlers.get_note,
    "notes.add": note_handlers.add_note,
    "notes.update": note_handlers.update_note,
    "notes.delete": note_handlers.delete_note,
    "files.list": file_handlers.list_files,
    "files.add": file_handlers.add_file,
    "users.list": user_handlers.list_users,
    "users.me": user_handlers.get_me,
    "currencies.list": user_handlers.list_currencies,
    "persons.list": person_handlers.list_persons,
    "persons.get": PERSONS.get,
    "persons.add": person_handlers.add_person,
    "persons.update": PERSONS.update,
    "persons.delete": PERSONS.delete,
    "persons.search": person_handlers.search_persons,
    "organizations.list": ORGANIZATIONS.list_all,
    "organizations.get": ORGANIZATIONS.get,
    "organizations.add": ORGANIZATIONS.add,
    "organizations.update": ORGANIZATIONS.update,
    "organizations.delete": ORGANIZATIONS.delete,
    "organizations.search": organization_handlers.search_organizations,
    "deal_fields.list": field_handlers.list_deal_fields,
    "deal_fields.get": field_handlers.get_deal_field,
    "person_fields.list": field_handlers.list_person_fields,
    "person_fields.get": field_handlers.get_person_field,
    "deals.list": deal_handlers.list_deals,
    "deals.archived": deal_handlers.list_archived,
    "deals.update": deal_handlers.update_deal,
}
