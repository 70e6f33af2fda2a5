"""
The ledger of fills: whatever the venue tells of this account's market is stored, once.

It does not ask the engine what it booked: a fill that came while no daemon ran, or that a run did
not live to book, is in it as soon as a stream or a reading repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future

from mmbot.core.events import Fill
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.runtime.cloids import is_ours
from mmbot.runtime.telling import Log
from mmbot.state.ledger import LedgerFill
from mmbot.state.store import Store


class Ledger:
    """
    Stores fills off the loop.

    Args:
        store: Where they go. Fills older than the first run on it are nobody's business: they were
            made before this program traded here.
        pool: Writes, in the order in which it is asked.
        log: Hears of fills that came while no daemon ran, of those of ours that are too old to be
            stored, and of a store that cannot be written.
        began_ns: When the run began, by the venue's clock: it is held against the times of fills.

    Attributes:
        last_ms: Venue's time up to which it was kept when this run began: its last fill, or the
            begin of a first run that stored none; None on the first run.
    """

    def __init__(
        self, store: Store, pool: Executor, instrument: Instrument, log: Log, began_ns: int
    ) -> None:
        self._store = store
        self._pool = pool
        self._instrument = instrument
        self._log = log
        self._began_ms = began_ns // NS_PER_MS
        self._dropped: set[tuple[int, int]] = set()
        self._since_ms = store.begin_ledger(self._began_ms)
        totals = store.ledger()
        self.last_ms: int | None = None
        if totals is not None:
            self.last_ms = totals.last_ms
        elif self._since_ms < self._began_ms:
            self.last_ms = self._since_ms

    def take(self, fills: Sequence[Fill]) -> None:
        """Store what is not stored yet; returns at once."""
        rows = [self._row(fill) for fill in fills if fill.venue_ms >= self._since_ms]
        if rows:
            self._pool.submit(self._store.keep_fills, rows).add_done_callback(self._on_stored)
        if len(rows) < len(fills):
            self._tell_dropped(fills)

    def _tell_dropped(self, fills: Sequence[Fill]) -> None:
        """Say once of each fill of this program that it is not stored: nobody else would."""
        dropped = {
            (fill.tid, fill.oid)
            for fill in fills
            if fill.venue_ms < self._since_ms and is_ours(fill.cloid)
        } - self._dropped
        if dropped:
            self._dropped |= dropped
            self._log.warning(
                "ledger.dropped",
                fills=len(dropped),
                why="they are older than this ledger: of runs with another state, or the clock of "
                "its first run was ahead",
            )

    def _on_stored(self, done: Future[list[LedgerFill]]) -> None:
        error = done.exception()
        if error is not None:
            self._log.error("ledger.not_stored", error=str(error))
            return
        missed = [fill for fill in done.result() if fill.venue_ms < self._began_ms]
        if missed:
            self._log.warning(
                "ledger.caught_up",
                fills=len(missed),
                net_sz=sum(fill.sz if fill.side == "buy" else -fill.sz for fill in missed),
                fees_usd=sum(fill.fee_usd for fill in missed),
                why="they came while no daemon ran, or one died before it stored them",
            )

    def _row(self, fill: Fill) -> LedgerFill:
        instrument = self._instrument
        after = fill.start_position_lots + fill.side * fill.sz_lots
        return LedgerFill(
            coin=instrument.coin,
            tid=fill.tid,
            oid=fill.oid,
            venue_ms=fill.venue_ms,
            side=fill.side.name.lower(),
            px=instrument.px(fill.px_ticks),
            sz=instrument.sz(fill.sz_lots),
            fee_usd=fill.fee_usd,
            position_sz=instrument.sz(after),
            is_taker=fill.is_taker,
            is_liquidation=fill.is_liquidation,
            cloid=None if fill.cloid is None else f"{fill.cloid:#034x}",
        )
