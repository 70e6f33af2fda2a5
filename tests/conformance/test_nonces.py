"""Checks 25 to 31: each nonce once, in a window, per key; and what burns one."""

from __future__ import annotations

import pytest

from conformance.harness import ALICE, BOB, CAROL, HYPE, NOW_MS, Server, User, wire_order
from conformance.test_signatures import order_action, sdk_exchange
from mmbot.emulator.specs import DexSpec, VenueParams
from mmbot.emulator.venue import Venue
from mmbot.emulator.wire import Exchange
from mmbot.errors import InvariantError

DAY_MS = 86_400_000
MARGIN_MS = 120_000
NOOP = {"type": "noop"}
OK = {"status": "ok", "response": {"type": "default"}}


def refused(text: str) -> dict[str, str]:
    """A whole action refused in these words."""
    return {"status": "err", "response": text}


def test_check_25_exact_replay_is_a_duplicate(server: Server) -> None:
    """
    A retry of a signed body can never trade twice.

    Red when `NonceSet.refusal` does not look at the nonces it has seen.
    """
    body = server.signed(ALICE, order_action())
    assert server.post("/exchange", body).json["status"] == "ok"

    replay = server.post("/exchange", body).json
    assert replay == refused(f"Invalid nonce: duplicate nonce {body['nonce']}")
    assert len(server.info(type="openOrders", user=ALICE.address)) == 1


def test_check_26_nonces_outside_the_window_name_its_bound(server: Server) -> None:
    """
    A clock that is days off must be told so, before any account is named.

    Red when `highest_nonce` allows two days.
    """
    low, high = NOW_MS - 2 * DAY_MS - MARGIN_MS, NOW_MS + DAY_MS + MARGIN_MS

    too_low = server.act(CAROL, NOOP, nonce=low - 1)
    too_high = server.act(CAROL, NOOP, nonce=high + 1)
    assert too_low == refused(f"Invalid nonce: nonce too low {low - 1} < {low}")
    assert too_high == refused(f"Invalid nonce: nonce too high {high + 1} > {high}")
    assert server.act(ALICE, NOOP, nonce=low) == OK
    assert server.act(ALICE, NOOP, nonce=high) == OK


def test_check_27_the_hundredth_highest_nonce_is_the_floor(server: Server) -> None:
    """
    Two processes on one key starve the slower one; a used nonce below the floor says so.

    Red when `NONCES_KEPT` is 1000.
    """
    first = NOW_MS - 1000
    assert server.act(ALICE, NOOP, nonce=first) == OK
    for step in range(1, 101):
        assert server.act(ALICE, NOOP, nonce=NOW_MS + step) == OK

    fresh = server.act(ALICE, NOOP, nonce=first + 1)
    assert fresh == refused(f"Invalid nonce: nonce too low {first + 1} < {NOW_MS + 1}")
    used = server.act(ALICE, NOOP, nonce=first)
    assert used == refused(f"Invalid nonce: duplicate nonce {first}")


def test_check_28_a_business_refusal_burns_the_nonce_and_an_unknown_signer_does_not(
    server: Server,
) -> None:
    """
    A client that re-signs with the same nonce after a refusal is refused for another reason.

    Red when the line that admits the nonce is left out of `_admit`.
    """
    nonce = server.nonce()
    small = server.act(ALICE, order_action(wire_order(HYPE, "B", "25", "0.1")), nonce=nonce)
    assert small["response"]["data"]["statuses"][0]["error"].startswith("Order must have minimum")
    assert server.act(ALICE, NOOP, nonce=nonce) == refused(
        f"Invalid nonce: duplicate nonce {nonce}"
    )

    assert server.act(CAROL, NOOP, nonce=nonce)["response"].endswith("does not exist.")
    sdk_exchange(server, BOB).usd_transfer(50.0, CAROL.address)
    assert server.act(CAROL, NOOP, nonce=nonce) == OK


def test_check_29_agents_of_one_master_have_nonces_of_their_own(server: Server) -> None:
    """
    One agent per process is the venue's advice for this reason.

    Red when nonces are kept by account instead of by signer.
    """
    client = sdk_exchange(server, ALICE)
    one, two = User(client.approve_agent("one")[1]), User(client.approve_agent("two")[1])
    nonce = server.nonce()

    assert server.act(one, NOOP, nonce=nonce) == OK
    assert server.act(two, NOOP, nonce=nonce) == OK
    assert server.act(ALICE, NOOP, nonce=nonce) == OK


def test_check_30_noop_voids_an_order_in_flight(server: Server) -> None:
    """
    The cheapest cancel is to use up the nonce of an order that has not arrived.

    Red when `noop` is answered before its nonce is admitted.
    """
    nonce = server.nonce()
    assert server.act(ALICE, NOOP, nonce=nonce) == OK

    late = server.act(ALICE, order_action(), nonce=nonce)
    assert late == refused(f"Invalid nonce: duplicate nonce {nonce}")
    assert server.info(type="openOrders", user=ALICE.address) == []


def test_check_31_the_clock_has_the_magnitude_of_an_epoch(server: Server) -> None:
    """
    ccxt packs a nonce wrongly below 2^40, so a simulated clock may not start near zero.

    Red when `Exchange` accepts any start.
    """
    assert server.info(type="exchangeStatus")["time"] >= 2**40
    with pytest.raises(InvariantError, match="at least"):
        Exchange(Venue(VenueParams(), [DexSpec(name="", assets=())], 1_000))
