"""`GET /ops/audit`: who did what, the newest first."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from service.ops.console.page import Site
from service.ops.console.request import View, Visit
from service.ops.console.urls import LIST
from service.ops.filters import FilterError
from service.ops.schemas import Audited, Page
from worker.times import format_iso

LIMIT = 100
_SUBMISSION = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


class AuditPage:
    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, seen: Visit) -> View:
        """Raises `FilterError` for a cursor that no page gave, `StoreUnavailable`."""
        try:
            entries, following, total = self._site.actions.audit.page(
                seen.query.get("cursor") or None, LIMIT
            )
        except ValueError as error:
            raise FilterError("cursor", str(error)) from None
        items = [
            Audited(format_iso(each.at) or "", each.who, each.action, each.target, each.detail)
            for each in entries
        ]
        next_href = f"/ops/audit?{urlencode({'cursor': following})}" if following else None
        values = {
            "page": Page(items, following, total),
            "next_href": next_href,
            "target_href": _href,
        }
        return View(template="audit.html", values=values)


def _href(entry: Audited) -> str | None:
    if entry.action.startswith("bulk "):
        return f"/ops/bulk/{quote(entry.target)}"
    return f"{LIST}/{entry.target}" if _SUBMISSION.fullmatch(entry.target) else None
