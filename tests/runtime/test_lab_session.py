"""One session of the laboratory: repeatable, mirrored, paired, and true to the venue's books."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.events import Acked, Event, Fill, Request
from mmbot.core.hours import HoursParams
from mmbot.core.intents import Place
from mmbot.core.quoter import TERMS
from mmbot.core.types import NS_PER_MS, USD_PER_TICK_LOT, Side
from mmbot.emulator.flow import Cause, Taker
from mmbot.emulator.scenarios import scenario_params
from mmbot.errors import ConfigError
from mmbot.runtime.lab.exchange import START_MS, US, Requests
from mmbot.runtime.lab.session import Plan, Session, Times, run_session
from support import often

RISK = {"capital_usd": 100.0, "max_position_usd": 400.0, "warm_s": 0.0}
ENGINE = EngineParams.model_validate(
    {
        "risk": RISK,
        "quoter": {"half_spread_bps_min": 3.5, "glft_bps_max": 2.0},
        "adverse": {"a0_bps": 0.0, "a1": 0.0},
        "reconcile": {"requests_last_h": 2},
    }
)


def plan(scenario: str = "two-sided", minutes: float = 4.0, **changes: Any) -> Plan:
    """A short session of everything; `market_*` changes a figure of the market."""
    market = {
        key.removeprefix("market_"): changes.pop(key)
        for key in list(changes)
        if key.startswith("market_")
    }
    made = Plan("HYPE", scenario_params(scenario, market), ENGINE, seed=3, minutes=minutes)
    return replace(made, **changes)


@pytest.mark.parametrize("scenario", ["two-sided", "feb24", "informed-50"])
def test_the_same_plan_gives_the_same_session_to_the_last_bit(scenario: str) -> None:
    """Every comparison of variants, and every reported figure, rests on it."""
    once, again = (run_session(plan(scenario, minutes=3.0)) for _ in range(2))
    assert once == again
    assert once != run_session(plan(scenario, minutes=3.0, seed=4))


def test_the_hours_of_a_market_close_no_laboratory() -> None:
    """A session has no calendar; one that were closed for an hour would tell of no quoter."""
    closed = ENGINE.model_copy(update={"hours": HoursParams(utc=("mon 00:00-00:01",))})
    assert run_session(plan(engine=closed)) == run_session(plan())


def test_another_quoter_meets_the_same_market() -> None:
    """Common random numbers: what we quote changes no price and no taker."""
    sessions = [Session(plan()), Session(plan(ablate=TERMS, has_queue=False))]
    outcomes = [session.run() for session in sessions]
    assert outcomes[0].pnl_usd != outcomes[1].pnl_usd
    assert sessions[0].exchange.mid_ticks == sessions[1].exchange.mid_ticks


@pytest.mark.parametrize("ablate", [frozenset(), TERMS], ids=["all", "base"])
def test_a_mirrored_market_is_traded_in_the_mirror(ablate: frozenset[str]) -> None:
    """
    Every asymmetry of ours would be a bet on a direction.

    Where the fair price stands still the mirror is exact: opposite position, equal profit. In one
    session of several a sweep shifts the touch far enough for a size to be rounded the other way.
    """
    still: dict[str, Any] = {"market_sigma_bps_rt_s": 0.0, "market_px_usd": 26.2005}
    exact = 0
    seeds = range(1, 1 + often(3, thoroughly=5))
    for seed in seeds:
        made = plan(seed=seed, ablate=ablate, minutes=6.0, **still)
        seen, mirrored = run_session(made), run_session(replace(made, is_mirrored=True))
        assert seen.fills == mirrored.fills > 5
        assert abs(mirrored.final_lots + seen.final_lots) <= 5
        assert mirrored.pnl_usd == pytest.approx(seen.pnl_usd, abs=0.005)
        opposite = (-mirrored.final_lots, mirrored.pnl_usd, mirrored.max_q_frac)
        exact += opposite == (seen.final_lots, seen.pnl_usd, seen.max_q_frac)
    assert exact >= len(seeds) - 1


def test_where_the_price_moves_the_mirror_is_off_by_lots_alone() -> None:
    """A limit in USD is fewer lots, a bps more ticks at a higher price: no reflection undoes it."""
    for seed in (1, 2, 4):
        made = plan(seed=seed)
        seen, mirrored = run_session(made), run_session(replace(made, is_mirrored=True))
        assert abs(mirrored.final_lots + seen.final_lots) <= 5
        assert mirrored.pnl_usd == pytest.approx(seen.pnl_usd, abs=0.015)


def test_a_maker_with_the_loop_cut_still_trades() -> None:
    """`base` must be a working market maker, or everything beats it."""
    outcome = run_session(plan(ablate=TERMS, minutes=6.0))
    assert outcome.fills >= 8
    assert outcome.quoted_frac_bid > 0.95
    assert outcome.quoted_frac_ask > 0.95
    assert outcome.requests > 20


@pytest.mark.parametrize("scenario", ["two-sided", "informed-100"])
def test_the_engine_and_the_venue_agree_on_position_and_profit(scenario: str) -> None:
    """What is reported is the venue's truth, and what the engine believed of it is the same."""
    session = Session(plan(scenario, minutes=8.0))
    outcome = session.run()
    position, mid = session.engine.position, session.exchange.mid_ticks
    slot = session.exchange.venue.account(US).slot(
        session.exchange.venue.asset(session.exchange.instrument.asset_id), 1
    )
    assert outcome.fills == position.fills > 0
    assert outcome.final_lots == position.lots == slot.szi_lots
    assert outcome.pnl_usd == pytest.approx(position.pnl_usd(mid), abs=1e-9)
    equity = session.exchange.venue.clearinghouse_state(US, "")["marginSummary"]["accountValue"]
    at_mark = session.exchange.venue.asset(session.exchange.instrument.asset_id).mark_ticks
    gap_usd = outcome.final_lots * (mid - at_mark) * USD_PER_TICK_LOT
    assert float(equity) - 100.0 + gap_usd == pytest.approx(outcome.pnl_usd, abs=1e-5)


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("has_queue", [True, False])
def test_who_came_last_at_a_price_is_filled_last(side: Side, has_queue: bool) -> None:
    """With the queue a taker must reach beyond our price; without, reaching it is enough."""
    calm: dict[str, Any] = {
        f"market_{name}": 0.0 for name in ("sigma_bps_rt_s", "a_per_s", "sweeps_per_s")
    }
    exchange = Session(plan(has_queue=has_queue, **calm)).exchange
    mid, step = exchange.mid_ticks, 10
    px = round(mid) - side * 20 * step
    place = Place(7, side, px, 40)
    exchange.execute(Requests(places=(place,)), START_MS + 100, 0, 0)

    def taken(beyond: float) -> int:
        """Lots of ours that a taker gets who reaches so many steps beyond our price."""
        reach_bps = side * (mid - px + side * beyond * step) / mid * 1e4
        taker = Taker(0.0, side.opposite, reach_bps, 0.0, 0.0, Cause.NOISE)
        exchange.market._trade(taker)
        told = exchange.advance(exchange.next_due_ms(), 0)
        return sum(event.sz_lots for event in told if isinstance(event, Fill))

    assert taken(-0.7) == 0
    assert taken(0.3) == (0 if has_queue else 40)
    if has_queue:
        assert taken(1.3) == 40


@pytest.mark.parametrize("order_ms", [0.0, 40.0, 2000.0])
def test_orders_are_late_by_their_latency(order_ms: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer comes before the order was there: so long after it was sent, and the way back."""
    waited_ms: list[float] = []
    apply = Engine.apply

    def heard(engine: Engine, event: Event) -> None:
        if isinstance(event, Acked) and event.request is Request.PLACE:
            slot = engine.orders.slots[event.cloid]
            if slot.cause is Request.PLACE:  # nothing was sent of it since
                waited_ms.append((event.recv_ns - slot.sent_ns) / NS_PER_MS)
        apply(engine, event)

    monkeypatch.setattr(Engine, "apply", heard)
    Session(plan(minutes=0.5, times=Times(order_ms=order_ms, reply_ms=30.0))).run()

    assert waited_ms
    assert min(waited_ms) >= order_ms + 30.0
    # A block of the venue at the most lies between.
    assert min(waited_ms) <= order_ms + 30.0 + 200.0


def test_a_feed_that_is_late_reaches_the_engine_late() -> None:
    """The age of the book is part of what is measured."""
    session = Session(plan(minutes=1.0, times=Times(50.0, 100.0, 250.0)))
    session.run()
    book = session.engine.book
    assert book.valid_recv_ns is not None
    assert book.valid_recv_ns / 1e6 - book.venue_ms == pytest.approx(250.0)


def test_limits_are_counted_but_end_a_session_only_where_they_do() -> None:
    """Variants stay comparable, and nobody forgets that the switch would have tripped."""
    tight = {"loss_limit_frac": 1e-4, "drawdown_limit_frac": 1e-4, "soft_limit_frac": 1e-4}
    risk = ENGINE.risk.model_copy(update={**tight, "soft_release_frac": 0.0})
    engine = ENGINE.model_copy(update={"risk": risk})
    free = run_session(plan(engine=engine, minutes=6.0))
    assert (free.kill_trips, free.length_s) == (2, 360.0)
    killed = run_session(plan(engine=engine, minutes=6.0, is_kill_on=True))
    assert killed.kill_trips >= 1
    assert 0 < killed.length_s < 360.0


def test_a_builder_dex_is_traded_with_its_fee_margin_and_reference() -> None:
    """The market of 24 February: isolated margin, twice the fee, a native twin to look at."""
    made = replace(plan("feb24", minutes=12.0), coin="hyna:HYPE", reference_coin="HYPE")
    session = Session(replace(made, seed=1, ablate=TERMS))
    outcome = session.run()
    assert session.exchange.fees.maker_bps == pytest.approx(3.0)
    assert session.engine.signals.reference.shift_bps is not None
    assert outcome.fills > 0
    cheap = Session(replace(made, maker_bps=2.88))
    assert cheap.exchange.fees.maker_bps == pytest.approx(2.88)


def test_a_rebate_is_charged_as_one() -> None:
    """A negative fee takes another way through the venue's formula."""
    session = Session(plan(maker_bps=-0.3, ablate=TERMS))
    session.run()
    assert session.exchange.fees.maker_bps == pytest.approx(-0.3)
    assert session.engine.position.fees_usd < 0


def test_a_coin_that_nobody_trades_is_refused() -> None:
    """And the message says which are traded."""
    with pytest.raises(ConfigError, match=r"instrument.coin = 'NOPE'.*HYPE"):
        Session(replace(plan(), coin="NOPE"))
    with pytest.raises(ConfigError, match=r"reference.coin = 'MATIC'"):
        Session(replace(plan(), reference_coin="MATIC"))
