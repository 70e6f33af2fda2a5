"""What a run was: the facts it began with, and the sum it ended with."""

from __future__ import annotations

import sys
from typing import Any, Final

import msgspec

from mmbot.config import Config
from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.budget import WEIGHT_PER_MIN
from mmbot.hyperliquid.ports import Clock, Scheduler
from mmbot.runtime.economics import EdgeVerdict
from mmbot.runtime.ending import Ending
from mmbot.runtime.preflight import Facts
from mmbot.runtime.trader import Trader

_TELL_EVERY_NS: Final = 60 * NS_PER_S


def started_facts(
    config: Config, facts: Facts, edge: EdgeVerdict | None = None
) -> dict[str, object]:
    """What a run begins with, for the log; `edge` is judged where money is real."""
    return {
        "mode": config.mode,
        "is_measurement": edge is not None and edge.is_measurement,
        "edge": None if edge is None else edge.text,
        "coin": facts.instrument.coin,
        "asset_id": facts.instrument.asset_id,
        "user": facts.user,
        "equity_usd": facts.equity_usd,
        "capital_usd": config.risk.capital_usd,
        "max_position_usd": config.risk.position_limit_usd(facts.equity_usd),
        "noise_kill_p": facts.noise.kill_p,
        "noise_soft_p": facts.noise.soft_p,
        "on_exit": config.on_exit,
        "maker_fee_bps": facts.fees.maker_bps,
        "taker_fee_bps": facts.fees.taker_bps,
        "python": sys.version.split()[0],
    }


def summarise(
    trader: Trader,
    ending: Ending,
    duration_s: float,
    *,
    mode: str = "emulator",
    on_exit: str = "hold",
    is_measurement: bool = False,
    is_latched: bool | None = None,
) -> dict[str, Any]:
    """
    The run summary: the ledger from fills alone, checked against the venue's own account.

    `ledger_gap_usd` is the change of the venue's equity less the sum of the ledger at the same
    mark; it is None when the venue could not be asked. `position_sz` is None when it never could,
    so that nobody reads a position of 0. `venue_position_sz` and `mark_px` are the venue's own at
    the last reading, None without one. `mode` says whose money it was. `on_exit` is what was to
    become of the position, `closed` what became of it where it was to be closed. `is_measurement`
    is true of a live run without a width that is known to pay. `is_latched` says of a kill switch
    that tripped whether the next start is refused, None where it did not trip.
    """
    engine = trader.engine
    figures = msgspec.structs.asdict(engine.summary())
    final = ending.final
    if final is None and trader.start_equity_usd is None:
        # The account was never read: a ledger that begins at 0 says nothing of what it holds.
        figures["position_sz"] = None
    gap_usd: float | None = None
    if final is not None and trader.start_equity_usd is not None:
        ledger_usd = engine.position.pnl_usd(trader.instrument.ticks(final.mark_px))
        gap_usd = final.equity_usd - trader.start_equity_usd - ledger_usd
    return {
        "mode": mode,
        "duration_s": round(duration_s, 3),
        "is_measurement": is_measurement,
        **figures,
        **_requests(trader),
        "resting_orders": ending.resting_orders,
        "equity_usd": final.equity_usd if final is not None else None,
        "mark_px": final.mark_px if final is not None else None,
        "venue_position_sz": (
            trader.instrument.sz(final.position_lots) if final is not None else None
        ),
        "ledger_gap_usd": gap_usd,
        "on_exit": on_exit,
        "liquidation_px": final.liquidation_px if final is not None else None,
        "closed": msgspec.to_builtins(ending.closed),
        "kill": msgspec.to_builtins(ending.kill),
        "is_latched": is_latched,
        "end_reason": ending.reason,
    }


class RequestTeller:
    """Logs once a minute how many requests are left and how long they last at the present churn."""

    def __init__(self, trader: Trader, clock: Clock, scheduler: Scheduler) -> None:
        self._trader = trader
        self._clock = clock
        self._scheduler = scheduler

    def start(self) -> None:
        """The first line comes after a minute; the last one before the end."""
        self._scheduler.call_at(self._clock() + _TELL_EVERY_NS, self._tell)

    def _tell(self) -> None:
        trader = self._trader
        if trader.ended:
            return
        now_ns = self._clock()
        budget, forecast = trader.gateway.budget, trader.engine.forecast(now_ns)
        trader.log.info(
            "requests.forecast",
            **_requests(trader),
            used=forecast.cap - forecast.left,
            cap=forecast.cap,
            cancel_cap=budget.cancel_cap,
            ip_weight=budget.weight_used(now_ns),
            ip_weight_max=WEIGHT_PER_MIN,
        )
        self.start()


def _requests(trader: Trader) -> dict[str, Any]:
    forecast = trader.engine.forecast(trader.now_ns)
    return {
        "requests_left": forecast.left,
        "requests_per_h": forecast.per_h,
        "requests_hours_left": forecast.hours,
    }
