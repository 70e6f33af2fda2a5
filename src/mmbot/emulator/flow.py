"""
What happens in the synthetic market whatever anyone quotes: the fair price and who wants to trade.

All randomness of the market is here and is drawn before a quote is looked at, one stream per cause,
so that two runs with the same seed and different quotes meet the same prices and the same takers
(common random numbers: their difference is paired). Prices are bps of the log price from the start.

The model, event by event:

- diffusion: `dp = sigma dW`, looked at by the makers every `step_ms`;
- takers: each side Poisson at `a_per_s` (more in an episode), reach from the mid `Exp(k)`;
- impact of a taker of reach R: `J = (j0 / p) Exp(1)` with probability p, plus `a1 R`, hence
  `E[J | reach >= d] = j0 + a1 (d + 1/k)`; a share of it decays, the rest stays;
- sweeps: reach `9 + Exp(6)` bps, which move the price by 0.7 of it. Informed ones come inside an
  episode, on its side, and their move stays; the others' decays. They look the same at the time;
- episodes: informed flow for some minutes, a drift and extra takers on one side.

Source: the project's model notes, section 8.1; diffusion and exponential reach after Avellaneda &
Stoikov (2008), High-frequency trading in a limit order book, Quantitative Finance 8(3).
"""

from __future__ import annotations

from enum import Enum
from heapq import heappop, heappush
from math import ceil, exp, sqrt
from typing import NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import Side

_S_PER_HOUR = 3600.0
_MS_PER_S = 1000
_BLOCK_S = 60
"""Draws are made a minute ahead."""


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
    step_ms: int = Field(
        250, ge=10, le=10_000, description="Time between two looks of the makers at the price, ms."
    )
    reaction_ms: int = Field(
        100, ge=0, le=10_000, description="Time until the makers have understood a trade, ms."
    )

    @model_validator(mode="after")
    def _steps_fill_a_block(self) -> Self:
        if _BLOCK_S * _MS_PER_S % self.step_ms:
            msg = f"step_ms = {self.step_ms} must divide {_BLOCK_S * _MS_PER_S}; use e.g. 250"
            raise ValueError(msg)
        if self.sweep_informed_frac and self.sweeps_per_s and not self.episodes_per_hour:
            msg = (
                f"sweep_informed_frac = {self.sweep_informed_frac:g} needs episodes to happen in; "
                "set episodes_per_hour above 0 or sweep_informed_frac to 0"
            )
            raise ValueError(msg)
        return self


class Cause(Enum):
    """Why a taker trades; nobody in the market can see it."""

    NOISE = "noise"
    SWEEP = "sweep"
    INFORMED_SWEEP = "informed sweep"


class Taker(NamedTuple):
    """
    A market order on its way.

    Attributes:
        at_ms: Time since the start, ms.
        side: Its own side.
        reach_bps: How far from the mid it is willing to trade.
        stay_bps, decay_bps: Move of the price it brings, signed; what stays and what decays.
        cause: Why it trades.
    """

    at_ms: float
    side: Side
    reach_bps: float
    stay_bps: float
    decay_bps: float
    cause: Cause


class Step(NamedTuple):
    """
    A look of the makers at the price.

    Attributes:
        at_ms: Time since the start, ms.
        fair_bps: Efficient price (what stays), bps of log price from the start.
        mid_bps: `fair_bps` plus the displacement that decays.
    """

    at_ms: int
    fair_bps: float
    mid_bps: float


class _Episode(NamedTuple):
    start_s: float
    end_s: float
    sign: int


class Flow:
    """The exogenous part of one market, drawn block by block from a seed."""

    def __init__(self, params: FlowParams, seed: int) -> None:
        self.params = params
        streams = np.random.SeedSequence(seed).spawn(5)
        diffusion, takers, impact, sweeps, episodes = (np.random.default_rng(s) for s in streams)
        self._diffusion_rng = diffusion
        self._takers_rng = takers
        self._impact_rng = impact
        self._sweeps_rng = sweeps
        self._episodes_rng = episodes
        self._start_s = 0.0
        self._fair_bps = 0.0
        self._displaced_bps = 0.0
        self._episodes: list[_Episode] = []
        self._next_episode_s = 0.0
        if params.episodes_per_hour:
            self._next_episode_s = self._episode_gap_s()
        # Moves whose traders the makers have not yet understood, by the step that shows them.
        self._pending: list[tuple[int, float, float]] = []

    def block(self) -> tuple[list[Step], list[Taker]]:
        """The next minute: the makers' looks at the price and the takers, each in time order."""
        start_s = self._start_s
        end_s = start_s + _BLOCK_S
        episodes = self._draw_episodes(end_s)
        takers = self._draw_takers(start_s, episodes) + self._draw_sweeps(start_s, episodes)
        takers.sort(key=lambda taker: taker.at_ms)
        steps = self._walk(takers, episodes)
        self._start_s = end_s
        self._episodes = [episode for episode in episodes if episode.end_s > end_s]
        return steps, takers

    # -- episodes ---------------------------------------------------------------------------------

    def _episode_gap_s(self) -> float:
        return float(self._episodes_rng.exponential(_S_PER_HOUR / self.params.episodes_per_hour))

    def _draw_episodes(self, end_s: float) -> list[_Episode]:
        """Episodes that touch the block; one starts only when the last is over."""
        episodes = list(self._episodes)
        if not self.params.episodes_per_hour:
            return episodes
        while self._next_episode_s < end_s:
            start_s = self._next_episode_s
            stop_s = start_s + float(self._episodes_rng.exponential(self.params.episode_s))
            sign = 1 if self._episodes_rng.random() < 0.5 else -1
            episodes.append(_Episode(start_s, stop_s, sign))
            self._next_episode_s = stop_s + self._episode_gap_s()
        return episodes

    def _episode_frac(self) -> float:
        """Share of time in an episode."""
        rate = self.params.episodes_per_hour * self.params.episode_s / _S_PER_HOUR
        return rate / (1 + rate)

    # -- takers -----------------------------------------------------------------------------------

    def _times_s(
        self, rng: np.random.Generator, rate_per_s: float, start_s: float, span_s: float
    ) -> list[float]:
        """Poisson times of a span, unordered."""
        count = int(rng.poisson(rate_per_s * span_s))
        times: list[float] = (start_s + span_s * rng.random(count)).tolist()
        return times

    def _draw_takers(self, start_s: float, episodes: list[_Episode]) -> list[Taker]:
        params, rng = self.params, self._takers_rng
        arrivals: list[tuple[float, int]] = []
        for sign in (1, -1):
            times_s = self._times_s(rng, params.a_per_s, start_s, _BLOCK_S)
            arrivals.extend((at_s, sign) for at_s in times_s)
        if params.episode_a_per_s:
            for episode in episodes:
                first_s = max(episode.start_s, start_s)
                span_s = min(episode.end_s, start_s + _BLOCK_S) - first_s
                times_s = self._times_s(rng, params.episode_a_per_s, first_s, span_s)
                arrivals.extend((at_s, episode.sign) for at_s in times_s)
        count = len(arrivals)
        reaches = rng.exponential(1 / params.k_per_bp, count).tolist()
        hits = self._impact_rng.random(count).tolist()
        sizes = self._impact_rng.exponential(1.0, count).tolist()
        jump_bps = params.impact_j0_bps / params.impact_p
        takers = []
        for (at_s, sign), reach_bps, hit, size in zip(arrivals, reaches, hits, sizes, strict=True):
            move_bps = params.impact_a1 * reach_bps
            if hit < params.impact_p:
                move_bps += jump_bps * size
            decay_bps = sign * move_bps * params.impact_decay_frac
            stay_bps = sign * move_bps - decay_bps
            takers.append(
                Taker(at_s * _MS_PER_S, Side(sign), reach_bps, stay_bps, decay_bps, Cause.NOISE)
            )
        return takers

    def _draw_sweeps(self, start_s: float, episodes: list[_Episode]) -> list[Taker]:
        params, rng = self.params, self._sweeps_rng
        if not params.sweeps_per_s:
            return []
        pi = params.sweep_informed_frac
        found: list[tuple[float, int, Cause]] = []
        for sign in (1, -1):
            rate_per_s = params.sweeps_per_s * (1 - pi) / 2
            times_s = self._times_s(rng, rate_per_s, start_s, _BLOCK_S)
            found.extend((at_s, sign, Cause.SWEEP) for at_s in times_s)
        if pi:
            # The rate over all time is kept: informed sweeps happen only inside episodes.
            rate_per_s = params.sweeps_per_s * pi / self._episode_frac()
            for episode in episodes:
                first_s = max(episode.start_s, start_s)
                span_s = min(episode.end_s, start_s + _BLOCK_S) - first_s
                times_s = self._times_s(rng, rate_per_s, first_s, span_s)
                found.extend((at_s, episode.sign, Cause.INFORMED_SWEEP) for at_s in times_s)
        takers = []
        excesses = rng.exponential(1.0, len(found)).tolist()
        for (at_s, sign, cause), excess in zip(found, excesses, strict=True):
            reach_bps = params.sweep_reach_bps_min + params.sweep_excess_bps * excess
            move_bps = sign * params.sweep_move_frac * reach_bps
            is_informed = cause is Cause.INFORMED_SWEEP
            stay_bps, decay_bps = (move_bps, 0.0) if is_informed else (0.0, move_bps)
            takers.append(
                Taker(at_s * _MS_PER_S, Side(sign), reach_bps, stay_bps, decay_bps, cause)
            )
        return takers

    # -- price ------------------------------------------------------------------------------------

    def _walk(self, takers: list[Taker], episodes: list[_Episode]) -> list[Step]:
        """Price at every look of the block; a move counts from the first look that knows of it."""
        params = self.params
        step_ms = params.step_ms
        step_s = step_ms / _MS_PER_S
        first = round(self._start_s * _MS_PER_S) // step_ms
        count = _BLOCK_S * _MS_PER_S // step_ms
        pending = self._pending
        for taker in takers:
            shown = max(first, ceil((taker.at_ms + params.reaction_ms) / step_ms))
            heappush(pending, (shown, taker.stay_bps, taker.decay_bps))
        scale_bps = params.sigma_bps_rt_s * sqrt(step_s)
        moves = (scale_bps * self._diffusion_rng.standard_normal(count)).tolist()
        kept = exp(-step_s / params.decay_s)
        fair_bps, displaced_bps = self._fair_bps, self._displaced_bps
        drift_bps = params.episode_drift_bps_per_s * step_s
        steps = []
        for n in range(count):
            index = first + n
            fair_bps += moves[n]
            displaced_bps *= kept
            for episode in episodes:
                if episode.start_s <= index * step_s < episode.end_s:
                    fair_bps += episode.sign * drift_bps
            while pending and pending[0][0] <= index:
                _, stay_bps, decay_bps = heappop(pending)
                fair_bps += stay_bps
                displaced_bps += decay_bps
            steps.append(Step(index * step_ms, fair_bps, fair_bps + displaced_bps))
        self._fair_bps, self._displaced_bps = fair_bps, displaced_bps
        return steps
