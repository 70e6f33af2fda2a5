"""Answers to HTTP requests, in the venue's content types."""

from __future__ import annotations

from typing import Any

import msgspec


class HttpResponse(msgspec.Struct, frozen=True):
    """
    Answer to an HTTP request.

    Attributes:
        content_type: None for an empty answer.
        delay_ms: How much later it leaves; 0 where the exchange kept the time itself.
        is_dropped: The connection is cut instead of answered.
    """

    status: int
    content_type: str | None
    body: bytes
    delay_ms: int = 0
    is_dropped: bool = False


JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
DROPPED = HttpResponse(0, None, b"", is_dropped=True)
NULL = b"null"


def text_response(status: int, text: str) -> HttpResponse:
    """A refusal in words."""
    return HttpResponse(status, TEXT_TYPE, text.encode())


def json_response(value: Any, status: int = 200) -> HttpResponse:
    """An answer in JSON."""
    return HttpResponse(status, JSON_TYPE, msgspec.json.encode(value))


def is_json(content_type: str | None) -> bool:
    """Whether the venue takes a body of this content type."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == JSON_TYPE or (kind.startswith("application/") and kind.endswith("+json"))


def faulty(status: int) -> HttpResponse:
    """What a gateway in front of the venue says with an error status."""
    if status == 429:
        return HttpResponse(429, JSON_TYPE, NULL)
    return text_response(status, "Bad Gateway" if status == 502 else "Internal Server Error")
