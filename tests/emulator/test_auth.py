"""Recovery of signers, nonces, agents: whose request it is, and whether it is fresh."""

from __future__ import annotations

from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from hyperliquid.utils import signing as sdk
from hypothesis import given
from hypothesis import strategies as st

from mmbot.emulator.auth import (
    DAY_MS,
    NONCE_MARGIN_MS,
    SECP256K1_N,
    Identities,
    NonceSet,
    address_of,
    connection_id,
    keccak256,
    l1_digest,
    recover,
    user_digest,
    window_refusal,
)
from mmbot.emulator.canonical import canonical, envelope

NOW_MS = 1_791_484_300_000
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
WALLET = Account.from_key(KEY)
ADDRESS = WALLET.address.lower()


def _signed(action: dict[str, Any], nonce: int, signature: dict[str, Any], **more: Any) -> Any:
    return envelope({"action": action, "nonce": nonce, "signature": signature, **more})


ORDER = {
    "a": 140000,
    "b": False,
    "p": "81359",
    "s": "0.00015",
    "r": False,
    "t": {"limit": {"tif": "Alo"}},
    "c": "0x00000000000000000000000000000007",
}


@given(
    asset=st.integers(0, 200_000),
    px=st.integers(1, 10**9),
    nonce=st.integers(2**40, 2**44),
    vault=st.none() | st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    expires=st.none() | st.integers(2**40, 2**44),
    is_mainnet=st.booleans(),
)
def test_signer_of_an_sdk_order_is_recovered(
    *, asset: int, px: int, nonce: int, vault: str | None, expires: int | None, is_mainnet: bool
) -> None:
    """Whatever the SDK signs, vault and expiry included, is its own wallet's."""
    order = {**ORDER, "a": asset, "p": str(px)}
    action = {"type": "order", "orders": [order], "grouping": "na"}
    signature = sdk.sign_l1_action(WALLET, action, vault, nonce, expires, is_mainnet)
    request = _signed(action, nonce, signature, vaultAddress=vault, expiresAfter=expires)
    connection = connection_id(request.action, nonce, request.vault, request.expires_after_ms)
    own, other = ("a", "b") if is_mainnet else ("b", "a")

    assert recover(l1_digest(connection, own), request) == ADDRESS
    assert recover(l1_digest(connection, other), request) != ADDRESS


@pytest.mark.parametrize(
    ("sign", "action"),
    [
        (
            sdk.sign_agent,
            {"type": "approveAgent", "agentAddress": "0x" + "Ab" * 20, "agentName": ""},
        ),
        (
            sdk.sign_approve_builder_fee,
            {"type": "approveBuilderFee", "maxFeeRate": "0.01%", "builder": "0x" + "cD" * 20},
        ),
        (
            sdk.sign_usd_class_transfer_action,
            {"type": "usdClassTransfer", "amount": "12.5", "toPerp": True},
        ),
        (
            sdk.sign_send_asset_action,
            {
                "type": "sendAsset",
                "destination": "0x" + "Ef" * 20,
                "sourceDex": "",
                "destinationDex": "hyna",
                "token": "USDE:0x2e6d84f2d7ca82e6581e03523e4389f7",
                "amount": "100",
                "fromSubAccount": "",
            },
        ),
        (
            sdk.sign_user_dex_abstraction_action,
            {"type": "userDexAbstraction", "user": "0x" + "Ab" * 20, "enabled": True},
        ),
        (
            sdk.sign_user_set_abstraction_action,
            {"type": "userSetAbstraction", "user": "0x" + "Ab" * 20, "abstraction": "disabled"},
        ),
    ],
)
def test_signer_of_typed_data_is_recovered(sign: Any, action: dict[str, Any]) -> None:
    """Mixed-case addresses are hashed as bytes or as text by their type, so each kind is tried."""
    body = {**action, "nonce": NOW_MS}
    signature = sign(WALLET, body, False)
    if body.get("agentName") == "":
        del body["agentName"]

    assert recover(user_digest(canonical(body)), _signed(body, NOW_MS, signature)) == ADDRESS


@pytest.mark.parametrize(
    ("sign", "kind"),
    [
        (sdk.sign_usd_transfer_action, "usdSend"),
        (sdk.sign_withdraw_from_bridge_action, "withdraw3"),
    ],
)
def test_signer_of_a_transfer_with_time_is_recovered(sign: Any, kind: str) -> None:
    """Two older actions call the nonce `time`."""
    body = {"type": kind, "destination": "0x" + "aB" * 20, "amount": "1.5", "time": NOW_MS}
    signature = sign(WALLET, body, True)

    assert recover(user_digest(canonical(body)), _signed(body, NOW_MS, signature)) == ADDRESS


def test_address_of_the_public_test_key() -> None:
    """Keccak over the raw point, not over its prefix byte."""
    assert address_of(PrivateKey(bytes.fromhex(KEY[2:])).public_key) == ADDRESS
    assert keccak256(b"").hex().startswith("c5d2460186f7233c")


@pytest.mark.parametrize(
    ("r", "s", "v"),
    [(0, 1, 27), (1, 0, 27), (SECP256K1_N, 1, 27), (1, SECP256K1_N, 28), (1, 1, 30), (5, 1, 27)],
)
def test_numbers_that_are_no_signature_recover_nobody(r: int, s: int, v: int) -> None:
    """`Unable to recover signer.` instead of a crash; 5 is the x of no point on the curve."""
    request = _signed({"type": "noop"}, 1, {"r": hex(r), "s": hex(s), "v": v})
    assert recover(b"\x01" * 32, request) is None


def test_window_of_nonces_has_the_documented_width_and_the_measured_margin() -> None:
    """Two days back, one day ahead, 120 s beyond on both sides."""
    low, high = NOW_MS - 2 * DAY_MS - NONCE_MARGIN_MS, NOW_MS + DAY_MS + NONCE_MARGIN_MS

    assert window_refusal(low, NOW_MS) is None
    assert window_refusal(high, NOW_MS) is None
    assert window_refusal(low - 1, NOW_MS) == f"Invalid nonce: nonce too low {low - 1} < {low}"
    assert window_refusal(high + 1, NOW_MS) == f"Invalid nonce: nonce too high {high + 1} > {high}"


@given(st.lists(st.integers(NOW_MS, NOW_MS + 400), min_size=1, max_size=300))
def test_nonce_set_admits_each_nonce_once_and_none_below_the_hundredth(nonces: list[int]) -> None:
    """Against the rule written down plainly: new, and above the 100th highest so far."""
    found, admitted = NonceSet(), list[int]()
    for nonce in nonces:
        highest = sorted(admitted)[-100:]
        is_fresh = nonce not in admitted and (len(highest) < 100 or nonce > highest[0])
        assert (found.refusal(nonce) is None) == is_fresh
        if is_fresh:
            found.admit(nonce, NOW_MS)
            admitted.append(nonce)


def test_reapproving_a_name_replaces_the_key_at_once() -> None:
    """A stolen key has to be dead the moment its successor is approved."""
    who = Identities()
    assert who.approve_agent("0xm", "0xa1", "mm", NOW_MS) is None
    assert who.approve_agent("0xm", "0xa2", "mm", NOW_MS) is None

    assert who.agent("0xa1", NOW_MS) is None
    agent = who.agent("0xa2", NOW_MS)
    assert agent is not None
    assert agent.master == "0xm"
    assert who.approve_agent("0xm", "0xa1", "other", NOW_MS) == "Extra agent already used."


def test_agents_run_out_and_are_limited_in_number() -> None:
    """Three named ones, an expiry in the name, ninety days without one."""
    who = Identities()
    assert who.approve_agent("0xm", "0xa1", f"a valid_until {NOW_MS + 5}", NOW_MS) is None
    assert who.agent("0xa1", NOW_MS + 4) is not None
    assert who.agent("0xa1", NOW_MS + 5) is None
    for index in (2, 3, 4):
        assert who.approve_agent("0xm", f"0xa{index}", f"n{index}", NOW_MS + 5) is None
    refused = who.approve_agent("0xm", "0xa5", "n5", NOW_MS + 5)
    assert refused is not None
    assert refused.startswith("Too many extra agents")
    assert who.approve_agent("0xm", "0xa6", "x" * 17, NOW_MS + 5) is not None
    assert who.approve_agent("0xm", "0xa7", "", NOW_MS + 5) is None
    assert who.agent("0xa7", NOW_MS + 89 * DAY_MS) is not None
    assert who.agent("0xa7", NOW_MS + 91 * DAY_MS) is None
