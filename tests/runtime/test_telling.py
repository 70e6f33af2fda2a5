"""The log hears of a decision after its orders left, in the order in which things happened."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from mmbot.core.diagnostics import Capture, Diagnostics, diagnose
from mmbot.core.engine import Decision
from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.websocket import WsSocket
from mmbot.runtime.simulation import SimHandle
from runtime.pipe_rig import PipeRun


def test_orders_leave_a_turn_of_the_loop_before_the_log_hears_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop writes when the callback returns: what is logged before that delays the orders."""
    seen: list[str] = []
    send, fire = WsSocket.send, SimHandle.fire

    def sent(socket: WsSocket, *texts: bytes) -> None:
        if any(b'"method":"post"' in text for text in texts):
            seen.append("sent")
        send(socket, *texts)

    def turn(handle: SimHandle) -> bool:
        seen.append("turn")
        return fire(handle)

    monkeypatch.setattr(WsSocket, "send", sent)
    monkeypatch.setattr(SimHandle, "fire", turn)
    run = PipeRun(seed=3)
    put = run.log.put

    def noted(record: Mapping[str, Any]) -> None:
        put(record)
        seen.append(record["event"])

    monkeypatch.setattr(run.log, "put", noted)

    def diagnosed(capture: Capture) -> Diagnostics:
        seen.append("diagnosed")
        return diagnose(capture)

    monkeypatch.setattr("mmbot.core.engine.decision.diagnose", diagnosed)
    run.start()
    run.run(20)

    moves = [n for n, what in enumerate(seen) if what == "quote.moved"]
    assert len(moves) > 5
    for at in moves:
        before = seen[:at]
        sent_at = len(before) - 1 - before[::-1].index("sent")
        assert "turn" in seen[sent_at:at], seen[max(0, at - 10) : at + 1]
        # The record is put together after that turn as well, and once.
        assert seen[sent_at:at].count("diagnosed") == 1
        assert "turn" in seen[sent_at : sent_at + seen[sent_at:at].index("diagnosed")]


def test_nothing_is_lost_and_nothing_is_out_of_order() -> None:
    """Every decision that sent something is told once, before whatever came after it."""
    run = PipeRun(seed=3, sets=["emulator.scenario=demo"])
    decided: list[int] = []
    decide = run.trader.engine.decide

    def watched(now_ns: int) -> Decision:
        decision = decide(now_ns)
        if decision.batch is not None and decision.diagnostics is not None:
            decided.append(now_ns)
        return decision

    run.trader.engine.decide = watched  # type: ignore[method-assign]
    run.start()
    run.run(60)
    before = len(decided)
    run.stop()

    records = run.log.all
    events = [record["event"] for record in records]
    assert "fill.booked" in events
    assert [r["at_ns"] for r in records if r["event"] == "quote.moved"] == decided
    assert events[: events.index("run.stopping")].count("quote.moved") == before
    instants = [record["at"] for record in records]
    assert instants == sorted(instants)


def test_the_numbers_behind_a_quote_are_told_once_a_second_at_the_least() -> None:
    """In the stillest market too: what the drift or a memory of a sweep did must be seen later."""
    still = ["market.sigma_bps_rt_s=0.1", "market.a_per_s=0.0", "market.sweeps_per_s=0.0"]
    run = PipeRun(seed=3, sets=["log.level=info", *still])
    run.start()
    run.run(40)

    records = [r for r in run.log.all if r["event"] in ("quote.moved", "quote.held")]
    told = [r["at_ns"] for r in records]
    assert sum(r["event"] == "quote.held" for r in records) > 20
    assert max(after - at for at, after in pairwise(told)) <= 1.1 * NS_PER_S
    for record in records:
        assert record["level"] == "info"
        assert {"z_t", "cascade_bid_bps", "danger_up", "touch_ask_bps"} <= record.keys()
