"""
What a sample can carry: bootstrap intervals, areas under a curve, and what an interval decides.

Sessions are the units: seconds of one session are one another's neighbours, so that a session is
drawn with all of its seconds or not at all. Draws are seeded; the same sample says the same twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from math import ceil, isfinite, isnan, sqrt
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS: Final = 2000
_SEED: Final = 20260224
_Z95: Final = 1.959963984540054
_ENDS: Final = (2.5, 97.5)
_WORST: Final = 0.05


class Interval(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval; all three are nan where there is nothing to estimate."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether there is an interval at all."""
        return not (isnan(self.value) or isnan(self.low) or isnan(self.high))


UNKNOWN: Final = Interval(float("nan"), float("nan"), float("nan"))


class Verdict(Enum):
    """What an interval says of a bound."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"


def decide(it: Interval, *, least: float = float("-inf"), most: float = float("inf")) -> Verdict:
    """Met when the whole interval lies within the bounds, missed when all of it lies without."""
    if not it.is_known:
        return Verdict.UNDECIDED
    if least <= it.low and it.high <= most:
        return Verdict.MET
    if it.high < least or it.low > most:
        return Verdict.MISSED
    return Verdict.UNDECIDED


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Met when every one is; missed when one is."""
    if Verdict.MISSED in verdicts:
        return Verdict.MISSED
    return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.MET


def mean_of(values: Sequence[float] | Floats) -> Interval:
    """Mean with its normal interval, of two values at least."""
    it = np.asarray(values, dtype=np.float64)
    if it.size < 2:
        return UNKNOWN if not it.size else Interval(float(it[0]), float("nan"), float("nan"))
    half = _Z95 * float(it.std(ddof=1)) / sqrt(it.size)
    mean = float(it.mean())
    return Interval(mean, mean - half, mean + half)


# -- statistics of rows: the last axis is the sessions, those before it are draws ------------------


def mean(values: Floats) -> Floats:
    """Mean of each row."""
    return np.asarray(values.mean(axis=-1))


def deviation(values: Floats) -> Floats:
    """Standard deviation of each row."""
    return np.asarray(values.std(axis=-1, ddof=1))


def worst(values: Floats) -> Floats:
    """Mean of the lowest 5 % of each row, of one value at least."""
    count = max(1, ceil(_WORST * values.shape[-1] - 1e-9))
    return np.asarray(np.partition(values, count - 1, axis=-1)[..., :count].mean(axis=-1))


Statistic = Callable[..., Floats]


def bootstrap(
    statistic: Statistic, *columns: Sequence[float] | Floats, draws: int = DRAWS
) -> Interval:
    """
    A statistic of columns that belong together row by row, and its percentile interval.

    Args:
        statistic: Takes arrays whose last axis is the rows, one for each column.
        columns: Of the same length; a session keeps its row in all of them.
        draws: How many samples are drawn. Where one of them has no figure, there is no interval.

    Raises:
        ValueError: The columns differ in length.
    """
    data = [np.asarray(column, dtype=np.float64) for column in columns]
    size = data[0].size
    if any(column.size != size for column in data):
        msg = f"columns of {', '.join(str(column.size) for column in data)} rows: nothing pairs"
        raise ValueError(msg)
    if size < 2:
        return UNKNOWN
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(0, size, (draws, size))
    values = statistic(*(column[drawn] for column in data))
    value = float(statistic(*data))
    if not np.isfinite(values).all():
        # A ratio whose denominator may be zero can be anything.
        return Interval(value if isfinite(value) else float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(values, _ENDS).tolist()
    return Interval(value, low, high)


def ratio(of: Statistic) -> Statistic:
    """The statistic of the first column over that of the second."""

    def both(ours: Floats, theirs: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(of(ours) / of(theirs))

    return both


def margin(of: Statistic, share: float) -> Statistic:
    """
    The statistic of the first column less `share` of that of the second.

    Unlike the ratio it keeps its meaning where the second is near zero, or changes its sign.
    """

    def both(ours: Floats, theirs: Floats) -> Floats:
        return np.asarray(of(ours) - share * of(theirs))

    return both


# -- telling up from down --------------------------------------------------------------------------


def auc(scores: Floats, is_positive: NDArray[np.bool_]) -> float:
    """
    Probability that a positive has the higher score than a negative, ties as a half.

    Not-a-number without both kinds.
    """
    return pooled_auc([(scores, is_positive)]).value


def pooled_auc(
    sessions: Sequence[tuple[Floats, NDArray[np.bool_]]], *, draws: int = DRAWS
) -> Interval:
    """
    The area over all sessions together; the interval draws whole sessions.

    Args:
        sessions: Scores, and which of them are positive.
        draws: How many samples are drawn; none for a single session.
    """
    sessions = [(scores, flags) for scores, flags in sessions if scores.size]
    count = len(sessions)
    if not count:
        return UNKNOWN
    # Won pairs of the positives of each session against the negatives of each other one.
    won, pairs = np.zeros((count, count)), np.zeros((count, count))
    ranked = [np.sort(scores[~flags]) for scores, flags in sessions]
    for row, (scores, flags) in enumerate(sessions):
        ours = scores[flags]
        for column, theirs in enumerate(ranked):
            below = np.searchsorted(theirs, ours, side="left")
            level = np.searchsorted(theirs, ours, side="right") - below
            won[row, column] = float(below.sum()) + 0.5 * float(level.sum())
            pairs[row, column] = float(ours.size * theirs.size)
    if not pairs.sum():
        return UNKNOWN
    value = float(won.sum() / pairs.sum())
    if count < 2:
        return Interval(value, float("nan"), float("nan"))
    rng = np.random.default_rng(_SEED)
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=draws).astype(np.float64)
    total = np.einsum("di,ij,dj->d", weights, pairs, weights, optimize=True)
    found = np.einsum("di,ij,dj->d", weights, won, weights, optimize=True)
    there = total > 0
    if not there.any():
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(found[there] / total[there], _ENDS).tolist()
    return Interval(value, low, high)
