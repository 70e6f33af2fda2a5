"""The venue's verdicts on orders: what it takes, what it refuses and how, what it remembers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.types import Tif
from mmbot.emulator.specs import NonUserCancel, VenueParams
from venue_kit import (
    ALICE,
    BOB,
    BTC,
    DEX_ISOLATED,
    ETH,
    FAR,
    HYPE,
    Kit,
    cloid_text,
    fills,
    limit,
    prints,
    trigger,
    updates,
)


def test_a_post_only_order_rests_with_its_ids() -> None:
    """The reply carries oid and cloid; the book shows the order at once."""
    kit = Kit()

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "25.9", "4", "Alo", cloid=7))

    assert status == {"resting": {"oid": status["resting"]["oid"], "cloid": cloid_text(7)}}
    book = kit.venue.l2_book("HYPE")
    assert book is not None
    assert book["levels"] == [[{"px": "25.9", "sz": "4.0", "n": 1}], []]


def test_a_crossing_post_only_order_is_refused_and_remembered() -> None:
    """The sentence names the touch and the asset; nothing rests; the status survives."""
    kit = Kit()
    kit.house("B", 25.99, 10)
    kit.house("A", 26.01, 10)
    kit.venue.drain()

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26.01", "4", "Alo", cloid=7))

    assert status == {
        "error": "Post only order would have immediately matched, bbo was 25.99@26.01. asset=2"
    }
    assert kit.status(ALICE, cloid_text(7)) == "badAloPxRejected"
    events = kit.venue.drain()
    assert [word for _, word in updates(events, ALICE)] == ["badAloPxRejected"]
    assert not prints(events)


def test_the_touch_inside_the_sentence_has_no_trailing_zero() -> None:
    """Clients parse `bbo was 84150@84151`; the daemon must not be trained on another form."""
    kit = Kit()
    kit.house("A", 84_151, 1, asset_id=BTC)
    kit.house("B", 84_150, 1, asset_id=BTC)

    (status,) = kit.orders(ALICE, limit(BTC, "B", "84151", "0.01", "Alo"))

    assert "bbo was 84150@84151. asset=0" in status["error"]


@pytest.mark.parametrize(
    ("resting", "wanted", "total", "remainder"),
    [(10.0, "4", "4.0", "0.0"), (3.0, "4", "3.0", "1.0")],
)
def test_an_ioc_takes_what_it_can_and_its_remainder_is_silent(
    resting: float, wanted: str, total: str, remainder: str
) -> None:
    """A partial IOC is `filled` with the smaller size; only `sz` of its status tells the rest."""
    kit = Kit()
    kit.house("A", 26.0, resting)

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26.1", wanted, "Ioc", cloid=1))

    assert status["filled"]["totalSz"] == total
    assert status["filled"]["avgPx"] == "26.0"
    row = kit.venue.order_status(ALICE, cloid_text(1))["order"]
    assert (row["status"], row["order"]["sz"]) == ("filled", remainder)
    assert kit.venue.open_orders(ALICE) == []


def test_an_ioc_without_a_match_is_an_error() -> None:
    """Nothing to match is a refusal with a record of its own."""
    kit = Kit()
    kit.house("A", 26.5, 10)

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26.4", "4", "Ioc", cloid=1))

    sentence = "Order could not immediately match against any resting orders. asset=2"
    assert status == {"error": sentence}
    assert kit.status(ALICE, cloid_text(1)) == "iocCancelRejected"


@pytest.mark.parametrize("ack", ["resting", "filled"])
def test_a_gtc_fills_in_part_and_rests_with_the_rest(ack: Any) -> None:
    """Which word the reply uses is unknown at the venue, so both can be chosen; fills decide."""
    kit = Kit(params=VenueParams(partial_gtc_ack=ack))
    kit.house("A", 26.0, 3)

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26.1", "10", "Gtc"))

    assert list(status) == [ack]
    (row,) = kit.venue.open_orders(ALICE)
    assert (row["sz"], row["origSz"], row["limitPx"]) == ("7.0", "10.0", "26.1")
    assert [fill["sz"] for fill in kit.venue.user_fills(ALICE)] == ["3.0"]


def test_the_average_of_two_levels_is_cut_not_rounded() -> None:
    """(25.998 + 2 * 25.999) / 3 = 25.99866.. prints as 25.9986."""
    kit = Kit()
    kit.house("A", 25.998, 1)
    kit.house("A", 25.999, 2)

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26.1", "3", "Ioc"))

    assert status["filled"]["avgPx"] == "25.9986"


# -- static checks ---------------------------------------------------------------------------------

BAD = [
    (limit(HYPE, "B", "25.9", "4.001"), "Order has invalid size."),
    (limit(HYPE, "B", "25.9", "0"), "Order has zero size."),
    (limit(HYPE, "B", "0", "4"), "Order has invalid price."),
    (limit(HYPE, "B", "25.9001", "4"), "Price must be divisible by tick size."),
    (limit(HYPE, "B", "25.90001", "4"), "Price must be divisible by tick size."),
    (limit(BTC, "B", "84150.5", "0.01"), "Price must be divisible by tick size."),
    (
        limit(HYPE, "B", "5.2", "4"),
        "Order price cannot be more than 80% away from the reference price",
    ),
    (
        limit(HYPE, "A", "130.1", "4"),
        "Order price cannot be more than 80% away from the reference price",
    ),
    (limit(77, "B", "25.9", "4"), "Invalid perp"),
]


@pytest.mark.parametrize(("bad", "sentence"), BAD, ids=[sentence[:24] for _, sentence in BAD])
def test_one_bad_order_voids_the_batch_with_a_single_status(
    bad: dict[str, Any], sentence: str
) -> None:
    """Three orders, one status, nothing placed, no record: the client must spread the error."""
    kit = Kit()
    good = [limit(HYPE, "B", "25.9", "4", cloid=1), limit(HYPE, "B", "25.8", "4", cloid=2)]

    statuses = kit.orders(ALICE, good[0], bad, good[1])

    assert statuses == [{"error": sentence}]
    assert kit.venue.open_orders(ALICE) == []
    assert kit.status(ALICE, cloid_text(1)) == kit.status(ALICE, cloid_text(2)) == "unknownOid"
    assert kit.venue.drain() == []


@pytest.mark.parametrize(
    ("asset_id", "px", "is_ok"),
    [
        (BTC, "84150", True),
        (BTC, "123456", True),
        (BTC, "84150.5", False),
        (ETH, "1890.1", True),
        (ETH, "1890.11", False),
        (HYPE, "9.9999", True),
        (HYPE, "10.001", True),
        (HYPE, "10.0001", False),
    ],
)
def test_prices_keep_five_figures_and_the_decimals_of_the_asset(
    asset_id: int, px: str, is_ok: bool
) -> None:
    """Integers of any length are valid; otherwise five figures and 6 - szDecimals decimals."""
    kit = Kit(usd=1_000_000)
    mark = kit.venue.asset(asset_id).px(kit.venue.asset(asset_id).mark_ticks)
    size = {BTC: "0.01", ETH: "0.1", HYPE: "5"}[asset_id]
    side = "B" if float(px) < mark else "A"

    (status,) = kit.orders(ALICE, limit(asset_id, side, px, size))

    assert ("resting" in status) is is_ok


def test_an_empty_batch_and_one_of_201_are_refused_in_their_own_words() -> None:
    """The weight limit is an error of the whole action; an empty batch is a status."""
    kit = Kit()

    assert kit.orders(ALICE) == [{"error": "Orders are empty."}]
    cancels = [{"a": HYPE, "o": n} for n in range(201)]
    answer = kit.act(ALICE, "cancel", cancels=cancels)
    assert answer == "Signed action over weight limit of 200."
    assert kit.venue.user_rate_limit(ALICE)["nRequestsUsed"] == 1


# -- per-order checks ------------------------------------------------------------------------------


def test_a_failure_in_the_middle_leaves_the_others_live() -> None:
    """Per-order refusals have their own status and record; earlier and later orders stand."""
    kit = Kit()

    statuses = kit.orders(
        ALICE,
        limit(HYPE, "B", "25.9", "4"),
        limit(HYPE, "B", "25.8", "0.3", cloid=2),
        limit(HYPE, "B", "25.7", "4"),
    )

    assert [next(iter(status)) for status in statuses] == ["resting", "error", "resting"]
    assert statuses[1]["error"] == "Order must have minimum value of $10. asset=2"
    assert kit.status(ALICE, cloid_text(2)) == "minTradeNtlRejected"
    assert len(kit.venue.open_orders(ALICE)) == 2


def test_a_small_close_is_exempt_from_the_least_value() -> None:
    """Dust of $7.8: four tenths of it are refused, all of it is taken."""
    kit = Kit()
    kit.house("A", 26.0, 0.5)
    kit.orders(ALICE, limit(HYPE, "B", "26", "0.5", "Ioc"))
    kit.house("B", 25.0, 0.2, tif=Tif.GTC)
    (first,) = kit.orders(ALICE, limit(HYPE, "A", "25", "0.2", "Ioc", reduce_only=True))
    assert first == {"error": "Order must have minimum value of $10. asset=2"}

    (whole,) = kit.orders(ALICE, limit(HYPE, "A", "16", "0.5", "Gtc", reduce_only=True))

    assert whole["resting"]["oid"]
    assert kit.szi(ALICE) == 0.3


def test_reduce_only_needs_a_position_to_reduce() -> None:
    """On a flat account, and on the position's own side, it is refused with its record."""
    kit = Kit()
    sentence = "Reduce only order would increase position. asset=2"

    flat = kit.orders(ALICE, limit(HYPE, "A", "26.5", "4", reduce_only=True, cloid=1))
    kit.house("A", 26.0, 4)
    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))
    same = kit.orders(ALICE, limit(HYPE, "B", "25.5", "4", reduce_only=True, cloid=2))

    assert flat == same == [{"error": sentence}]
    assert kit.status(ALICE, cloid_text(1)) == "reduceOnlyRejected"
    assert kit.status(ALICE, cloid_text(2)) == "reduceOnlyRejected"


def long_of(kit: Kit, size: float) -> None:
    """Give Alice a long position from the house."""
    kit.house("A", 26.0, size)
    kit.orders(ALICE, limit(HYPE, "B", "26", str(size), "Ioc"))
    assert kit.szi(ALICE) == size
    kit.venue.drain()


def test_a_reduce_only_order_larger_than_the_position_is_shrunk() -> None:
    """`sz` is lowered and `origSz` keeps what was asked for."""
    kit = Kit()
    long_of(kit, 4)

    kit.orders(ALICE, limit(HYPE, "A", "26.5", "9", reduce_only=True))

    (row,) = kit.venue.open_orders(ALICE)
    assert (row["sz"], row["origSz"], row["reduceOnly"]) == ("4.0", "9.0", True)


def test_a_resting_reduce_only_order_follows_the_position_to_its_end() -> None:
    """It shrinks with a partial close and ends `reduceOnlyCanceled` beside the closing fill."""
    kit = Kit()
    long_of(kit, 4)
    oid = kit.rest(ALICE, limit(HYPE, "A", "26.5", "4", reduce_only=True))
    kit.house("B", 25.9, 1)
    kit.orders(ALICE, limit(HYPE, "A", "25.9", "1", "Ioc"))
    assert kit.venue.open_orders(ALICE)[0]["sz"] == "3.0"
    kit.venue.drain()

    kit.house("B", 25.9, 3)
    kit.orders(ALICE, limit(HYPE, "A", "25.9", "3", "Ioc"))

    events = kit.venue.drain()
    assert (oid, "reduceOnlyCanceled") in updates(events, ALICE)
    assert [fill["dir"] for fill in fills(events, ALICE)] == ["Close Long"]
    assert kit.status(ALICE, oid) == "reduceOnlyCanceled"
    assert any(isinstance(e, NonUserCancel) and e.oid == oid for e in events)


def test_of_two_reduce_only_orders_too_large_together_the_older_goes() -> None:
    """Four long: three to sell, then two more; the first is cancelled."""
    kit = Kit()
    long_of(kit, 4)
    older = kit.rest(ALICE, limit(HYPE, "A", "26.5", "3", reduce_only=True))
    newer = kit.rest(ALICE, limit(HYPE, "A", "26.6", "2", reduce_only=True))

    assert kit.status(ALICE, older) == "reduceOnlyCanceled"
    assert kit.status(ALICE, newer) == "open"


def test_reduce_only_never_turns_a_position_round() -> None:
    """A resting one that is hit after the position shrank fills no more than is left."""
    kit = Kit()
    long_of(kit, 4)
    kit.rest(ALICE, limit(HYPE, "A", "26.5", "4", reduce_only=True))
    kit.house("B", 25.9, 3)
    kit.orders(ALICE, limit(HYPE, "A", "25.9", "3", "Ioc"))

    kit.house("B", 26.5, 10, tif=Tif.IOC)

    assert kit.szi(ALICE) == 0.0


def test_a_self_trade_cancels_the_resting_order_and_prints_nothing() -> None:
    """No fill, no fee, no print; the taker goes on to the next order."""
    kit = Kit()
    own = kit.rest(ALICE, limit(HYPE, "A", "26", "4"))
    kit.house("A", 26.0, 4)
    kit.venue.drain()

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))

    events = kit.venue.drain()
    assert status["filled"]["totalSz"] == "4.0"
    assert updates(events, ALICE)[0] == (own, "selfTradeCanceled")
    (trade,) = prints(events)
    assert trade.seller != ALICE
    assert len(fills(events, ALICE)) == 1
    assert kit.balanced()


def test_only_a_self_trade_leaves_an_ioc_without_a_match() -> None:
    """Its own order was all there was: the taker got nothing and is told so."""
    kit = Kit()
    kit.rest(ALICE, limit(HYPE, "A", "26", "4"))

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))

    assert "could not immediately match" in status["error"]
    assert kit.venue.user_fills(ALICE) == []


def test_an_order_too_far_from_the_oracle_is_refused_with_a_record() -> None:
    """Inside the static band but beyond the oracle's, the engine refuses it."""
    kit = Kit()

    (status,) = kit.orders(ALICE, limit(HYPE, "A", "60", "1", cloid=1))

    assert status == {"error": "Price too far from oracle asset=2"}
    assert kit.status(ALICE, cloid_text(1)) == "oracleRejected"


def test_an_order_of_more_than_the_venues_largest_value_is_refused() -> None:
    """Half a million for a market order at 10x or less is the smallest class."""
    kit = Kit(usd=1e8)
    kit.house("A", 26.0, 10)

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26", "80000", "Ioc"))

    assert status == {"error": "Order value too large. Max is $2000000."}


def test_a_delisted_asset_takes_no_order() -> None:
    """Its id stays valid, so the refusal is the engine's and not the parser's."""
    kit = Kit()

    (status,) = kit.orders(ALICE, limit(FAR, "B", "0.5", "100"))

    assert status == {"error": f"Trading is halted. asset={FAR}"}


def test_in_the_window_after_an_upgrade_only_post_only_orders_pass() -> None:
    """Others get the venue's sentence and leave no record."""
    kit = Kit()
    kit.venue.set_switches(is_post_only=True, is_modify_reversed=False)

    refused, taken = kit.orders(
        ALICE,
        limit(HYPE, "B", "25.9", "4", "Gtc", cloid=1),
        limit(HYPE, "B", "25.9", "4", "Alo"),
    )

    sentence = "Only post-only orders allowed immediately after network upgrade"
    assert refused == {"error": sentence}
    assert "resting" in taken
    assert kit.status(ALICE, cloid_text(1)) == "unknownOid"


def test_too_many_open_orders_are_refused() -> None:
    """At the base limit nothing more rests, reduce-only and trigger orders included."""
    kit = Kit(params=VenueParams(open_orders_base=3))
    for n in range(3):
        kit.rest(ALICE, limit(HYPE, "B", f"25.{n + 1}", "1"))

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "25.5", "1", cloid=9))

    assert status["error"].startswith("Too many open orders")
    assert kit.status(ALICE, cloid_text(9)) == "tooManyOpenOrdersRejected"


def test_an_isolated_only_asset_wants_its_mode_set_first() -> None:
    """The default mode is cross, which such an asset refuses until updateLeverage."""
    kit = Kit()
    kit.venue.open_account(ALICE, usd=1_000, dex="hyna")

    (before,) = kit.orders(ALICE, limit(DEX_ISOLATED, "B", "25.9", "1"))
    kit.act(ALICE, "updateLeverage", asset=DEX_ISOLATED, isCross=False, leverage=3)
    (after,) = kit.orders(ALICE, limit(DEX_ISOLATED, "B", "25.9", "1"))

    assert "Cross margin is not allowed for this asset." in before["error"]
    assert "resting" in after


# -- cancelling ------------------------------------------------------------------------------------


def test_cancels_are_answered_one_by_one_in_order() -> None:
    """A wrong asset and an unknown order fail alone."""
    kit = Kit()
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))
    gone = "Order was never placed, already canceled, or filled."

    response = kit.act(
        ALICE,
        "cancel",
        cancels=[{"a": BTC, "o": oid}, {"a": HYPE, "o": oid}, {"a": HYPE, "o": oid}],
        f=True,
    )

    assert response == {
        "type": "cancel",
        "data": {
            "statuses": [{"error": f"{gone} asset=0"}, "success", {"error": f"{gone} asset=2"}]
        },
    }
    assert kit.status(ALICE, oid) == "canceled"


def test_another_accounts_order_cannot_be_cancelled() -> None:
    """An oid is public; only its owner may end it."""
    kit = Kit()
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4", cloid=1))

    by_oid = kit.act(BOB, "cancel", cancels=[{"a": HYPE, "o": oid}])
    by_cloid = kit.act(BOB, "cancelByCloid", cancels=[{"asset": HYPE, "cloid": cloid_text(1)}])

    assert "error" in by_oid["data"]["statuses"][0]
    assert "error" in by_cloid["data"]["statuses"][0]
    assert kit.status(ALICE, oid) == "open"


def test_a_cloid_is_free_again_after_its_order_ended() -> None:
    """Lookups and cancels by cloid reach the newest order of that cloid."""
    kit = Kit()
    first = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4", cloid=1))
    kit.act(ALICE, "cancelByCloid", cancels=[{"asset": HYPE, "cloid": cloid_text(1)}])
    second = kit.rest(ALICE, limit(HYPE, "B", "25.8", "4", cloid=1))

    row = kit.venue.order_status(ALICE, cloid_text(1))["order"]

    assert row["order"]["oid"] == second != first
    assert kit.status(ALICE, first) == "canceled"


def test_a_fast_cancel_is_refused_on_a_trigger_order() -> None:
    """`f` has one documented effect."""
    kit = Kit()
    long_of(kit, 4)
    oid = kit.rest(ALICE, trigger(HYPE, "A", "24", "4", sl="25"))

    response = kit.act(ALICE, "cancel", cancels=[{"a": HYPE, "o": oid}], f=True)

    assert "error" in response["data"]["statuses"][0]
    assert kit.status(ALICE, oid) == "open"


# -- modifying -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_modify_is_a_new_order_under_the_old_cloid(is_reversed: bool) -> None:
    """New oid, old cloid, the size of the new order; records come in either order."""
    kit = Kit()
    kit.venue.set_switches(is_post_only=False, is_modify_reversed=is_reversed)
    old = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4", "Alo", cloid=1))
    kit.venue.drain()

    response = kit.act(
        ALICE,
        "batchModify",
        modifies=[{"oid": cloid_text(1), "order": limit(HYPE, "B", "25.8", "6", "Alo", cloid=1)}],
    )

    (status,) = response["data"]["statuses"]
    new = status["resting"]["oid"]
    expected = [(old, "canceled"), (new, "open")]
    assert response["type"] == "order"
    assert status["resting"]["cloid"] == cloid_text(1)
    assert new != old
    assert updates(kit.venue.drain(), ALICE) == (expected[::-1] if is_reversed else expected)
    (row,) = kit.venue.open_orders(ALICE)
    assert (row["oid"], row["sz"], row["origSz"], row["cloid"]) == (
        new,
        "6.0",
        "6.0",
        cloid_text(1),
    )


def test_modify_answers_default_and_refuses_what_is_gone() -> None:
    """One order: no statuses. A filled or cancelled one cannot be modified."""
    kit = Kit()
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))

    done = kit.act(ALICE, "modify", oid=oid, order=limit(HYPE, "B", "25.8", "4"))
    again = kit.act(ALICE, "modify", oid=oid, order=limit(HYPE, "B", "25.7", "4"))

    assert done == {"type": "default"}
    assert again == "Cannot modify canceled or filled order asset=2"
    assert [row["limitPx"] for row in kit.venue.open_orders(ALICE)] == ["25.8"]


def test_without_always_place_a_crossing_gtc_is_treated_as_post_only() -> None:
    """It must not take: the daemon's amends are post-only or nothing."""
    kit = Kit()
    kit.house("A", 26.0, 10)
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4", cloid=1))

    response = kit.act(
        ALICE, "batchModify", modifies=[{"oid": oid, "order": limit(HYPE, "B", "26", "4")}]
    )

    (status,) = response["data"]["statuses"]
    assert "Post only order would have immediately matched" in status["error"]
    assert kit.szi(ALICE) == 0.0
    assert kit.status(ALICE, cloid_text(1)) == "badAloPxRejected"


def test_with_always_place_a_modify_may_take_and_may_replace_what_is_gone() -> None:
    """`a` places the new order whatever became of the old one: the risk is the caller's."""
    kit = Kit()
    kit.house("A", 26.0, 10)
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))
    kit.act(ALICE, "cancel", cancels=[{"a": HYPE, "o": oid}])

    response = kit.act(
        ALICE,
        "batchModify",
        modifies=[{"oid": oid, "order": limit(HYPE, "B", "26", "4")}],
        a=True,
    )

    assert response["data"]["statuses"][0]["filled"]["totalSz"] == "4.0"


# -- triggers --------------------------------------------------------------------------------------


def test_a_stop_runs_as_a_market_order_when_the_mark_reaches_it() -> None:
    """It waits without being on the book, then closes what is there."""
    kit = Kit()
    long_of(kit, 4)
    oid = kit.rest(ALICE, trigger(HYPE, "A", "24", "4", sl="25"))
    book = kit.venue.l2_book("HYPE")
    assert book is not None
    assert book["levels"] == [[], []]
    kit.house("B", 24.9, 10)
    kit.venue.drain()

    kit.venue.set_mark(HYPE, 25.0)

    events = kit.venue.drain()
    assert [word for o, word in updates(events, ALICE) if o == oid] == ["triggered", "filled"]
    assert kit.szi(ALICE) == 0.0
    assert fills(events, ALICE)[0]["px"] == "24.9"


def test_a_trigger_that_would_fire_at_once_is_refused() -> None:
    """A stop above the mark of a long position is a mistake, not an order."""
    kit = Kit()
    long_of(kit, 4)

    (status,) = kit.orders(ALICE, trigger(HYPE, "A", "24", "4", sl="27"))

    assert status == {"error": "Invalid TP/SL price. asset=2"}


def test_attached_orders_wait_for_the_fill_and_end_each_other() -> None:
    """Parent rests: children wait. Parent filled: they wait for the mark. One runs: one goes."""
    kit = Kit()
    kit.venue.drain()
    statuses = kit.orders(
        ALICE,
        limit(HYPE, "B", "25.9", "4"),
        trigger(HYPE, "A", "27", "4", tp="27"),
        trigger(HYPE, "A", "24", "4", sl="25"),
        grouping="normalTpsl",
    )
    parent = statuses[0]["resting"]["oid"]
    assert statuses[1:] == ["waitingForFill", "waitingForFill"]
    (shown,) = kit.venue.frontend_open_orders(ALICE)
    take, stop = (child["oid"] for child in shown["children"])

    kit.house("A", 25.9, 4, tif=Tif.IOC)
    assert kit.status(ALICE, parent) == "filled"
    assert kit.status(ALICE, stop) == "open"
    kit.house("B", 27.0, 10)
    kit.venue.set_mark(HYPE, 27.0)

    assert kit.status(ALICE, take) == "filled"
    assert kit.status(ALICE, stop) in {"siblingFilledCanceled", "reduceOnlyCanceled"}
    assert kit.szi(ALICE) == 0.0
    assert kit.venue.open_orders(ALICE) == []


def test_children_of_a_filled_parent_wait_for_their_trigger() -> None:
    """The bare string says so at once, and cancelling the parent ends waiting children."""
    kit = Kit()
    kit.house("A", 26.0, 4)
    filled = kit.orders(
        ALICE,
        limit(HYPE, "B", "26", "4", "Ioc"),
        trigger(HYPE, "A", "24", "4", sl="25"),
        grouping="normalTpsl",
    )
    assert list(filled[0]) == ["filled"]
    assert filled[1] == "waitingForTrigger"

    waiting = kit.orders(
        ALICE,
        limit(HYPE, "B", "25", "4"),
        trigger(HYPE, "A", "23", "4", sl="24"),
        grouping="normalTpsl",
    )
    parent = waiting[0]["resting"]["oid"]
    kit.act(ALICE, "cancel", cancels=[{"a": HYPE, "o": parent}])

    assert len(kit.venue.frontend_open_orders(ALICE)) == 1


def test_a_position_stop_closes_the_whole_position() -> None:
    """Its size is the position's when it fires, and it must be reduce-only."""
    kit = Kit()
    long_of(kit, 4)
    (refused,) = kit.orders(
        ALICE, trigger(HYPE, "A", "24", "1", sl="25", reduce_only=False), grouping="positionTpsl"
    )
    kit.orders(ALICE, trigger(HYPE, "A", "24", "1", sl="25"), grouping="positionTpsl")
    kit.house("B", 24.9, 10)

    kit.venue.set_mark(HYPE, 24.95)

    assert "Trigger order is not reduce only." in refused["error"]
    assert kit.szi(ALICE) == 0.0


# -- memory ----------------------------------------------------------------------------------------


def test_the_venue_forgets_old_orders_but_never_open_ones() -> None:
    """Retention is about 2000 orders: a market maker loses old ones in minutes."""
    kit = Kit(params=VenueParams(history_orders=5))
    kept = kit.rest(ALICE, limit(HYPE, "B", "25", "4", cloid=99))
    oids = []
    for n in range(8):
        oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4", cloid=n + 1))
        kit.act(ALICE, "cancel", cancels=[{"a": HYPE, "o": oid}])
        oids.append(oid)

    assert kit.status(ALICE, oids[0]) == kit.status(ALICE, cloid_text(1)) == "unknownOid"
    assert kit.status(ALICE, oids[-1]) == "canceled"
    assert kit.status(ALICE, kept) == kit.status(ALICE, cloid_text(99)) == "open"


def test_orders_of_one_account_are_nobody_elses_business() -> None:
    """Status and history are read with the account's own address."""
    kit = Kit()
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))

    assert kit.status(BOB, oid) == "unknownOid"
    assert kit.venue.historical_orders(BOB) == []
    assert [row["order"]["oid"] for row in kit.venue.historical_orders(ALICE)] == [oid]


def test_addresses_are_the_same_in_any_case() -> None:
    """Clients send checksummed addresses."""
    kit = Kit()
    kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))

    assert len(kit.venue.open_orders(ALICE.upper().replace("0X", "0x"))) == 1


@given(data=st.data())
def test_statuses_come_in_the_order_of_the_batch(data: st.DataObject) -> None:
    """The n-th status answers the n-th order, whatever mixture is sent."""
    kit = Kit(usd=1e6)
    sizes = data.draw(st.lists(st.sampled_from(["0.1", "4"]), min_size=1, max_size=12))

    statuses = kit.orders(ALICE, *(limit(HYPE, "B", "25.9", size) for size in sizes))

    assert ["resting" in status for status in statuses] == [size == "4" for size in sizes]


def test_a_modify_cannot_carry_an_order_to_another_asset() -> None:
    """An order of another asset is none that could be modified; it stays where it is."""
    kit = Kit()
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))

    answer = kit.act(ALICE, "modify", oid=oid, order=limit(ETH, "B", "1800", "0.1"))

    assert answer.startswith("Cannot modify canceled or filled order")
    assert kit.status(ALICE, oid) == "open"
