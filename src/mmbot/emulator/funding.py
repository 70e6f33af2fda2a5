"""
Hourly funding: premium samples every five seconds, payment at the oracle price.

Sources: Hyperliquid docs, "Funding", "HIP-3 deployer actions"; protocol notes 4.6 and 5.9.
"""

from __future__ import annotations

from mmbot.emulator.assets import AssetState
from mmbot.emulator.numbers import wire, wire_float, wire_u
from mmbot.emulator.shapes import Json
from mmbot.emulator.specs import FundingRecord
from mmbot.emulator.state import State

HOUR_MS = 3_600_000
SAMPLE_MS = 5_000
INTEREST_8H = 0.0001
CLAMP_MAIN_8H = 0.0005
CLAMP_BUILDER_8H = 0.0003
CAP_PER_H = 0.04
RATE_DECIMALS = 10
DELAY_MAX_MS = 118
_RATE_SCALE = 10**12


def due_after(now_ms: int) -> int:
    """
    Next funding time after `now_ms`: 1 to 118 ms past an hour, by a fixed mix of the hour.

    Rows on the venue are never exactly on the hour; 1 to 118 ms was seen.
    """
    hour = now_ms // HOUR_MS
    for n in (hour, hour + 1):
        due_ms = n * HOUR_MS + 1 + (n * 2_654_435_761 >> 7) % DELAY_MAX_MS
        if due_ms > now_ms:
            return due_ms
    return (hour + 2) * HOUR_MS + 1


def sample(state: State) -> None:
    """Take the premium of every listed market that has impact prices on both sides."""
    for asset in state.assets.values():
        if asset.is_halted:
            continue
        premium = asset.premium()
        if premium is not None:
            asset.premium_sum += premium
            asset.premium_samples += 1


def average_premium(asset: AssetState) -> float:
    """Mean premium of this hour's samples; zero without a two-sided book (unverified)."""
    return asset.premium_sum / asset.premium_samples if asset.premium_samples else 0.0


def rate_per_h(asset: AssetState, premium: float) -> float:
    """
    Funding per hour: `mult * (P + clamp(i - P, -c, c)) / 8`, within 4 % per hour.

    The clamp is wider on the main dex (0.05 %) than on builder dexes (0.03 %). A rate that was set
    from outside stands for all of it.
    """
    if asset.funding_per_h is not None:
        return asset.funding_per_h
    spec = asset.spec
    interest = INTEREST_8H if spec.funding_interest_8h is None else spec.funding_interest_8h
    clamp = CLAMP_BUILDER_8H if asset.is_builder_dex else CLAMP_MAIN_8H
    if spec.funding_clamp_8h is not None:
        clamp = spec.funding_clamp_8h
    pulled = premium + max(-clamp, min(clamp, interest - premium))
    rate = spec.funding_multiplier * pulled / 8
    return max(-CAP_PER_H, min(CAP_PER_H, rate))


def settle(state: State) -> None:
    """Pay this hour's funding on every position and start the next hour's samples."""
    state.tx += 1
    for asset in state.assets.values():
        if asset.is_halted:
            continue
        premium = average_premium(asset)
        # Paid and shown are the same number.
        rate = round(rate_per_h(asset, premium), RATE_DECIMALS)
        asset.funding_rows.append((state.now_ms, rate, premium))
        asset.premium_sum = 0.0
        asset.premium_samples = 0
        _pay(state, asset, rate)


def _pay(state: State, asset: AssetState, rate: float) -> None:
    scaled = round(rate * _RATE_SCALE)
    token = state.collateral(asset)
    residual_u = 0
    for account in state.accounts.values():
        purse = account.purses.get(asset.dex_index)
        slot = purse.slots.get(asset.asset_id) if purse else None
        if purse is None or slot is None or not slot.szi_lots:
            continue
        # Rounded to the micro-dollar; what rounding leaves is kept in the books by itself.
        due_u = (slot.szi_lots * asset.oracle_ticks * scaled + _RATE_SCALE // 2) // _RATE_SCALE
        residual_u += due_u
        if slot.is_cross:
            purse.cash_u -= due_u
        else:
            slot.raw_u -= due_u
        slot.funding_all_u += due_u
        slot.funding_open_u += due_u
        slot.funding_change_u += due_u
        if not account.is_house:
            row: Json = {
                "time": state.now_ms,
                "hash": "0x" + "0" * 64,
                "delta": {
                    "type": "funding",
                    "coin": asset.coin,
                    "usdc": wire_u(-due_u),
                    "szi": wire(slot.szi_lots, asset.sz_decimals),
                    "fundingRate": wire_float(rate, RATE_DECIMALS),
                    "nSamples": None,
                },
            }
            account.fundings.append(row)
            state.events.append(FundingRecord(account.address, state.now_ms, row))
    state.funding_residual_u[token] = state.funding_residual_u.get(token, 0) + residual_u
