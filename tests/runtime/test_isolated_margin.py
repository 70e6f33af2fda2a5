"""
An isolated position is liquidated against its own margin, long before the account is in need.

What is shown is what leaves the program over the pipe: that it trips and closes by itself, with no
fill that the venue forced, at every size and on either side.
"""

from __future__ import annotations

import pytest

from mmbot.core.types import Side, Tif
from mmbot.emulator.specs import NewOrder
from runtime.pipe_rig import EQUITY_USD, PipeRun
from runtime.test_kill_switch import STILL, ended_flat
from support import often

COIN = "hyna:HYPE"
STEP_BPS = 5.0
EVERY_S = 1.0


def isolated(*sets: str, usd: float = 0.0) -> PipeRun:
    """A daemon on a perp of a builder dex that knows isolated margin alone, with a position."""
    run = PipeRun(
        "demo",
        coin=COIN,
        sets=("risk.warm_s=0", f"risk.capital_usd={EQUITY_USD:g}", *sets),
        market={**STILL, "px_usd": 26.2},
    )
    refusal = run.lever()
    assert refusal is None
    take(run, usd)
    return run


def take(run: PipeRun, usd: float) -> None:
    """Have the account itself trade as a taker, as a person would by hand."""
    if not usd:
        return
    instrument, (bid, ask) = run.instrument, run.touch()
    side, px = (Side.BUY, ask) if usd > 0 else (Side.SELL, bid)
    ticks = instrument.floor_ticks(instrument.ticks(px) * (1 + side * 0.02))
    lots = round(instrument.lots(abs(usd) / px))
    result = run.venue.submit(run.user, NewOrder(instrument.asset_id, side, ticks, lots, Tif.IOC))
    assert result.filled_lots == lots, result
    run.exchange.settle()


def forced(run: PipeRun) -> list[object]:
    """Fills by which the venue closed ours."""
    return [row for row in run.fills() if "liquidation" in row]


def slide(run: PipeRun, sign: int, pct: float) -> None:
    """Let every price go against us, a little at a time, until something ends the run."""
    bid, ask = run.touch()
    start = (bid + ask) / 2
    for step in range(1, round(pct * 100 / STEP_BPS) + 1):
        if run.endings:
            return
        run.market.force_px(start * (1 - sign * step * STEP_BPS * 1e-4))
        run.run(EVERY_S)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_isolated_position_is_closed_by_us_before_the_venue_liquidates_it(sign: int) -> None:
    """
    A fifth of the capital at 10x: its own margin is 20 USD, the account holds 1000.

    A move of 5.3 % liquidates it, for a loss of a hundredth of the capital, which no other trigger
    has a limit for.
    """
    run = isolated(usd=sign * 0.2 * EQUITY_USD)
    run.trader.start()
    run.run(10)
    slide(run, sign, 8.0)
    assert not forced(run)
    ended_flat(run, "margin")


def followed(run: PipeRun) -> tuple[float, float]:
    """What the program believes of its margin, and what the venue holds: shares of maintenance."""
    engine = run.trader.engine
    (ours,) = [
        reach.value for reach in engine.reaches(run.sim.clock()) if reach.trigger == "margin"
    ]
    assert ours is not None
    rows = [row["position"] for row in run.state()["assetPositions"]]
    if not rows:
        return ours, 0.0
    (row,) = rows
    kept = float(row["positionValue"]) / (2 * row["maxLeverage"])
    return ours, kept / float(row["marginUsed"])


def test_between_readings_our_fills_and_the_mark_give_the_venue_s_own_figure() -> None:
    """Read once at the start, then never: a position that was opened since is not overlooked."""
    run = PipeRun(
        "demo",
        coin=COIN,
        sets=("risk.warm_s=0", "risk.capital_usd=1000", "kill.check_s=300", "kill.account_s=3600"),
        market={"px_usd": 26.2, "a_per_s": 1.0, "sigma_bps_rt_s": 4.0},
    )
    run.start()
    sizes = set()
    for _ in range(often(120, thoroughly=240)):
        run.run(1, every_s=1)
        ours, theirs = followed(run)
        lots = run.trader.engine.position.lots
        mark = run.trader.engine.mark_ticks
        is_told = run.instrument.sz(lots) == pytest.approx(run.position_sz())
        is_marked = mark == run.venue.asset(run.instrument.asset_id).mark_ticks
        if lots and is_told and is_marked:
            sizes.add(lots)
            assert ours == pytest.approx(theirs, abs=2e-3)
    assert len(sizes) >= 8
    assert {lots > 0 for lots in sizes} == {True, False}


@pytest.mark.parametrize("sign", [1, -1])
def test_margin_that_somebody_takes_out_trips_at_the_next_reading(sign: int) -> None:
    """What stands behind the position is the venue's word, not what opening it took."""
    run = isolated(usd=sign * 0.2 * EQUITY_USD)
    run.trader.start()
    run.run(5)
    assert not run.latched
    slot = run.venue.account(run.user).slot(run.venue.asset(run.instrument.asset_id), 1)
    taken_u = round(0.4 * slot.margin_used_u)
    slot.raw_u -= taken_u
    slot.purse.cash_u += taken_u
    run.run(15)
    assert not forced(run)
    ended_flat(run, "margin")


def test_margin_that_somebody_adds_is_there_as_well() -> None:
    """Eight percent against twice the margin: nothing trips, and nothing is liquidated."""
    run = isolated(usd=0.2 * EQUITY_USD)
    slot = run.venue.account(run.user).slot(run.venue.asset(run.instrument.asset_id), 1)
    added_u = slot.margin_used_u
    slot.raw_u += added_u
    slot.purse.cash_u -= added_u
    run.trader.start()
    run.run(10)
    slide(run, 1, 8.0)
    assert not run.latched
    assert not forced(run)
    run.stop()
