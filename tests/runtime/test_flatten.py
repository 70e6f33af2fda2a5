"""What becomes of the position at the end, by the venue's books and the requests it received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmbot.core.types import NS_PER_S
from mmbot.errors import Exit
from mmbot.hyperliquid.ports import HttpReply
from mmbot.runtime.flatten import closed_line
from mmbot.runtime.screen import last_line, summary_lines
from runtime.pipe_rig import PipeRun
from runtime.test_pipe_trading import WIDE

CALM = {
    "sigma_bps_rt_s": 0.0,
    "sweeps_per_s": 0.0,
    "oracle_noise_bps": 0.0,
}
"""A market that trades and does not move."""


def held(*sets: str, seed: int = 1, **market: float) -> PipeRun:
    """A run that holds a position of some size, in a market that does not move."""
    run = PipeRun("demo", seed=seed, sets=(*WIDE, *sets), market={**CALM, **market})
    run.start()
    for _ in range(600):
        run.run(1)
        if abs(run.position_sz()) * 26 > 60:
            break
    assert abs(run.position_sz()) * 26 > 60
    return run


def orders_sent(run: PipeRun) -> list[dict[str, Any]]:
    """Every order element on the wire."""
    return [order for a in run.actions() if a["type"] == "order" for order in a["orders"]]


def takers(run: PipeRun) -> list[dict[str, Any]]:
    """Those that could take."""
    return [order for order in orders_sent(run) if order["t"] != {"limit": {"tif": "Alo"}}]


def test_by_default_the_position_is_held_and_nothing_ever_takes() -> None:
    """The predecessor's fees were those of a taker; the only taker path is off unless asked for."""
    run = held()
    ending = run.stop()
    assert takers(run) == []
    assert run.position_sz() != 0
    assert ending.closed is None
    assert ending.final is not None
    # The liquidation price is the venue's own.
    (row,) = run.state()["assetPositions"]
    px = row["position"]["liquidationPx"]
    assert ending.final.liquidation_px == (None if px is None else float(px))


def test_flatten_closes_in_slices_of_reduce_only_taker_orders_inside_the_bound() -> None:
    """And only once the venue has confirmed that nothing of ours rests to meet them."""
    run = held("on_exit=flatten", "flatten.slices=3", "flatten.bound_bps=40")
    before = run.position_sz()
    bid, ask = run.touch()
    ending = run.stop()
    sent = takers(run)
    assert run.position_sz() == 0
    assert ending.exit_code is Exit.OK
    assert ending.closed is not None
    assert ending.closed.is_flat
    assert ending.closed.orders == len(sent) >= 3
    mid = (bid + ask) / 2
    sign = 1 if before < 0 else -1
    for order in sent:
        assert order["t"] == {"limit": {"tif": "Ioc"}}
        assert order["r"] is True
        assert order["b"] is (before < 0)
        assert sign * (float(order["p"]) - mid) <= mid * 41e-4
        assert float(order["s"]) <= abs(before) / 3 + 0.5
    assert sum(float(order["s"]) for order in sent) == pytest.approx(abs(before), abs=1e-9)
    first = next(i for i, a in enumerate(run.actions()) if a["type"] == "order" and takers_in(a))
    rest = run.actions()[first:]
    assert all(a["type"] == "order" for a in rest), "every cancel comes before the first taker"
    # The ledger has the fills of it, and they add up to the venue's equity.
    summary = run.summary()
    assert summary["position_sz"] == 0
    assert abs(summary["ledger_gap_usd"]) <= 1e-4
    assert summary["closed"]["left_sz"] == 0


def takers_in(action: dict[str, Any]) -> bool:
    return any(order["t"] != {"limit": {"tif": "Alo"}} for order in action["orders"])


def test_a_kill_closes_the_position_too_and_stays_a_kill() -> None:
    """Exit 3 whatever becomes of the position."""
    run = held("on_exit=flatten")
    run.trader.kill("operator: test")
    ending = run.ended(60)
    assert ending.exit_code is Exit.KILLED
    assert run.position_sz() == 0
    assert [kill.trigger for kill in run.latched] == ["operator"]


def test_a_broken_engine_does_not_keep_the_position_from_being_closed() -> None:
    """The position is the venue's word, not the engine's."""
    run = held("on_exit=flatten")
    run.trader.crash(RuntimeError("a bug"))
    ending = run.ended(60)
    assert ending.exit_code is Exit.KILLED
    assert ending.closed is not None
    assert ending.closed.is_flat
    assert run.position_sz() == 0


def test_a_market_beyond_the_bound_is_not_chased_and_what_is_left_is_said() -> None:
    """Bounded tries, then exit 1 with the position, the reason and the command."""
    sets = ("on_exit=flatten", "flatten.tries=3", "flatten.bound_bps=1", "flatten.pause_s=0.5")
    run = held(*sets, touch_spread_bps=8.0)
    before = run.position_sz()
    ending = run.stop()
    closed = ending.closed
    assert closed is not None
    assert takers(run) == []
    assert run.position_sz() == before
    assert not closed.is_flat
    assert closed.left_sz == before
    assert ending.exit_code is Exit.FAILED
    assert "bound_bps" in str(closed.why)
    command = "mmbot flatten --config x.toml"
    line = last_line(run.summary(), closed, coin="HYPE", command=command, is_embedded=False)
    assert line is not None
    assert f"NOT FLAT {before:+g} HYPE is left after 0 orders" in line
    assert "liquidation price" in line
    assert line.endswith(command)
    gone = last_line(run.summary(), None, coin="HYPE", command=command, is_embedded=True)
    assert gone is not None
    assert "ended with the embedded exchange, and needs no closing" in gone
    assert "liquidation" not in gone


def test_tries_are_bounded_and_the_rest_is_named() -> None:
    """One order of four slices: three quarters are left, by the venue's word."""
    run = held("on_exit=flatten", "flatten.tries=1")
    before = run.position_sz()
    ending = run.stop()
    (order,) = takers(run)
    left = run.position_sz()
    assert ending.closed is not None
    assert ending.closed.left_sz == left
    assert abs(left) == pytest.approx(abs(before) - float(order["s"]))
    assert left != 0
    assert ending.exit_code is Exit.FAILED
    assert run.summary()["position_sz"] == left


def test_a_taker_fee_above_the_bound_closes_nothing() -> None:
    """The fee is looked at before the first order, as the account really pays it."""
    run = held("on_exit=flatten", "flatten.fee_bps_max=4")
    ending = run.stop()
    assert takers(run) == []
    assert ending.closed is not None
    assert ending.closed.taker_fee_bps == pytest.approx(4.5)
    assert "flatten.fee_bps_max" in str(ending.closed.why)
    assert ending.exit_code is Exit.FAILED


def test_an_answer_that_is_lost_is_waited_out_and_the_position_never_flips() -> None:
    """The order may have been carried out: what is held is read again before the next one."""
    run = held("on_exit=flatten")
    before = run.position_sz()
    post = run.http.post
    lost: list[int] = []
    sent: list[int] = []

    def lossy(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        if b'"Ioc"' not in body:
            post(path, body, on_done, timeout_s)
            return
        sent.append(run.sim.clock())
        if lost:
            post(path, body, on_done, timeout_s)
            return
        lost.append(run.sim.clock())
        post(path, body, lambda _: on_done(HttpReply(None, error="cut")), timeout_s)

    run.http.post = lossy  # type: ignore[method-assign]
    ending = run.stop()
    assert ending.closed is not None
    assert ending.closed.is_flat
    assert run.position_sz() == 0
    assert lost
    assert sent[1] - sent[0] >= run.config.gateway.expires_after_s * NS_PER_S
    closing = [fill for fill in run.fills() if fill["crossed"]]
    assert sum(float(fill["sz"]) for fill in closing) == pytest.approx(abs(before), abs=1e-9)
    assert {fill["side"] for fill in closing} == {"A" if before > 0 else "B"}


def test_a_second_signal_ends_it_and_says_that_what_is_left_is_not_known() -> None:
    """A person who cannot wait is told what to look at."""
    run = held("on_exit=flatten", "flatten.pause_s=5")
    run.trader.stop("Ctrl+C")
    assert run.sim.run_till(lambda: len(takers(run)) == 1, 20)
    run.trader.force()
    ending = run.ended()
    assert ending.exit_code is Exit.FAILED
    assert ending.closed is not None
    assert ending.closed.left_sz is None
    assert "is not known" in closed_line(ending.closed, "HYPE")
    sent = len(takers(run))
    run.sim.run_for(60)
    assert len(takers(run)) == sent, "nothing is sent after the end"


def test_a_venue_that_is_busy_is_asked_again() -> None:
    """Reads that are refused cost a try and a pause, not the position."""
    run = held("on_exit=flatten")
    post = run.http.post
    refused: list[bytes] = []

    def busy(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        if b"l2Book" in body and len(refused) < 2:
            refused.append(body)
            run.sim.call_at(run.sim.clock() + 1, lambda: on_done(HttpReply(429, b"null")))
        else:
            post(path, body, on_done, timeout_s)

    run.http.post = busy  # type: ignore[method-assign]
    ending = run.stop()
    assert len(refused) == 2
    assert ending.closed is not None
    assert ending.closed.is_flat


def test_flat_already_there_is_nothing_to_close_and_nothing_to_say() -> None:
    """No order, no line."""
    run = PipeRun("demo", sets=("on_exit=flatten",), market={**CALM, "a_per_s": 0.0})
    run.start()
    run.run(10)
    ending = run.stop()
    assert takers(run) == []
    assert ending.closed is None
    said = last_line(run.summary(), None, coin="HYPE", command="x", is_embedded=False)
    assert said is None


def test_a_run_that_is_to_be_left_ends_flat_though_positions_are_held_at_other_ends() -> None:
    """A taker exit stops the run by itself: cancelled, closed, verified, and not a kill."""
    run = held("guards.taker_exit=true")
    engine = run.trader.engine
    engine._leave = lambda *_: "stuck against a trend: for the test"  # type: ignore[method-assign]
    ending = run.ended(60)
    assert ending.reason == "stuck against a trend: for the test"
    assert ending.exit_code is Exit.OK
    assert run.position_sz() == 0
    assert run.resting() == []
    assert {order["t"]["limit"]["tif"] for order in takers(run)} == {"Ioc"}


def test_an_account_that_was_never_read_is_given_no_position() -> None:
    """A ledger that never began says 0, and the account may hold anything."""
    run = PipeRun("demo", seed=1)
    run.faults(refuse_info=[500] * 1000)
    run.trader.start()
    run.run(3)
    run.trader.kill("operator: test")
    ending = run.ended(120)
    summary = run.summary()

    assert ending.exit_code == Exit.KILLED
    assert ending.final is None
    assert summary["position_sz"] is None
    said = last_line(summary, None, coin="HYPE", command="x", is_embedded=False)
    assert said is not None
    assert "HYPE is NOT known" in said
    assert any("not known" in line for line in summary_lines(summary))
