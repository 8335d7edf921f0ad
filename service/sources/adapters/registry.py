"""Every adapter by its name in the source file. A new product is one file in `adapters` and one
line here.
"""

from __future__ import annotations

from service.sources.adapters import (
    calendly,
    contact_form_7,
    elementor,
    form,
    google_ads,
    gravity_forms,
    hubspot,
    intercom,
    jotform,
    json,
    linkedin,
    mailchimp,
    meta_lead_ads,
    netlify,
    shopify,
    standard_webhooks,
    tally,
    typeform,
    unbounce,
    webflow,
)
from service.sources.adapters.base import Adapter

MODULES = (
    form,
    json,
    calendly,
    contact_form_7,
    elementor,
    google_ads,
    gravity_forms,
    hubspot,
    intercom,
    jotform,
    linkedin,
    mailchimp,
    meta_lead_ads,
    netlify,
    shopify,
    standard_webhooks,
    tally,
    typeform,
    unbounce,
    webflow,
)
ADAPTERS: dict[str, Adapter] = {module.ADAPTER.name: module.ADAPTER for module in MODULES}
