"""
Virtual post-only quotes on the public tape: how often each would be filled, and at what cost.

They stand at fixed depths on both sides of the mid, each replaced as soon as it is filled. An
aggressor event that reaches a depth fills the virtual quote there, and the mid tells afterwards
what that fill was worth. Own fills take the same way through the horizons.
"""

from __future__ import annotations

from collections import deque
from math import inf, isfinite

import msgspec

from mmbot.core.estimators.blocks import BlockMean
from mmbot.core.types import NS_PER_S, Side

DEPTHS_BPS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Depths of the virtual quotes from the mid, nearest first, where no others are asked for."""

HORIZONS_S = (5, 30, 60)

_PENDING = 4096
"""Events that wait for their horizons at most: a minute of one event per side and block."""

_GAP_NS = 60 * NS_PER_S
"""A mid older than this at a horizon says nothing about it."""

_UNIT_MAX = 2.0**30


class DepthRow(msgspec.Struct, frozen=True, gc=False):
    """
    What the tape says of a quote at one depth, both sides together; adverse positive.

    Means and errors are None without evidence; nothing of the prior is in them.
    """

    depth_bps: float
    fills_per_h: float | None
    """Of one quote on each side together, filled as often as an event reaches it."""
    events: float
    """Fills behind the means, after forgetting."""
    adverse_5s_bps: float | None
    adverse_5s_se: float | None
    adverse_30s_bps: float | None
    adverse_30s_se: float | None
    adverse_60s_bps: float | None
    adverse_60s_se: float | None


class _Pending:
    """One event on its way through the horizons. `sign` is that of the aggressor."""

    __slots__ = ("at_ns", "depth_bps", "is_own", "mid", "moves_bps", "sign")

    def __init__(self, at_ns: int, sign: int, depth_bps: float, mid: float, *, is_own: bool):
        self.at_ns = at_ns
        self.sign = sign
        self.depth_bps = depth_bps
        self.mid = mid
        self.is_own = is_own
        self.moves_bps: list[float] = []


class VirtualQuotes:
    """
    Adverse moves of virtual and of own fills, bps, positive against the maker.

        move(h) = side (mid_{t+h} - mid_t) / mid_t,  side +1 for an aggressive buyer

    `mid_t` comes from the caller: the last mid with a venue time strictly before the event.
    `mid_{t+h}` is the last one at or before the horizon. An event joins the means with all its
    horizons at once, when the last is over. Means forget by time, own fills by events; errors are
    clustered by event and by time blocks of the horizon. Memory is bounded.

    Source: Hyperliquid's tape names the aggressor, so no trade is classified; markouts after
    Glosten and Milgrom (1985).
    """

    __slots__ = (
        "_clocked_ns",
        "_counts",
        "_depths_bps",
        "_due",
        "_half_life_s",
        "_means",
        "_mid",
        "_mid_ns",
        "_move_max",
        "_own_keep",
        "_told",
        "_unit",
        "_unit_ns",
        "_watched_s",
        "dropped",
        "ignored",
        "joined",
        "own",
    )

    def __init__(
        self,
        *,
        half_life_s: float,
        own_half_life_events: float,
        move_bps_max: float,
        depths_bps: tuple[float, ...] = DEPTHS_BPS,
    ) -> None:
        self._depths_bps = depths_bps
        self._half_life_s = half_life_s
        self._own_keep = 2.0 ** (-1.0 / own_half_life_events)
        self._move_max = move_bps_max
        self._due: tuple[deque[_Pending], ...] = tuple(deque() for _ in HORIZONS_S)
        self._means = tuple(tuple(BlockMean() for _ in depths_bps) for _ in HORIZONS_S)
        self.own = [0.0] * (2 + len(HORIZONS_S))
        """Sums over own events: weight, depth, then the move at each horizon."""
        self.joined = 0
        """Events that have joined the evidence since the start, own ones included."""
        self._counts = [0.0] * len(depths_bps)
        self._watched_s = 0.0
        self._unit = 1.0
        """Weight of an event now: the past is forgotten by weighing what follows more."""
        self._unit_ns: int | None = None
        self._clocked_ns: int | None = None
        self._mid: float | None = None
        self._mid_ns = -1
        self._told: list[tuple[int, set[tuple[Side, float]]]] = [(-1, set()), (-1, set())]
        """
        Newest receive time, and events of it: told twice, they count once. Of the tape and of our
        own fills, which come in frames of their own: neither makes the other one late.
        """
        self.dropped = 0
        """Events that never got their moves: no mid at a horizon, or too many at once."""
        self.ignored = 0
        """Inputs refused: not positive and finite, late, or told before."""

    def on_trades(self, recv_ns: int, side: Side, reach_bps: float, mid: float) -> None:
        """
        Take one aggressor event (its trades merged).

        Args:
            recv_ns: Our clock.
            side: The aggressor's.
            reach_bps: Worst price from the mid just before the event, bps, positive.
            mid: That mid, in the unit of `on_mid`.
        """
        if not reach_bps > 0.0 or not self._is_news(recv_ns, side, reach_bps, mid, is_own=False):
            self.ignored += 1
            return
        self._watch(recv_ns)
        for i, depth_bps in enumerate(self._depths_bps):
            if reach_bps < depth_bps:
                break
            self._counts[i] += 1.0
        if reach_bps >= self._depths_bps[0]:
            self._pend(_Pending(recv_ns, int(side), reach_bps, mid, is_own=False))

    def on_own_event(self, recv_ns: int, side: Side, depth_bps: float, mid: float) -> None:
        """
        Take one event of own fills (those of one message merged).

        Args:
            recv_ns: Our clock.
            side: Ours.
            depth_bps: Mean distance of the fills from `mid`, weighted by notional, bps; negative
                where the mid had already passed our price.
            mid: Last mid with a venue time strictly before the fills.
        """
        if not self._is_news(recv_ns, side, depth_bps, mid, is_own=True):
            self.ignored += 1
            return
        self._watch(recv_ns)
        self._pend(_Pending(recv_ns, -int(side), depth_bps, mid, is_own=True))

    def on_mid(self, now_ns: int, mid: float) -> bool:
        """Take a mid; settles what was due before it with the mid until now. False if refused."""
        last = self._mid
        if not 0.0 < mid < inf or now_ns < self._mid_ns or (now_ns == self._mid_ns and mid == last):
            self.ignored += 1
            return False
        self._watch(now_ns)
        if last is not None and now_ns > self._mid_ns:
            self._settle(now_ns, last)
        self._mid, self._mid_ns = mid, now_ns
        return True

    def reset_gap(self) -> None:
        """The link was lost: events that wait would be marked across the gap and are dropped."""
        self.dropped += sum(map(len, self._due))
        for queue in self._due:
            queue.clear()
        self._mid = None
        self._clocked_ns = None

    def events(self, horizon: int, depth: int) -> float:
        """Fills behind a mean after forgetting, by places in `HORIZONS_S` and the depths."""
        return self._means[horizon][depth].weight / self._unit_now()

    def mean_bps(self, horizon: int, depth: int) -> float | None:
        """Mean adverse move, by places in `HORIZONS_S` and the depths; None without evidence."""
        return self._means[horizon][depth].mean

    def rows(self) -> tuple[DepthRow, ...]:
        """The table, nearest depth first."""
        return tuple(self._row(i) for i in range(len(self._depths_bps)))

    def _row(self, i: int) -> DepthRow:
        near, hold, far = (means[i] for means in self._means)
        hours = self._watched_s / 3600.0
        return DepthRow(
            depth_bps=self._depths_bps[i],
            fills_per_h=self._counts[i] / hours if hours > 0.0 else None,
            events=hold.weight / self._unit_now(),
            adverse_5s_bps=near.mean,
            adverse_5s_se=near.se,
            adverse_30s_bps=hold.mean,
            adverse_30s_se=hold.se,
            adverse_60s_bps=far.mean,
            adverse_60s_se=far.se,
        )

    def _is_news(
        self, recv_ns: int, side: Side, depth_bps: float, mid: float, *, is_own: bool
    ) -> bool:
        key = (side, depth_bps)
        told_ns, told = self._told[is_own]
        if (
            not (isfinite(depth_bps) and 0.0 < mid < inf)
            or recv_ns < told_ns
            or (recv_ns == told_ns and key in told)
        ):
            return False
        if recv_ns > told_ns:
            told = set()
            self._told[is_own] = recv_ns, told
        told.add(key)
        return True

    def _pend(self, event: _Pending) -> None:
        if sum(map(len, self._due)) >= _PENDING:
            self.dropped += 1
            return
        queue = self._due[0]
        # An order counts as whole a moment after our fill by it: the queue is one of time.
        place = len(queue)
        while place and queue[place - 1].at_ns > event.at_ns:
            place -= 1
        queue.insert(place, event)

    def _watch(self, now_ns: int) -> None:
        """Let time pass for the rates; forgetting is applied once a second."""
        last_ns = self._clocked_ns
        if last_ns is None:
            self._clocked_ns = now_ns
            return
        step_ns = now_ns - last_ns
        if step_ns < NS_PER_S:
            return
        self._clocked_ns = now_ns
        keep = 2.0 ** (-step_ns / NS_PER_S / self._half_life_s)
        self._counts = [count * keep for count in self._counts]
        self._watched_s *= keep
        if step_ns <= _GAP_NS:
            self._watched_s += step_ns / NS_PER_S

    def _settle(self, now_ns: int, mid: float) -> None:
        """Give every event due before `now_ns` the move to `mid`, the last one at its horizon."""
        bound = self._move_max
        for i, horizon_s in enumerate(HORIZONS_S):
            queue, span_ns = self._due[i], horizon_s * NS_PER_S
            while queue and queue[0].at_ns + span_ns < now_ns:
                event = queue.popleft()
                if event.at_ns + span_ns - self._mid_ns > _GAP_NS:
                    self.dropped += 1
                    continue
                move = event.sign * (mid - event.mid) / event.mid * 1e4
                event.moves_bps.append(max(-bound, min(bound, move)))
                if i + 1 < len(HORIZONS_S):
                    self._due[i + 1].append(event)
                else:
                    self._join(event)

    def _join(self, event: _Pending) -> None:
        self.joined += 1
        if event.is_own:
            keep = self._own_keep
            told = (1.0, event.depth_bps, *event.moves_bps)
            self.own = [old * keep + new for old, new in zip(self.own, told, strict=True)]
            return
        if self._unit_ns is not None:
            self._unit *= self._growth(event.at_ns - self._unit_ns)
        self._unit_ns = event.at_ns
        if self._unit > _UNIT_MAX:
            for means in self._means:
                for mean in means:
                    mean.scale(1.0 / self._unit)
            self._unit = 1.0
        for horizon_s, means, move in zip(HORIZONS_S, self._means, event.moves_bps, strict=True):
            block = event.at_ns // (horizon_s * NS_PER_S)
            for depth_bps, mean in zip(self._depths_bps, means, strict=True):
                if event.depth_bps < depth_bps:
                    break
                mean.add(block, move, self._unit)

    def _unit_now(self) -> float:
        """What an event of this moment would weigh."""
        if self._unit_ns is None:
            return 1.0
        return self._unit * self._growth(max(0, self._mid_ns - self._unit_ns))

    def _growth(self, span_ns: int) -> float:
        # Bounded, since a week of silence would overflow; so old an event weighs nothing anyway.
        growth: float = 2.0 ** min(span_ns / NS_PER_S / self._half_life_s, 400.0)
        return growth
