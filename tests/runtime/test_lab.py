"""The lab: the engine itself, the same market for every variant, repeatable to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmbot.config import Config, load
from mmbot.core.engine import Engine, EngineParams
from mmbot.core.quoter import TERMS
from mmbot.core.risk import RiskParams
from mmbot.emulator.scenarios import SCENARIOS
from mmbot.errors import ConfigError
from mmbot.runtime.lab.measure import METRICS, figure, interval, outcomes
from mmbot.runtime.lab.render import as_json, lines
from mmbot.runtime.lab.runner import Job, Lab, Plan, play
from mmbot.runtime.lab.session import Result, Session, Venture
from mmbot.runtime.lab.variants import VARIANTS, Variant, build, lab_params, law_of

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
PARAMS = EngineParams(risk=RiskParams(capital_usd=100))


def job(scenario: str, variant: str, seed: int = 1, *, mirror: bool = False, **changes: Any) -> Job:
    market = SCENARIOS[scenario].params.model_copy(update={"is_mirrored": mirror})
    made = Job(
        variant=VARIANTS[variant],
        params=PARAMS.model_dump_json().encode(),
        market=market.model_dump_json().encode(),
        scenario=scenario,
        seed=seed,
        minutes=4.0,
        latency_ms=50,
        ends_on_kill=False,
    )
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_trades_and_repeats_itself_to_the_bit(variant: str) -> None:
    """A comparison that cannot be repeated proves nothing."""
    one, again = (play(job("false-sweeps", variant)) for _ in range(2))
    assert one == again
    assert one.fills > 0
    assert one.requests > 0
    assert 0 < one.quoted_frac_bid <= 1
    assert one.max_q_frac > 0


def test_another_seed_is_another_market() -> None:
    """And the seeds of a scenario are not the same market over and over."""
    assert len({play(job("two-sided", "base", seed)).pnl_usd for seed in range(4)}) == 4


def test_the_ledger_of_a_session_is_that_of_the_venue() -> None:
    """Profit is the change of the account at the venue, from an engine that only heard of fills."""
    venture = Venture(SCENARIOS["false-sweeps"].params, 3, 6.0, 1.5, 100.0, 0.03, 0.03)
    params = lab_params(PARAMS, "false-sweeps", VARIANTS["all"])
    session = Session(venture, lambda instrument: build(params, VARIANTS["all"], instrument))
    result = session.run()
    account = session.venue.account("0x" + "1ab0" * 10)
    slot = account.slot(session.venue.asset(0), 20)
    assert result.fills > 5
    assert session.engine.position.lots == slot.szi_lots


def test_ablation_is_an_argument_of_the_engine_and_of_nothing_else(tmp_path: Path) -> None:
    """No file and no flag of `run` can leave a protection out."""
    text = json.dumps(Config.model_json_schema())
    assert "ablat" not in text
    for key in ("ablate", "quoter.ablate", "risk.ablate", "engine.ablate"):
        with pytest.raises(ConfigError, match="unknown key"):
            load(CONFIG, [f"{key}=['skew']"])


def test_a_variant_leaves_out_what_its_name_says() -> None:
    """One term at a time, from both ends."""
    assert VARIANTS["base"].ablate == TERMS
    assert VARIANTS["all"].ablate == frozenset()
    for name in ("skew", "widening", "cascade", "opposed"):
        assert name not in VARIANTS[f"base+{name}"].ablate
        assert VARIANTS[f"all-{name}"].ablate == TERMS - VARIANTS[f"base+{name}"].ablate


def test_the_predecessor_leans_the_wrong_way() -> None:
    """Four percent of the trend, against it: with a rising price it shifts its quotes down."""
    shifts: list[tuple[float, float]] = []

    class Spy(Engine):
        pass

    params = lab_params(PARAMS, "trend", VARIANTS["predecessor"])
    venture = Venture(SCENARIOS["trend"].params, 5, 20.0, 1.5, 100.0, 0.03, 0.03)
    session = Session(venture, lambda i: build(params, VARIANTS["predecessor"], i))
    original = session.engine._quote

    def seen(*args: Any, **kwargs: Any) -> Any:
        quote, market = original(*args, **kwargs)
        if market.trend is not None and abs(market.trend.long_bps) > 1:
            shifts.append((market.trend.long_bps, quote.shift_bps))
        return quote, market

    session.engine._quote = seen  # type: ignore[method-assign]
    session.run()
    assert len(shifts) > 100
    assert all(shift == pytest.approx(-0.04 * trend) for trend, shift in shifts)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - {"demo", "hype", "native"}))
def test_the_law_of_a_world_reaches_the_engine_through_ordinary_keys(scenario: str) -> None:
    """The floor rule stays on, whatever the width."""
    law = law_of(scenario)
    params = lab_params(PARAMS, scenario, VARIANTS["base"])
    assert params.quoter.half_spread_bps_min == law.half_bps
    assert (params.adverse.a0_bps, params.adverse.a1) == (law.a0_bps, law.a1)
    assert params.risk.max_position_usd == 500


def test_shipped_is_the_configuration_as_it_is() -> None:
    """Only what would end the session is out of reach."""
    params = lab_params(PARAMS, "two-sided", VARIANTS["shipped"])
    assert params.quoter == PARAMS.quoter
    assert params.adverse == PARAMS.adverse
    assert params.risk.max_position_usd == PARAMS.risk.max_position_usd
    kept = lab_params(PARAMS, "two-sided", VARIANTS["shipped"], ends_on_kill=True)
    assert kept.risk == PARAMS.risk


def test_kills_are_counted_and_end_a_session_only_when_told_to() -> None:
    """A maker far too tight among informed takers loses its three percent."""
    tight = Variant("tight", TERMS, extra_half_bps=-6.0)
    jobs = [
        msgspec.structs.replace(
            job("informed-100", "base", seed), variant=tight, minutes=25.0, market=loud()
        )
        for seed in range(3)
    ]
    counted = [play(one) for one in jobs]
    ended = [play(msgspec.structs.replace(one, ends_on_kill=True)) for one in jobs]
    assert sum(one.kill_trips for one in counted) > 0
    assert sum(one.fills for one in ended) < sum(one.fills for one in counted)


def loud() -> bytes:
    """Informed takers, many of them."""
    params = SCENARIOS["informed-100"].params
    return (
        params.model_copy(update={"a_per_s": 1.0, "impact_j0_bps": 6.0}).model_dump_json().encode()
    )


def test_plans_run_on_a_pool_in_the_order_of_their_seeds() -> None:
    """Whichever process is done first, pairs stay pairs."""
    plan = Plan("two-sided", ("base", "all"), seeds=3, first_seed=7, minutes=2.0)
    told: list[tuple[int, int]] = []
    with Lab(workers=2) as pool:
        results = pool.run(plan, PARAMS, lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)
    alone = play(job("two-sided", "all", 8, minutes=2.0))
    assert results["all"][1] == alone
    found = outcomes(results)
    payload = as_json(plan, found)
    assert (payload["scenario"], payload["seeds"]) == ("two-sided", 3)
    for name in ("base", "all"):
        for key in (*METRICS, "pnl_diff_usd"):
            assert {"mean", "se", "p05", "p50", "p95"} <= payload["variants"][name][key].keys()
    difference = found["all"].metrics["pnl_diff_usd"].mean
    expected = sum(
        a.pnl_usd - b.pnl_usd for a, b in zip(results["all"], results["base"], strict=True)
    )
    assert difference == pytest.approx(expected / 3)
    assert any(line.startswith("all ") for line in lines(plan, found))


def test_an_unknown_variant_or_figure_is_refused_by_name() -> None:
    """With what there is instead."""
    with Lab(workers=1) as pool:
        with pytest.raises(ConfigError, match="no such variant; use some of"):
            pool.run(Plan("two-sided", ("bsae",), 1), PARAMS)
        with pytest.raises(ConfigError, match="sigma"):
            pool.run(Plan("two-sided", ("base",), 1, overrides={"sgma_bps": 1}), PARAMS)


def test_figures_of_a_metric_leave_out_sessions_that_do_not_have_it() -> None:
    """No fill has no markout, and no markout is no zero."""
    one = figure([1.0, None, 3.0])
    assert (one.mean, one.p50) == (2.0, 2.0)
    bounds = interval(one)
    assert bounds is not None
    assert bounds[0] < 2.0 < bounds[1]
    assert figure([None]).mean is None
    assert figure([5.0]).se is None
    assert figure([-9.0, *([1.0] * 20)]).worst == -9.0


def test_results_name_what_the_tables_show() -> None:
    """A metric added to the session is added to the tables."""
    assert set(METRICS) == set(Result.__struct_fields__) - {"signed_q_frac"}
