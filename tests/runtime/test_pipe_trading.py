"""
The daemon trades through the in-memory pipe in simulated time, from the first frame to the end.

The same `Trader` as in `mmbot run`; only the ports differ. What is asserted is asserted of the
venue's books and of the requests it received.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec
import pytest

from mmbot.core.types import NS_PER_MS, NS_PER_S, Mode
from mmbot.emulator import orders
from mmbot.errors import Exit, InvariantError
from runtime.pipe_rig import EQUITY_USD, START_MS, PipeRun
from support import IS_THOROUGH, often

PX_SLACK = 0.005
"""How far the price may have moved since an order that still rests was decided, fraction."""
WIDE = ("risk.loss_limit_frac=0.5", "risk.drawdown_limit_frac=0.5", "risk.soft_limit_frac=0.5")

CLOSE = (
    "risk.warm_s=0",
    "risk.loss_limit_frac=0.01",
    "risk.drawdown_limit_frac=0.01",
    "risk.soft_limit_frac=0.009",
    "risk.soft_release_frac=0.005",
)
"""Limits so close that the soft one, which gets out in time, does not."""


def assert_consistent(run: PipeRun) -> None:
    """Whatever happened: nothing rests, every order had an owner, the ledger is the venue's."""
    ending, summary = run.endings[0], run.summary()
    assert run.resting() == []
    assert ending.resting_orders == 0
    assert ending.final is not None
    assert ending.final.open_orders == ()
    assert run.strays == []
    assert run.ghosts == []

    fills = run.fills()
    assert summary["fills"] == len(fills)
    assert summary["position_sz"] == pytest.approx(run.position_sz(), abs=1e-9)
    state = run.state()
    held = state["assetPositions"]
    mark_px = (
        abs(float(held[0]["position"]["positionValue"]) / float(held[0]["position"]["szi"]))
        if held
        else ending.final.mark_px
    )
    equity_usd = float(state["marginSummary"]["accountValue"])
    pnl_usd = run.trader.engine.position.pnl_usd(run.instrument.ticks(mark_px))
    assert equity_usd - EQUITY_USD == pytest.approx(pnl_usd, abs=1e-4)
    assert abs(summary["ledger_gap_usd"]) <= 1e-4
    total_usd = summary["realised_usd"] + summary["unrealised_usd"]
    assert summary["pnl_usd"] == pytest.approx(
        total_usd - summary["fees_usd"] + summary["funding_usd"], abs=1e-9
    )

    is_closing = ending.closed is not None
    taken = [fill for fill in fills if fill["crossed"]]
    assert is_closing or not taken, "a post-only order never takes"
    for action in run.actions():
        if action["type"] == "order":
            for order in action["orders"]:
                is_taker = is_closing and order["r"] and order["t"] == {"limit": {"tif": "Ioc"}}
                assert is_taker or order["t"] == {"limit": {"tif": "Alo"}}
        elif action["type"] == "batchModify":
            changes = action["modifies"]
            assert all(item["order"]["t"] == {"limit": {"tif": "Alo"}} for item in changes)
        else:
            insisted = ending.kill is not None or run.log.named("order.still_resting")
            by_oid = {"cancel"} if insisted else set()
            assert action["type"] in {"cancelByCloid", "updateLeverage"} | by_oid
    assert run.exposure_max <= 1.0
    # A side is sized at the price of its decision and weighed at the present one.
    assert run.side_max <= 1.0 + PX_SLACK
    assert run.log.named("position.mismatched") == []


@pytest.mark.parametrize(
    ("scenario", "seed", "fills_min"),
    [("demo", 1, 100), *([("hype", 3, 5)] if IS_THOROUGH else [])],
)
def test_ten_minutes_trade_and_leave_nothing_behind(
    scenario: str, seed: int, fills_min: int
) -> None:
    """The program whole, over an hour's funding, checked against the venue four times a second."""
    run = PipeRun(scenario, seed=seed)
    run.start()

    run.run(600)
    assert not run.trader.closing, run.endings
    settled = {int(row["cloid"], 16) for row in run.resting()}
    ending = run.stop()

    assert len(settled) >= 2
    assert run.samples == 2400
    assert (ending.exit_code, ending.reason, ending.error) == (Exit.OK, "Ctrl+C", None)
    assert len(run.fills()) >= fills_min
    assert {fill["side"] for fill in run.fills()} == {"A", "B"}
    if scenario == "demo":
        assert run.summary()["funding_usd"] != 0, "the run crosses a full hour with a position"
    assert_consistent(run)


def wire_log(run: PipeRun) -> list[bytes]:
    """Every request as the venue received it, with the time."""
    return [
        msgspec.json.encode((entry["time"], entry["transport"], entry["body"]))
        for entry in run.exchange.requests
    ]


def eventful(seed: int) -> PipeRun:
    """A minute in which something happens to the connection."""
    run = PipeRun("demo", seed=seed, sets=WIDE)
    run.start()
    run.run(20)
    run.dialer.cut()
    run.run(20)
    run.faults(drop=2)
    run.run(20)
    run.stop()
    return run


def test_the_same_seed_sends_the_same_bytes() -> None:
    """A run is a function of its inputs: signatures, nonces and times included."""
    first, again, other = eventful(5), eventful(5), eventful(6)

    assert len(wire_log(first)) > 50
    assert wire_log(first) == wire_log(again)
    assert first.log.all == again.log.all
    assert wire_log(first) != wire_log(other)


def test_a_cut_connection_is_replaced_and_trading_goes_on() -> None:
    """Orders rest unseen while the socket is away; what they filled is in the books afterwards."""
    run = PipeRun("demo", seed=2, sets=WIDE)
    run.start()
    run.run(60)
    before = len(run.fills())
    for _ in range(3):
        run.dialer.cut()
        run.run(0.1)
        assert not run.trader.link.is_up
        run.run(20)
        assert run.trader.link.is_up
    run.stop()

    assert len(run.log.named("link.lost")) == 3
    assert len(run.log.named("link.opened")) == 4
    assert len(run.log.named("snapshot.read")) == 4
    assert len(run.fills()) > before + 20
    assert_consistent(run)


def test_a_stalled_stream_is_left_and_nothing_old_is_quoted() -> None:
    """The socket lives and says nothing: orders go after 3 s, the link after 5."""
    run = PipeRun("demo", seed=4, sets=WIDE)
    run.ghost_s = 12  # what is filled meanwhile cannot be known before the next connection
    run.start()
    run.run(30)
    held = len(run.resting())
    assert held > 0
    run.dialer.stall(is_stalled=True)
    run.run(25)
    lost = run.log.named("link.lost")
    run.run(30)
    resting = run.resting()
    run.stop()

    assert len(lost) == 1
    assert "silent" in lost[0]["reason"]
    assert run.log.named("book.stale")[0]["age_s"] == pytest.approx(3, abs=0.1)
    # The cancels of that moment went into a socket from which no answer comes.
    unanswered = run.log.named("order.unanswered")
    assert {record["request"] for record in unanswered} == {"cancel"}
    assert len(unanswered) >= held
    assert resting != []
    assert_consistent(run)


@pytest.mark.parametrize("channel", ["bbo", "l2Book", "orderUpdates", "userFills"])
def test_a_muted_stream_loses_no_order_and_no_fill(channel: str) -> None:
    """One stream dies while the others live; the account is read again until the books agree."""
    run = PipeRun("demo", seed=7, sets=WIDE)
    run.ghost_s = 30
    run.start()
    run.run(20)
    run.faults(mute=[channel])
    run.run(20)
    run.faults(mute=[])
    run.run(40)
    run.stop()

    assert_consistent(run)


@pytest.mark.parametrize(
    "fault",
    [
        {"event_lag_ms": 400},
        {"is_event_first": True},
        {"is_modify_reversed": True},
        {"is_event_first": True, "is_modify_reversed": True, "delay_ms": 300},
        {"unknown_oid_lag_ms": 1500, "drop": 2},
        {"answer": [500, 502, 500]},
        {"refuse": [429, 500, 502]},
        {"is_post_only": True},
    ],
    ids="+".join,
)
def test_a_bad_day_at_the_venue_leaves_no_order_without_an_owner(fault: dict[str, Any]) -> None:
    """Lost, late, early and doubled answers, one after another, while the market trades."""
    run = PipeRun("demo", seed=11, sets=WIDE)
    run.ghost_s = 3
    run.start()
    run.run(20)
    for _ in range(often(2, thoroughly=4)):
        run.faults(**{key: list(v) if isinstance(v, list) else v for key, v in fault.items()})
        run.run(15)
    run.faults(event_lag_ms=0, delay_ms=0, is_event_first=False, refuse=[], answer=[], drop=0)
    run.run(30)
    run.stop()

    assert_consistent(run)


def test_repeated_frames_are_counted_once() -> None:
    """The venue replays fills after a resubscription, and may send a whole frame twice."""
    run = PipeRun("demo", seed=3, sets=WIDE)
    run.dialer.tamper = lambda text: [(0, text), (0, text)]
    run.start()
    run.run(90)
    run.stop()

    assert len(run.fills()) > 20
    assert_consistent(run)


def test_late_frames_do_not_move_the_book_back() -> None:
    """Every third frame comes 300 ms late, so newer ones overtake it."""
    run = PipeRun("demo", seed=3, sets=WIDE)
    count = iter(range(10**9))
    market = ('{"channel":"bbo"', '{"channel":"l2Book"', '{"channel":"trades"')
    run.dialer.tamper = lambda text: [
        (300 * NS_PER_MS if text.startswith(market) and next(count) % 3 == 0 else 0, text)
    ]
    run.start()
    run.run(90)
    run.stop()

    assert len(run.fills()) > 20
    assert_consistent(run)


def test_prices_that_come_late_but_steadily_are_left_for_a_new_connection() -> None:
    """A socket that lags by seconds looks alive; nothing rests meanwhile, and it is replaced."""
    run = PipeRun("demo", seed=4, sets=WIDE)
    run.ghost_s = 12  # what is filled meanwhile is told late as well
    lag_ns = [0]
    run.dialer.tamper = lambda text: [(lag_ns[0], text)]
    run.start()
    run.run(30)
    assert run.resting() != []
    run.dialer.tamper = None  # of the next connection
    lag_ns[0] = 4 * NS_PER_S
    lagged_ns = run.sim.clock()
    while not run.log.named("link.lost"):
        run.run(0.25)
        if run.sim.clock() - lagged_ns > 4.5 * NS_PER_S and not run.log.named("link.lost"):
            assert run.resting() == []
        assert run.sim.clock() - lagged_ns < 20 * NS_PER_S
    run.run(10)
    resting = run.resting()
    run.stop()

    (lost,) = run.log.named("link.lost")
    assert "prices come" in lost["reason"]
    assert resting != []
    assert_consistent(run)


def test_falling_prices_trip_the_switch_in_simulated_time() -> None:
    """Loss limit: everything is cancelled, the latch is written first, the code is 3."""
    run = PipeRun("demo", seed=1, sets=CLOSE)
    run.start()
    run.run(5)
    px, _ = run.touch()
    for _ in range(200):
        if run.endings or run.trader.closing:
            break
        px *= 0.997
        run.market.force_px(px)
        run.run(1)
    ending = run.ended()

    assert ending.exit_code is Exit.KILLED
    assert ending.kill is not None
    assert ending.kill.trigger in ("session_loss", "drawdown")
    assert ending.kill.value >= ending.kill.limit
    assert run.latched == [ending.kill]
    assert run.trader.engine.mode is Mode.HALTED
    assert len(run.log.named("killswitch.tripped")) == 1
    assert_consistent(run)


def test_an_operators_kill_is_latched_and_ends_with_code_3() -> None:
    """SIGUSR1 is the same way."""
    run = PipeRun("demo", seed=1)
    run.start()
    run.run(5)
    assert run.resting() != []
    run.trader.kill("operator: SIGUSR1")

    ending = run.ended()

    assert ending.exit_code is Exit.KILLED
    assert [reason.trigger for reason in run.latched] == ["operator"]
    assert_consistent(run)


def test_a_kill_during_a_stop_still_counts() -> None:
    """The switch is not skipped because the run was ending anyway."""
    run = PipeRun("demo", seed=1)
    run.start()
    run.run(5)
    run.trader.stop("Ctrl+C")
    run.trader.kill("operator: SIGUSR1")

    assert run.ended().exit_code is Exit.KILLED
    assert [reason.trigger for reason in run.latched] == ["operator"]


def test_an_unanswered_stop_gives_up_and_says_what_may_rest() -> None:
    """The venue is gone: the program ends by itself, in bounded time, and not with code 0."""
    run = PipeRun("demo", seed=1)
    run.start()
    run.run(5)
    resting = len(run.resting())
    assert resting > 0
    run.http.refuse = run.dialer.refuse = "down"
    run.dialer.cut()
    run.run(1)
    run.trader.stop("Ctrl+C")

    ending = run.ended(25)

    assert ending.final is None
    assert ending.resting_orders > 0
    assert ending.exit_code is Exit.FAILED


def test_a_socket_that_never_lasts_keeps_no_stop_from_being_verified() -> None:
    """Readings begun and given up must not use up the weight that asks what rests."""
    run = PipeRun("demo", seed=5, sets=WIDE)
    run.ghost_s = 30
    run.start()
    run.run(20)
    for _ in range(15):
        run.dialer.cut()
        run.run(1.5)
    run.dialer.cut()
    run.run(0.1)
    assert not run.trader.link.is_up
    began_ns = run.sim.clock()
    ending = run.stop()

    assert ending.final is not None
    assert ending.exit_code is Exit.OK
    assert run.sim.clock() - began_ns < 5 * NS_PER_S
    assert run.resting() == []


def test_a_stop_without_a_socket_is_verified_over_http() -> None:
    """Cancels and the account go over HTTP while no socket is open."""
    run = PipeRun("demo", seed=1)
    run.start()
    run.run(20)
    run.dialer.refuse = "down"
    run.dialer.cut()
    run.run(0.2)

    ending = run.stop()

    assert ending.exit_code is Exit.OK
    cancels = [
        entry
        for entry in run.exchange.requests
        if entry["body"]["action"]["type"] == "cancelByCloid"
    ]
    assert {entry["transport"] for entry in cancels[-1:]} == {"http"}
    assert_consistent(run)


@pytest.mark.parametrize("asks", ["decide", "wake_at_ns"])
def test_a_broken_invariant_cancels_everything_once(asks: str) -> None:
    """A bug of ours: the engine is not asked again, what rests is cancelled, the switch latches."""
    run = PipeRun("demo", seed=1)
    run.start()
    run.run(5)
    asked = 0

    def broken(*_: int) -> NoReturn:
        nonlocal asked
        asked += 1
        msg = "the table lost an order"
        raise InvariantError(msg)

    setattr(run.trader.engine, asks, broken)
    ending = run.ended()

    assert ending.exit_code is Exit.KILLED
    assert [reason.trigger for reason in run.latched] == ["exception"]
    assert asked == 1
    assert "the table lost an order" in (ending.error or "")
    assert run.resting() == []
    assert len(run.log.named("invariant.broken")) == 1
    cancels = [a for a in run.actions() if a["type"] == "cancelByCloid"]
    assert len(cancels) <= 3


@pytest.mark.parametrize("lost_s", [4, 11, 16])
@pytest.mark.parametrize("is_broken", [False, True])
def test_cancels_lost_for_seconds_are_repeated_until_the_venue_confirms(
    lost_s: int, *, is_broken: bool
) -> None:
    """Whatever became of the first ones, and whether or not the engine can still be asked."""
    still = {"a_per_s": 0, "sweeps_per_s": 0, "sigma_bps_rt_s": 0}
    run = PipeRun("demo", seed=6, sets=WIDE, market=still)
    run.ghost_s = 60
    run.start()
    run.run(20)
    assert run.resting() != []
    run.faults(refuse=[500] * 10_000)
    if is_broken:
        run.trader.crash(ZeroDivisionError("mid of nothing"))
    else:
        run.trader.stop("Ctrl+C")
    run.run(lost_s)
    assert not run.endings
    run.faults(refuse=[])
    began_ns = run.sim.clock()
    ending = run.ended()

    assert ending.final is not None
    assert run.resting() == []
    assert run.sim.clock() - began_ns < 7 * NS_PER_S


def test_a_stop_waits_out_a_venue_that_is_asked_too_much() -> None:
    """A limit of a minute must not end a run as if nobody had answered."""
    run = PipeRun("demo", seed=6, sets=WIDE)
    run.start()
    run.run(20)
    run.faults(refuse_info=[429] * 10_000)
    run.trader.stop("Ctrl+C")
    run.run(45)
    assert not run.endings
    run.faults(refuse_info=[])
    assert run.ended(15).final is not None
    assert run.resting() == []


def test_a_reading_that_hangs_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer that never comes must not be the last thing the end waits for."""
    run = PipeRun("demo", seed=6, sets=WIDE)
    run.start()
    run.run(20)
    real = run.http.post
    swallowed: list[bytes] = []

    def post(path: str, body: bytes, on_done: Any, timeout_s: float) -> None:
        if path == "/info" and len(swallowed) < 2:
            swallowed.append(body)
            return
        real(path, body, on_done, timeout_s)

    monkeypatch.setattr(run.http, "post", post)
    ending = run.stop()

    assert len(swallowed) == 2
    assert ending.final is not None
    assert run.resting() == []


def test_fills_that_were_never_told_are_read_before_the_books_are_closed() -> None:
    """They may net to nothing: the position agrees, the fees do not."""
    run = PipeRun("demo", seed=9, sets=WIDE)
    run.ghost_s = 1000
    run.start()
    run.run(40)
    run.faults(mute=["userFills"])
    before = len(run.fills())
    while len(run.fills()) < before + 2:
        run.run(1)
    ending = run.stop()

    assert ending.final is not None
    assert run.trader.engine.summary().fills == len(run.fills())


def test_a_crash_in_a_callback_ends_like_a_broken_invariant() -> None:
    """What nobody expected is logged with its traceback and leaves nothing at the venue."""
    run = PipeRun("demo", seed=1)
    run.start()
    run.run(5)
    try:
        raise ZeroDivisionError("mid of nothing")
    except ZeroDivisionError as error:
        run.trader.crash(error)
    ending = run.ended()

    assert ending.exit_code is Exit.KILLED
    assert [reason.trigger for reason in run.latched] == ["exception"]
    assert "ZeroDivisionError: mid of nothing" in (ending.error or "")
    assert "Traceback" in run.log.named("invariant.broken")[0]["exception"]
    assert run.resting() == []


def test_a_refused_subscription_ends_with_code_4_and_says_what_to_check() -> None:
    """The venue answers an unknown coin by hanging up without a word, three times."""
    run = PipeRun("demo", seed=1, sets=["reference.coin=hype"])
    run.start()

    ending = run.ended(60)

    assert ending.exit_code is Exit.VENUE
    assert "refused 3 times in a row" in (ending.error or "")
    assert "reference.coin" in (ending.error or "")
    assert run.resting() == []


def test_reads_that_fail_at_the_start_are_tried_again() -> None:
    """429, 500 and 502 to the first snapshot: the run waits and then trades."""
    run = PipeRun("demo", seed=1)
    run.faults(refuse_info=[429, 500, 502, 500])
    run.start()
    run.run(30)
    assert run.resting() != []
    run.stop()

    assert_consistent(run)


def test_a_frame_that_is_not_json_drops_the_link_and_comes_back() -> None:
    """Nothing is guessed from a frame we cannot read."""
    run = PipeRun("demo", seed=2, sets=WIDE)
    run.start()
    run.run(10)
    run.exchange.inject("<html>bad gateway</html>")
    run.run(20)
    run.stop()

    assert len(run.log.named("frame.malformed")) == 1
    assert len(run.log.named("link.opened")) == 2
    assert_consistent(run)


def test_frames_of_strangers_are_counted_and_logged_once() -> None:
    """Another coin's book, an unknown channel: noticed, never fatal, never quoted from."""
    run = PipeRun("demo", seed=2, sets=WIDE)
    run.start()
    run.run(10)
    level = {"px": "1.0", "sz": "1.0", "n": 1}
    book = {"coin": "WIF", "time": START_MS + 1, "levels": [[level], [level]]}
    for _ in range(50):
        run.exchange.inject(json.dumps({"channel": "l2Book", "data": book}, separators=(",", ":")))
        run.exchange.inject('{"channel":"horoscope","data":{}}')
    run.run(20)
    run.stop()

    unknown = [record["what"] for record in run.log.named("frame.unknown")]
    assert len(unknown) == len(set(unknown)) == 2
    assert any("WIF" in what for what in unknown)
    assert any("horoscope" in what for what in unknown)
    assert run.log.named("link.lost") == []
    assert_consistent(run)


@pytest.mark.parametrize("kind", ["crossed", "empty", "one-sided"])
def test_a_book_that_means_nothing_prices_nothing(kind: str) -> None:
    """While it lasts nothing that adds is placed or kept; when it ends trading goes on."""
    run = PipeRun("demo", seed=2, sets=WIDE)
    run.start()
    run.run(10)
    bid, ask = run.touch()

    def level(px: float) -> dict[str, Any]:
        return {"px": f"{px:g}", "sz": "10", "n": 1}

    def broken(text: str) -> list[tuple[int, str]]:
        frame = json.loads(text)
        if frame["channel"] == "bbo":
            sides = {
                "crossed": [level(round(ask * 1.001, 3)), level(round(bid * 0.999, 3))],
                "empty": [None, None],
                "one-sided": [level(bid), None],
            }[kind]
            frame["data"]["bbo"] = sides
        elif frame["channel"] == "l2Book":
            frame["data"]["levels"] = {
                "crossed": [[level(round(ask * 1.001, 3))], [level(round(bid * 0.999, 3))]],
                "empty": [[], []],
                "one-sided": [[level(bid)], []],
            }[kind]
        return [(0, json.dumps(frame, separators=(",", ":")))]

    for end in run.dialer._open:
        end.far._tamper = broken
    run.run(0.7)
    held_sz = run.position_sz()
    seen = len(run.exchange.requests)
    run.run(2)
    adding = [
        row
        for row in run.resting()
        if run.position_sz() == held_sz and (1 if row["side"] == "B" else -1) * held_sz >= 0
    ]
    placed = [
        entry["body"]["action"]["type"]
        for entry in list(run.exchange.requests)[seen:]
        if entry["body"]["action"]["type"] != "cancelByCloid"
    ]
    for end in run.dialer._open:
        end.far._tamper = None
    run.run(20)
    resting = run.resting()
    run.stop()

    assert adding == []
    assert placed == []
    assert resting != []
    assert_consistent(run)


def test_a_batch_answered_with_one_status_settles_every_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A static failure answers n orders with one error: each of them is settled by it."""

    def refuse(*_: object) -> object:
        msg = "Order has invalid size."
        raise orders.StaticError(msg)

    run = PipeRun("demo", seed=2, sets=WIDE)
    run.start()
    with monkeypatch.context() as patch:
        patch.setattr(orders, "new_order", refuse)
        run.run(10)
        refused = list(run.exchange.requests)
        assert run.resting() == []
        waiting = [s for s in run.trader.engine.orders.slots.values() if s.oid == 0]
        assert run.sim.run_till(lambda: not run.trader.engine.orders.slots, 1), waiting
    run.run(20)
    resting = run.resting()
    run.stop()

    batches = [
        (entry["body"]["action"]["orders"], entry["response"]["response"]["data"]["statuses"])
        for entry in refused
        if entry["body"]["action"]["type"] == "order"
    ]
    assert any(len(sent) > 1 and len(answered) == 1 for sent, answered in batches)
    rejected = [r for r in run.log.named("order.rejected") if r["reason"] == "size"]
    assert len(rejected) == sum(len(sent) for sent, _ in batches)
    assert resting != []
    assert_consistent(run)


@pytest.mark.parametrize("delay_ms", [900, 4900, 5300])
def test_an_old_answer_is_not_taken_for_that_of_a_newer_request(delay_ms: int) -> None:
    """
    Answers come long after the stream has settled their orders and more was sent about them.

    Neither the late answer nor the time-out of the first request may settle the second: an order
    would rest without an owner.
    """
    run = PipeRun("demo", seed=9, sets=WIDE)
    run.ghost_s = 3
    run.start()
    run.run(10)
    run.faults(delay_ms=delay_ms)
    run.run(60)
    run.faults(delay_ms=0, drop=6)
    run.run(60)
    run.stop()

    assert_consistent(run)


@pytest.mark.parametrize("latency_ms", [50, 600, 1200, 2500])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_nothing_comes_to_rest_after_a_stop_was_called_verified(how: str, latency_ms: int) -> None:
    """
    A stop right after the first batch left: the orders are still on their way.

    An empty reading of the account is no proof then. The run may end only when what was sent has a
    verdict or has expired, and nothing rests ever after.
    """
    run = PipeRun("demo", seed=5, latency_ms=latency_ms)
    run.start()
    first = lambda: bool(run.log.named("quote.moved"))  # noqa: E731
    assert run.sim.run_till(first, 20)
    if how == "stop":
        run.trader.stop("test")
    else:
        run.trader.kill("test")
    ending = run.ended()

    assert ending.final is not None
    assert ending.resting_orders == 0
    for _ in range(20):
        run.sim.run_for(0.5)
        assert run.resting() == []


def test_a_broken_invariant_latches_and_a_kill_after_it_does_not_replace_the_reason() -> None:
    """A bug must not be the way around the switch; what came first is what is looked into."""
    run = PipeRun("demo", seed=5)
    run.start()
    run.run(3)
    run.trader.crash(RuntimeError("boom"))
    run.trader.kill("operator")
    ending = run.ended()

    assert [reason.trigger for reason in run.latched] == ["exception"]
    assert "boom" in run.latched[0].text
    assert ending.kill is not None
