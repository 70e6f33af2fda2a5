"""
The end of a run waits for the fills that it missed, and says when it could not have them.

A socket that is lost takes fills with it that nothing but a reading of the account brings: a run
that is stopped then has to ask for them before it sums up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mmbot.core.types import NS_PER_S
from mmbot.errors import Exit
from mmbot.hyperliquid.ports import HttpReply
from runtime.pipe_rig import PipeRun

GIVE_UP_S = 20.0
"""How long an end that cannot be verified takes."""


def missing_fills() -> PipeRun:
    """A run whose socket is gone, and with it the news of fills."""
    run = PipeRun("demo")
    run.start()
    run.run(20)
    run.dialer.refuse = "down"
    run.dialer.stall(is_stalled=True)
    engine = run.trader.engine
    # Not sooner: the comparison of positions every few seconds would find the fills.
    run.sim.run_for(1.5)
    _, ask_px = run.touch()
    run.driver.catch_up()
    run.market.force_px(ask_px * 1.005)
    run.driver.settle()
    assert run.sim.run_till(lambda: not run.trader.link.is_up, 10)
    assert len(run.fills()) > engine.position.fills
    assert run.position_sz() != run.instrument.sz(engine.position.lots)
    return run


def refuse_fills(run: PipeRun, monkeypatch: pytest.MonkeyPatch, until_s: float) -> None:
    """Answer no question about fills for so long."""
    post, until_ns = run.http.post, run.sim.clock() + round(until_s * NS_PER_S)

    def answer(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        asked: dict[str, Any] = msgspec.json.decode(body)
        if asked.get("type") == "userFills" and run.sim.clock() < until_ns:
            run.sim.call_at(run.sim.clock() + 1, lambda: on_done(HttpReply(500, b"")))
        else:
            post(path, body, on_done, timeout_s)

    monkeypatch.setattr(run.http, "post", answer)


def test_the_end_reads_fills_though_the_weight_for_readings_is_spent() -> None:
    """After a few reconnections a whole reading waits its turn for a minute; an end cannot."""
    run = missing_fills()
    run.trader.gateway.budget.spend(960, run.sim.clock())
    began_ns = run.sim.clock()
    ending = run.stop()

    assert ending.error is None
    assert ending.exit_code is Exit.OK
    assert run.summary()["fills"] == len(run.fills())
    assert run.summary()["position_sz"] == pytest.approx(run.position_sz(), abs=1e-9)
    assert abs(run.summary()["ledger_gap_usd"]) < 1e-4
    assert run.log.named("position.mismatched") == []
    assert run.sim.clock() - began_ns < 3 * NS_PER_S


@pytest.mark.parametrize("refused_s", [3.0, 12.0])
def test_the_end_waits_for_fills_that_cannot_be_read_yet(
    monkeypatch: pytest.MonkeyPatch, refused_s: float
) -> None:
    """Profit and fees without them would be those of another run."""
    run = missing_fills()
    refuse_fills(run, monkeypatch, refused_s)
    began_ns = run.sim.clock()
    ending = run.stop()

    assert ending.error is None
    assert run.summary()["fills"] == len(run.fills())
    assert abs(run.summary()["ledger_gap_usd"]) < 1e-4
    assert run.trader.engine.position.adopted_lots == 0
    assert refused_s * NS_PER_S <= run.sim.clock() - began_ns < GIVE_UP_S * NS_PER_S


def test_an_end_without_its_fills_holds_what_the_venue_holds_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The position is known and nothing rests; only how it came about is not."""
    run = missing_fills()
    refuse_fills(run, monkeypatch, 600.0)
    filled_sz = run.instrument.sz(run.trader.engine.position.lots)
    began_ns = run.sim.clock()
    ending = run.stop()

    assert run.sim.clock() - began_ns == pytest.approx(GIVE_UP_S * NS_PER_S, abs=NS_PER_S)
    assert ending.final is not None
    assert ending.resting_orders == 0
    assert run.resting() == []
    assert run.summary()["position_sz"] == pytest.approx(run.position_sz(), abs=1e-9)
    assert ending.error is not None
    assert f"the account holds {run.position_sz():g}" in ending.error
    assert f"make {filled_sz:g}" in ending.error
    (told,) = run.log.named("ledger.open")
    assert told["venue_sz"] == pytest.approx(run.position_sz())


def test_a_second_ctrl_c_ends_at_once_with_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not want to wait still hears that nothing rests, which was seen."""
    run = missing_fills()
    refuse_fills(run, monkeypatch, 600.0)
    run.trader.stop("Ctrl+C")
    run.sim.run_for(3.0)
    assert not run.endings
    run.trader.force()

    ending = run.ended(limit_s=0.1)
    assert ending.final is not None
    assert ending.final.open_orders == ()
    assert ending.error is not None


def test_a_position_is_closed_before_its_fills_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held costs money by the second; how it came about can be read afterwards."""
    run = missing_fills()
    refuse_fills(run, monkeypatch, 8.0)
    run.trader.kill("operator: test", is_flatten=True)
    assert run.sim.run_till(lambda: bool(run.log.named("flatten.sent")), 3.0)
    assert run.sim.run_till(lambda: run.position_sz() == 0.0, 7.0)

    ending = run.ended()
    assert ending.error is None
    assert ending.closed is not None
    assert ending.closed.is_flat
    assert run.summary()["fills"] == len(run.fills())
    assert abs(run.summary()["ledger_gap_usd"]) < 1e-4
