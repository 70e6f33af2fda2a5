"""What a run was: the facts it began with, and the sum it ended with."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from mmbot.config import Config
from mmbot.runtime.preflight import Facts
from mmbot.runtime.trader import Ending, Trader


def started_facts(config: Config, facts: Facts) -> dict[str, object]:
    """What a run begins with, for the log."""
    return {
        "mode": config.mode,
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
    trader: Trader, ending: Ending, duration_s: float, *, on_exit: str = "hold"
) -> dict[str, Any]:
    """
    The run summary: the ledger from fills alone, checked against the venue's own account.

    `ledger_gap_usd` is the change of the venue's equity less the sum of the ledger at the same
    mark; it is None when the venue could not be asked. `on_exit` is what was to become of the
    position, `closed` what became of it where it was to be closed.
    """
    engine = trader.engine
    figures = msgspec.structs.asdict(engine.summary())
    final = ending.final
    gap_usd: float | None = None
    if final is not None and trader.start_equity_usd is not None:
        ledger_usd = engine.position.pnl_usd(trader.instrument.ticks(final.mark_px))
        gap_usd = final.equity_usd - trader.start_equity_usd - ledger_usd
    return {
        "duration_s": round(duration_s, 3),
        **figures,
        "resting_orders": ending.resting_orders,
        "equity_usd": final.equity_usd if final is not None else None,
        "ledger_gap_usd": gap_usd,
        "on_exit": on_exit,
        "liquidation_px": final.liquidation_px if final is not None else None,
        "closed": msgspec.to_builtins(ending.closed),
        "kill": msgspec.to_builtins(ending.kill),
        "end_reason": ending.reason,
    }
