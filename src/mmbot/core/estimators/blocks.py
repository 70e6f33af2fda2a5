"""Mean of dependent observations with a standard error that believes only what is independent."""

from __future__ import annotations

from math import sqrt

_FEW = 1.0 + 1e-9
"""Effective number of blocks from which a spread between blocks exists."""


class BlockMean:
    """
    Weighted mean of observations, with a standard error clustered by time blocks.

    Moves measured over overlapping spans are one observation, not many: everything in one block
    (of the length of the span) is summed before it is squared. With block sums S_b of weight times
    value and N_b of weight,

        mean = sum S_b / sum N_b,  se^2 = B/(B - 1) sum (S_b - mean N_b)^2 / (sum N_b)^2
        B = (sum N_b)^2 / sum N_b^2, the effective number of blocks

    Blocks must not decrease. A caller forgets by giving later observations more weight and by
    `scale` before the weights overflow; neither moves the mean. Unit: that of the values.

    Source: cluster-robust variance of a mean (Liang and Zeger 1986); Kish's effective size for B.
    """

    __slots__ = ("_block", "_nn", "_open_n", "_open_s", "_sn", "_ss", "_sum", "weight")

    def __init__(self) -> None:
        self.weight = 0.0
        """Sum of the weights."""
        self._sum = 0.0
        self._ss = self._sn = self._nn = 0.0
        self._block: int | None = None
        self._open_s = self._open_n = 0.0

    def add(self, block: int, value: float, weight: float = 1.0) -> None:
        """Count one observation of block number `block`."""
        if block != self._block:
            s, n = self._open_s, self._open_n
            self._ss += s * s
            self._sn += s * n
            self._nn += n * n
            self._block = block
            self._open_s = self._open_n = 0.0
        product = weight * value
        self._open_s += product
        self._open_n += weight
        self._sum += product
        self.weight += weight

    def scale(self, factor: float) -> None:
        """Multiply every weight by `factor` > 0."""
        self.weight *= factor
        self._sum *= factor
        self._open_s *= factor
        self._open_n *= factor
        square = factor * factor
        self._ss *= square
        self._sn *= square
        self._nn *= square

    @property
    def mean(self) -> float | None:
        """Weighted mean, None before the first observation."""
        return self._sum / self.weight if self.weight > 0.0 else None

    @property
    def se(self) -> float | None:
        """Standard error of the mean, None while everything lies in one block."""
        total = self.weight
        s, n = self._open_s, self._open_n
        nn = self._nn + n * n
        if total <= 0.0 or nn <= 0.0:
            return None
        blocks = total * total / nn
        if blocks < _FEW:
            return None
        mean = self._sum / total
        spread = self._ss + s * s - 2.0 * mean * (self._sn + s * n) + mean * mean * nn
        return sqrt(max(0.0, spread) * blocks / (blocks - 1.0)) / total
