"""
The emulated venue: one object with accounts, books, rules and queries, and no clock of its own.

Prices and sizes come in as ticks and lots (`submit`, for the market around us) or as a parsed
action (`execute`, for clients); queries answer in wire shape; `drain` tells what happened since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmbot.emulator import (
    funding,
    liquidation,
    orders,
    transfers,
    triggers,
)
from mmbot.emulator.assets import MS_PER_DAY
from mmbot.emulator.dispatch import Dispatcher, err, fire_scheduled
from mmbot.emulator.placing import Desk
from mmbot.emulator.queries import Queries
from mmbot.emulator.specs import (
    U_PER_USD,
    CancelResult,
    DexSpec,
    NewOrder,
    OrderResult,
    VenueEvent,
    VenueParams,
)
from mmbot.emulator.state import State
from mmbot.errors import ConfigError, InvariantError

Json = dict[str, Any]


class Venue(Queries):
    """
    An exchange without transport.

    Money is exact: for each collateral token, purses, isolated margins, spot balances, fees and
    what rounding left of funding always add up to what was deposited (`imbalance_u` is zero).

    Args:
        params: Rules and limits.
        dexes: Main dex first, then the builder dexes in `perpDexs` order.
        now_ms: Venue time at the start, milliseconds since the epoch.

    Raises:
        ConfigError: The first dex is not the main one, or a coin is listed twice.
    """

    def __init__(self, params: VenueParams, dexes: Sequence[DexSpec], now_ms: int) -> None:
        self.params = params
        self.state = State(params, dexes, now_ms)
        self.desk = Desk(self.state)
        self.dispatcher = Dispatcher(self.state, self.desk)
        self._sample_at_ms = (now_ms // funding.SAMPLE_MS + 1) * funding.SAMPLE_MS
        self._funding_at_ms = funding.due_after(now_ms)
        self._day_at_ms = (now_ms // MS_PER_DAY + 1) * MS_PER_DAY
        self._due_ms = min(self._sample_at_ms, self._funding_at_ms, self._day_at_ms)

    # -- time -------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Venue time."""
        return self.state.now_ms

    def next_due_ms(self) -> int:
        """When something happens by itself: a premium sample, funding, a scheduled cancel."""
        return self._due_ms

    def advance(self, now_ms: int) -> None:
        """
        Go to `now_ms`, doing on the way, in order, whatever falls due.

        Raises:
            InvariantError: Time would run backwards.
        """
        state = self.state
        if now_ms < state.now_ms:
            msg = f"venue time would go back from {state.now_ms} to {now_ms} ms"
            raise InvariantError(msg)
        while self._due_ms <= now_ms:
            state.now_ms = max(state.now_ms, self._due_ms)
            self._run_due()
        state.now_ms = now_ms

    def _run_due(self) -> None:
        state = self.state
        if self._sample_at_ms <= state.now_ms:
            funding.sample(state)
            self._sample_at_ms += funding.SAMPLE_MS
        if self._day_at_ms <= state.now_ms:
            for asset in state.assets.values():
                asset.prev_day_ticks, asset.day_ntl_u, asset.day_lots = asset.mark_ticks, 0, 0
            self._day_at_ms += MS_PER_DAY
        if self._funding_at_ms <= state.now_ms:
            funding.settle(state)
            self._funding_at_ms = funding.due_after(state.now_ms)
            for asset in state.assets.values():
                if asset.holders:
                    liquidation.check(state, self.desk, asset)
        for account in state.accounts.values():
            if account.cancel_at_ms is not None and account.cancel_at_ms <= state.now_ms:
                fire_scheduled(state, self.desk, account)
        self._plan()

    def _plan(self) -> None:
        due_ms = min(self._sample_at_ms, self._funding_at_ms, self._day_at_ms)
        for account in self.state.accounts.values():
            if account.cancel_at_ms is not None and account.cancel_at_ms < due_ms:
                due_ms = account.cancel_at_ms
        self._due_ms = due_ms

    # -- accounts and prices ----------------------------------------------------------------------

    def open_account(
        self, address: str, *, usd: float, dex: str = "", is_house: bool = False
    ) -> None:
        """Fund an account on a dex with its collateral; a house account belongs to the market."""
        account = transfers.open_account(self.state, address, is_house=is_house)
        transfers.deposit(self.state, account, self._dex(dex).index, round(usd * U_PER_USD))

    def fund_spot(self, address: str, token: str, amount: float) -> None:
        """Add to a spot balance."""
        account = transfers.open_account(self.state, address)
        transfers.deposit_spot(self.state, account, token, round(amount * U_PER_USD))

    def grant_volume(self, address: str, usd: float) -> None:
        """Count past volume to an account: budgets, scheduleCancel and sub-accounts hang on it."""
        self.account(address).volume_u += round(usd * U_PER_USD)

    def set_rates(self, address: str, *, taker: float | None, maker: float | None) -> None:
        """Fix an account's fee rates (fractions); None returns to the tier table."""
        account = self.account(address)
        account.taker_rate, account.maker_rate = taker, maker

    def set_oracle(self, asset_id: int, px: float) -> None:
        """New oracle price, USD."""
        asset = self.asset(asset_id)
        if not asset.is_halted:
            asset.oracle_ticks = max(1, asset.ticks(px))

    def set_mark(self, asset_id: int, px: float) -> None:
        """New mark price, USD: waiting triggers fire and accounts below maintenance are closed."""
        asset = self.asset(asset_id)
        if asset.is_halted:
            return
        asset.mark_ticks = max(1, asset.ticks(px))
        if asset.triggers:
            triggers.fire_due(self.state, self.desk, asset)
        if asset.holders:
            liquidation.check(self.state, self.desk, asset)

    def set_funding(self, asset_id: int, per_h: float) -> None:
        """Rate of the next funding, a fraction an hour, in place of what the premium gives."""
        self.asset(asset_id).funding_per_h = per_h

    # -- markets ----------------------------------------------------------------------------------

    def halt(self, asset_id: int) -> None:
        """Stop trading: orders cancelled, positions settled at the mark; `resume` undoes it."""
        liquidation.halt(self.state, self.desk, self.asset(asset_id), is_delisting=False)

    def delist(self, asset_id: int) -> None:
        """Stop trading for good: as `halt`, and the asset is marked delisted."""
        liquidation.halt(self.state, self.desk, self.asset(asset_id), is_delisting=True)

    def resume(self, asset_id: int) -> None:
        """Trade a halted asset again, under its old id."""
        asset = self.asset(asset_id)
        asset.is_halted = asset.is_delisted

    def set_oi_cap(self, asset_id: int, usd: float | None) -> None:
        """Cap the notional open interest of an asset."""
        self.asset(asset_id).oi_cap_u = None if usd is None else round(usd * U_PER_USD)

    def set_switches(self, *, is_post_only: bool, is_modify_reversed: bool) -> None:
        """
        Open or close the window after an upgrade, and turn round the records of a modify.

        In the window only ALO orders are accepted.
        """
        self.state.is_post_only = is_post_only
        self.state.is_modify_reversed = is_modify_reversed

    # -- orders -----------------------------------------------------------------------------------

    def submit(self, account: str, order: NewOrder) -> OrderResult:
        """
        Place one order without the protocol around it.

        A house account skips margin, least value and records; for any other the per-order checks
        of the venue apply (prices and sizes are taken as valid ticks and lots).
        """
        owner = self.account(account)
        if owner.is_house:
            return self.desk.place_house(owner, order)
        self.state.tx += 1
        return self.desk.place(owner, order)

    def cancel(
        self, account: str, asset_id: int, *, oid: int | None = None, cloid: str | None = None
    ) -> CancelResult:
        """Cancel one order by oid or cloid."""
        ref = oid if oid is not None else cloid
        if ref is None:
            msg = "cancel needs an oid or a cloid"
            raise ConfigError(msg)
        return orders.cancel(self.desk, self.account(account), asset_id, ref)

    def execute(self, account: str, action: Json, *, signer: str, is_agent: bool) -> Json:
        """
        Carry out a canonical, authenticated action; returns the body of the answer.

        Whatever the venue refuses is in the answer; nothing is raised for it.
        """
        owner = self.state.account(account)
        if owner is None:
            return err(f"Must deposit before performing actions. User: {signer.lower()}")
        answer = self.dispatcher.execute(owner, action, signer=signer, is_agent=is_agent)
        if action["type"] == "scheduleCancel":
            self._plan()
        return answer

    def charge(self, account: str, requests: int) -> None:
        """Count requests against an address budget, such as those of an expired action."""
        owner = self.state.account(account)
        if owner is not None:
            owner.requests_used += requests

    def drain(self) -> list[VenueEvent]:
        """Events since the last drain, in order."""
        return self.state.drain()

    def imbalance_u(self, token: str) -> int:
        """
        Books against deposits of a collateral token, micro-dollars: zero, always.

        Sums purses, isolated margins, spot balances, fees and the funding residual. Positions need
        no price: their sizes cancel out.
        """
        state = self.state
        total_u = state.funding_residual_u.get(token, 0)
        for dex in state.dexes:
            if dex.spec.collateral != token:
                continue
            total_u += dex.fees_u
            for account in state.accounts.values():
                purse = account.purses.get(dex.index)
                if purse is not None:
                    total_u += purse.cash_u + sum(slot.raw_u for slot in purse.slots.values())
        total_u += sum(account.spot_u.get(token, 0) for account in state.accounts.values())
        return total_u - state.deposited_u.get(token, 0)
