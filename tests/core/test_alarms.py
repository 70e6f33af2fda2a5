"""
The triggers that are not of money: each at its exact figure, one below it and one above.

Every one is shown on an engine that has just begun, has learnt nothing, holds nothing and has
filled nothing, because a trigger that waits for any of that is silent when it is needed first.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import msgspec
import pytest

from core.rig import T0_NS, Fault, Resting, Rig, params
from mmbot.core.alarms import CLOCK_HOLD_S
from mmbot.core.events import (
    AccountRead,
    AssetCtx,
    Bbo,
    Command,
    CommandKind,
    DayBegan,
    Fill,
    Gauge,
    JournalLag,
    Level,
    LinkLost,
    LinkUp,
    Measured,
    Rejected,
    Rejection,
    Request,
    RequestsLeft,
)
from mmbot.core.guards import GuardParams, Guards, Position
from mmbot.core.intents import KillReason
from mmbot.core.margin import BALANCE_FRAC
from mmbot.core.risk import Day, Limits, Risk, RiskParams
from mmbot.core.triggers import FLATTENS, KILLS, KillParams, Trip, closes_position
from mmbot.core.types import NS_PER_MS, NS_PER_S, Mode, Side
from mmbot.errors import InvariantError

PX = 25.0
DAY_NS = 86_400 * NS_PER_S


def kill_of(it: Rig) -> KillReason | None:
    """What tripped, after a decision; tripped, nothing rests and nothing leaves any more."""
    it.tell_book()
    it.settle()
    kill = it.engine.risk.kill
    assert (it.engine.mode is Mode.HALTED) is (kill is not None)
    if kill is not None:
        assert not it.resting
        count = len(it.batches)
        it.wait(1.0)
        it.tell_book()
        it.settle()
        assert len(it.batches) == count
    return kill


def tripped(it: Rig, trip: Trip) -> KillReason:
    kill = kill_of(it)
    assert kill is not None
    assert kill.trigger == trip.value
    return kill


# -- loss of the day ------------------------------------------------------------------------------


def day_of(risk: Risk) -> Day:
    day = risk.day
    assert day is not None
    return day


def risk_of(**changes: object) -> Risk:
    values = {"capital_usd": 100.0, "loss_limit_frac": 0.04, "drawdown_limit_frac": 0.5, **changes}
    return Risk(RiskParams.model_validate(values))


@pytest.mark.parametrize(("loss_usd", "is_kill"), [(1.99, False), (2.0, True), (2.01, True)])
def test_the_loss_of_the_day_counts_what_earlier_runs_lost(
    loss_usd: float, *, is_kill: bool
) -> None:
    """Three runs that lose two percent each are a day that lost six."""
    risk = risk_of()
    risk.continue_day(Day(T0_NS // DAY_NS, 100.0, -3.0))
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    risk.observe(-loss_usd, T0_NS + 1)
    assert (risk.kill is not None) is is_kill
    if risk.kill is not None:
        assert (risk.kill.trigger, risk.kill.unit) == ("day_loss", "USD")
        assert risk.kill.value == pytest.approx(3.0 + loss_usd)
        assert risk.kill.limit == pytest.approx(5.0)


def test_a_day_that_is_lost_stays_lost_however_often_it_is_begun_anew() -> None:
    """The reset of the switch is no new day; midnight is."""
    day = Day(T0_NS // DAY_NS, 100.0, -5.0)
    for at_ns, is_kill in ((T0_NS, True), ((T0_NS // DAY_NS + 1) * DAY_NS, False)):
        risk = risk_of()
        risk.continue_day(day)
        risk.start(Limits(95.0, 190.0, 0.2), at_ns)
        assert (risk.kill is not None) is is_kill


def test_at_midnight_the_day_begins_at_the_equity_of_then() -> None:
    """What was lost before belongs to the day before, and the next day has a base of its own."""
    risk = risk_of()
    midnight_ns = (T0_NS // DAY_NS + 1) * DAY_NS
    risk.start(Limits(100.0, 200.0, 0.2), midnight_ns - 2)
    risk.observe(-3.5, midnight_ns - 1)
    assert day_of(risk) == Day(midnight_ns // DAY_NS - 1, 100.0, -3.5)
    risk.observe(-3.6, midnight_ns)
    assert risk.kill is None
    assert day_of(risk).number == midnight_ns // DAY_NS
    assert day_of(risk).base_usd == 96.5
    assert day_of(risk).pnl_usd == pytest.approx(-0.1)


def test_each_limit_of_loss_can_be_given_in_dollars_and_the_smaller_counts() -> None:
    """A fraction of a large account may be more than somebody is ready to lose."""
    for changes, at_usd, trigger in (
        ({"loss_limit_usd": 1.5}, 1.5, "session_loss"),
        ({"loss_limit_usd": 50.0}, 4.0, "session_loss"),
        ({"day_loss_limit_usd": 1.25}, 1.25, "day_loss"),
        ({"day_loss_limit_frac": 0.02}, 2.0, "day_loss"),
    ):
        risk = risk_of(**changes)
        risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
        risk.observe(-at_usd + 0.01, T0_NS + 1)
        assert risk.kill is None
        risk.observe(-at_usd, T0_NS + 2)
        assert risk.kill is not None
        assert (risk.kill.trigger, risk.kill.limit) == (trigger, pytest.approx(at_usd))


def test_without_a_figure_of_its_own_the_day_allows_what_a_session_does() -> None:
    """A session limit above the default of the day would otherwise never be reached."""
    risk = risk_of(loss_limit_frac=0.3)
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    risk.observe(-29.99, T0_NS + 1)
    assert risk.kill is None
    risk.observe(-30.0, T0_NS + 2)
    assert risk.kill is not None


def test_a_profit_that_is_no_number_is_a_bug_and_not_silence() -> None:
    """Every comparison with it is false: no limit could ever be reached again."""
    risk = risk_of()
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    with pytest.raises(InvariantError, match="no number"):
        risk.observe(nan, T0_NS + 1)


def test_the_day_told_by_an_event_is_the_one_that_counts() -> None:
    """The engine hears of it as of everything else, so that a replay does too."""
    it = Rig(fair_px=PX, is_started=False)
    it.apply(DayBegan(T0_NS, T0_NS // DAY_NS, 100.0, -6.0))
    it.start()
    assert tripped(it, Trip.DAY_LOSS).value == 6.0


# -- what happens ---------------------------------------------------------------------------------


def refuse(it: Rig, count: int, reason: Rejection = Rejection.TICK, every_s: float = 0.1) -> None:
    for n in range(count):
        it.wait(every_s)
        it.apply(Rejected(it.now_ns, Request.PLACE, 10_000 + n, reason, "Invalid TP/SL price"))


@pytest.mark.parametrize(("count", "is_kill"), [(99, False), (100, True)])
def test_so_many_refusals_within_a_minute_trip(count: int, *, is_kill: bool) -> None:
    """From the first second of a run on, whatever was accepted in between."""
    it = Rig(fair_px=PX)
    refuse(it, count)
    kill = kill_of(it)
    assert (kill is not None) is is_kill
    if kill is not None:
        assert (kill.trigger, kill.value, kill.unit) == ("rejects", 100, "refusals a minute")
        assert "Invalid TP/SL" in kill.text


def test_the_same_refusals_in_more_than_a_minute_do_not() -> None:
    """One every 0.61 s: 99 within any minute."""
    it = Rig(fair_px=PX)
    refuse(it, 200, every_s=0.61)
    assert kill_of(it) is None


@pytest.mark.parametrize("reason", [Rejection.BUDGET, Rejection.POST_ONLY_WINDOW, Rejection.HALTED])
def test_a_venue_that_says_not_now_is_no_storm(reason: Rejection) -> None:
    """An upgrade of the venue and an exhausted budget end by themselves."""
    it = Rig(fair_px=PX)
    refuse(it, 500, reason, every_s=0.01)
    assert kill_of(it) is None


def test_a_cancel_that_came_too_late_is_no_refusal_of_ours() -> None:
    """Filled before it arrived."""
    it = Rig(fair_px=PX)
    for n in range(500):
        it.apply(Rejected(it.now_ns, Request.CANCEL, n, Rejection.GONE, "already canceled"))
    assert kill_of(it) is None


@pytest.mark.parametrize("side", list(Side))
def test_a_liquidation_trips_however_small_and_whoever_s_order_it_was(side: Side) -> None:
    """The venue trades for us: nothing this program believes of its limits is true any more."""
    it = Rig(position_lots=-side * 300, fair_px=PX)
    it.settle()
    it.wait(0.1)
    order = Resting(99, 0, side, round(PX * 1e4), 1, 1)
    fill: Fill = it.fill_event(order, 1)
    it.apply(msgspec.structs.replace(fill, cloid=None, is_liquidation=True))
    kill = tripped(it, Trip.LIQUIDATION)
    assert (kill.value, kill.unit) == (0.01, "coins")
    assert it.engine.position.lots == -side * 299


@pytest.mark.parametrize(("equity_usd", "is_kill"), [(50.01, False), (50.0, False), (49.99, True)])
def test_an_account_that_lost_half_its_money_elsewhere_trips(
    equity_usd: float, *, is_kill: bool
) -> None:
    """A withdrawal under a running program; a deposit and a smaller withdrawal change nothing."""
    it = Rig(fair_px=PX)
    it.settle()
    for seen_usd in (1e6, equity_usd):
        it.wait(1.0)
        it.apply(AccountRead(it.now_ns, it.venue_ms, 0, seen_usd, 0.0))
    kill = kill_of(it)
    assert (kill is not None) is is_kill
    assert BALANCE_FRAC == 0.5
    if kill is not None:
        assert (kill.trigger, kill.limit, kill.unit) == ("balance", 50.0, "USD")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("others_usd", "is_kill"), [(64.99, False), (65.0, True)])
def test_the_maintenance_margin_trips_at_its_share_of_the_account_value(
    sign: int, others_usd: float, *, is_kill: bool
) -> None:
    """200 USD at 10x need 10 USD; what other markets need counts as well, by the venue's word."""
    it = Rig(position_lots=sign * 800, fair_px=PX)
    it.settle()
    it.wait(1.0)
    it.apply(AccountRead(it.now_ns, it.venue_ms, sign * 800, 100.0, 10.0 + others_usd))
    assert (it.engine.risk.kill is not None) is is_kill, "the reading itself trips"
    kill = kill_of(it)
    assert (kill is not None) is is_kill
    if kill is not None:
        assert (kill.trigger, kill.limit) == ("margin", 0.75)
        assert kill.value == pytest.approx(0.75)


def test_the_margin_is_followed_between_readings() -> None:
    """A loss moves the account value before anybody reads it: 8 of 10 USD are too much."""
    it = Rig(
        params(risk={"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5, "soft_limit_frac": 0.5}),
        position_lots=800,
        fair_px=PX,
    )
    it.settle()
    it.wait(1.0)
    it.apply(AccountRead(it.now_ns, it.venue_ms, 800, 51.0, 10.0))
    assert it.engine.risk.kill is None
    px = PX * (1 - 41.0 / 200.0)
    it.apply(AssetCtx(it.now_ns, px, px, 0.0, 1e6))
    tripped(it, Trip.MARGIN)


# -- what lasts -----------------------------------------------------------------------------------


def mismatch(it: Rig) -> None:
    it.apply(AccountRead(it.now_ns, it.venue_ms, 37, it.equity_usd, 0.0))


def unknown(it: Rig) -> None:
    it.is_holding_answers = True
    it.fault = Fault.LOST_BEFORE
    it.move_to(PX * 1.01)
    it.decide()
    it.release()
    it.is_holding_answers = True
    it.decide()


def late_journal(it: Rig) -> None:
    it.apply(JournalLag(it.now_ns, is_late=True, lag_s=0.0, text="for the test"))


def dead_term(it: Rig) -> None:
    it.engine._vitals = _Unwell()  # type: ignore[assignment]


class _Unwell:
    is_well = is_sound = False

    def reset_gap(self) -> None:
        """Nothing is kept."""


LASTING: dict[str, tuple[Callable[[Rig], None], Trip, dict[str, object], float]] = {
    "mismatch": (mismatch, Trip.MISMATCH, {"mismatch_pull_s": 3.0, "mismatch_kill_s": 20.0}, 20.0),
    "unknown": (unknown, Trip.UNKNOWN_ORDER, {"unknown_s": 25.0}, 25.0),
    "journal": (late_journal, Trip.JOURNAL, {"journal_s": 15.0}, 15.0),
    "wiring": (dead_term, Trip.DEAD_WIRING, {"unwell_s": 18.0}, 18.0),
}


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_trips_at_its_exact_time_and_wakes_the_engine_for_it(name: str) -> None:
    """Nothing else happens: the clock alone has to bring the decision about."""
    cause, trip, changes, limit_s = LASTING[name]
    it = Rig(params(kill=changes), fair_px=PX)
    it.settle()
    it.wait(0.5)
    it.tell_book()
    cause(it)
    it.decide()
    began_ns = it.now_ns
    # The book goes on, or its own triggers would be the ones that fire.
    due_ns = began_ns + round(limit_s * NS_PER_S)
    while it.now_ns + 2 * NS_PER_S < due_ns:
        it.wait(1.0)
        it.tell_book()
        it.decide()
        assert it.engine.risk.kill is None
        wake_ns = it.engine.wake_at_ns()
        assert wake_ns is not None
        assert wake_ns <= due_ns
    it.now_ns = due_ns - 1
    it.tell_book()
    it.decide()
    assert it.engine.risk.kill is None
    it.now_ns = due_ns
    it.decide()
    kill = it.engine.risk.kill
    assert kill is not None
    assert (kill.trigger, kill.value, kill.limit) == (trip.value, limit_s, limit_s)


@pytest.mark.parametrize("name", ["mismatch", "journal", "wiring"])
def test_what_ends_in_time_trips_nothing_and_counts_anew(name: str) -> None:
    """Twice for most of the limit is not once for the whole of it."""
    cause, _, changes, limit_s = LASTING[name]
    it = Rig(params(kill=changes), fair_px=PX)
    well = it.engine._vitals
    for _ in range(2):
        cause(it)
        for _ in range(int(limit_s) - 2):
            it.decide()
            it.wait(1.0)
            it.tell_book()
        it.decide()
        it.engine._vitals = well
        it.apply(AccountRead(it.now_ns, it.venue_ms, 0, it.equity_usd, 0.0))
        it.apply(JournalLag(it.now_ns, is_late=False, lag_s=0.0, text=""))
        it.decide()
    assert it.engine.risk.kill is None
    assert it.engine.mode is not Mode.HALTED


def test_an_order_cancelled_again_and_again_without_an_answer_is_as_old_as_at_first() -> None:
    """The retry of a cancel must not start the clock anew."""
    it = Rig(params(kill={"unknown_s": 30.0}), fair_px=PX)
    it.settle()
    it.apply(Command(it.now_ns, CommandKind.STOP, "test"))
    seconds = 0
    cancels = 0
    while it.engine.risk.kill is None:
        it.fault = Fault.LOST_BEFORE
        it.wait(1.0)
        it.tell_book()
        decision = it.engine.decide(it.now_ns)
        if decision.batch is not None:
            cancels += len(decision.batch.cancels)
            it.fail(decision.batch, Fault.LOST_BEFORE)
        seconds += 1
        assert seconds < 40
    assert it.engine.risk.kill.trigger == "unknown_order"
    assert seconds >= 30
    assert cancels > 50


@pytest.mark.parametrize(
    ("off_s", "is_kill"), [(1.9, False), (2.0, True), (-1.9, False), (-2.0, True)]
)
def test_clocks_that_differ_trip_once_it_has_lasted(off_s: float, *, is_kill: bool) -> None:
    """Ahead and behind; orders would expire before they arrive, or long after they should."""
    it = Rig(
        params(risk={"stale_pull_s": 60.0, "stale_kill_s": 600.0}), fair_px=PX, is_started=False
    )
    off_ms = round(off_s * 1000)

    def book() -> None:
        level = it.bid_ticks, it.ask_ticks
        ms = it.now_ns // NS_PER_MS - off_ms
        it.apply(Bbo(it.now_ns, ms, Level(level[0], 1000), Level(level[1], 1000)))

    it.apply(LinkUp(it.now_ns))
    it.apply(it.snapshot())
    began_ns = it.now_ns
    while it.now_ns - began_ns < (CLOCK_HOLD_S + 2) * NS_PER_S:
        it.wait(0.5)
        book()
        it.decide()
        lasted_s = (it.now_ns - began_ns) / NS_PER_S
        if lasted_s < CLOCK_HOLD_S:
            assert it.engine.risk.kill is None
    kill = it.engine.risk.kill
    assert (kill is not None) is is_kill
    if kill is not None:
        assert (kill.trigger, kill.limit, kill.unit) == ("clock", 2.0, "s")


def test_a_first_frame_of_an_old_book_is_no_difference_of_clocks() -> None:
    """A market in which nothing happens repeats its last touch when it is subscribed to."""
    it = Rig(fair_px=PX, is_started=False)
    it.apply(LinkUp(it.now_ns))
    for _ in range(4):
        ms = it.now_ns // NS_PER_MS - 20_000
        it.apply(Bbo(it.now_ns, ms, Level(it.bid_ticks, 9), Level(it.ask_ticks, 9)))
    it.decide()
    it.wait(2.0)
    for _ in range(30):
        it.wait(1.0)
        it.tell_book()
        it.decide()
    assert it.engine.risk.kill is None


@pytest.mark.parametrize(("left", "is_kill"), [(1, False), (0, True), (-5, True)])
def test_the_last_request_trips(left: int, *, is_kill: bool) -> None:
    """Somebody else spends them; quotes that cannot be moved must not stay."""
    it = Rig(fair_px=PX)
    it.settle()
    it.apply(RequestsLeft(it.now_ns, 10_000 - left, 10_000))
    # What cancels the rest is counted as well, so the engine is asked once.
    it.decide()
    kill = it.engine.risk.kill
    assert (kill is not None) is is_kill
    if kill is not None:
        assert (kill.trigger, kill.value, kill.limit) == ("requests", float(left), 0.0)


def test_before_the_requests_are_known_they_are_not_spent() -> None:
    """An engine that has read nothing has none left, as it were."""
    it = Rig(fair_px=PX, is_started=False)
    it.apply(LinkUp(it.now_ns))
    it.tell_book()
    it.decide()
    assert it.engine.risk.kill is None


@pytest.mark.parametrize(
    ("gauge", "trip"),
    [(Gauge.MARK_AGE_S, Trip.STALE_MARK), (Gauge.ACCOUNT_AGE_S, Trip.STALE_ACCOUNT)],
)
def test_a_silent_stream_trips_at_its_own_age(gauge: Gauge, trip: Trip) -> None:
    """Each by itself, while every other stream goes on."""
    it = Rig(params(kill={"mark_s": 70.0, "account_s": 70.0}), fair_px=PX)
    it.settle()
    it.apply(Measured(it.now_ns, gauge, 69.999))
    it.tell_book()
    it.decide()
    assert it.engine.risk.kill is None
    it.apply(Measured(it.now_ns, gauge, 70.0))
    assert tripped(it, trip).value == 70.0


# -- position truth -------------------------------------------------------------------------------


def test_a_position_that_differs_pulls_the_quotes_then_trips_unless_it_is_explained() -> None:
    """Pulled after the grace, quoting again when a late fill explains it, tripped if none does."""
    it = Rig(fair_px=PX)
    it.settle()
    mismatch(it)
    it.decide()
    for _ in range(4):
        it.wait(1.0)
        it.tell_book()
        it.settle()
    assert it.resting
    it.wait(1.0)
    it.tell_book()
    decision = it.settle()
    assert not it.resting
    assert decision.status.reasons == ("position mismatch",)
    assert len(it.events_named("position.unexplained")) == 1
    # The venue's next word agrees again.
    it.apply(AccountRead(it.now_ns, it.venue_ms, 0, it.equity_usd, 0.0))
    it.tell_book()
    it.settle()
    assert it.resting
    assert len(it.events_named("position.explained")) == 1


def test_what_a_snapshot_adopts_is_still_a_mismatch_until_a_fill_explains_it() -> None:
    """Adopting the venue's figure makes ours right, not understood."""
    it = Rig(position_lots=100, fair_px=PX)
    it.settle()
    it.wait(5.0)
    order = it.side(Side.SELL)[0]
    it.tell_book()
    hidden = it.fill_event(order, order.sz_lots)
    it.wait(5.0)
    it.tell_book()
    it.apply(it.snapshot())
    assert it.engine.missing_lots == -hidden.sz_lots
    for _ in range(6):
        it.wait(1.0)
        it.tell_book()
        it.settle()
    assert not it.resting
    it.apply(hidden)
    assert it.engine.missing_lots == 0
    it.tell_book()
    it.settle()
    assert it.resting
    assert it.engine.risk.kill is None


@pytest.mark.parametrize("lag_s", [-1.9, -1.0, 0.0, 1.9])
def test_a_reading_that_lags_behind_our_fills_is_no_mismatch(lag_s: float) -> None:
    """The venue's reads trail its commits; every position of that moment is a right answer."""
    it = Rig(fair_px=PX)
    it.settle()
    it.wait(10.0)
    it.tell_book()
    before = it.position_lots
    path = [before]
    for _ in range(3):
        it.wait(0.4)
        order = it.side(Side.BUY)[0]
        it.fill(order, 20)
        path.append(it.position_lots)
    at_ms = it.venue_ms + round(lag_s * 1000)
    for lots in path:
        if lag_s < 0 or lots == path[-1]:
            it.apply(AccountRead(it.now_ns, at_ms, lots, it.equity_usd, 0.0))
            assert it.engine.missing_lots == 0
    it.apply(AccountRead(it.now_ns, at_ms, path[-1] + 1, it.equity_usd, 0.0))
    assert it.engine.missing_lots == 1


def test_a_lost_link_does_not_stop_the_clock_of_a_mismatch() -> None:
    """Reconnecting again and again must not mask it."""
    it = Rig(params(kill={"mismatch_kill_s": 20.0}), fair_px=PX)
    it.settle()
    mismatch(it)
    for _ in range(10):
        it.decide()
        it.wait(1.0)
        it.apply(LinkLost(it.now_ns, "reset"))
        it.decide()
        it.wait(1.0)
        it.apply(LinkUp(it.now_ns))
        it.tell_book()
    it.decide()
    kill = it.engine.risk.kill
    assert kill is not None
    assert kill.trigger == "position_mismatch"


# -- the table ------------------------------------------------------------------------------------


def test_what_is_held_is_the_danger_after_these_trips_and_no_others() -> None:
    """Closing as a taker on data that is known to be wrong would add a loss to a fault."""
    data = {
        Trip.STALE_DATA,
        Trip.STALE_MARK,
        Trip.STALE_ACCOUNT,
        Trip.REJECTS,
        Trip.UNKNOWN_ORDER,
        Trip.REQUESTS,
        Trip.CLOCK,
        Trip.DEAD_WIRING,
        Trip.JOURNAL,
        Trip.EXCEPTION,
        Trip.OPERATOR,
    }
    assert set(KILLS) - FLATTENS == data
    assert all(closes_position(trip.value) is (trip in FLATTENS) for trip in Trip)
    assert not closes_position("unheard of")


@pytest.mark.parametrize(
    "wrong",
    [
        {"mismatch_pull_s": 30.0},
        {"account_s": 19.0},
        {"rejects": 4},
        {"margin_frac": 1.01},
        {"unheard_of": 1},
    ],
)
def test_contradictory_figures_do_not_start(wrong: dict[str, object]) -> None:
    """Refused before a socket is opened."""
    with pytest.raises(ValueError, match=r".+"):
        KillParams.model_validate(wrong)


# -- stuck ----------------------------------------------------------------------------------------


class _StuckGuards(Guards):
    """Guards whose position is against an urgent trend, whatever the market."""

    def _is_stuck(self, now_ns: int, position: Position) -> bool:
        self._stuck_ns = self._stuck_ns or now_ns
        return now_ns - self._stuck_ns >= self._params.stuck_s * NS_PER_S


@pytest.mark.parametrize("is_well", [True, False])
def test_a_position_stuck_for_long_trips_after_it_was_only_reduced(*, is_well: bool) -> None:
    """A dead term reduces as well, and must not hold the clock of what is stuck."""
    it = Rig(params(kill={"stuck_s": 40.0}, guards={"stuck_s": 20.0}), position_lots=300)
    it.settle()
    it.engine._guards = _StuckGuards(GuardParams(stuck_s=20.0))
    if not is_well:
        dead_term(it)
    modes: dict[int, Mode] = {}
    for second in range(1, 46):
        it.wait(1.0)
        it.tell_book()
        it.settle()
        modes[second] = it.engine.mode
    first = Mode.RUNNING if is_well else Mode.REDUCING
    assert [modes[s] for s in (1, 19, 21, 39, 42)] == [
        first,
        first,
        Mode.REDUCING,
        Mode.REDUCING,
        Mode.HALTED,
    ]
    kill = it.engine.risk.kill
    assert kill is not None
    assert (kill.trigger, kill.limit, kill.unit) == ("stuck", 40.0, "s")
