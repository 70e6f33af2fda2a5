"""Variants, figures and many sessions at once: what a table of the laboratory is made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import exp, isclose, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mmbot.core.engine import EngineParams
from mmbot.core.events import Fill
from mmbot.core.quoter import TERMS
from mmbot.core.types import Side
from mmbot.emulator.scenarios import SCENARIOS, scenario_params
from mmbot.errors import ConfigError
from mmbot.runtime.lab import render, runner
from mmbot.runtime.lab.measure import (
    DIFFERENCE,
    METRICS,
    Outcome,
    figure,
    summarise,
    to_json,
    worst_mean,
)
from mmbot.runtime.lab.predecessor import RecordedQuoter
from mmbot.runtime.lab.runner import Setup, run_lab
from mmbot.runtime.lab.session import Session, Times, run_session
from mmbot.runtime.lab.variants import (
    ABLATION,
    ADDED,
    FIXES,
    NAMES,
    Variant,
    at_law,
    at_width,
    build,
    control,
    law_of,
    select,
)

SHIPPED = EngineParams.model_validate(
    {
        "risk": {"capital_usd": 100.0, "max_position_usd": 400.0},
        "reconcile": {"requests_last_h": 2},
    }
)
GOLDEN = [(8, -450, 460), (8, -10, 417), (4, 168, 345)]
"""Fills, lots at the end and requests of the predecessor."""
FIGURES = {"mean", "se", "p05", "p50", "p95"}


def setup(scenario: str = "two-sided", **changes: Any) -> Setup:
    """A short run of few seeds."""
    made = Setup(scenario, "HYPE", scenario_params(scenario, {}), SHIPPED, seeds=3, minutes=2.0)
    return replace(made, **changes)


def outcome(seed: int, pnl_usd: float) -> Outcome:
    """A session of which the profit alone matters."""
    return Outcome(
        seed, pnl_usd, 0, 0.0, 0.0, 0, 0.0, None, None, None, 0.0, 1.0, 1.0, None, 0, 0, 0, 60.0
    )


# -- variants --------------------------------------------------------------------------------------


def world(scenario: str = "two-sided") -> EngineParams:
    return at_law(SHIPPED, law_of(scenario), 1.5)


def test_base_leaves_every_term_out_and_all_leaves_out_none() -> None:
    """Add-one starts from nothing, leave-one-out from everything."""
    variants = {name: build(name, SHIPPED, world()) for name in NAMES if name != "control"}
    assert variants["base"].ablate == variants["predecessor"].ablate == TERMS
    assert variants["all"].ablate == frozenset()
    for fix, terms in FIXES.items():
        assert terms <= TERMS
        assert variants[f"base+{fix}"].ablate == TERMS - terms
        assert variants[f"all-{fix}"].ablate == terms
    recorded = {name: it.recorded for name, it in variants.items() if it.recorded is not None}
    assert [name for name, it in recorded.items() if it.drift_share] == ["predecessor"]
    assert set(recorded) == {"predecessor", "base", *ADDED}
    assert [name for name, it in recorded.items() if not it.has_pullback] == ["base+cascade"]


def test_the_fixes_have_no_term_in_common() -> None:
    """A term in two of them would be added twice and left out twice."""
    counted = [term for terms in FIXES.values() for term in terms]
    assert len(counted) == len(set(counted))


def test_variants_share_ladder_budgets_and_floors() -> None:
    """A difference must have one cause."""
    for name in ABLATION:
        variant = build(name, SHIPPED, world("informed-0"))
        engine = variant.engine
        assert engine.ladder == SHIPPED.ladder
        assert engine.reconcile == SHIPPED.reconcile
        assert engine.risk.side_budget_frac == SHIPPED.risk.side_budget_frac
        assert engine.risk.max_position_usd == SHIPPED.risk.max_position_usd
        assert (engine.adverse.a0_bps, engine.adverse.a1) == (1.8, 0.3)
        assert engine.quoter.half_spread_bps_min == 6.5


def test_soft_guards_belong_to_all() -> None:
    """What a base without them earns tells what they cost."""
    assert build("all", SHIPPED, world()).engine.risk == SHIPPED.risk
    base = build("base", SHIPPED, world()).engine.risk
    assert base.soft_limit_frac == 0.5
    assert base.loss_limit_frac == SHIPPED.risk.loss_limit_frac


def test_shipped_is_the_configuration_as_it_is() -> None:
    """The world's law is no part of it."""
    assert build("shipped", SHIPPED, world()) == Variant("shipped", SHIPPED)


@pytest.mark.parametrize("scenario", ["two-sided", "informed-50", "whipsaw", "native"])
def test_a_world_sets_the_half_spread_that_is_quoted(scenario: str) -> None:
    """Not a least one that the estimates add to: the width of its own law, floor rule and all."""
    law = law_of(scenario)
    session = Session(replace(setup(scenario).plan(build("base", SHIPPED, world(scenario)), 1)))
    halves = []
    watched = session._watch

    def watch(decision: Any) -> None:
        watched(decision)
        if decision.capture is not None:
            halves.append(decision.capture.view.quote.half_bps)

    session._watch = watch  # type: ignore[method-assign]
    session.run()
    assert len(halves) > 60
    assert np.all(np.abs(np.array(halves) - law.half_bps) < 0.15)


def test_a_key_given_by_hand_goes_before_the_law_of_the_world() -> None:
    """`--set` must be able to sweep the width and the prior."""
    by_hand = SHIPPED.model_copy(
        update={"quoter": SHIPPED.quoter.model_copy(update={"half_spread_bps_min": 10.0})}
    )
    made = at_law(by_hand, law_of("informed-0"), 1.5, {"quoter.half_spread_bps_min"})
    assert made.quoter.half_spread_bps_min == 10.0
    assert made.adverse.a0_bps == 1.8
    kept = at_law(SHIPPED, law_of("informed-0"), 1.5, {"adverse.a1", "quoter.glft_bps_max"})
    assert kept.adverse.a1 == SHIPPED.adverse.a1
    assert kept.quoter.glft_bps_max == SHIPPED.quoter.glft_bps_max


@given(half=st.floats(0.5, 40), fee=st.floats(0, 5))
def test_a_width_is_met_where_the_floor_rule_allows_it(half: float, fee: float) -> None:
    """Fee, adverse selection and GLFT then add up to it exactly."""
    made = at_width(world("informed-0"), half, fee)
    break_even = (fee + 1.8) / 0.7
    assert made.quoter.half_spread_bps_min == max(0.5, half)
    reached = max(half, break_even + made.quoter.glft_bps_max)
    assert isclose(reached, max(half, break_even + 0.5), rel_tol=1e-12)


def test_every_scenario_has_a_law_that_the_parameters_allow() -> None:
    """A scenario added later is informed flow until it is told otherwise."""
    for scenario in SCENARIOS:
        made = at_law(SHIPPED, law_of(scenario), 1.5)
        assert EngineParams.model_validate(made.model_dump()) == made


def test_base_is_always_among_the_variants_and_first() -> None:
    """Differences are taken to it."""
    assert select("all", is_ablation=False) == ("base", "all")
    assert select(None, is_ablation=False) == ("base", "all", "predecessor")
    assert set(select("control", is_ablation=True)) == {*ABLATION, "control"}
    with pytest.raises(ConfigError, match=r"'al': is not a variant; use some of .*predecessor"):
        select("base,al", is_ablation=False)


def test_the_predecessor_shifts_its_quotes_against_the_trend() -> None:
    """The recorded error, frozen: 4 % of the move of 15 minutes, the wrong way, at most 12 bps."""
    seen: list[tuple[float, float, float | None]] = []
    for scenario in ("feb24", "two-sided"):
        plan = setup(scenario, minutes=14.9).plan(build("predecessor", SHIPPED, world(scenario)), 1)
        session = Session(plan)
        watched = session._watch
        exchange = session.exchange
        start_ticks = exchange.instrument.ticks(exchange.start_px)

        def watch(decision: Any, watched: Any = watched, start_ticks: float = start_ticks) -> None:
            watched(decision)
            capture = decision.capture
            if capture is not None:
                quote = capture.view.quote
                moved_bps = (quote.fair_ticks / start_ticks - 1) * 1e4
                seen.append((moved_bps, quote.shift_bps, quote.drift_bps))

        session._watch = watch  # type: ignore[method-assign]
        session.run()
    longs = [long for long, _, _ in seen]
    assert min(longs) < -10
    assert max(longs) > 50
    for long, shift, drift in seen:
        assert drift == shift == pytest.approx(max(-12.0, min(12.0, -0.04 * long)), abs=1e-12)


def test_the_predecessor_is_frozen() -> None:
    """What everything is compared with must not drift: exact figures of fixed seeds."""
    made = replace(
        setup("whipsaw", minutes=6.0), times=Times(order_ms=50.0), block_ms=68, maker_bps=1.5
    )
    variant = build("predecessor", SHIPPED, world("whipsaw"))
    found = [run_session(made.plan(variant, seed)) for seed in (1, 2, 3)]
    assert [(it.fills, it.final_lots, it.requests) for it in found] == GOLDEN


def test_base_answers_a_sweep_as_the_recorded_quoter_did() -> None:
    """4 bps on the side that was swept, for 20 s, when four orders were filled at once."""
    variant = build("base", SHIPPED, world())
    assert variant.recorded is not None
    quoter = RecordedQuoter(SHIPPED.quoter, variant.recorded, 262_000.0, ablate=TERMS)
    fill = Fill(0, 1_000, 1, 1, None, Side.SELL, 262_000, 10, 0.0, 0.0, 0, False, False)
    for oid in (1, 1, 2, 3):
        quoter.on_fill(replace(fill, oid=oid))
    assert quoter._pullback_bps(1, 1) == 0.0
    quoter.on_fill(replace(fill, oid=4, recv_ns=1_000_000, venue_ms=1_249))
    assert quoter._pullback_bps(0, 2_000_000) == 0.0
    assert quoter._pullback_bps(1, 20 * 10**9) == 4.0
    assert quoter._pullback_bps(1, 20 * 10**9 + 1_000_000) == 0.0


# -- figures ---------------------------------------------------------------------------------------


def test_a_figure_is_mean_error_and_percentiles_of_the_sessions_that_have_it() -> None:
    """Sessions without a fill have no markout; they must not count as zero."""
    made = figure([1.0, None, 2.0, 3.0, 4.0, 5.0])
    assert made.mean == 3.0
    assert made.se == pytest.approx(sqrt(2.5) / sqrt(5))
    assert [made.p05, made.p50, made.p95] == pytest.approx([1.2, 3.0, 4.8])
    assert figure([None]).mean is None
    assert figure([2.0]).se is None


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=200))
def test_the_worst_twentieth_is_no_better_than_anything_else(values: list[float]) -> None:
    """Expected shortfall: below the mean, at or above the worst."""
    worst = worst_mean(values)
    assert min(values) - 1e-9 <= worst <= sum(values) / len(values) + 1e-9
    if len(values) <= 20:
        assert worst == min(values)


def test_differences_are_paired_by_seed() -> None:
    """The variance of the market cancels: that is the point of common random numbers."""
    ours = [outcome(seed, 10.0 * seed + 1.0) for seed in range(5)]
    theirs = [outcome(seed, 10.0 * seed) for seed in range(5)]
    report = summarise("all", ours, theirs)
    difference = report.figures[DIFFERENCE]
    assert (difference.mean, difference.se) == (1.0, 0.0)
    spread = report.figures["pnl_usd"].se
    assert spread is not None
    assert spread > 5
    with pytest.raises(ValueError, match="different seeds"):
        summarise("all", ours, theirs[::-1])


# -- runs ------------------------------------------------------------------------------------------


def test_processes_change_nothing() -> None:
    """The same seeds for every variant, the same results on any number of processors."""
    made = setup(seeds=2, minutes=1.5)
    here = run_lab(made, ("base", "all"), processes=1)
    assert run_lab(made, ("base", "all"), processes=2) == here
    assert here.variants["base"].figures[DIFFERENCE].mean == 0.0
    assert here.variants["all"].figures["pnl_usd"] != here.variants["base"].figures["pnl_usd"]


def test_the_json_has_the_promised_keys_and_nothing_else() -> None:
    """Scripts read it; a key that moves breaks them."""
    told: list[tuple[int, int]] = []
    report = run_lab(
        setup(seeds=2),
        ("base", "all"),
        processes=1,
        on_progress=lambda done, total, _: told.append((done, total)),
    )
    tree = json.loads(json.dumps(to_json(report)))
    assert set(tree) == {"scenario", "seeds", "variants"}
    assert (tree["scenario"], tree["seeds"]) == ("two-sided", 2)
    assert list(tree["variants"]) == ["base", "all"]
    for variant in tree["variants"].values():
        alone = {"pnl_sd_usd", "pnl_worst_usd", "half_spread_bps"}
        assert set(variant) == {*METRICS, DIFFERENCE, *alone}
        assert all(set(variant[key]) == FIGURES for key in (*METRICS, DIFFERENCE))
        assert 0 <= variant["quoted_frac_bid"]["mean"] <= 1
        assert variant["requests"]["mean"] > 0
    assert told == [(n, 4) for n in range(1, 5)]


def test_the_table_shows_every_variant_twice() -> None:
    """What was earned, and how it was quoted."""
    text = "\n".join(render.lines(run_lab(setup(seeds=2), ("base", "all"), processes=1)))
    assert text.count("\nbase ") == text.count("\nall ") == 2
    assert "worst 5 %" in text
    assert "kill trips" in text


@pytest.mark.parametrize("k_per_bp", [0.08, 0.2])
@pytest.mark.parametrize("wanted_bps", [5.0, 9.0, 14.0, 22.0])
def test_the_width_of_the_control_gives_it_the_fills_of_all(
    wanted_bps: float, k_per_bp: float
) -> None:
    """Whatever makes a quoter more passive wins where passive is better: compare like with like."""
    every = build("all", SHIPPED, world())

    def fills(variant: Variant) -> float:
        half = wanted_bps if variant == every else variant.engine.quoter.half_spread_bps_min
        # The logarithm is bent, as it is where a queue takes its part.
        return 300.0 * exp(-k_per_bp * half - 0.001 * half * half)

    width = runner.solve_width(fills, every, world(), 1.5, 0.13)
    assert fills(control(world(), width, 1.5)) == pytest.approx(fills(every), rel=0.03)
    assert width == pytest.approx(wanted_bps, abs=0.5)


def test_the_control_is_played_at_the_width_that_was_solved_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On pilots that are not those of the report, against `all`; twenty bps are far from it."""
    monkeypatch.setattr(runner, "PILOTS", 2)
    pilots: list[float] = []

    def solved(fills: Callable[[Variant], float], every: Variant, *rest: Any) -> float:
        pilots.extend((fills(every), fills(control(world(), 20.0, 1.5))))
        return 20.0

    monkeypatch.setattr(runner, "solve_width", solved)
    report = run_lab(setup(seeds=3, minutes=3.0), ("base", "all", "control"), processes=1)
    fills = {name: report.variants[name].figures["fills"].mean for name in ("all", "control")}
    assert fills["all"] is not None
    assert fills["control"] is not None
    assert report.variants["control"].half_spread_bps == 20.0
    assert fills["control"] < 0.6 * fills["all"]
    pilot, distant = pilots
    assert distant < 0.6 * pilot
    assert pilot == pytest.approx(fills["all"], rel=0.6)
    assert pilot != fills["all"]
    assert control(world(), 20.0, 1.5).ablate == TERMS
    assert "control: half spread" in "\n".join(render.lines(report))
