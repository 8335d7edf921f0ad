"""The captured cases as requests to us, and the source file that a person would write for them.

A folder holds the cases of one adapter and is named after it, with underscores for dashes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from service.sources.adapters.registry import ADAPTERS
from service.sources.request import InboundRequest
from service.sources.schema import Source
from service.sources.source_file.loader import load_sources

HERE = Path(__file__).parent
BOUNDARY = "----leadlinecase7MA4YWxkTrZu0gW"
# The schemes of cases whose adapter has none, as a person would configure them.
SCHEMES = {
    "query_secret": {"scheme": "token", "query": "secret"},
    "stripe": {
        "scheme": "hmac",
        "header": "Stripe-Signature",
        "list": "t=,v1=",
        "signed": "{timestamp}.{body}",
    },
    "standard_webhooks": {"scheme": "standard-webhooks"},
}
# Outcomes in the words of the cases -> ours.
OUTCOMES = {
    "needs_enrichment": "needs_fetch",
    "reject_handshake": "refused",
    "reject_signature": "refused",
    "reject_unparseable": "unreadable",
    "signature_ok_body_invalid": "unreadable",
}

Case = dict[str, Any]


def cases(kind: str = "request") -> Iterator[Case]:
    """Every case of a kind, with its `name` and `adapter`, which its file's path says."""
    for path in sorted(HERE.glob("*/*.json")):
        case: Case = json.loads(path.read_text("utf-8"))
        if case["kind"] == kind:
            folder = path.parent.name
            names = {"name": f"{folder}-{path.stem}", "adapter": folder.replace("_", "-")}
            yield case | names


def vectors() -> list[dict[str, Any]]:
    """The published signature vectors."""
    text = (HERE / "signature_vectors.json").read_text("utf-8")
    vectors: list[dict[str, Any]] = json.loads(text)["vectors"]
    return vectors


def name_of(case: Case) -> str:
    return str(case["name"])


def request_of(case: Case) -> InboundRequest:
    """The case's request as the service would see it."""
    sent = case["request"]
    body, content_type = _body(sent, HERE / case["adapter"].replace("-", "_"))
    headers = [(name.lower(), value) for name, value in sent["headers"].items()]
    if content_type:
        headers.append(("content-type", content_type))
    url = case.get("verification", {}).get("public_uri") or case.get("verification", {}).get("uri")
    return InboundRequest(
        method=sent["method"], query=sent["query"], headers=headers, body=body, url=url
    )


def source_of(case: Case) -> Source:
    """The source that a person would configure for the case."""
    return load_sources(source_file_of(case), secrets_of(case)).sources["case"]


def secrets_of(case: Case) -> dict[str, str]:
    """The environment variables that the case's source file names."""
    return {"CASE_SECRET": case.get("secret", "")}


def source_file_of(case: Case) -> str:
    """The source file with the one source `case`."""
    config = case.get("config", {})
    source: dict[str, Any] = {"adapter": case["adapter"]}
    source |= {key: config[key] for key in ("honeypot", "redirect") if key in config}
    if "mapping" in config:
        source["map"] = config["mapping"]
    read: dict[str, Any] = {
        key: config[key] for key in ("root", "event_id", "json_param") if key in config
    }
    if "test_flag" in config:
        read["test"] = {
            "at": config["test_flag"]["path"],
            "equals": config["test_flag"]["test_when"],
        }
    if config.get("unwrap_single_item_lists"):
        read["unwrap_lists"] = True
    verify = dict(SCHEMES.get(case.get("verification", {}).get("scheme", ""), {}))
    if case.get("secret"):
        verify["secret_env"] = "CASE_SECRET"
    elif ADAPTERS[source["adapter"]].has_scheme:
        verify["scheme"] = "none"
    return toml(
        {
            "sources": {
                "case": source
                | {key: table for key, table in (("read", read), ("verify", verify)) if table}
            }
        }
    )


def labels_of(case: Case) -> dict[str, str]:
    """What the case calls a question -> what people read, where the payload says both."""
    body = case["request"].get("body_text", "")
    try:
        return dict(_labels(json.loads(body)))
    except ValueError:
        return {}


def _labels(tree: Any) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict) and isinstance(tree.get("title"), str):
        yield from (
            (tree[key], tree["title"]) for key in ("ref", "name") if isinstance(tree.get(key), str)
        )
    for inner in (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    ):
        yield from _labels(inner)


def toml(table: dict[str, Any]) -> str:
    """A table of tables as TOML; JSON's texts, numbers and lists are TOML's too."""
    return "\n".join(_lines(table, ()))


def _lines(table: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    if path:
        yield f"[{'.'.join(json.dumps(part) for part in path)}]"
    inner = {
        key: value
        for key, value in table.items()
        if isinstance(value, dict) and not _is_inline(value)
    }
    for key, value in table.items():
        if key not in inner:
            yield f"{json.dumps(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _lines(value, (*path, key))


def _is_inline(value: dict[str, Any]) -> bool:
    return set(value) == {"at", "equals"}


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items())
            + " }"
        )
    return json.dumps(value, ensure_ascii=False)


def _body(sent: dict[str, Any], folder: Path) -> tuple[bytes, str]:
    content_type = sent.get("content_type", "")
    if "body_file" in sent:
        return (folder / sent["body_file"]).read_bytes(), content_type
    if "form" in sent:
        return urlencode([tuple(pair) for pair in sent["form"]]).encode(), content_type
    if "multipart" in sent:
        return _multipart(sent["multipart"]), f"{content_type}; boundary={BOUNDARY}"
    if "body_json" in sent:
        return json.dumps(sent["body_json"], ensure_ascii=False).encode(), content_type
    return sent.get("body_text", "").encode(), content_type


def _multipart(parts: list[dict[str, str]]) -> bytes:
    """As browsers write it: quotes in names as %22, names in UTF-8."""
    lines = bytearray()
    for part in parts:
        disposition = f'form-data; name="{_quoted(part["name"])}"'
        if "filename" in part:
            disposition += f'; filename="{_quoted(part["filename"])}"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
        head += f"Content-Type: {part['content_type']}\r\n" if "content_type" in part else ""
        content = (
            base64.b64decode(part["value_base64"])
            if "value_base64" in part
            else part["value"].encode()
        )
        lines += head.encode() + b"\r\n" + content + b"\r\n"
    return bytes(lines + f"--{BOUNDARY}--\r\n".encode())


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
