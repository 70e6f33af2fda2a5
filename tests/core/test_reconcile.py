"""The difference between what rests and what is wanted, and what it may cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rig import PREFIX, T0_NS
from mmbot.core.events import Acked, Request
from mmbot.core.intents import Cancel, Diff, Place
from mmbot.core.ladder import Rung, SideTarget
from mmbot.core.orders import Orders
from mmbot.core.reconcile import ReconcileParams, Reconciler, Requests, SideView
from mmbot.core.types import NS_PER_S, Side

FAR_U = {Side.BUY: 261_870.0, Side.SELL: -262_130.0}


def table(*bids: tuple[int, int]) -> tuple[Orders, dict[int, int]]:
    """Resting bids (price, lots); the cloid of each price."""
    orders = Orders(PREFIX)
    by_px = {}
    for oid, (px, lots) in enumerate(bids, 1):
        cloid = orders.new_cloid()
        orders.sent((), (), (Place(cloid, Side.BUY, px, lots),), T0_NS)
        orders.on_acked(Acked(T0_NS, Request.PLACE, cloid, oid))
        by_px[px] = cloid
    return orders, by_px


def view(
    *rungs: tuple[int, int], budget: int = 150, reduce: int = 0, blocked: bool = False
) -> SideView:
    target = SideTarget(Side.BUY, tuple(Rung(px, lots) for px, lots in rungs))
    return SideView(Side.BUY, target, budget, reduce, FAR_U[Side.BUY], blocked)


def rich(**changes: float) -> Reconciler:
    reconciler = Reconciler(ReconcileParams.model_validate(changes))
    reconciler.requests.observe(0, 1_000_000)
    return reconciler


EMPTY = SideView(Side.SELL, SideTarget(Side.SELL), 0, 0, FAR_U[Side.SELL], is_blocked=False)


def diff(reconciler: Reconciler, orders: Orders, its: SideView, now_ns: int = T0_NS) -> Diff:
    return reconciler.diff(orders, (its, EMPTY), now_ns)


LADDER = ((261_750, 50), (261_700, 50), (261_650, 50))


def test_what_is_wanted_and_rests_is_left_alone() -> None:
    """Sizes within the tolerance included: renewing an order loses its place in the queue."""
    orders, _ = table((261_750, 50), (261_700, 26), (261_650, 44))
    assert len(diff(rich(), orders, view(*LADDER))) == 0


def test_one_line_up_is_one_move_of_the_farthest_bid_to_the_front() -> None:
    """And one line down the nearest to the back."""
    orders, cloids = table(*LADDER)
    up = diff(rich(), orders, view((261_800, 50), (261_750, 50), (261_700, 50)))
    assert [(move.cloid, move.px_ticks) for move in up.moves] == [(cloids[261_650], 261_800)]
    assert len(up) == 1
    down = diff(rich(), orders, view((261_700, 50), (261_650, 50), (261_600, 50)))
    assert [(move.cloid, move.px_ticks) for move in down.moves] == [(cloids[261_750], 261_600)]
    assert len(down) == 1


def test_an_order_inside_its_floor_goes_before_any_move_and_at_any_price() -> None:
    """With the requests spent to the last, the protective cancel still goes out."""
    orders, cloids = table((261_880, 50), (261_700, 50))
    poor = Reconciler(ReconcileParams())
    poor.requests.observe(10_000, 10_000)
    result = diff(poor, orders, view((261_750, 50), (261_700, 50)))
    assert result.cancels == (Cancel(cloids[261_880]),)
    assert not result.moves
    assert not result.places


def test_a_pulled_side_is_cancelled_whole() -> None:
    """An empty target is a decision, not an absence of one."""
    orders, cloids = table(*LADDER)
    result = diff(rich(), orders, view())
    assert {cancel.cloid for cancel in result.cancels} == set(cloids.values())


def test_the_nearest_line_opens_though_older_larger_orders_fill_the_budget() -> None:
    """Each rests where it is wanted, so the side would stay a line too far out for good."""
    orders, cloids = table((261_700, 48), (261_650, 48), (261_600, 48))
    wanted = view((261_750, 40), (261_700, 40), (261_650, 40), (261_600, 40), budget=160)
    moved = diff(rich(), orders, wanted)
    assert [(move.cloid, move.px_ticks, move.sz_lots) for move in moved.moves] == [
        (cloids[261_600], 261_750, 40)
    ]
    assert len(moved) == 1

    orders, _ = table((261_750, 40), (261_700, 48), (261_650, 48))
    assert len(diff(rich(), orders, wanted)) == 0  # the farthest is the one to do without


def test_a_surplus_over_the_budget_is_cancelled_farthest_first() -> None:
    """Down to what the budget holds, and not further."""
    orders, cloids = table(*LADDER)
    result = diff(rich(), orders, view(*LADDER, budget=120))
    assert result.cancels == (Cancel(cloids[261_650]),)


def test_after_a_fill_moved_the_line_outward_the_surplus_is_the_nearest() -> None:
    """The skew wants the touch farther out: the nearest order is the one no longer wanted."""
    orders, cloids = table(*LADDER)
    result = diff(rich(), orders, view((261_700, 50), (261_650, 50)))
    assert result.cancels == (Cancel(cloids[261_750]),)


def test_nothing_is_placed_into_room_that_a_cancel_has_not_yet_freed() -> None:
    """Until the venue confirms, the cancelled order may still fill."""
    orders, cloids = table(*LADDER)
    orders.sent((Cancel(cloids[261_750]),), (), (), T0_NS)
    wanted = view((261_700, 50), (261_650, 50), (261_600, 50))
    assert len(diff(rich(), orders, wanted)) == 0
    orders.on_acked(Acked(T0_NS, Request.CANCEL, cloids[261_750]))
    places = diff(rich(), orders, wanted).places
    assert [place.px_ticks for place in places] == [261_600]


def test_a_side_that_waits_out_a_refusal_only_cancels() -> None:
    """No placement and no move, but what must go still goes."""
    orders, cloids = table((261_880, 50))
    result = diff(rich(), orders, view(*LADDER, blocked=True))
    assert result == Diff((Cancel(cloids[261_880]),))


def test_a_partly_filled_order_is_renewed_only_if_that_cures_it() -> None:
    """Without room for a whole one the same small order would be renewed for ever."""
    orders, cloids = table((261_750, 20))
    result = diff(rich(), orders, view((261_750, 50)))
    assert [(move.cloid, move.sz_lots) for move in result.moves] == [(cloids[261_750], 50)]
    orders, _ = table((261_750, 41))
    assert len(diff(rich(), orders, view((261_750, 100), budget=45))) == 0


def test_an_empty_bucket_pays_for_a_lone_side_and_for_one_change_a_minute() -> None:
    """Two-sided always; everything else waits for tokens, and the wait is known."""
    orders, _ = table(*LADDER)
    wanted = view((261_800, 50), (261_750, 50), (261_700, 50))
    poor = Reconciler(ReconcileParams())
    poor.requests.observe(0, 500)
    poor.requests.tokens = 0.0
    assert len(diff(poor, orders, wanted)) == 1
    later = T0_NS + NS_PER_S
    assert len(diff(poor, orders, wanted, later)) == 0
    ready = poor.ready_at_ns(later)
    assert ready is not None
    assert len(diff(poor, orders, wanted, ready)) == 1
    lone, _ = table()
    assert len(diff(poor, lone, wanted, later).places) == 1


def test_with_the_loan_used_up_a_side_far_off_is_asked_again_when_it_may_change() -> None:
    """The wake-up comes at the time at which a change is afforded, not at one the loan allowed."""
    orders, _ = table(*LADDER)
    far = view((261_000, 50), (260_950, 50), (260_900, 50))
    poor = Reconciler(ReconcileParams())
    poor.requests.observe(0, 500)
    poor.requests.tokens = -poor.requests.loan - 50.0
    assert len(diff(poor, orders, far)) == 1
    soon = T0_NS + NS_PER_S
    assert len(diff(poor, orders, far, soon)) == 0
    ready = poor.ready_at_ns(soon)
    assert ready is not None
    assert len(diff(poor, orders, far, ready - 1)) == 0
    assert len(diff(poor, orders, far, ready)) == 1


def test_the_hold_grows_as_requests_run_out_and_never_beyond_its_bound() -> None:
    """The price of a change in bps; with plenty it is the plain hysteresis."""
    reconciler = Reconciler(ReconcileParams())
    holds = []
    for left in (1_000_000, 10_000, 3_000, 500, 100):
        reconciler.requests.observe(0, left)
        holds.append(reconciler.hold(0.9, 2.0))
    assert [hold.bps for hold in holds] == sorted(hold.bps for hold in holds)
    assert [hold.ns for hold in holds] == sorted(hold.ns for hold in holds)
    assert holds[0].bps == 0.5
    assert holds[-1].bps == 3.0
    assert holds[-1].ns == 60 * NS_PER_S


def test_tokens_come_at_the_rate_that_makes_the_rest_last() -> None:
    """10 000 left for 30 hours: 0.09 a second, a burst of 24, a dollar traded earns one."""
    requests = Requests(ReconcileParams())
    requests.observe(0, 10_000)
    requests.refill(0)
    requests.spend(24)
    assert requests.tokens == 0
    requests.refill(100 * NS_PER_S)
    assert requests.tokens == pytest.approx(100 * (10_000 - 24 - 200) / 108_000)
    requests.earn(13.5)
    assert requests.tokens > 13.5
    requests.refill(10**6 * NS_PER_S)
    assert requests.tokens == 24
    requests.spend(30)
    assert requests.tokens == -6


@given(
    have=st.lists(st.tuples(st.integers(0, 12), st.integers(20, 60)), max_size=5),
    want=st.lists(st.integers(0, 12), max_size=4, unique=True),
    budget=st.integers(0, 250),
)
def test_one_round_of_answers_brings_the_table_to_the_target(
    have: list[tuple[int, int]], want: list[int], budget: int
) -> None:
    """For any table: never above the budget, and after the cancels are confirmed no more to do."""
    by_line = dict(have)
    orders, _ = table(*((261_800 - 50 * line, lots) for line, lots in by_line.items()))
    target = view(*((261_800 - 50 * line, 50) for line in sorted(want)), budget=budget)
    reconciler = rich(requests_burst=2000)
    oid = 100
    for _ in range(6):
        result = diff(reconciler, orders, target)
        if len(result) == 0:
            break
        before = orders.exposure_lots(Side.BUY)
        orders.sent(result.cancels, result.moves, result.places, T0_NS)
        assert orders.exposure_lots(Side.BUY) <= max(before, budget)
        for cancel in result.cancels:
            orders.on_acked(Acked(T0_NS, Request.CANCEL, cancel.cloid))
        for move in result.moves:
            oid += 1
            orders.on_acked(Acked(T0_NS, Request.MOVE, move.cloid, oid))
        for place in result.places:
            oid += 1
            orders.on_acked(Acked(T0_NS, Request.PLACE, place.cloid, oid))
    assert len(diff(reconciler, orders, target)) == 0
    assert orders.exposure_lots(Side.BUY) <= budget
    lines = {slot.px_ticks for slot in orders.side(Side.BUY)}
    assert lines <= {261_800 - 50 * line for line in want}


def test_what_trades_earned_stays_counted_until_the_cap_has_it() -> None:
    """The count is told every second, the cap read every five minutes."""
    requests = Requests(ReconcileParams())
    requests.observe(9_000, 10_000)
    for _ in range(8):
        requests.earn(26.2 * 0.1)
    assert requests.left == 1_020
    requests.observe(9_010, 10_000)
    assert requests.left == 1_010
    requests.observe(9_010, 10_020)
    assert requests.left == 1_010


def test_the_forecast_is_the_churn_of_the_last_minutes() -> None:
    """600 an hour with 1,700 above the reserve: not quite three hours; none without a minute."""
    requests = Requests(ReconcileParams())
    requests.observe(0, 2_000)
    assert requests.forecast(0).hours is None
    for minute in range(11):
        requests.refill(minute * 60 * NS_PER_S)
        requests.spend(10)
    told = requests.forecast(660 * NS_PER_S)
    assert told.left == 1_890
    assert told.per_h == pytest.approx(600)
    assert told.hours == pytest.approx(1_690 / 600)
    requests.earn(5_000)
    assert requests.forecast(660 * NS_PER_S).hours is None, "trades earn more than is spent"
