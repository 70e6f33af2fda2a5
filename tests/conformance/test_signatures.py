"""Checks 10 to 24: whose signature it is, for which account, and what a stranger is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hyperliquid.exchange import Exchange as SdkExchange
from hyperliquid.utils import signing as sdk

from conformance.harness import (
    ALICE,
    BOB,
    CAROL,
    HYPE,
    NOW_MS,
    Server,
    User,
    cloid,
    wire_order,
)
from mmbot.emulator.auth import connection_id, l1_digest, recover
from mmbot.emulator.canonical import canonical, envelope
from mmbot.emulator.packing import pack
from mmbot.emulator.specs import VenueParams

VECTORS = json.loads((Path(__file__).parent / "signing_vectors.json").read_text())
STRANGER = "does not exist."


def order_action(*orders: dict[str, Any]) -> dict[str, Any]:
    """An order action around `orders`, by default one that rests."""
    chosen = orders or (wire_order(HYPE, "B", "25", "1"),)
    return {"type": "order", "orders": list(chosen), "grouping": "na"}


def sdk_exchange(server: Server, user: User, **options: Any) -> SdkExchange:
    """The official client's trading half."""
    return SdkExchange(user.wallet, server.url, **options)


def is_ok(answer: Any) -> bool:
    """Whether an action was carried out."""
    return bool(answer["status"] == "ok")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_check_10_vectors_reproduce_byte_for_byte(vector: dict[str, Any], server: Server) -> None:
    """
    The public vectors pin bytes, hash and signer on both networks.

    Red when `connection_id` leaves out the byte that says there is no vault.
    """
    nonce, vault, expires = vector["nonce"], vector["vault"], vector["expires"]
    action = canonical(vector["action"])
    connection = connection_id(action, nonce, vault, expires)
    if "msgpack" in vector:
        assert pack(action).hex() == vector["msgpack"]
    if "hash" in vector:
        assert "0x" + connection.hex() == vector["hash"]
    for network, (r, s, v) in vector["sigs"].items():
        body = {
            "action": vector["action"],
            "nonce": nonce,
            "signature": {"r": r, "s": s, "v": v},
            "vaultAddress": vault,
            "expiresAfter": expires,
        }
        assert recover(l1_digest(connection, network), envelope(body)) == ALICE.address
        if nonce > 0 and vault is None:
            # Over the wire the vector may be refused for what it asks, never for who asks.
            reply = server.post("/exchange", body)
            assert reply.status == 200
            assert STRANGER not in reply.text


def test_check_11_sdk_order_is_booked_on_its_wallet(server: Server) -> None:
    """
    The official client trades unchanged.

    Red when the digest is made with chain id 1 in place of 1337.
    """
    answer = sdk_exchange(server, ALICE).order("HYPE", True, 2.0, 25.5, {"limit": {"tif": "Alo"}})

    assert "resting" in answer["response"]["data"]["statuses"][0]
    assert server.info(type="openOrders", user=ALICE.address)[0]["limitPx"] == "25.5"


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


def test_check_12_key_order_of_the_body_does_not_matter(server: Server) -> None:
    """
    JSON libraries of other languages sort keys.

    Red when `struct` keeps the order of the keys it was given.
    """
    body = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", cloid=cloid(7))))

    assert is_ok(server.post("/exchange", _reversed(body)).json)
    assert server.info(type="openOrders", user=ALICE.address)[0]["cloid"] == cloid(7)


def test_check_13_padding_and_upper_case_do_not_matter(server: Server) -> None:
    """
    The venue hashes its own form of a number and of a client order id.

    Red when `decimal_text` returns the text as it came.
    """
    name = "0x000000000000000000000000000000ab"
    body = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", cloid=name)))
    padded = wire_order(HYPE, "B", "025.000", "1.0", cloid="0x" + name[2:].upper())
    body["action"] = order_action(padded)

    assert is_ok(server.post("/exchange", body).json)
    assert server.info(type="orderStatus", user=ALICE.address, oid=name)["status"] == "order"


def test_check_14_signing_a_trailing_zero_makes_a_stranger(server: Server) -> None:
    """
    The classic mistake does not read "bad signature": another address is recovered each time.

    Red when the hash is taken of the action as received instead of its canonical form.
    """
    answer = server.act(ALICE, order_action(wire_order(HYPE, "B", "25.0", "1")))

    assert answer["status"] == "err"
    assert answer["response"].startswith("User or API Wallet 0x")
    assert answer["response"].endswith(STRANGER)
    assert ALICE.address not in answer["response"]


def test_check_15_a_signature_for_the_other_network_is_a_strangers(
    start: Callable[..., Server],
) -> None:
    """
    Main and test network differ in one letter of what is signed.

    Red when `Gatehouse` tries both networks although it is strict.
    """
    strict, lenient = start(is_network_strict=True), start()

    assert is_ok(strict.act(ALICE, order_action()))
    refused = strict.act(ALICE, order_action(), is_mainnet=True)
    assert refused["response"].endswith(STRANGER)
    assert is_ok(lenient.act(ALICE, order_action(), is_mainnet=True))


def test_check_16_short_words_of_a_signature_are_accepted(server: Server) -> None:
    """
    The SDK writes r and s without leading zeros, so one in 128 signatures is short.

    Red when `_hex_word` asks for 64 digits.
    """
    for _ in range(400):
        body = server.signed(ALICE, {"type": "noop"})
        words = (body["signature"]["r"], body["signature"]["s"])
        if any(len(word) < 66 for word in words):
            break
    else:
        pytest.fail("no short signature among 400")

    assert is_ok(server.post("/exchange", body).json)


def test_check_17_a_zero_signature_recovers_nobody(server: Server) -> None:
    """
    Nobody can be named, so the sentence is another one.

    Red when `recover` answers the zero address where it cannot recover.
    """
    body = server.signed(ALICE, {"type": "noop"})
    body["signature"] = {"r": "0x0", "s": "0x0", "v": 27}

    assert server.post("/exchange", body).json == {
        "status": "err",
        "response": "Unable to recover signer.",
    }


@pytest.mark.parametrize("name", ["mm", None])
def test_check_18_agent_trades_for_its_master(server: Server, name: str | None) -> None:
    """
    The daemon signs with an agent key only; its orders must be the master's.

    Red when `agentName` is not defaulted to the empty string before hashing.
    """
    answer, key = sdk_exchange(server, ALICE).approve_agent(name)
    assert answer == {"status": "ok", "response": {"type": "default"}}
    agent = User(key)

    assert is_ok(server.act(agent, order_action()))
    assert len(server.info(type="openOrders", user=ALICE.address)) == 1


def test_check_19_replaced_and_expired_agents_are_refused(server: Server) -> None:
    """
    A leaked key is dead the moment its successor is approved; reads never go by the agent.

    Red when `approve_agent` keeps the old agent of the same name.
    """
    client = sdk_exchange(server, ALICE)
    first, second = User(client.approve_agent("mm")[1]), User(client.approve_agent("mm")[1])

    assert server.act(first, order_action())["response"].endswith(STRANGER)
    assert is_ok(server.act(second, order_action()))
    short = User(client.approve_agent(f"brief valid_until {NOW_MS + 5000}")[1])
    assert is_ok(server.act(short, {"type": "noop"}))
    role = server.info(type="userRole", user=second.address)
    assert role == {"role": "agent", "data": {"user": ALICE.address}}
    assert server.info(type="openOrders", user=second.address) == []
    state = server.info(type="clearinghouseState", user=second.address)
    assert state["marginSummary"]["accountValue"] == "0.0"
    server.advance(5000)
    assert server.act(short, {"type": "noop"})["response"].endswith(STRANGER)
    assert server.info(type="userRole", user=ALICE.address) == {"role": "user"}
    assert server.info(type="userRole", user=CAROL.address) == {"role": "missing"}


def test_check_20_extra_agents_lists_the_named_ones(server: Server) -> None:
    """
    The unnamed agent shows only in its role; who counts agents here misses it, as at the venue.

    Red when `_extra_agents` lists agents without a name.
    """
    client = sdk_exchange(server, ALICE)
    client.approve_agent(None)
    named = User(client.approve_agent("mm")[1])
    agents = server.info(type="extraAgents", user=ALICE.address)

    assert [(agent["name"], agent["address"]) for agent in agents] == [("mm", named.address)]
    assert agents[0]["validUntil"] > NOW_MS


def test_check_21_agents_cannot_move_money(server: Server) -> None:
    """
    An agent key may lose trades, never the deposit.

    Red when `_user_signer` resolves an agent to its master.
    """
    agent = User(sdk_exchange(server, ALICE).approve_agent("mm")[1])
    client = sdk_exchange(server, agent)
    sent = client.send_asset(BOB.address, "", "", "USDC", 1.0)
    moved = client.usd_class_transfer(1.0, False)

    expected = f"Must deposit before performing actions. User: {agent.address}"
    assert sent == moved == {"status": "err", "response": expected}


def test_check_22_vault_address_names_the_sub_account(start: Callable[..., Server]) -> None:
    """
    Without it a sub-account's order lands on the master; with a foreign one nothing happens.

    Red when the nonce is admitted before the vault is looked up.
    """
    server = start(venue_params=VenueParams(sub_account_volume_usd=0))
    client = sdk_exchange(server, ALICE)
    sub = client.create_sub_account("desk")["response"]["data"]
    client.sub_account_transfer(sub, True, 500 * 10**6)
    assert is_ok(server.act(ALICE, order_action(), vault=sub))
    assert len(server.info(type="openOrders", user=sub)) == 1
    assert server.info(type="openOrders", user=ALICE.address) == []
    assert server.info(type="userRole", user=sub)["role"] == "subAccount"

    nonce = server.nonce()
    foreign = server.act(ALICE, order_action(), vault=BOB.address, nonce=nonce)
    assert foreign["response"] == f"Vault not registered: {BOB.address}"
    assert is_ok(server.act(ALICE, {"type": "noop"}, nonce=nonce))
    bare = server.signed(ALICE, order_action(), vault=sub)
    bare["vaultAddress"] = sub.removeprefix("0x")
    assert is_ok(server.post("/exchange", bare).json)
    assert len(server.info(type="openOrders", user=sub)) == 2


def test_check_23_expiry_is_signed_and_kept(server: Server) -> None:
    """
    A late order is worse than none; who changes the expiry in flight signs as somebody else.

    Red when `connection_id` leaves the expiry out.
    """
    body = server.signed(ALICE, order_action(), expires=NOW_MS + 1000)
    altered = server.post("/exchange", {**body, "expiresAfter": NOW_MS + 2000}).json
    assert altered["response"].endswith(STRANGER)
    assert is_ok(server.post("/exchange", body).json)

    nonce = server.nonce()
    late = server.act(ALICE, order_action(), expires=NOW_MS - 1, nonce=nonce)
    assert late == {"status": "err", "response": "Action already expired"}
    again = server.act(ALICE, {"type": "noop"}, nonce=nonce)
    assert again["response"] == f"Invalid nonce: duplicate nonce {nonce}"


def test_check_24_user_signed_actions_name_nonce_and_network(
    start: Callable[..., Server],
) -> None:
    """
    The inner nonce and the network's name are what keeps a transfer from being replayed.

    Red when `_admit` does not compare the inner nonce with the outer one.
    """
    server = start(is_network_strict=True)

    def transfer(*, inner: int, outer: int, is_mainnet: bool) -> Any:
        action = {"type": "usdClassTransfer", "amount": "1", "toPerp": False, "nonce": inner}
        signature = sdk.sign_usd_class_transfer_action(ALICE.wallet, action, is_mainnet)
        body = {"action": action, "nonce": outer, "signature": signature}
        return server.post("/exchange", body).json

    mismatch = transfer(inner=NOW_MS, outer=NOW_MS + 1, is_mainnet=False)
    assert mismatch["response"] == "Nonce mismatch."
    other = transfer(inner=NOW_MS, outer=NOW_MS, is_mainnet=True)
    assert other["response"] == "Mainnet and testnet require different signature."
    assert is_ok(transfer(inner=NOW_MS, outer=NOW_MS, is_mainnet=False))
