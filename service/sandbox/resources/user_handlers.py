"""Users and currencies of the account."""

from __future__ import annotations

from typing import Any

from service.sandbox.account.company import Company, OperationResult, find_user
from service.sandbox.account.stock import (
    COMPANY_DOMAIN,
    COMPANY_ID,
    COMPANY_NAME,
    CURRENCIES,
    DEFAULT_CURRENCY,
    USERS,
    StockUser,
)
from service.sandbox.request_validation import ValidCall


def list_users(call: ValidCall, company: Company) -> OperationResult:
    """All users of the company, also those who were deactivated."""
    return OperationResult([_describe_user(user, call.user_id, company) for user in USERS])


def get_me(call: ValidCall, company: Company) -> OperationResult:
    """The user whose credentials the call carries, with the company."""
    company_details = {
        "company_id": COMPANY_ID,
        "company_name": COMPANY_NAME,
        "company_domain": COMPANY_DOMAIN,
        "company_country": "EE",
        "company_industry": "Software",
        "language": {"language_code": "en", "country_code": "US"},
    }
    return OperationResult(
        _describe_user(find_user(call.user_id), call.user_id, company) | company_details
    )


def list_currencies(call: ValidCall, company: Company) -> OperationResult:
    """All currencies, or those whose name or code contains `term`."""
    term, inactive = call.query.get("term", "").casefold(), company.inactive_currencies
    return OperationResult(
        [
            {
                "id": number,
                "code": code,
                "name": name,
                "decimal_points": decimals,
                "symbol": symbol,
                "active_flag": code not in inactive,
                "is_custom_flag": False,
            }
            for number, (code, name, decimals, symbol) in enumerate(CURRENCIES, 1)
            if term in name.casefold() or term in code.casefold()
        ]
    )


def _describe_user(user: StockUser, me: int, company: Company) -> dict[str, Any]:
    access = [
        {"app": app, "admin": user.admin, "permission_set_id": f"{app}-set"}
        for app in ("sales", "global")
    ]
    return {
        "id": user.id,
        "name": user.name,
        "default_currency": DEFAULT_CURRENCY,
        "locale": "en_GB",
        "lang": 1,
        "email": user.email,
        "phone": None,
        "activated": True,
        "last_login": "2024-01-15 09:00:00",
        "created": "2024-01-15 09:00:00",
        "modified": None,
        "has_created_company": user.admin,
        "access": access,
        "active_flag": company.is_active(user.id),
        "timezone_name": "Europe/Tallinn",
        "timezone_offset": "+02:00",
        "role_id": 1,
        "icon_url": None,
        "is_you": user.id == me,
        "is_deleted": False,
    }
