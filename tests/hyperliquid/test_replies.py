"""Answers to actions: a verdict for each element, or none, never a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.replies import (
    ActionReply,
    EntryKind,
    EntryStatus,
    action_reply,
)

_GONE = "Order was never placed, already canceled, or filled. asset=1"


def _reply(statuses: list[Any], kind: str = "order") -> ActionReply:
    response = {"type": kind, "data": {"statuses": statuses}}
    return action_reply(json.dumps({"status": "ok", "response": response}).encode())


def test_refused_action_is_the_error_of_every_element() -> None:
    """An unknown signer or a spent budget refuses all of them with one sentence."""
    reply = action_reply(b'{"status":"err","response":"Action already expired"}')

    assert reply == ActionReply(is_ok=False, error="Action already expired")
    assert reply.for_elements(3) == (
        (EntryStatus(EntryKind.ERROR, text="Action already expired"),) * 3
    )


def test_one_error_for_a_batch_is_the_error_of_every_element() -> None:
    """The venue checks prices and sizes of all before it executes any, and answers once."""
    error = EntryStatus(EntryKind.ERROR, text="Order has invalid size.")

    assert _reply([{"error": "Order has invalid size."}]).for_elements(3) == (error,) * 3


@pytest.mark.parametrize(
    "statuses",
    [
        [{"resting": {"oid": 1}}],
        ["success"],
        [{"resting": {"oid": 1}}, {"resting": {"oid": 2}}],
        [],
    ],
)
def test_acceptances_that_do_not_match_the_batch_are_no_verdict(statuses: list[Any]) -> None:
    """Which order they speak of is unknown, so all three are asked for."""
    found = _reply(statuses).for_elements(3)

    assert [status.kind for status in found] == [EntryKind.UNKNOWN] * 3


def test_matching_statuses_are_returned_as_they_are() -> None:
    """A cancel that came too late stands beside one that succeeded."""
    found = _reply(["success", {"error": _GONE}], "cancel").for_elements(2)

    assert found == (
        EntryStatus(EntryKind.SUCCESS),
        EntryStatus(EntryKind.ERROR, text=_GONE),
    )


@pytest.mark.parametrize(
    "response",
    [
        {"type": "default"},
        {"type": "default", "data": None},
        {"type": "createSubAccount", "data": "0xab"},
    ],
)
def test_action_without_elements_has_no_statuses(response: dict[str, Any]) -> None:
    """Leverage, noop and the dead-man switch answer `default`; other types put anything there."""
    reply = action_reply(json.dumps({"status": "ok", "response": response}).encode())

    assert reply == ActionReply(is_ok=True, type=response["type"])


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"",
        b"Failed to deserialize the JSON body into the target type",
        b'{"status":"maybe","response":"x"}',
        b'{"status":"err","response":{"type":"order"}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[5]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{}}]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":"x"}}}',
        (
            b'{"status":"ok","response":{"type":"order","data":'
            b'{"statuses":[{"resting":{"oid":1,"cloid":"7"}}]}}}'
        ),
    ],
)
def test_unreadable_answer_raises_a_protocol_error(body: bytes) -> None:
    """The outcome of the action is unknown then, which is not the same as refused."""
    with pytest.raises(VenueProtocolError):
        action_reply(body)


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b'{"status":"ok","response":' + b"[" * 100_000)
def test_arbitrary_bytes_are_an_answer_or_a_protocol_error(body: bytes) -> None:
    """No other exception may reach the gateway while an order is pending."""
    try:
        reply = action_reply(body)
    except VenueProtocolError:
        return
    assert isinstance(reply, ActionReply)
