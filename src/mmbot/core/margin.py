"""
The margin behind our position, and how near the venue is to liquidating it.

A cross position stands against the account of the dex with every other one in it; an isolated one
stands against the cash that was set aside when it was opened, however much more the account holds.
Both are followed from reading to reading by our own fills and the mark.

Source: Hyperliquid docs, "Margining", "Margin tiers", "Liquidations"; protocol notes 1.4.7.
"""

from __future__ import annotations

from typing import Final

from mmbot.core.events import AccountRead, Isolated, Snapshot
from mmbot.core.position import Position
from mmbot.core.risk import Risk, Trip
from mmbot.core.types import USD_PER_TICK_LOT, Instrument

BALANCE_FRAC: Final = 0.5
"""Share of the capital at the start below which the account no longer carries the limits. No loss
limit may be as high, so trading alone never gets there: money has left the account."""

MARGIN_UNIT: Final = "of the margin behind it"
_LEAST_USD: Final = 0.01
"""What a share is taken of where nothing is left: it stays a number that can be stored."""


class Margin:
    """
    Follow what is needed and what is there; trip the switch of `risk` where too little is left.

    Args:
        frac: Maintenance margin that trips, fraction of what stands behind the position.
        risk: Whose switch trips.
        instrument: Gives the maintenance margin, half the initial one at the largest leverage, and
            whether positions are isolated.
        leverage: At which a position is opened; the venue's word for one that is held outdoes it.
    """

    __slots__ = (
        "_apart_lots",
        "_apart_usd_per_lot",
        "_equity_usd",
        "_frac",
        "_instrument",
        "_is_isolated",
        "_least_per_usd",
        "_leverage",
        "_others_usd",
        "_per_usd",
        "_read_pnl_usd",
        "_risk",
        "_set_leverage",
    )

    def __init__(self, frac: float, risk: Risk, instrument: Instrument, leverage: int) -> None:
        self._frac = frac
        self._risk = risk
        self._instrument = instrument
        self._is_isolated = instrument.only_isolated
        self._set_leverage = self._leverage = min(leverage, instrument.max_leverage)
        self._least_per_usd = self._per_usd = maintenance_per_usd(instrument.max_leverage)
        """Maintenance margin of a dollar of position."""
        self._equity_usd: float | None = None
        """Account value at the last reading, with the profit and the margin of others then."""
        self._read_pnl_usd = 0.0
        self._others_usd = 0.0
        self._apart_usd_per_lot = 0.0
        """What the venue holds for each of `_apart_lots` beside what opening it takes: added or
        taken out by hand, paid as funding, or opened at another leverage."""
        self._apart_lots = 0
        """Signed. It only shrinks until the next reading, and a turn of the position ends it."""

    @property
    def equity_usd(self) -> float | None:
        """Account value at the last reading, None before one."""
        return self._equity_usd

    def read(
        self, event: AccountRead | Snapshot, position: Position, px_ticks: float, pnl_usd: float
    ) -> None:
        """
        A reading of the account.

        Args:
            event: What was read.
            position: Ours, as of now.
            px_ticks: The mark now.
            pnl_usd: Our profit since the start, at that mark.
        """
        self._equity_usd, self._read_pnl_usd = event.equity_usd, pnl_usd
        self._read_isolated(event.isolated, event.position_lots, position)
        ours_usd = 0.0 if self._is_isolated else abs(position.lots) * px_ticks * USD_PER_TICK_LOT
        self._others_usd = max(0.0, event.maintenance_usd - ours_usd * self._per_usd)
        limits = self._risk.limits
        if limits is not None and event.equity_usd < BALANCE_FRAC * limits.capital_usd:
            limit_usd = BALANCE_FRAC * limits.capital_usd
            text = (
                f"the account value of {event.equity_usd:.2f} USD is below {limit_usd:.2f}, half "
                "of the capital that the limits are made of: money has left the account"
            )
            at_ns, usd = event.recv_ns, event.equity_usd
            self._risk.trip(Trip.BALANCE, usd, limit_usd, "USD", at_ns, text)
        self.value(position, px_ticks, pnl_usd, event.recv_ns)

    def _read_isolated(self, said: Isolated | None, lots: int, position: Position) -> None:
        """What of the margin our own fills do not explain."""
        self._is_isolated = said is not None or self._instrument.only_isolated
        self._apart_lots, self._apart_usd_per_lot = 0, 0.0
        self._leverage, self._per_usd = self._set_leverage, self._least_per_usd
        if said is None:
            return
        self._leverage = said.leverage
        if said.maintenance_per_usd is not None:
            self._per_usd = max(self._least_per_usd, said.maintenance_per_usd)
        entry = position.entry_ticks
        if entry is None or not lots or (lots > 0) is not (position.lots > 0):
            return
        side = 1 if lots > 0 else -1
        opened = entry / said.leverage + side * (self._instrument.ticks(said.mark_px) - entry)
        self._apart_lots = lots
        self._apart_usd_per_lot = said.margin_usd / abs(lots) - opened * USD_PER_TICK_LOT

    def value(self, position: Position, px_ticks: float, pnl_usd: float, now_ns: int) -> None:
        """Hold what is needed against what is there, both moved on from the last reading."""
        if self._equity_usd is None:
            return
        self._apart_lots = self._left_apart(position.lots)
        ours_usd = abs(position.lots) * px_ticks * USD_PER_TICK_LOT
        equity_usd = self._equity_usd + pnl_usd - self._read_pnl_usd
        needed_usd = ours_usd * self._per_usd
        if self._is_isolated:
            if not position.lots and not self._others_usd:
                return
            own_usd = self._own_usd(position, px_ticks)
            if needed_usd > 0 and needed_usd >= self._frac * own_usd:
                what = f"the isolated margin of the position, {own_usd:.2f} USD"
                self._trip(needed_usd, own_usd, what, now_ns)
            equity_usd -= own_usd
            needed_usd = 0.0
        needed_usd += self._others_usd
        if needed_usd > 0 and needed_usd >= self._frac * equity_usd:
            what = f"the account value {equity_usd:.2f} USD"
            self._trip(needed_usd, equity_usd, what, now_ns)

    def share(self, position: Position, px_ticks: float, pnl_usd: float) -> float | None:
        """What is needed of what is there, the worse where both count; None before a reading."""
        if self._equity_usd is None:
            return None
        needed_usd = abs(position.lots) * px_ticks * USD_PER_TICK_LOT * self._per_usd
        equity_usd = self._equity_usd + pnl_usd - self._read_pnl_usd
        if not self._is_isolated:
            return _share(needed_usd + self._others_usd, equity_usd)
        own_usd = self._own_usd(position, px_ticks)
        return max(_share(needed_usd, own_usd), _share(self._others_usd, equity_usd - own_usd))

    def _left_apart(self, lots: int) -> int:
        """Of the lots that something lay apart for, those not closed since; signed."""
        apart = self._apart_lots
        if (lots > 0) is not (apart > 0):
            return 0
        return lots if abs(lots) < abs(apart) else apart

    def _own_usd(self, position: Position, px_ticks: float) -> float:
        """
        Equity of the isolated position: notional over leverage at its entry, its profit since.

        Closing returns all of it pro rata, so what lies apart goes with the lots that it was for.
        """
        entry = position.entry_ticks
        if entry is None:
            return 0.0
        lots = position.lots
        size = abs(lots)
        opened = size * entry / self._leverage + lots * (px_ticks - entry)
        apart_usd = self._apart_usd_per_lot * abs(self._left_apart(lots))
        return opened * USD_PER_TICK_LOT + apart_usd

    def _trip(self, needed_usd: float, there_usd: float, what: str, now_ns: int) -> None:
        share = _share(needed_usd, there_usd)
        text = (
            f"maintenance margin {needed_usd:.2f} USD is {share:.1%} of {what}, the limit is "
            f"{self._frac:.1%}; at 100 % the venue liquidates"
        )
        self._risk.trip(Trip.MARGIN, share, self._frac, MARGIN_UNIT, now_ns, text)


def maintenance_per_usd(max_leverage: int) -> float:
    """Margin that a dollar of position must keep: half of what opening it takes at the largest."""
    return 0.5 / max_leverage


def liquidation_move(leverage: int, max_leverage: int, side: int) -> float:
    """
    Move of the price, as a fraction, at which an isolated position of `side` is liquidated.

    `1 / L + side * m = l * (1 + m)`, with `l` the maintenance margin of a dollar.
    """
    kept = maintenance_per_usd(max_leverage)
    return -side * (1 / leverage - kept) / (1 - side * kept)


def _share(needed_usd: float, there_usd: float) -> float:
    return needed_usd / max(there_usd, _LEAST_USD)
