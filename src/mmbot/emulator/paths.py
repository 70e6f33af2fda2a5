"""
The price of the synthetic market before anybody trades: what moves it by itself.

A path is drawn block by block, one random stream per cause, and knows nothing of quotes or takers.

- diffusion `dp = sigma dW`, plus the drift of an episode, plus an Ornstein-Uhlenbeck drift;
- a displacement that reverts, in which a trend predicts its own end;
- anchors (time, level): the path, takers' impact included, is bent by a piecewise linear offset so
  that it passes through each of them (Brownian bridge); after the last it goes on by itself.

Source: the project's model notes, section 8.1.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, exp, sqrt
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats = NDArray[np.float64]

S_PER_HOUR = 3600.0
MS_PER_S = 1000
BLOCK_S = 60
"""Draws are made a minute ahead."""

_T_MAX_S = 86_400.0


class FlowParams(BaseModel):
    """Figures of the fair price and of the takers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sigma_bps_rt_s: float = Field(
        0.8, ge=0, le=100, description="Diffusion of the fair price, bps per root second."
    )
    a_per_s: float = Field(
        0.12, ge=0, le=50, description="Market orders of one side that reach the mid, per second."
    )
    k_per_bp: float = Field(
        0.5, gt=0.01, le=10, description="Decay of the number of orders with their reach, per bp."
    )
    impact_j0_bps: float = Field(
        1.2, ge=0, le=50, description="Mean move a market order brings whatever its reach, bps."
    )
    impact_p: float = Field(
        0.6, gt=0, le=1, description="Probability that a market order brings such a move."
    )
    impact_a1: float = Field(
        0.3, ge=0, le=2, description="Move a market order brings per bp of its reach, bps per bp."
    )
    impact_decay_frac: float = Field(
        0.0, ge=0, le=1, description="Share of a market order's move that decays."
    )
    decay_s: float = Field(
        15.0, gt=0, le=3600, description="Time in which a move that decays falls to 1/e, s."
    )
    sweeps_per_s: float = Field(
        0.001, ge=0, le=1, description="Sweeps of both sides together, per second."
    )
    sweep_reach_bps_min: float = Field(
        9.0, ge=0, le=200, description="Least reach of a sweep, bps."
    )
    sweep_excess_bps: float = Field(
        6.0, ge=0, le=200, description="Mean reach of a sweep beyond the least, bps."
    )
    sweep_move_frac: float = Field(
        0.7, ge=0, le=2, description="Price move of a sweep as a share of its reach."
    )
    sweep_informed_frac: float = Field(
        0.5, ge=0, le=1, description="Share of sweeps that are informed (pi): their move stays."
    )
    episodes_per_hour: float = Field(
        4.0, ge=0, le=600, description="Episodes of informed flow that start, per hour."
    )
    episode_s: float = Field(180.0, gt=0, le=86_400, description="Mean length of an episode, s.")
    episode_drift_bps_per_s: float = Field(
        0.05, ge=0, le=10, description="Drift of the fair price in an episode, bps per second."
    )
    episode_a_per_s: float = Field(
        0.05, ge=0, le=50, description="Extra market orders on the episode's side, per second."
    )
    flow_beta: float = Field(
        0.0,
        ge=0,
        le=3,
        description="How strongly takers lead and follow the price, log rate per sd of its move.",
    )
    flow_window_s: float = Field(
        60.0, ge=2, le=120, description="Window around now over which that move is taken, s."
    )
    drift_sd_bps_per_s: float = Field(
        0.0, ge=0, le=10, description="Deviation of a drift that comes and goes, bps per second."
    )
    drift_s: float = Field(
        600.0, gt=0, le=86_400, description="Time in which that drift falls to 1/e, s."
    )
    reverting_sd_bps: float = Field(
        0.0, ge=0, le=500, description="Deviation of a displacement that reverts, bps."
    )
    reverting_s: float = Field(
        180.0, gt=0, le=86_400, description="Time in which that displacement falls to 1/e, s."
    )
    anchors: tuple[tuple[float, float], ...] = Field(
        (),
        max_length=200,
        description="Points the price is led through: pairs of seconds from the start and bps.",
    )
    forced_sweeps: tuple[tuple[float, int, float, bool], ...] = Field(
        (),
        max_length=100,
        description="Sweeps at given times: seconds, side (1 buys, -1 sells), reach in bps, and "
        "whether it is informed (its move stays).",
    )
    sweep_jitter_s: float = Field(
        0.0, ge=0, le=600, description="Bound of a random shift of the forced sweeps' times, s."
    )
    is_mirrored: bool = Field(
        default=False, description="Everything upside down: prices, takers, sweeps."
    )
    step_ms: int = Field(
        250, ge=10, le=10_000, description="Time between two looks of the makers at the price, ms."
    )
    reaction_ms: int = Field(
        100, ge=0, le=10_000, description="Time until the makers have understood a trade, ms."
    )

    @model_validator(mode="after")
    def _steps_fill_a_block(self) -> Self:
        if BLOCK_S * MS_PER_S % self.step_ms:
            msg = f"step_ms = {self.step_ms} must divide {BLOCK_S * MS_PER_S}; use e.g. 250"
            raise ValueError(msg)
        if self.sweep_informed_frac and self.sweeps_per_s and not self.episodes_per_hour:
            msg = (
                f"sweep_informed_frac = {self.sweep_informed_frac:g} needs episodes to happen in; "
                "set episodes_per_hour above 0 or sweep_informed_frac to 0"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _times_are_in_order(self) -> Self:
        times_s = [at_s for at_s, _ in self.anchors]
        if any(not 0 <= at_s <= _T_MAX_S for at_s in times_s) or any(
            later <= earlier for earlier, later in pairwise(times_s)
        ):
            msg = f"anchors must be at rising times in [0, {_T_MAX_S:g}] s, got {times_s}"
            raise ValueError(msg)
        for at_s, side, reach_bps, _ in self.forced_sweeps:
            if not 0 <= at_s <= _T_MAX_S or side not in (1, -1) or not 0 < reach_bps <= 500:
                msg = (
                    f"forced_sweeps has ({at_s}, {side}, {reach_bps}): the time must be in "
                    f"[0, {_T_MAX_S:g}] s, the side 1 or -1, the reach above 0 and at most 500 bps"
                )
                raise ValueError(msg)
        return self


class Episode(NamedTuple):
    """A spell of informed flow: seconds from the start, and the direction it pushes."""

    start_s: float
    end_s: float
    sign: int


class Raw(NamedTuple):
    """
    One block of the path by itself.

    Attributes:
        first: Number of its first step.
        moves_bps: Move of the efficient price at each step, shape (steps,).
        reverting_bps: Displacement that reverts at each step, shape (steps,); None without one.
        episodes: Those that touch the block.
    """

    first: int
    moves_bps: Floats
    reverting_bps: Floats | None
    episodes: list[Episode]


class RawPath:
    """Blocks of the path, in order. The first spans all anchors, so that they can be met."""

    def __init__(self, params: FlowParams, seeds: PathSeeds) -> None:
        self._params = params
        self._diffusion_rng = np.random.default_rng(seeds.diffusion)
        self._episodes_rng = np.random.default_rng(seeds.episodes)
        self._drift_rng = np.random.default_rng(seeds.drift)
        self._reverting_rng = np.random.default_rng(seeds.reverting)
        self._start_s = 0
        self._episodes: list[Episode] = []
        self._next_episode_s = 0.0
        if params.episodes_per_hour:
            self._next_episode_s = self._episode_gap_s()
        self._drift = params.drift_sd_bps_per_s * float(self._drift_rng.standard_normal())
        self._reverting = 0.0

    def span_s(self) -> int:
        """Length of the next block."""
        if self._start_s or not self._params.anchors:
            return BLOCK_S
        last_s = self._params.anchors[-1][0]
        return max(1, ceil(last_s / BLOCK_S)) * BLOCK_S

    def block(self) -> Raw:
        """Draw the next block."""
        params = self._params
        span_s = self.span_s()
        end_s = self._start_s + span_s
        step_s = params.step_ms / MS_PER_S
        first = self._start_s * MS_PER_S // params.step_ms
        count = span_s * MS_PER_S // params.step_ms
        episodes = self._draw_episodes(end_s)
        scale_bps = params.sigma_bps_rt_s * sqrt(step_s)
        moves = scale_bps * self._diffusion_rng.standard_normal(count)
        at_s = (first + np.arange(count)) * step_s
        for episode in episodes:
            inside = (episode.start_s <= at_s) & (at_s < episode.end_s)
            moves[inside] += episode.sign * params.episode_drift_bps_per_s * step_s
        if params.drift_sd_bps_per_s:
            moves += self._draw_drift(count, step_s)
        reverting = self._draw_reverting(count, step_s) if params.reverting_sd_bps else None
        self._start_s = end_s
        self._episodes = [episode for episode in episodes if episode.end_s > end_s]
        return Raw(first, moves, reverting, episodes)

    def _episode_gap_s(self) -> float:
        return float(self._episodes_rng.exponential(S_PER_HOUR / self._params.episodes_per_hour))

    def _draw_episodes(self, end_s: float) -> list[Episode]:
        """Episodes that touch the block; one starts only when the last is over."""
        episodes = list(self._episodes)
        if not self._params.episodes_per_hour:
            return episodes
        while self._next_episode_s < end_s:
            start_s = self._next_episode_s
            stop_s = start_s + float(self._episodes_rng.exponential(self._params.episode_s))
            sign = 1 if self._episodes_rng.random() < 0.5 else -1
            episodes.append(Episode(start_s, stop_s, sign))
            self._next_episode_s = stop_s + self._episode_gap_s()
        return episodes

    def _draw_drift(self, count: int, step_s: float) -> Floats:
        """Moves of a stationary Ornstein-Uhlenbeck drift, exact at the steps."""
        params = self._params
        kept = exp(-step_s / params.drift_s)
        noise = params.drift_sd_bps_per_s * sqrt(1 - kept * kept)
        moves = np.empty(count)
        drift = self._drift
        for n, z in enumerate(self._drift_rng.standard_normal(count).tolist()):
            drift = kept * drift + noise * z
            moves[n] = drift * step_s
        self._drift = drift
        return moves

    def _draw_reverting(self, count: int, step_s: float) -> Floats:
        params = self._params
        kept = exp(-step_s / params.reverting_s)
        noise = params.reverting_sd_bps * sqrt(1 - kept * kept)
        values = np.empty(count)
        value = self._reverting
        for n, z in enumerate(self._reverting_rng.standard_normal(count).tolist()):
            value = kept * value + noise * z
            values[n] = value
        self._reverting = value
        return values


class PathSeeds(NamedTuple):
    """One seed per cause."""

    diffusion: np.random.SeedSequence
    episodes: np.random.SeedSequence
    drift: np.random.SeedSequence
    reverting: np.random.SeedSequence


class Bridge:
    """
    Offset that leads a path through the anchors; constant after the last, level before the first.

    `bend` is for the block that spans all anchors, `shift_bps` for everything after it.
    """

    def __init__(self, params: FlowParams) -> None:
        self._step_s = params.step_ms / MS_PER_S
        self._at_s = np.array([at_s for at_s, _ in params.anchors])
        self._bps = np.array([bps for _, bps in params.anchors])
        self.shift_bps = 0.0

    def bend(self, path_bps: Floats) -> Floats:
        """The path, given at every step from 0 on, through the anchors. Shape kept."""
        if not self._at_s.size:
            return path_bps
        steps = np.minimum(np.rint(self._at_s / self._step_s).astype(int), path_bps.size - 1)
        gaps = self._bps - path_bps[steps]
        self.shift_bps = float(gaps[-1])
        # An anchor at the very end of the span lies one step past it: it is met at the last step.
        offsets: Floats = np.interp(np.arange(path_bps.size), steps, gaps)
        return path_bps + offsets
