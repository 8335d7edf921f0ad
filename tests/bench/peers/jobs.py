"""What the peers queue: a lead written to Pipedrive in the simplest way.

Each call is made once; nothing is recorded in between.
"""

import os

import httpx


def deliver(lead):
    """Search the person, create it if necessary, and then create the lead."""
    base, headers = (
        os.environ["PIPEDRIVE_BASE_URL"],
        {"x-api-token": os.environ["PIPEDRIVE_API_TOKEN"]},
    )
    with httpx.Client(base_url=base, headers=headers, timeout=20, trust_env=False) as pipedrive:
        query = {"term": lead["email"], "fields": "email", "exact_match": "true"}
        items = (
            pipedrive.get("/api/v2/persons/search", params=query)
            .raise_for_status()
            .json()["data"]["items"]
        )
        if items:
            person = items[0]["item"]["id"]
        else:
            body = {"name": lead["name"], "emails": [{"value": lead["email"], "primary": True}]}
            person = (
                pipedrive.post("/api/v2/persons", json=body).raise_for_status().json()["data"]["id"]
            )
        body = {"title": lead["name"], "person_id": person}
        return pipedrive.post("/v1/leads", json=body).raise_for_status().json()["data"]["id"]
