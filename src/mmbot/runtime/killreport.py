"""
`kill.json`: what stood where when the kill switch tripped, and how that run ended.

Written twice: at the trip, so that a process that dies over its end leaves it all the same, and
when the end is known. A person reads it before `mmbot reset`. `latched` says whether the next start
is refused: at the trip by what came of the first attempt, at the end by the last one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot.config import Config
from mmbot.core.intents import KillReason
from mmbot.core.orders import SlotState
from mmbot.core.risk import Day
from mmbot.logs import utc
from mmbot.runtime.ending import Ending
from mmbot.runtime.rundir import write_whole
from mmbot.runtime.trader import Trader

NAME: Final = "kill.json"


def tripped(trader: Trader, config: Config, reason: KillReason) -> dict[str, Any]:
    """What the program knew at the trip."""
    engine, instrument = trader.engine, trader.instrument
    risk, limits, book, position = engine.risk, engine.limits, engine.book, engine.position
    px = book.last_mid_ticks
    orders = [
        {
            "cloid": f"{slot.cloid:#034x}",
            "oid": slot.oid or None,
            "side": slot.side.name.lower(),
            "px": instrument.px(slot.target_px_ticks),
            "rest_sz": instrument.sz(slot.rest_lots),
            "state": slot.state.value,
        }
        for slot in engine.orders.slots.values()
        if slot.state is not SlotState.EMPTY
    ]
    return {
        "state": "tripped",
        "tripped_at": utc(reason.at_ns),
        "reason": msgspec.to_builtins(reason),
        "market": instrument.coin,
        "mode": config.mode,
        "equity_usd": risk.equity_usd,
        "start_usd": risk.start_usd,
        "peak_usd": risk.peak_usd,
        "max_drawdown_frac": risk.max_drawdown_frac,
        "day": _day(risk.day),
        "limits": msgspec.to_builtins(limits),
        "position_sz": instrument.sz(position.lots),
        "missing_sz": instrument.sz(engine.missing_lots),
        "pnl_usd": None if px is None else position.pnl_usd(px),
        "mid_px": None if px is None else instrument.px(px),
        "fills": position.fills,
        "orders": orders,
        "log": "log.jsonl",
    }


def _day(day: Day | None) -> dict[str, Any] | None:
    """The account of the day by its date, UTC."""
    if day is None:
        return None
    began = datetime.fromtimestamp(day.number * 86_400, tz=UTC)
    return {"date": f"{began:%Y-%m-%d}", "base_usd": day.base_usd, "pnl_usd": day.pnl_usd}


def ended(
    report: dict[str, Any], ending: Ending, summary: dict[str, Any], *, is_latched: bool
) -> dict[str, Any]:
    """The same with what became of orders and position."""
    return {
        **report,
        "state": "ended",
        "latched": is_latched,
        "verified": ending.final is not None,
        "may_rest": ending.resting_orders,
        "closed": msgspec.to_builtins(ending.closed),
        "error": ending.error,
        "exit_code": int(ending.exit_code),
        "summary": summary,
    }


def write(run_dir: Path, report: dict[str, Any]) -> None:
    """
    Write it whole or not at all.

    Raises:
        OSError: The folder cannot be written.
    """
    target = run_dir / NAME
    fresh = target.with_suffix(".new")
    write_whole(target, fresh, (json.dumps(report, indent=2, default=str) + "\n").encode())
