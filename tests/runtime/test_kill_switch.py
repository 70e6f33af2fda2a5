"""
The kill switch of the whole daemon, by what reaches the venue and what is left there.

The scenario table: what must trip, at which figure, and what must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mmbot.core.events import JournalLag
from mmbot.core.risk import Day
from mmbot.core.types import NS_PER_S, Side, Tif
from mmbot.emulator.specs import NewOrder
from mmbot.errors import Exit
from mmbot.hyperliquid.ports import HttpReply
from runtime.pipe_rig import START_MS, PipeRun
from runtime.test_flatten import held, takers
from support import often

STILL = {"sigma_bps_rt_s": 0.0, "sweeps_per_s": 0.0, "oracle_noise_bps": 0.0, "a_per_s": 0.0}
"""A market in which nothing happens by itself."""
CAPITAL_USD = 100.0


def still(*sets: str) -> PipeRun:
    return PipeRun("demo", sets=("risk.warm_s=0", *sets), market=STILL)


def inherit(run: PipeRun, usd: float) -> float:
    """Have the account itself trade as a taker, as a person would by hand; its position then."""
    instrument, (bid, ask) = run.instrument, run.touch()
    side, px = (Side.BUY, ask) if usd > 0 else (Side.SELL, bid)
    ticks = instrument.floor_ticks(instrument.ticks(px) * (1 + side * 0.02))
    lots = round(abs(usd) / px * 100)
    result = run.venue.submit(run.user, NewOrder(instrument.asset_id, side, ticks, lots, Tif.IOC))
    assert result.filled_lots == lots, result
    run.exchange.settle()
    return run.position_sz()


def equity_of(run: PipeRun) -> float:
    """Account value, by the venue's word."""
    return float(run.state()["marginSummary"]["accountValue"])


def move(run: PipeRun, factor: float) -> None:
    """Oracle, mark and every other maker go there at once."""
    px, _ = run.touch()
    run.market.force_px(px * factor)


def ended_flat(run: PipeRun, trigger: str) -> None:
    """Tripped for this reason, cancelled, verified, closed, latched once, code 3."""
    ending = run.ended(60)
    assert [kill.trigger for kill in run.latched] == [trigger]
    assert ending.exit_code is Exit.KILLED
    assert ending.final is not None
    assert run.resting() == []
    assert run.position_sz() == 0
    assert ending.closed is not None
    assert ending.closed.is_flat


# -- what tripping does ---------------------------------------------------------------------------


def test_a_trip_cancels_by_cloid_and_by_oid_before_anything_else_and_verifies() -> None:
    """Either may be the one that the venue knows."""
    run = still()
    run.start()
    run.run(10)
    rows = run.resting()
    assert len(rows) >= 4
    before = len(run.actions())
    run.trader.kill("operator: test")
    ending = run.ended()
    sent = run.actions()[before:]
    by_cloid = {c["cloid"] for a in sent if a["type"] == "cancelByCloid" for c in a["cancels"]}
    by_oid = {c["o"] for a in sent if a["type"] == "cancel" for c in a["cancels"]}
    assert {row["cloid"] for row in rows} <= by_cloid
    assert {row["oid"] for row in rows} == by_oid
    assert [a["type"] for a in sent][:2] == ["cancelByCloid", "cancel"]
    bodies = [entry["body"] for entry in list(run.exchange.requests)[before:]]
    assert [body["expiresAfter"] for body in bodies] == [None] * len(bodies)
    assert ending.final is not None
    assert run.resting() == []


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_an_order_that_no_cloid_reaches_is_cancelled_by_its_oid(how: str) -> None:
    """The venue answers the cancel by cloid as if it had never heard of it."""
    run = still()
    run.start()
    run.run(10)
    assert run.resting()
    execute = run.venue.execute
    deafness = []

    def deaf(account: str, action: Any, **more: Any) -> Any:
        if action["type"] != "cancelByCloid":
            return execute(account, action, **more)
        deafness.append(action)
        text = "Order was never placed, already canceled, or filled."
        statuses = [{"error": text} for _ in action["cancels"]]
        data = {"type": "cancel", "data": {"statuses": statuses}}
        return {"status": "ok", "response": data}

    run.venue.execute = deaf  # type: ignore[method-assign]
    if how == "kill":
        run.trader.kill("operator: test")
    else:
        run.trader.stop("Ctrl+C")
    ending = run.ended(60)
    assert deafness
    assert ending.final is not None
    assert run.resting() == []


@pytest.mark.parametrize("is_on", [True, False])
def test_a_loss_closes_the_position_unless_the_operator_switched_that_off(*, is_on: bool) -> None:
    """`kill.flatten`: reduce-only taker orders inside the bound, after the cancels."""
    run = held(*([] if is_on else ["kill.flatten=false"]))
    before = run.position_sz()
    assert before
    run.trader.engine.risk.observe(-50.0 * CAPITAL_USD, run.sim.clock())
    run.trader.decide(run.sim.clock())
    ending = run.ended(60)
    assert ending.exit_code is Exit.KILLED
    assert run.resting() == []
    sent = takers(run)
    if not is_on:
        assert sent == []
        assert ending.closed is None
        assert run.position_sz() == before
        return
    assert run.position_sz() == 0
    assert sent
    assert all(o["r"] and o["t"] == {"limit": {"tif": "Ioc"}} for o in sent)
    kinds = [a["type"] for a in run.actions()]
    first = next(
        n
        for n, a in enumerate(run.actions())
        if a["type"] == "order" and a["orders"][0]["t"] == {"limit": {"tif": "Ioc"}}
    )
    assert not {"cancel", "cancelByCloid"} & set(kinds[first:])


@pytest.mark.parametrize("bought", [0, 5000])
def test_requests_that_were_bought_keep_a_run_going(bought: int) -> None:
    """With the rest of the budget spent, a run that has bought some quotes, and one that has not
    trips."""
    run = still("gateway.requests_read_every_s=10")
    assert run.lever() is None
    account = run.venue.account(run.user)
    account.requests_used, account.requests_bought = 10_000, bought
    run.trader.start()
    run.run(25)
    if bought:
        assert not run.latched
        assert {row["side"] for row in run.resting()} == {"A", "B"}
        left = run.trader.engine.forecast(run.sim.clock()).left
        assert left == 10_000 + bought - account.requests_used
        run.stop()
    else:
        assert [kill.trigger for kill in run.latched] == ["requests"]


def test_a_clock_that_is_further_ahead_than_an_order_s_grace_trips() -> None:
    """
    Orders carry our time: 2.5 s ahead they live 2.5 s longer than the end of a run waits for.

    It is set while the run trades, so that no check before it could see it.
    """
    run = PipeRun("demo", sets=("risk.warm_s=0",), market=STILL, has_wall_clock=True)
    run.start()
    run.run(5)
    assert run.resting()
    run.set_ns = round(2.5 * NS_PER_S)
    ending = run.ended(30)
    assert [kill.trigger for kill in run.latched] == ["clock"]
    assert ending.exit_code is Exit.KILLED
    assert run.resting() == []


def test_a_trip_by_data_keeps_the_position() -> None:
    """What is known of the market is what is in doubt."""
    run = held()
    before = run.position_sz()
    alarms = run.trader.engine.alarms
    alarms._unwell_ns = 0
    run.trader.engine._vitals = _Unwell()  # type: ignore[assignment]
    run.trader.decide(run.sim.clock())
    run.trader.decide(run.sim.clock() + 601 * NS_PER_S)
    ending = run.ended(60)
    assert [kill.trigger for kill in run.latched] == ["dead_wiring"]
    assert takers(run) == []
    assert ending.closed is None
    assert run.position_sz() == before


class _Unwell:
    is_well = is_sound = False

    def reset_gap(self) -> None:
        """Nothing is kept."""

    def observe(self, *_: object) -> tuple[()]:
        """Nothing more is found."""
        return ()


@pytest.mark.parametrize("is_flatten", [True, False])
def test_the_operator_says_whether_the_position_is_closed(*, is_flatten: bool) -> None:
    """`mmbot kill` and `mmbot kill --flatten`, as the daemon hears of them."""
    run = held()
    before = run.position_sz()
    run.trader.kill("operator: test", is_flatten=is_flatten)
    ending = run.ended(60)
    assert (run.latched[0].trigger, run.latched[0].is_flatten) == ("operator", is_flatten)
    assert run.position_sz() == (0 if is_flatten else before)
    assert (ending.closed is not None) is is_flatten
    assert ending.exit_code is Exit.KILLED


# -- the scenario table: loss ---------------------------------------------------------------------


def test_monotone_loss_trips_at_the_limit_though_there_never_was_a_profit() -> None:
    """The predecessor measured the fall from a peak of profit that this path does not have."""
    run = still()
    run.run(1)
    inherit(run, 190.0)
    run.start()
    run.run(5)
    start_usd = run.trader.engine.risk.start_usd
    equity_usd = equity_of(run)
    for _ in range(100):
        if run.trader.closing:
            break
        move(run, 0.9995)
        run.run(1)
    kill = run.latched[0]
    assert kill.trigger in ("session_loss", "drawdown")
    assert kill.limit == pytest.approx(0.03 * start_usd, rel=0.01)
    assert kill.limit <= kill.value <= kill.limit * 1.2
    assert equity_usd - equity_of(run) == pytest.approx(kill.value, abs=0.5)
    run.ended(60)
    assert run.position_sz() == 0


def test_loss_after_gain_trips_by_the_fall_from_the_peak_of_equity() -> None:
    """Two dollars up and then down: gone is what was had, though the session has lost little."""
    run = still("kill.journal_s=3600")
    run.run(1)
    inherit(run, 190.0)
    run.start()
    run.run(5)
    # Nothing rests while the journal lags, so that the position is the same all the way.
    run.trader.emit(JournalLag(run.sim.clock(), is_late=True, lag_s=0.0, text="for the test"))
    run.run(1)
    for _ in range(14):
        move(run, 1.001)
        run.run(1)
    risk = run.trader.engine.risk
    gained = risk.peak_usd - risk.start_usd
    assert gained > 1.0
    for _ in range(100):
        if run.trader.closing:
            break
        move(run, 0.9995)
        run.run(1)
    kill = run.latched[0]
    assert kill.trigger == "drawdown"
    assert kill.limit == pytest.approx(0.03 * (100.0 + gained), rel=0.01)
    assert risk.start_usd - risk.equity_usd < 0.03 * risk.start_usd
    ended_flat(run, "drawdown")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gap_through_every_limit_trips_at_once_and_closes_inside_the_bound(sign: int) -> None:
    """No step on the way to it, and soft stops are no detour."""
    run = still()
    run.run(1)
    inherit(run, sign * 190.0)
    run.start()
    run.run(5)
    move(run, 1 - sign * 0.05)
    moved_ns = run.sim.clock()
    run.run(2)
    assert run.latched
    assert run.latched[0].at_ns - moved_ns < NS_PER_S
    assert run.latched[0].value > 2 * run.latched[0].limit
    ended_flat(run, run.latched[0].trigger)


def test_a_peak_of_two_cents_does_not_trip() -> None:
    """Divided by the peak of the profit a fall of four cents is 200 %; of the equity it is none."""
    run = still()
    run.run(1)
    inherit(run, 40.0)
    run.start()
    run.run(5)
    for factor in (1.0005, 0.999, 1.0005, 0.9995):
        move(run, factor)
        run.run(5)
    assert not run.latched
    assert not run.trader.closing
    assert run.resting()
    run.stop()


@pytest.mark.parametrize(("usd", "trigger"), [(180.0, None), (-180.0, None), (600.0, "position")])
def test_an_inherited_position_trips_only_where_it_is_beyond_the_limit(
    usd: float, trigger: str | None
) -> None:
    """It is shown, quoted out of and no loss by itself; far above the limit it is closed."""
    run = still()
    run.run(1)
    size = inherit(run, usd)
    run.start()
    run.run(20)
    shown = run.log.named("snapshot.read")[0]
    assert shown["position_sz"] == pytest.approx(size)
    if trigger is None:
        assert not run.latched
        assert run.resting()
        run.stop()
        return
    ended_flat(run, trigger)


def test_a_healthy_hour_with_reconnects_and_tiny_profits_does_not_trip() -> None:
    """The predecessor died of a fall of cents, of rounding, and of counting its reconnects."""
    # As many connections are lost in a third of the time; the thorough tests take the hour.
    minutes = often(20, thoroughly=60)
    every = minutes // 20
    run = PipeRun("hype", seed=4, sets=("risk.max_position_usd=60",))
    run.start()
    for n in range(minutes):
        run.run(60, every_s=5.0)
        assert not run.latched, run.latched
        if n % every == every - 1:
            run.dialer.cut()
        if n % 20 == 10:
            run.faults(delay_ms=400)
            run.run(5)
            run.faults(delay_ms=0)
    assert run.log.named("position.unexplained") == []
    ending = run.stop()
    assert ending.exit_code is Exit.OK
    assert len(run.log.named("link.lost")) >= 19


def test_the_loss_of_earlier_runs_of_the_day_counts() -> None:
    """Three losses of two percent are one of six; the program that died of two is begun again."""
    day = START_MS // 86_400_000
    run = PipeRun("demo", sets=("risk.warm_s=0",), market=STILL, day=Day(day, 100.0, -4.5))
    run.run(1)
    inherit(run, 190.0)
    run.start()
    run.run(5)
    assert not run.latched
    for _ in range(10):
        move(run, 0.9995)
        run.run(1)
    assert run.latched[0].trigger == "day_loss"
    assert run.latched[0].value >= 5.0
    assert run.days[-1].pnl_usd < -4.5
    ended_flat(run, "day_loss")


# -- position truth -------------------------------------------------------------------------------


def test_the_position_is_compared_with_the_venue_s_on_a_timer() -> None:
    """A tenth of the weight of a whole reading, and nothing comes of it while both agree."""
    run = still("kill.check_s=5")
    asked: list[int] = []
    post = run.http.post

    def counted(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        if b"clearinghouseState" in body:
            asked.append(run.sim.clock())
        post(path, body, on_done, timeout_s)

    run.http.post = counted  # type: ignore[method-assign]
    run.start()
    run.run(31)
    assert len(asked) == 1 + 6
    assert len(run.log.named("snapshot.read")) == 1
    run.stop()


def test_a_position_that_no_fill_explains_pulls_the_quotes_then_trips_and_is_closed() -> None:
    """The stream of fills is silent and history hides it: only the account shows what is held."""
    run = still("kill.check_s=2")
    run.start()
    run.run(10)
    hide_fills(run)
    assert run.resting()
    inherit(run, 40.0)
    changed_ns = run.sim.clock()
    run.run(3)
    assert run.log.named("position.differs")
    run.run(7)
    assert run.resting() == []
    assert not run.latched
    run.run(40)
    assert run.latched[0].trigger == "position_mismatch"
    lasted_s = (run.latched[0].at_ns - changed_ns) / NS_PER_S
    assert 30 <= lasted_s <= 35
    ended_flat(run, "position_mismatch")


def hide_fills(run: PipeRun) -> None:
    """Neither the stream nor the history shows a fill any more."""
    run.faults(mute=["userFills"])
    post = run.http.post

    def blind(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        if b"userFills" in body:
            run.sim.call_at(run.sim.clock() + 1, lambda: on_done(HttpReply(200, b"[]")))
        else:
            post(path, body, on_done, timeout_s)

    run.http.post = blind  # type: ignore[method-assign]


def test_a_fill_that_the_stream_keeps_back_is_found_in_the_history_within_seconds() -> None:
    """A part is closed by hand, which is fine; nothing of ours speaks of it but the account."""
    run = still("kill.check_s=2")
    run.run(1)
    inherit(run, 60.0)
    run.start()
    run.run(5)
    run.faults(mute=["userFills"])
    left = inherit(run, -20.0)
    run.run(8)
    assert len(run.log.named("position.differs")) == 1
    assert len(run.log.named("snapshot.read")) == 2
    assert run.trader.engine.missing_lots == 0
    assert run.trader.engine.position.lots == round(left * 100)
    assert not run.latched
    assert run.resting()
    run.stop()


def test_fills_that_come_late_explain_the_difference_and_nothing_trips() -> None:
    """The stream is silent for a while; the history, read again at once, has the fill."""
    run = held("kill.check_s=2")
    run.faults(mute=["userFills"])
    fills = len(run.fills())
    for _ in range(120):
        run.run(1)
        if len(run.fills()) > fills + 3:
            break
    assert len(run.fills()) > fills
    run.run(20)
    run.faults(mute=[])
    run.run(20)
    assert not run.latched
    assert run.trader.engine.missing_lots == 0
    assert run.trader.engine.position.lots == round(run.position_sz() * 100)
    run.stop()


def test_an_account_that_cannot_be_read_trips_by_its_age() -> None:
    """The streams go on, so nothing else would ever say so."""
    run = still("kill.check_s=5", "kill.account_s=40")
    run.start()
    run.run(10)
    post = run.http.post
    silent_ns = run.sim.clock()

    def refused(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        if b"clearinghouseState" in body and not run.latched:
            run.sim.call_at(run.sim.clock() + 1, lambda: on_done(HttpReply(500, b"null")))
        else:
            post(path, body, on_done, timeout_s)

    run.http.post = refused  # type: ignore[method-assign]
    run.run(60)
    assert run.latched[0].trigger == "stale_account"
    assert 40 <= run.latched[0].value <= 41
    assert run.latched[0].at_ns - silent_ns > 30 * NS_PER_S
    assert run.ended().exit_code is Exit.KILLED


def test_a_mark_that_falls_silent_trips_by_its_age() -> None:
    """Reconnecting brings a new reading of it, and not the stream back."""
    run = still("kill.mark_s=60")
    run.start()
    run.run(10)
    run.faults(mute=["activeAssetCtx"])
    run.run(120)
    assert run.log.named("link.lost"), "the link is tried first"
    assert run.latched[0].trigger == "stale_mark"
    assert 60 <= run.latched[0].value <= 61
    assert run.ended(90).exit_code is Exit.KILLED


def test_the_reason_is_one_a_program_can_read() -> None:
    """Trigger, figure, limit and unit travel to the latch as they are."""
    run = still()
    run.start()
    run.run(5)
    run.trader.kill("operator: test")
    run.ended()
    told = msgspec.to_builtins(run.latched[0])
    assert (told["trigger"], told["unit"], told["is_flatten"]) == ("operator", "command", False)
