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
- episodes: informed flow for some minutes, a drift and extra takers on one side;
- `flow_beta`: takers lead and follow the price, each side at `a exp(side beta u)`, u the move of
  the price without their impact over `flow_window_s` around now, in sd, within 3;
- a drift of its own (Ornstein-Uhlenbeck), a displacement that reverts, anchors through which the
  price is led (Brownian bridge), sweeps at given times: see `paths`.

Source: the project's model notes, section 8.1; diffusion and exponential reach after Avellaneda &
Stoikov (2008), High-frequency trading in a limit order book, Quantitative Finance 8(3).
"""

from __future__ import annotations

from enum import Enum
from heapq import heappop, heappush
from math import ceil, exp
from typing import NamedTuple

import numpy as np

from mmbot.core.types import Side
from mmbot.emulator.paths import (
    MS_PER_S,
    S_PER_HOUR,
    Bridge,
    Episode,
    Floats,
    FlowParams,
    PathSeeds,
    Raw,
    RawPath,
)

_U_MAX = 3.0
"""Bound of the price move that draws takers, in standard deviations."""


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


class Flow:
    """The exogenous part of one market, drawn block by block from a seed."""

    def __init__(self, params: FlowParams, seed: int) -> None:
        self.params = params
        # A cause gets its stream by its place: a new one goes to the end.
        seeds = np.random.SeedSequence(seed).spawn(9)
        diffusion, takers, impact, sweeps, episodes, drift, reverting, thinning, jitter = seeds
        self._takers_rng = np.random.default_rng(takers)
        self._impact_rng = np.random.default_rng(impact)
        self._sweeps_rng = np.random.default_rng(sweeps)
        self._thinning_rng = np.random.default_rng(thinning)
        self._path = RawPath(params, PathSeeds(diffusion, episodes, drift, reverting))
        self._bridge = Bridge(params)
        self._forced = self._draw_forced(np.random.default_rng(jitter))
        self._fair_bps = 0.0
        self._displaced_bps = 0.0
        # Moves whose traders the makers have not yet understood, by the step that shows them.
        self._pending: list[tuple[int, float, float]] = []
        self._next: tuple[Raw, list[Taker]] | None = None
        self._lead = Lead(params) if params.flow_beta else None

    def block(self) -> tuple[list[Step], list[Taker]]:
        """The next block: the makers' looks at the price and the takers, each in time order."""
        raw, sweeps = self._next or self._draw_raw()
        self._next = None
        u: Floats | None = None
        if self._lead is not None:
            # The flow leads the price: what it does now depends on the next block's path.
            self._next = self._draw_raw()
            u = self._lead.moves_sd(raw, sweeps, self._next[0], self._next[1])
        takers = self._draw_takers(raw, u) + sweeps
        takers.sort(key=lambda taker: taker.at_ms)
        steps = self._walk(takers, raw)
        if self.params.is_mirrored:
            return [_flipped_step(step) for step in steps], [_flipped(taker) for taker in takers]
        return steps, takers

    def draw(self) -> tuple[list[Taker], Raw]:
        """The next block's causes, for whom the price they make does not matter."""
        raw, sweeps = self._draw_raw()
        return self._draw_takers(raw, None) + sweeps, raw

    def _draw_raw(self) -> tuple[Raw, list[Taker]]:
        raw = self._path.block()
        start_s = raw.first * self.params.step_ms / MS_PER_S
        span_s = raw.moves_bps.size * self.params.step_ms / MS_PER_S
        return raw, self._draw_sweeps(start_s, span_s, raw.episodes)

    # -- takers -----------------------------------------------------------------------------------

    def _times_s(
        self, rng: np.random.Generator, rate_per_s: float, start_s: float, span_s: float
    ) -> list[float]:
        """Poisson times of a span, unordered."""
        count = int(rng.poisson(rate_per_s * span_s))
        times: list[float] = (start_s + span_s * rng.random(count)).tolist()
        return times

    def _arrivals(self, raw: Raw, u: Floats | None) -> list[tuple[float, int]]:
        """Times and sides of the ordinary takers of a block."""
        params, rng = self.params, self._takers_rng
        step_s = params.step_ms / MS_PER_S
        start_s, span_s = raw.first * step_s, raw.moves_bps.size * step_s
        peak = exp(params.flow_beta * _U_MAX)
        arrivals: list[tuple[float, int]] = []
        for sign in (1, -1):
            times_s = self._times_s(rng, params.a_per_s * peak, start_s, span_s)
            if u is not None:
                # Thinning: Lewis & Shedler (1979), Simulation of nonhomogeneous Poisson processes.
                tosses = self._thinning_rng.random(len(times_s)).tolist()
                times_s = [
                    at_s
                    for at_s, toss in zip(times_s, tosses, strict=True)
                    if toss * peak
                    < exp(sign * params.flow_beta * u[int((at_s - start_s) / step_s)])
                ]
            arrivals.extend((at_s, sign) for at_s in times_s)
        if params.episode_a_per_s:
            for episode in raw.episodes:
                first_s = max(episode.start_s, start_s)
                length_s = min(episode.end_s, start_s + span_s) - first_s
                times_s = self._times_s(rng, params.episode_a_per_s, first_s, length_s)
                arrivals.extend((at_s, episode.sign) for at_s in times_s)
        return arrivals

    def _draw_takers(self, raw: Raw, u: Floats | None) -> list[Taker]:
        params = self.params
        arrivals = self._arrivals(raw, u)
        count = len(arrivals)
        reaches = self._takers_rng.exponential(1 / params.k_per_bp, count).tolist()
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
                Taker(at_s * MS_PER_S, Side(sign), reach_bps, stay_bps, decay_bps, Cause.NOISE)
            )
        return takers

    def _episode_frac(self) -> float:
        """Share of time in an episode."""
        rate = self.params.episodes_per_hour * self.params.episode_s / S_PER_HOUR
        return rate / (1 + rate)

    def _draw_sweeps(self, start_s: float, span_s: float, episodes: list[Episode]) -> list[Taker]:
        params, rng = self.params, self._sweeps_rng
        end_s = start_s + span_s
        forced = [sweep for sweep in self._forced if start_s <= sweep.at_ms / MS_PER_S < end_s]
        if not params.sweeps_per_s:
            return forced
        pi = params.sweep_informed_frac
        found: list[tuple[float, int, Cause]] = []
        for sign in (1, -1):
            rate_per_s = params.sweeps_per_s * (1 - pi) / 2
            times_s = self._times_s(rng, rate_per_s, start_s, span_s)
            found.extend((at_s, sign, Cause.SWEEP) for at_s in times_s)
        if pi:
            # The rate over all time is kept: informed sweeps happen only inside episodes.
            rate_per_s = params.sweeps_per_s * pi / self._episode_frac()
            for episode in episodes:
                first_s = max(episode.start_s, start_s)
                length_s = min(episode.end_s, end_s) - first_s
                times_s = self._times_s(rng, rate_per_s, first_s, length_s)
                found.extend((at_s, episode.sign, Cause.INFORMED_SWEEP) for at_s in times_s)
        excesses = rng.exponential(1.0, len(found)).tolist()
        sweeps = [
            self._sweep(at_s, sign, params.sweep_reach_bps_min + params.sweep_excess_bps * z, cause)
            for (at_s, sign, cause), z in zip(found, excesses, strict=True)
        ]
        return sweeps + forced

    def _draw_forced(self, rng: np.random.Generator) -> list[Taker]:
        bound_s = self.params.sweep_jitter_s
        # In the middle of the step that begins there. At its border a look, the sweep and a block
        # of the venue would be due at once, and a tie would decide who had requoted before it.
        middle_s = self.params.step_ms / MS_PER_S / 2
        forced = []
        for at_s, sign, reach_bps, is_informed in self.params.forced_sweeps:
            moved_s = max(0.0, at_s + bound_s * float(rng.uniform(-1, 1))) + middle_s
            cause = Cause.INFORMED_SWEEP if is_informed else Cause.SWEEP
            forced.append(self._sweep(moved_s, sign, reach_bps, cause))
        return forced

    def _sweep(self, at_s: float, sign: int, reach_bps: float, cause: Cause) -> Taker:
        move_bps = sign * self.params.sweep_move_frac * reach_bps
        is_informed = cause is Cause.INFORMED_SWEEP
        stay_bps, decay_bps = (move_bps, 0.0) if is_informed else (0.0, move_bps)
        return Taker(at_s * MS_PER_S, Side(sign), reach_bps, stay_bps, decay_bps, cause)

    # -- price ------------------------------------------------------------------------------------

    def _walk(self, takers: list[Taker], raw: Raw) -> list[Step]:
        """Price at every look of the block; a move counts from the first look that knows of it."""
        params = self.params
        step_ms, first, count = params.step_ms, raw.first, raw.moves_bps.size
        pending = self._pending
        for taker in takers:
            # A look of the same millisecond comes before the taker and cannot know of him.
            after = int(taker.at_ms) // step_ms + 1
            shown = max(first, after, ceil((taker.at_ms + params.reaction_ms) / step_ms))
            heappush(pending, (shown, taker.stay_bps, taker.decay_bps))
        kept = exp(-step_ms / MS_PER_S / params.decay_s)
        fair_bps, displaced_bps = self._fair_bps, self._displaced_bps
        fairs, displaced = np.empty(count), np.empty(count)
        for n, move_bps in enumerate(raw.moves_bps.tolist()):
            fair_bps += move_bps
            displaced_bps *= kept
            while pending and pending[0][0] <= first + n:
                _, stay_bps, decay_bps = heappop(pending)
                fair_bps += stay_bps
                displaced_bps += decay_bps
            fairs[n], displaced[n] = fair_bps, displaced_bps
        self._fair_bps, self._displaced_bps = fair_bps, displaced_bps
        fairs = self._bridge.bend(fairs) if first == 0 else fairs + self._bridge.shift_bps
        if raw.reverting_bps is not None:
            displaced = displaced + raw.reverting_bps
        mids = (fairs + displaced).tolist()
        return [
            Step((first + n) * step_ms, fair, mid)
            for n, (fair, mid) in enumerate(zip(fairs.tolist(), mids, strict=True))
        ]


class Surprises(NamedTuple):
    """
    Moves of the fair price that nothing before them tells of, in time order.

    Attributes:
        at_ms: When each begins to be, ms since the start: of a diffusion step the look that shows
            it, of a taker's lasting move the taker. Shape (moves,).
        moves_bps: Bps of log price. Shape (moves,).
    """

    at_ms: Floats
    moves_bps: Floats


def surprises(params: FlowParams, seed: int, length_s: float) -> Surprises | None:
    """
    The moves of the fair price in `Flow(params, seed)`, each of mean zero whatever came before it.

    None where something could be foreseen: takers that lead the price, drifts, episodes, anchors
    and sweeps at given times.
    """
    is_foreseen = params.flow_beta or params.drift_sd_bps_per_s or params.episodes_per_hour
    if is_foreseen or params.anchors or params.forced_sweeps:
        return None
    flow = Flow(params, seed)
    at_ms: list[Floats] = []
    moves: list[Floats] = []
    while not at_ms or at_ms[-1][-1] < length_s * MS_PER_S:
        takers, raw = flow.draw()
        steps = np.arange(raw.first, raw.first + raw.moves_bps.size, dtype=np.float64)
        at_ms += [np.array([taker.at_ms for taker in takers]), steps * params.step_ms]
        moves += [np.array([taker.stay_bps for taker in takers]), raw.moves_bps]
    times = np.concatenate(at_ms)
    order = np.argsort(times, kind="stable")
    sign = -1.0 if params.is_mirrored else 1.0
    return Surprises(times[order], sign * np.concatenate(moves)[order])


class Lead:
    """
    How far the price moves by itself around each step, for takers that lead and follow it.

    The path without the takers' impact: its own moves, informed sweeps, the anchors, and what
    reverts and displaces where anything reverts (the reference market does it so).
    """

    def __init__(self, params: FlowParams) -> None:
        self._params = params
        self._bridge = Bridge(params)
        self._half = max(1, int(params.flow_window_s / 2 * MS_PER_S / params.step_ms))
        self._scale_bps = params.sigma_bps_rt_s * params.flow_window_s**0.5
        self._past: Floats = np.empty(0)
        self._level_bps = 0.0
        self._displaced_bps = 0.0
        self._now: Floats | None = None

    def moves_sd(
        self, raw: Raw, sweeps: list[Taker], after: Raw, after_sweeps: list[Taker]
    ) -> Floats:
        """Move over the window centred at each step of `raw`, in sd, within 3; shape (steps,)."""
        now = self._now if self._now is not None else self._level(raw, sweeps)
        self._now = self._level(after, after_sweeps)
        path = np.concatenate((self._past, now, self._now[: self._half]))
        count, start = now.size, self._past.size
        at = start + np.arange(count)
        low = np.maximum(at - self._half, 0)
        high = np.minimum(at + self._half, path.size - 1)
        self._past = path[: start + count][-self._half :]
        if not self._scale_bps:
            return np.zeros(count)
        moves: Floats = (path[high] - path[low]) / self._scale_bps
        return moves.clip(-_U_MAX, _U_MAX)

    def _level(self, raw: Raw, sweeps: list[Taker]) -> Floats:
        params = self._params
        step_s = params.step_ms / MS_PER_S
        moves, kicks = raw.moves_bps.copy(), np.zeros(raw.moves_bps.size)
        for sweep in sweeps:
            n = min(moves.size - 1, int(sweep.at_ms / params.step_ms) - raw.first)
            moves[n] += sweep.stay_bps
            kicks[n] += sweep.decay_bps
        level = self._level_bps + np.cumsum(moves)
        self._level_bps = float(level[-1])
        level = self._bridge.bend(level) if raw.first == 0 else level + self._bridge.shift_bps
        if raw.reverting_bps is None:
            return level
        kept = exp(-step_s / params.decay_s)
        displaced = self._displaced_bps
        for n, kick in enumerate(kicks.tolist()):
            displaced = displaced * kept + kick
            level[n] += displaced
        self._displaced_bps = displaced
        level += raw.reverting_bps
        return level


def _flipped(taker: Taker) -> Taker:
    return taker._replace(
        side=Side(-taker.side), stay_bps=-taker.stay_bps, decay_bps=-taker.decay_bps
    )


def _flipped_step(step: Step) -> Step:
    return step._replace(fair_bps=-step.fair_bps, mid_bps=-step.mid_bps)
