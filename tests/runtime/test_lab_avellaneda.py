"""The tables of Avellaneda and Stoikov: our quotes reproduce theory, not a printed sample."""

from __future__ import annotations

import pytest

from mmbot.core.avellaneda import depths, spread
from mmbot.runtime.lab.avellaneda import CASES, Case, exact, lines, simulate

EXACT = {
    ("QF 1", True): (64.893, 6.543, 2.927),
    ("QF 1", False): (68.223, 13.456, 8.399),
    ("QF 2", True): (68.400, 8.961, 5.213),
    ("QF 2", False): (68.666, 13.677, 8.712),
    ("QF 3", True): (31.455, 4.838, 1.641),
    ("QF 3", False): (43.685, 10.733, 5.171),
    ("WP 1", True): (64.220, 6.048, 2.926),
    ("WP 1", False): (68.635, 13.764, 8.836),
    ("WP 2", True): (68.396, 8.920, 5.212),
    ("WP 2", False): (68.670, 13.708, 8.755),
    ("WP 3", True): (23.901, 5.069, 1.953),
    ("WP 3", False): (67.965, 13.960, 9.124),
    ("none", True): (48.568, 5.898, 1.956),
    ("none", False): (59.918, 12.321, 6.918),
}
"""Model notes, section 2: profit, its deviation, deviation of the final inventory."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.table} {case.name}")
def test_the_recursion_gives_the_exact_column(case: Case) -> None:
    """Independent of any simulation, and of any printed table."""
    moments = exact(case)
    mean, sd, q_sd = EXACT[case.table, case.is_inventory]
    assert moments.profit_mean == pytest.approx(mean, abs=6e-4)
    assert moments.profit_sd == pytest.approx(sd, abs=6e-4)
    assert moments.final_q_sd == pytest.approx(q_sd, abs=6e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.table} {case.name}")
def test_twenty_thousand_paths_agree_within_four_standard_errors(case: Case) -> None:
    """Invariant 27 of the model notes."""
    row = simulate(case, 20_000, seed=1)
    assert row.agrees, row.errors


@pytest.mark.parametrize("table", sorted({case.table for case in CASES}))
def test_leaning_with_the_inventory_lowers_the_deviation(table: str) -> None:
    """What the skew is for: less risk for a little less profit."""
    leaning, symmetric = (
        simulate(case, 4_000, seed=2).simulated for case in CASES if case.table == table
    )
    assert leaning.profit_sd < symmetric.profit_sd
    assert leaning.final_q_sd < symmetric.final_q_sd


def test_a_quoter_that_does_not_lean_disagrees() -> None:
    """The check can fail: symmetric quotes are not those of the inventory row."""
    case = CASES[0]
    row = simulate(case, 4_000, seed=3)
    other = simulate(CASES[1], 4_000, seed=3)
    assert abs(other.simulated.final_q_sd - row.exact.final_q_sd) / other.q_sd_se > 4


def test_a_long_position_lowers_both_quotes() -> None:
    """The bid moves away by what the ask comes nearer."""
    half = spread(0.1, 2.0, 1.5, 1.0) / 2
    bid, ask = depths(3, half, 0.1, 2.0, 1.0)
    assert bid == pytest.approx(half + 1.2)
    assert ask == pytest.approx(half - 1.2)
    assert depths(-3, half, 0.1, 2.0, 1.0) == (ask, bid)


def test_bad_figures_are_refused() -> None:
    """Zero risk aversion has its limit elsewhere."""
    with pytest.raises(ValueError, match="must be positive"):
        spread(0.0, 2.0, 1.5, 1.0)
    with pytest.raises(ValueError, match="at least 100"):
        simulate(CASES[0], 10, seed=1)


def test_the_table_is_printed_with_its_errors() -> None:
    """A person sees at once which row does not agree."""
    text = "\n".join(lines([simulate(CASES[4], 1_000, seed=1)], 1_000))
    assert "QF 3" in text
    assert "31.455" in text
    assert "DISAGREES" not in text
