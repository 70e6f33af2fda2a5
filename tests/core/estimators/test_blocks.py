"""The clustered mean: what is one observation, and what forgetting leaves alone."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.estimators.blocks import BlockMean

ROWS = st.lists(st.tuples(st.integers(0, 6), st.floats(-50, 50), st.floats(0.1, 5)), min_size=1)


def told(rows: list[tuple[int, float, float]]) -> BlockMean:
    it = BlockMean()
    for block, value, weight in sorted(rows, key=lambda row: row[0]):
        it.add(block, value, weight)
    return it


def test_the_error_of_separate_blocks_is_the_textbook_one() -> None:
    """Independent observations 1, 2, 3, 6: mean 3, se = sd/sqrt(n) = sqrt(14/3)/2."""
    it = told([(i, value, 1.0) for i, value in enumerate((1.0, 2.0, 3.0, 6.0))])
    assert it.mean == pytest.approx(3.0)
    assert it.se == pytest.approx(sqrt(14 / 3) / 2)


def test_seven_copies_in_one_block_are_one_observation() -> None:
    """A sweep of seven rungs must not make the error sqrt(7) times smaller."""
    once = told([(0, 4.0, 1.0), (1, 8.0, 1.0), (2, 3.0, 1.0)])
    often = told([(b, v, 1.0) for b, v in ((0, 4.0), (1, 8.0), (2, 3.0)) for _ in range(7)])
    assert often.mean == pytest.approx(once.mean)
    assert often.se == pytest.approx(once.se)


def test_one_block_has_no_error() -> None:
    """Nothing to compare it with: None, not zero."""
    it = told([(3, 1.0, 1.0), (3, 9.0, 1.0)])
    assert it.mean == 5.0
    assert it.se is None
    assert BlockMean().mean is None
    assert BlockMean().se is None


@given(rows=ROWS)
def test_it_equals_the_formula_on_the_whole_sample(rows: list[tuple[int, float, float]]) -> None:
    """The running sums are the definition, block by block."""
    it = told(rows)
    total = sum(weight for _, _, weight in rows)
    mean = sum(value * weight for _, value, weight in rows) / total
    assert it.mean == pytest.approx(mean, abs=1e-9)
    blocks = {block for block, _, _ in rows}
    residuals = [sum(w * (v - mean) for b, v, w in rows if b == block) for block in blocks]
    sizes = [sum(w for b, _, w in rows if b == block) for block in blocks]
    if len(blocks) == 1:
        assert it.se is None
        return
    effective = total**2 / sum(size**2 for size in sizes)
    expected = sqrt(sum(r * r for r in residuals) * effective / (effective - 1)) / total
    assert it.se == pytest.approx(expected, abs=1e-5)


@given(rows=ROWS, power=st.integers(-40, 40))
def test_a_common_factor_on_the_weights_changes_neither_mean_nor_error(
    rows: list[tuple[int, float, float]], power: int
) -> None:
    """Forgetting by growing weights needs them brought down again from time to time."""
    plain, scaled = told(rows), told(rows)
    scaled.scale(2.0**power)
    assert scaled.mean == plain.mean
    assert scaled.se == (None if plain.se is None else pytest.approx(plain.se, rel=1e-12))
