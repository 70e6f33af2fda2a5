"""
Moving collateral: between dexes, spot, accounts and sub-accounts.

A dex only takes its own collateral token. Sources: Hyperliquid docs, "Exchange endpoint",
"HIP-3"; protocol notes 2.3, 2.8 and 2.11.
"""

from __future__ import annotations

import hashlib
from typing import Any

from mmbot.emulator.accounts import Account
from mmbot.emulator.margin import summarise
from mmbot.emulator.numbers import U_DECIMALS, parse_units, wire_u
from mmbot.emulator.specs import MAIN_COLLATERAL, U_PER_USD, LedgerRecord
from mmbot.emulator.state import State

SPOT = "spot"
WITHDRAW_FEE_U = U_PER_USD
SHORT_OF_BALANCE = "Insufficient balance for token transfer"
SHORT_OF_USD = "Insufficient balance for withdrawal."
ADDRESS_HEX = 40


def open_account(state: State, address: str, *, is_house: bool = False) -> Account:
    """The account of an address, made when it is new."""
    key = address.lower()
    account = state.accounts.get(key)
    if account is None:
        account = state.accounts[key] = Account(key, state.params, is_house=is_house)
    return account


def log(state: State, account: Account, delta: dict[str, Any]) -> None:
    """Write one row of the non-funding ledger."""
    if account.is_house:
        return
    row = {"time": state.now_ms, "hash": state.tx_hash(), "delta": delta}
    account.ledger.append(row)
    state.events.append(LedgerRecord(account.address, state.now_ms, row))


def deposit(state: State, account: Account, dex_index: int, amount_u: int) -> None:
    """Bring new money into a purse; the only way besides `withdraw` that the total changes."""
    account.purse(dex_index).cash_u += amount_u
    token = state.dexes[dex_index].spec.collateral
    state.deposited_u[token] = state.deposited_u.get(token, 0) + amount_u
    if amount_u:
        log(state, account, {"type": "deposit", "usdc": wire_u(amount_u)})


def deposit_spot(state: State, account: Account, token: str, amount_u: int) -> None:
    """Bring new money into the spot balance."""
    account.spot_u[token] = account.spot_u.get(token, 0) + amount_u
    state.deposited_u[token] = state.deposited_u.get(token, 0) + amount_u


def amount_of(text: str) -> int | None:
    """A positive amount in micro-units; more than six decimals are refused."""
    amount_u = parse_units(text, U_DECIMALS)
    return amount_u if amount_u else None


def _available_u(state: State, account: Account, place: str, token: str) -> int:
    if place == SPOT:
        return account.spot_u.get(token, 0)
    return summarise(account.purse(state.dex_by_name[place].index)).withdrawable_u


def _shift(state: State, account: Account, place: str, token: str, amount_u: int) -> None:
    if place == SPOT:
        account.spot_u[token] = account.spot_u.get(token, 0) + amount_u
    else:
        account.purse(state.dex_by_name[place].index).cash_u += amount_u


def send_asset(state: State, account: Account, action: dict[str, Any], *, own: bool) -> str | None:
    """
    `sendAsset` and, with `own`, `agentSendAsset`; the venue's sentence if refused.

    Places are "" (main dex), "spot" and the names of builder dexes.
    """
    source, target = action["sourceDex"], action["destinationDex"]
    token = str(action["token"]).split(":")[0]
    sender = account
    if action.get("fromSubAccount"):
        found = _sub(account, action["fromSubAccount"])
        if found is None:
            return "Invalid send"
        sender = found
    for place in (source, target):
        if place != SPOT and place not in state.dex_by_name:
            return "Invalid perp DEX"
    known = {dex.spec.collateral for dex in state.dexes} | {MAIN_COLLATERAL}
    if token not in known:
        return f"Unknown token {token}"
    for place in (source, target):
        if place != SPOT and state.dex_by_name[place].spec.collateral != token:
            return "Invalid send"
    destination = str(action["destination"]).lower()
    family = account.master or account
    members = {family.address, *(sub.address for _, sub in family.subs)}
    if own and destination not in members:
        return "Agent can only send asset to same user or their sub-accounts."
    amount_u = amount_of(action["amount"])
    if amount_u is None or (destination == sender.address and source == target):
        return "Invalid send"
    if amount_u > _available_u(state, sender, source, token):
        return SHORT_OF_BALANCE
    receiver = open_account(state, destination)
    _shift(state, sender, source, token, -amount_u)
    _shift(state, receiver, target, token, amount_u)
    delta = {
        "type": "send",
        "user": sender.address,
        "destination": destination,
        "sourceDex": source,
        "destinationDex": target,
        "token": token,
        "amount": wire_u(amount_u),
        "usdcValue": wire_u(amount_u),
        "fee": "0.0",
        "nativeTokenFee": "0.0",
        "nonce": action.get("nonce"),
        "feeToken": "",
    }
    log(state, sender, delta)
    if receiver is not sender:
        log(state, receiver, delta)
    return None


def class_transfer(state: State, account: Account, action: dict[str, Any]) -> str | None:
    """`usdClassTransfer`: USDC between spot and the main dex, also of a named sub-account."""
    text, _, sub_text = str(action["amount"]).partition(" subaccount:")
    mover = account
    if sub_text:
        found = _sub(account, sub_text)
        if found is None:
            return "Invalid send"
        mover = found
    amount_u = amount_of(text)
    if amount_u is None:
        return "Invalid send"
    to_perp = bool(action["toPerp"])
    source, target = (SPOT, "") if to_perp else ("", SPOT)
    if amount_u > _available_u(state, mover, source, MAIN_COLLATERAL):
        return SHORT_OF_BALANCE
    _shift(state, mover, source, MAIN_COLLATERAL, -amount_u)
    _shift(state, mover, target, MAIN_COLLATERAL, amount_u)
    log(
        state,
        mover,
        {"type": "accountClassTransfer", "usdc": wire_u(amount_u), "toPerp": to_perp},
    )
    return None


def _between(
    state: State,
    sender: Account,
    receiver: Account,
    amount_u: int | None,
    *,
    place: str,
    token: str,
) -> str | None:
    if amount_u is None:
        return "Invalid send"
    if amount_u > _available_u(state, sender, place, token):
        return SHORT_OF_BALANCE
    _shift(state, sender, place, token, -amount_u)
    _shift(state, receiver, place, token, amount_u)
    return None


def usd_send(state: State, account: Account, action: dict[str, Any]) -> str | None:
    """`usdSend`: USDC of the main dex to another account."""
    receiver = open_account(state, action["destination"])
    amount_u = amount_of(action["amount"])
    refused = _between(state, account, receiver, amount_u, place="", token=MAIN_COLLATERAL)
    if refused is None and amount_u is not None:
        delta = {
            "type": "internalTransfer",
            "usdc": wire_u(amount_u),
            "user": account.address,
            "destination": receiver.address,
            "fee": "0.0",
        }
        log(state, account, delta)
        log(state, receiver, delta)
    return refused


def spot_send(state: State, account: Account, action: dict[str, Any]) -> str | None:
    """`spotSend`: a token between spot balances."""
    token = str(action["token"]).split(":")[0]
    receiver = open_account(state, action["destination"])
    amount_u = amount_of(action["amount"])
    return _between(state, account, receiver, amount_u, place=SPOT, token=token)


def withdraw(state: State, account: Account, action: dict[str, Any]) -> str | None:
    """`withdraw3`: USDC off the venue, for one dollar."""
    amount_u = amount_of(action["amount"])
    if amount_u is None or amount_u <= WITHDRAW_FEE_U:
        return "Invalid send"
    if amount_u > _available_u(state, account, "", MAIN_COLLATERAL):
        return SHORT_OF_USD
    account.purse(0).cash_u -= amount_u
    state.deposited_u[MAIN_COLLATERAL] -= amount_u
    delta = {
        "type": "withdraw",
        "usdc": wire_u(amount_u - WITHDRAW_FEE_U),
        "nonce": action.get("time"),
        "fee": wire_u(WITHDRAW_FEE_U),
    }
    log(state, account, delta)
    return None


# -- sub-accounts ----------------------------------------------------------------------------------


def _sub(account: Account, address: str) -> Account | None:
    key = address.lower()
    if not key.startswith("0x"):
        key = f"0x{key}"
    return next((sub for _, sub in account.subs if sub.address == key), None)


def create_sub(state: State, account: Account, name: str) -> tuple[str | None, str]:
    """(refusal, address) of a new sub-account; the address follows from master and number."""
    required = state.params.sub_account_volume_usd
    if account.volume_u < required * U_PER_USD:
        text = f"Cannot create sub-accounts until enough volume traded. Required: ${required}."
        return text, ""
    seed = f"{account.address}/{len(account.subs)}".encode()
    address = f"0x{hashlib.sha256(seed).hexdigest()[:ADDRESS_HEX]}"
    sub = open_account(state, address)
    sub.master = account
    account.subs.append((name, sub))
    return None, address


def sub_transfer(state: State, account: Account, action: dict[str, Any]) -> str | None:
    """`subAccountTransfer`: `usd` micro-dollars between the main dex purses."""
    sub = _sub(account, action["subAccountUser"])
    if sub is None:
        return "Invalid send"
    amount_u = int(action["usd"])
    is_deposit = bool(action["isDeposit"])
    sender, receiver = (account, sub) if is_deposit else (sub, account)
    refused = _between(state, sender, receiver, amount_u or None, place="", token=MAIN_COLLATERAL)
    if refused is None:
        delta = {
            "type": "subAccountTransfer",
            "usdc": wire_u(amount_u),
            "user": sender.address,
            "destination": receiver.address,
        }
        log(state, sender, delta)
        log(state, receiver, delta)
    return refused


def sub_spot_transfer(state: State, account: Account, action: dict[str, Any]) -> str | None:
    """`subAccountSpotTransfer`: a token between the spot balances."""
    sub = _sub(account, action["subAccountUser"])
    if sub is None:
        return "Invalid send"
    token = str(action["token"]).split(":")[0]
    sender, receiver = (account, sub) if action["isDeposit"] else (sub, account)
    amount_u = amount_of(action["amount"])
    return _between(state, sender, receiver, amount_u, place=SPOT, token=token)
