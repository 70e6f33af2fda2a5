"""
A builder dex whose deployer goes wrong, by the orders that the whole daemon leaves in the market.

The market is a growth-mode perp of such a dex. Each cause is made at the venue alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmbot.core.types import Side, Tif
from mmbot.emulator.specs import NewOrder
from mmbot.errors import Exit
from runtime.pipe_rig import START_MS, PipeRun

COIN = "xyz:NVDA"
STILL = {
    "px_usd": 181.32,
    "sigma_bps_rt_s": 0.0,
    "sweeps_per_s": 0.0,
    "oracle_noise_bps": 0.0,
    "a_per_s": 0.0,
    "oracle_ms": 600_000,
}
"""A market in which nothing happens by itself; the test is its deployer."""


def running(
    *sets: str,
    usd: float = 60.0,
    market: dict[str, object] | None = None,
    both: bool = True,
) -> PipeRun:
    """A daemon that quotes both sides, with a position that it found."""
    run = PipeRun(
        "demo", sets=("risk.warm_s=0", *sets), market={**STILL, **(market or {})}, coin=COIN
    )
    if usd:
        take(run, usd)
    run.start()
    run.run(10)
    assert sides(run) == {"B", "A"} or not both
    return run


def take(run: PipeRun, usd: float) -> None:
    """The account itself buys, as a person would by hand."""
    _, ask = run.touch()
    ticks = run.instrument.floor_ticks(run.instrument.ticks(ask) * 1.02)
    lots = round(usd / ask / run.instrument.sz(1))
    order = NewOrder(run.instrument.asset_id, Side.BUY, ticks, lots, Tif.IOC)
    assert run.venue.submit(run.user, order).filled_lots == lots
    run.exchange.settle()


def sides(run: PipeRun) -> set[str]:
    return {row["side"] for row in run.resting()}


def asset(run: PipeRun) -> Any:
    return run.venue.asset(run.instrument.asset_id)


def reducing(run: PipeRun) -> None:
    """What rests sells, only reduces, and together no more than is held."""
    rows = run.resting()
    assert {row["side"] for row in rows} == {"A"}
    assert all(row["reduceOnly"] for row in rows)
    assert sum(float(row["sz"]) for row in rows) <= run.position_sz()


def reasons(run: PipeRun) -> list[Any]:
    """Why the market was shut, and None for each time that it opened."""
    return [r["reason"] for r in run.log.all if r["event"] in ("market.shut", "market.opened")]


def go_silent(run: PipeRun) -> None:
    run.faults(mute=["activeAssetCtx"])


def go_apart(run: PipeRun) -> None:
    it = asset(run)
    run.venue.set_oracle(it.asset_id, it.px(it.mark_ticks) / 1.0055)


def fill_up(run: PipeRun) -> None:
    asset(run).oi_cap_u = 0


@pytest.mark.parametrize(
    ("cause", "reason", "within_s"),
    [
        # Ten seconds, and the link is not dropped for the silence before them.
        (go_silent, "oracle stale", 12),
        # The context comes once a second.
        (go_apart, "mark off oracle", 3),
        # One reading of the list, or the first order that meets it.
        (fill_up, "open interest cap", 22),
    ],
)
def test_what_the_deployer_does_empties_the_side_that_adds_and_no_other(
    cause: Callable[[PipeRun], None], reason: str, within_s: float
) -> None:
    """The reason is in the log, the run goes on, and with the cause the state ends."""
    run = running("link.stale_ctx_s=60", "premises.check_s=20")
    cause(run)
    run.run(within_s)
    reducing(run)
    assert reasons(run) == [reason]
    run.run(15)
    reducing(run)

    it = asset(run)
    it.oi_cap_u = None
    run.venue.set_oracle(it.asset_id, it.px(it.mark_ticks))
    run.faults(mute=[])
    run.run(40)
    assert sides(run) == {"B", "A"}
    assert reasons(run) == [reason, None]
    ending = run.stop()
    assert ending.exit_code is Exit.OK
    assert not run.latched


@pytest.mark.parametrize("sign", ["sell below", "sell above"])
def test_at_the_cap_no_order_is_refused_for_a_price_beyond_the_oracle(sign: str) -> None:
    """The venue takes a reducing order there only at its oracle or less aggressive than that."""
    run = running()
    it = asset(run)
    factor = 1.002 if sign == "sell below" else 0.998
    run.venue.set_oracle(it.asset_id, it.px(it.mark_ticks) * factor)
    fill_up(run)
    run.run(25)
    reducing(run)
    oracle_px = it.px(it.oracle_ticks)
    assert all(float(row["limitPx"]) >= oracle_px for row in run.resting())
    refused = [r for r in run.log.named("order.rejected") if "aggressive" in r["text"]]
    assert len(refused) <= len(run.resting()), "only what left before the cap was known"


@pytest.mark.parametrize("usd", [0.0, 60.0])
def test_a_delisting_in_the_middle_of_a_run_ends_it_with_the_reason(usd: float) -> None:
    """Nothing is left resting; a position is settled by the venue, and that trips the switch."""
    run = running(usd=usd)
    run.venue.delist(run.instrument.asset_id)
    run.exchange.settle()
    ending = run.ended(60)
    assert run.resting() == []
    assert ending.final is not None
    assert ending.resting_orders == 0
    if usd:
        assert ending.exit_code is Exit.KILLED
        assert [kill.trigger for kill in run.latched] == ["liquidation"]
        return
    assert ending.exit_code is Exit.CHECK
    assert ending.error is not None
    assert "xyz:NVDA was delisted by the venue" in ending.error
    assert not run.latched


def test_a_halt_in_the_middle_of_a_run_is_sat_out_and_then_ends_it() -> None:
    """Shorter than `premises.halt_exit_s` it is over with the halt."""
    run = running(usd=0, market={"oracle_ms": 3000})
    it = run.instrument.asset_id
    run.venue.halt(it)
    run.exchange.settle()
    run.run(60)
    assert not run.endings
    assert run.resting() == []
    assert reasons(run) == ["trading halted"]
    run.venue.resume(it)
    run.run(40)
    assert sides(run) == {"B", "A"}
    assert reasons(run) == ["trading halted", None]

    run.venue.halt(it)
    run.exchange.settle()
    run.run(115)
    assert not run.endings
    ending = run.ended(15)
    assert ending.exit_code is Exit.CHECK
    assert ending.error is not None
    assert "xyz:NVDA has been halted at the venue for 120 s" in ending.error
    assert run.resting() == []
    assert ending.final is not None
    assert not run.latched


def test_a_delisting_that_cancelled_nothing_of_ours_is_read_from_the_list() -> None:
    """The list of perps is asked for as soon as no trading is known, and only then."""
    run = running('hours.utc=["sat 00:00-00:01"]', usd=0, both=False)
    asked: list[str] = []
    post = run.http.post

    def heard(path: str, body: bytes, *more: Any) -> None:
        asked.append(body.decode())
        post(path, body, *more)

    run.http.post = heard  # type: ignore[method-assign, assignment]
    run.run(30)
    assert not any('"meta"' in body for body in asked)
    assert run.resting() == []
    run.venue.delist(run.instrument.asset_id)
    run.exchange.settle()
    ending = run.ended(60)
    assert any('"meta"' in body for body in asked)
    assert ending.error is not None
    assert "delisted" in ending.error
    assert run.resting() == []


def test_outside_the_hours_only_what_reduces_rests() -> None:
    """The run begins 150 s before the full hour, on a Thursday morning."""
    hour = START_MS // 3_600_000 % 24 + 1
    day = ("thu", "fri", "sat", "sun", "mon", "tue", "wed")[START_MS // 86_400_000 % 7]
    run = running(f'hours.utc=["{day} 00:00-{hour:02d}:00"]')
    run.run(130)
    assert sides(run) == {"B", "A"}
    run.run(15)
    reducing(run)
    changed = run.log.named("mode.changed")
    assert [(r["after"], r["cause"]) for r in changed] == [("reducing", "trading_hours")]
    assert not run.endings


def test_after_an_upgrade_of_the_network_quoting_goes_on() -> None:
    """Only post-only orders are taken for some minutes, and ours are nothing else."""
    run = running(market={"a_per_s": 0.5, "sigma_bps_rt_s": 0.5, "oracle_ms": 3000}, both=False)
    run.faults(is_post_only=True)
    placed = len(run.actions())
    run.run(150)
    assert len(run.actions()) > placed
    assert run.resting()
    assert not [r for r in run.log.named("order.rejected") if "upgrade" in r["text"]]
    run.faults(is_post_only=False)
    run.run(10)
    assert run.stop().exit_code is Exit.OK
    assert run.strays == []


def test_a_position_is_closed_as_soon_as_the_venue_takes_takers_again() -> None:
    """The window after an upgrade is minutes long; a dozen tries of a second each are not."""
    run = running("on_exit=flatten")
    run.faults(is_post_only=True)
    run.trader.stop("test")
    run.run(120)
    assert not run.endings
    assert run.position_sz() > 0
    run.faults(is_post_only=False)
    ending = run.ended(30)
    assert ending.closed is not None
    assert ending.closed.is_flat
    assert run.position_sz() == 0


def test_a_window_that_does_not_end_leaves_the_position_and_says_why() -> None:
    """An end that waits for ever is none."""
    run = running("on_exit=flatten")
    run.faults(is_post_only=True)
    run.trader.stop("test")
    ending = run.ended(600)
    assert ending.closed is not None
    assert not ending.closed.is_flat
    assert ending.closed.why is not None
    assert "post-only" in ending.closed.why
    assert run.resting() == []


def stop_oracle(run: PipeRun) -> None:
    """The deployer sends no `setOracle` any more; the mark goes on by the local book."""
    run.venue.set_oracle = lambda *_: None  # type: ignore[method-assign]


def slide(run: PipeRun, bps: float, span_s: int) -> None:
    """Every maker goes there, a little each second; the context goes on telling the oracle."""
    bid, ask = run.touch()
    for second in range(1, span_s + 1):
        run.market.force_px((bid + ask) / 2 * (1 + bps * 1e-4 * second / span_s))
        run.run(1)


@pytest.mark.parametrize(
    ("basis_bps", "reason"), [(0.0, "mark off oracle"), (40.0, "oracle stands still")]
)
@pytest.mark.parametrize("bps", [-60.0, 60.0])
def test_an_oracle_that_stands_while_the_market_moves_empties_the_side_that_adds(
    basis_bps: float, reason: str, bps: float
) -> None:
    """
    The stream of contexts goes on and repeats it, so that no age shows anything.

    Where the mark was beside the oracle, the gap between them tells; where it lay 40 bps off all
    along, a move of 60 leaves it 20 off on the other side, and only the move itself tells.
    """
    sign = 1 if bps < 0 else -1
    run = running()
    it = asset(run)
    run.venue.set_oracle(it.asset_id, it.px(it.mark_ticks) * (1 - sign * basis_bps * 1e-4))
    run.run(3)
    assert sides(run) == {"B", "A"}
    stop_oracle(run)
    slide(run, bps, 30)
    reducing(run)
    assert reasons(run)[0] == reason
    assert asset(run).oracle_ticks == it.oracle_ticks


def test_an_oracle_that_moves_with_its_market_shuts_nothing() -> None:
    """The same way down, told every second."""
    run = running()
    slide(run, -60.0, 30)
    run.run(2)
    assert sides(run) == {"B", "A"}
    assert reasons(run) == []


def test_an_oracle_may_stand_in_a_market_that_hardly_moves() -> None:
    """A quiet hour at a price that does not change is no fault of anybody's."""
    run = running()
    stop_oracle(run)
    slide(run, -20.0, 60)
    slide(run, 20.0, 60)
    assert sides(run) == {"B", "A"}
    assert reasons(run) == []
