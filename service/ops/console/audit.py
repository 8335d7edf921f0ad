"""`GET /ops/audit`: who did what, newest first."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from service.ops.console.console_request import ConsoleRequest, View
from service.ops.console.page import Console
from service.ops.console.urls import AUDIT_URL, BULK_URL, LEADS_URL
from service.ops.items import read_audit_page
from service.ops.schemas import AuditRow
from service.web.request_id import is_submission_id

PAGE_SIZE = 100


class AuditPage:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, request: ConsoleRequest) -> View:
        """Raises `FilterError` for an invalid cursor, `StoreUnavailable`."""
        cursor = request.query.get("cursor") or None
        page = read_audit_page(self._console.actions.audit, cursor, PAGE_SIZE)
        next_url = f"{AUDIT_URL}?{urlencode({'cursor': page.next})}" if page.next else None
        first_url = AUDIT_URL if cursor else None
        values = {
            "page": page,
            "first_url": first_url,
            "next_url": next_url,
            "target_url": _target_url,
        }
        return View(template="audit.html", values=values)


def _target_url(entry: AuditRow) -> str | None:
    if entry.action.startswith("bulk "):
        return f"{BULK_URL}/{quote(entry.target)}"
    return f"{LEADS_URL}/{entry.target}" if is_submission_id(entry.target) else None
