"""The two budgets: what is counted, and when a read has to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.events import Rejection
from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.budget import WEIGHT_PER_MIN, Budget, action_weight, info_weight


@pytest.mark.parametrize(("elements", "weight"), [(0, 1), (39, 1), (40, 2), (79, 2), (80, 3)])
def test_action_weighs_one_more_per_forty_elements(elements: int, weight: int) -> None:
    """The venue's own table; a cancel of everything is cheap."""
    assert action_weight(elements) == weight


def test_requests_are_counted_only_on_top_of_what_the_venue_said() -> None:
    """A count from zero would promise requests that an earlier run has spent."""
    budget = Budget()
    budget.count(7)
    assert (budget.used, budget.cap, budget.cancel_cap) == (None, None, None)

    budget.read(9_000, 10_050, 1)
    budget.count(7)

    assert (budget.used, budget.cap) == (9_007, 10_050)


@pytest.mark.parametrize(("cap", "cancel_cap"), [(10_000, 20_000), (2_000_000, 2_100_000)])
def test_cancels_have_a_larger_cap(cap: int, cancel_cap: int) -> None:
    """L' = min(L + 100 000, 2L): what is out of requests can still cancel."""
    budget = Budget()
    budget.read(0, cap, 1)

    assert budget.cancel_cap == cancel_cap


@given(st.lists(st.sampled_from(["orderStatus", "openOrders", "userFills"]), max_size=200))
def test_reads_never_exceed_the_weight_of_any_minute(kinds: list[str]) -> None:
    """A 429 stops every read of this address, other bots' included."""
    budget = Budget()
    sent = [(budget.reserve(info_weight(kind), 0), info_weight(kind)) for kind in kinds]

    for end_ns, _ in sent:
        in_minute = sum(w for at, w in sent if end_ns - 60 * NS_PER_S < at <= end_ns)
        assert in_minute <= 0.8 * WEIGHT_PER_MIN
    assert [at for at, _ in sent] == sorted(at for at, _ in sent)


def test_weight_comes_back_after_a_minute() -> None:
    """What is spent is spent for a minute, and for the second that its way may take."""
    budget = Budget()
    budget.spend(900, 0)
    assert budget.reserve(60, 1) == 1

    waits_till_ns = budget.reserve(60, 2)

    assert waits_till_ns == 61 * NS_PER_S
    assert budget.weight_used(59 * NS_PER_S) == 1020
    assert budget.weight_used(61 * NS_PER_S) == 120


def test_a_read_that_will_not_be_sent_gives_its_weight_back() -> None:
    """Four reconnections in a minute once left no weight to ask what rests."""
    budget = Budget()
    bookings = [(202, budget.reserve(202, 0)) for _ in range(6)]
    assert bookings[-1][1] > 0
    for weight, at_ns in bookings:
        budget.give_back(weight, at_ns)
    assert budget.weight_used(0) == 0
    budget.give_back(202, 12345)
    assert budget.weight_used(0) == 0, "what was never booked is not given back"


@pytest.mark.parametrize(
    ("reason", "cost"),
    [
        (Rejection.EXPIRED, 50),
        (Rejection.BUDGET, 0),
        (Rejection.NONCE, 0),
        (Rejection.AUTH, 0),
        (Rejection.MARGIN, 10),
    ],
)
def test_a_refused_batch_costs_what_the_venue_says_it_costs(reason: Rejection, cost: int) -> None:
    """Stale: five times. Before the budget is looked at, or for the budget: nothing."""
    budget = Budget()
    budget.read(1_000, 10_000, 1)
    budget.count(10)
    budget.charge(10, reason)

    assert budget.used == 1_000 + cost
