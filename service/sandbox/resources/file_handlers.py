"""Files, which exist in v1 only. The sandbox remembers what they are, and not their content."""

from __future__ import annotations

import hashlib
from typing import Any

from service.sandbox.account.company import Company, OperationResult, format_note_time
from service.sandbox.api_errors import invalid_value
from service.sandbox.request_validation import FormFile, ValidCall
from service.sandbox.resources.paging import page_by_start, sort_records

Record = dict[str, Any]
TARGETS = ("lead_id", "deal_id", "person_id", "org_id")
NO_TARGET = "File must be associated with at least one lead, deal, person or organization."


def list_files(call: ValidCall, company: Company) -> OperationResult:
    """Files, oldest first unless `sort` says otherwise."""
    orders = [
        (part.split()[0], part.upper().endswith(" DESC"))
        for part in call.query.get("sort", "").split(",")
        if part.strip()
    ]
    page, about = page_by_start(sort_records(list(company.store.files), orders), call.query)
    return OperationResult(page, {"pagination": about})


def add_file(call: ValidCall, company: Company) -> OperationResult:
    """Add a file to a lead, a deal, a person or an organization; the status is 200, not 201."""
    body, store = call.body, company.store
    file = body["file"]
    if not isinstance(file, FormFile):
        raise invalid_value('"file" must be a file')
    references = (
        ("lead_id", "Lead", store.leads),
        ("deal_id", "Deal", store.deals),
        ("person_id", "Person", store.persons),
        ("org_id", "Organization", store.organizations),
    )
    if not any(body.get(target) is not None for target in TARGETS):
        raise invalid_value(NO_TARGET)
    for field, label, table in references:
        if (key := body.get(field)) is not None:
            table.require(key.lower() if field == "lead_id" else key, label)
    company.require_room(store.files)
    now = format_note_time(company.now())
    digest = hashlib.sha256(file.content).hexdigest()
    return OperationResult(
        store.files.put(
            {
                "id": store.next_number("file"),
                "user_id": call.user_id,
                **{target: body[target] for target in TARGETS if target in body},
                "add_time": now,
                "update_time": now,
                "file_name": f"{digest[:40]}_{file.name}",
                "file_type": file.name.rpartition(".")[2],
                "file_size": len(file.content),
                "active_flag": True,
                "inline_flag": False,
                "name": file.name,
                "description": file.media_type,
            }
        )
    )
