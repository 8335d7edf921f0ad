"""What one lead says about where it came from. No personal data."""

from __future__ import annotations

from msgspec import Struct, structs

from worker.contract import Lead
from worker.errors import Unmappable
from worker.lead.rules import apply_rules
from worker.lead.settings import LeadMapping
from worker.lead.templates import TemplateError, build_context, compile_template

MAX_NAME_CHARS = 100
NOT_CONFIGURED = "not in the source file"


class LeadAttribution(Struct, frozen=True, kw_only=True):
    """What one lead carries, under the source file's present rules.

    `campaign` is None for a lead without one, `channel` where neither a rule nor the source sets
    one. `channel_id`, `utm` and `click_id` say whether it has any. `rule` counts from 0; None: none
    matched, or there are none. `fault` says why the rules cannot be applied.
    """

    campaign: str | None
    channel: str | None
    channel_id: bool
    utm: bool
    click_id: bool
    rule: int | None
    fault: str | None = None


def inspect_lead(
    lead: Lead,
    mapping: LeadMapping | None,
    source: str,
    *,
    received_at: float,
    submission_id: str,
) -> LeadAttribution:
    """What a lead carries. Without a `mapping` (None) it has neither channel nor rule.

    `received_at` is in Unix seconds.
    """
    bare = LeadAttribution(
        campaign=public_name(lead.utm.campaign),
        channel=None,
        channel_id=False,
        utm=any(structs.astuple(lead.utm)),
        click_id=bool(lead.click_ids),
        rule=None,
    )
    if mapping is None:
        return structs.replace(bare, fault=NOT_CONFIGURED)
    values = build_context(lead, source, submission_id, received_at)
    try:
        settings, rule = apply_rules(mapping, values)
        channel_id = compile_template(settings.channel_id).render(values)
    except (Unmappable, TemplateError) as error:
        return structs.replace(bare, fault=str(error)[:MAX_NAME_CHARS])
    channel = (settings.channel or "").strip() or None
    return structs.replace(bare, channel=channel, channel_id=bool(channel_id), rule=rule)


def public_name(text: str | None) -> str | None:
    """A campaign's name; an e-mail address, which a careless link may hold, is replaced."""
    if not text or not text.strip():
        return None
    return "(an address)" if "@" in text else " ".join(text.split())[:MAX_NAME_CHARS]
