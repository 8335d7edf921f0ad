"""Lead labels and lead sources."""

from __future__ import annotations

from typing import Any

from service.sandbox.account import SOURCES
from service.sandbox.checks import Call
from service.sandbox.company import Answer, Company, milliseconds
from service.sandbox.refusals import missing


def list_labels(call: Call, company: Company) -> Answer:  # noqa: ARG001 - every operation has this signature
    """All labels; there are no pages."""
    return Answer(list(company.store.labels))


def add_label(call: Call, company: Company) -> Answer:
    """Adds a label; the same name twice makes two labels."""
    company.require_room(company.store.labels)
    now = milliseconds(company.now())
    label = {"id": company.new_uuid("label"), **call.body, "add_time": now, "update_time": now}
    return Answer(company.store.labels.put(label))


def update_label(call: Call, company: Company) -> Answer:
    """Renames or recolours a label."""
    label = _found(call, company)
    return Answer(company.store.labels.put(label | call.body | {"update_time": milliseconds(company.now())}))


def delete_label(call: Call, company: Company) -> Answer:
    """Deletes a label and takes it off every lead."""
    label = _found(call, company)
    company.store.labels.remove(label["id"])
    for lead in [lead for lead in company.store.leads if label["id"] in lead["label_ids"]]:
        company.store.leads.put(lead | {"label_ids": [key for key in lead["label_ids"] if key != label["id"]]})
    return Answer({"id": label["id"]})


def list_sources(call: Call, company: Company) -> Answer:  # noqa: ARG001
    """The fixed list of lead sources."""
    return Answer([{"name": name} for name in SOURCES])


def _found(call: Call, company: Company) -> dict[str, Any]:
    label = company.store.labels.get(call.path["id"].lower())
    if label is None:
        raise missing("requested lead label")
    return label
