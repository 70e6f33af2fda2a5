"""Public trades put back together into the orders that caused them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from mmbot.core.events import Trades
from mmbot.core.types import NS_PER_MS, Side

_TIDS_KEPT = 8192
"""Trades remembered by number: what a resubscription repeats is one snapshot of the newest."""

_OPEN_NS = 250 * NS_PER_MS
"""How long more trades of an order may follow in later frames; then it counts as whole."""


class Aggressor(NamedTuple):
    """One taker order, or several of one block on one side, which nobody can tell apart."""

    recv_ns: int
    venue_ms: int
    side: Side
    px_ticks: int
    """The worst price it traded at: how far it reached."""


class _Open:
    __slots__ = ("px_ticks", "recv_ns", "venue_ms")

    def __init__(self, recv_ns: int, venue_ms: int, px_ticks: int) -> None:
        self.recv_ns, self.venue_ms, self.px_ticks = recv_ns, venue_ms, px_ticks


class Aggressors:
    """
    Merge trades of one venue time and side: a sweep through five levels is one event, not five.

    The tape is told in order of time, so a trade of a later block ends whatever is open, on either
    side: orders leave here in the order they came, however the sides alternate. Whoever counts
    them refuses what is older than the last.

    Source: Hyperliquid docs, "Subscriptions", trades name the aggressor's side and a unique `tid`.
    """

    __slots__ = ("_ended_ms", "_open", "_seen", "_tids", "repeated")

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._tids: deque[int] = deque()
        self._open: dict[Side, _Open] = {}
        self._ended_ms = dict.fromkeys(Side, -1)
        """Venue time of the newest order of each side that counts as whole."""
        self.repeated = 0
        """Trades told again, by number; they count once."""

    def take(self, trades: Trades) -> list[Aggressor]:
        """Fold one message; returns the orders now known to be whole, in order."""
        done: list[Aggressor] = []
        seen, tids, opened = self._seen, self._tids, self._open
        last: _Open | None = None
        last_side: Side | None = None
        # A sweep is hundreds of rows of one order, so the loop is short where nothing changes.
        rows = zip(trades.times_ms, trades.sides, trades.px_ticks, trades.tids, strict=True)
        for venue_ms, side, px_ticks, tid in rows:
            if tid in seen:
                self.repeated += 1
                continue
            seen.add(tid)
            tids.append(tid)
            if len(tids) > _TIDS_KEPT:
                seen.discard(tids.popleft())
            if side is not last_side:
                last, last_side = opened.get(side), side
            if last is not None and last.venue_ms == venue_ms:
                if side * (px_ticks - last.px_ticks) > 0:
                    last.px_ticks = px_ticks
                continue
            if venue_ms <= self._ended_ms[side] or (last is not None and venue_ms < last.venue_ms):
                continue  # an old one that came late: its market is history
            over = [it for it, each in opened.items() if each.venue_ms < venue_ms]
            done.extend([self._end(it) for it in over])
            last = opened[side] = _Open(trades.recv_ns, venue_ms, px_ticks)
        return sorted(done)

    def settle(self, now_ns: int) -> list[Aggressor]:
        """The orders to which nothing was added for a while."""
        if not self._open:
            return []
        ripe = [side for side, each in self._open.items() if now_ns - each.recv_ns >= _OPEN_NS]
        return sorted(self._end(side) for side in ripe)

    def forget(self) -> None:
        """
        Drop what is open after a lost link: what came of it was not watched.

        The newest times go with it, so that one wrong time cannot blind the next connection.
        """
        self._open.clear()
        self._ended_ms = dict.fromkeys(Side, -1)

    def _end(self, side: Side) -> Aggressor:
        each = self._open.pop(side)
        self._ended_ms[side] = each.venue_ms
        return Aggressor(each.recv_ns, each.venue_ms, side, each.px_ticks)
