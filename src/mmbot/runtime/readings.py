"""
Whole readings of the account: asked for, compared with what the stream told, handed to the engine.

The engine takes a reading as an event like any other; at the end of a run it belongs to whoever
looks that nothing rests (`ending.Closing`), who is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mmbot.core.engine import Engine
from mmbot.core.events import Event, Fill, Snapshot
from mmbot.core.orders import SlotState
from mmbot.core.types import NS_PER_S
from mmbot.errors import MmbotError, VenueError
from mmbot.hyperliquid.budget import Budget
from mmbot.hyperliquid.snapshot import SnapshotReader
from mmbot.runtime.connecting import Basis
from mmbot.runtime.ending import Closing
from mmbot.runtime.telling import Log

_SQUARE_USD: Final = 1e-3
"""Gap between account and ledger that is no rounding."""
_OWED_LOOK_NS: Final = 10 * NS_PER_S
"""Fills owed for a whole such period will not come by the stream: the account is read again."""


class Readings:
    """
    Reads the account, and says what comes of it.

    Args:
        basis: Whose account, in which perp, over which ports.
        engine: Whose ledger is compared.
        budget: Of requests and weight.
        is_up: Whether fills come by the stream.
        closing: The end of the run, which readings belong to once it has begun.
        book_fills: Has the fills of a reading stored.
        on_read: Called at each reading that is not the end's, before the engine has it.
        emit: Folds an event into the engine and lets it decide.
        fail: Ends a run that cannot read its account.
        log: Structured log.

    Attributes:
        reader: Asks and puts together.
        start_equity_usd: Account value at the first snapshot; None before it.
    """

    def __init__(
        self,
        basis: Basis,
        *,
        engine: Engine,
        budget: Budget,
        is_up: Callable[[], bool],
        closing: Callable[[], Closing],
        book_fills: Callable[[Sequence[Fill]], None],
        on_read: Callable[[], None],
        emit: Callable[[Event], None],
        fail: Callable[[MmbotError], None],
        log: Callable[[], Log],
    ) -> None:
        ports = basis.ports
        self._instrument = basis.instrument
        self._clock = ports.clock
        self._scheduler = ports.scheduler
        self._engine = engine
        self._budget = budget
        self._is_up = is_up
        self._closing = closing
        self._book_fills = book_fills
        self._on_read = on_read
        self._emit = emit
        self._fail = fail
        self._log = log
        self.start_equity_usd: float | None = None
        self._is_outage_told = False
        self._owed: frozenset[int] = frozenset()
        self.reader = SnapshotReader(
            basis.instrument,
            basis.user,
            http=ports.http,
            clock=ports.clock,
            scheduler=ports.scheduler,
            emit=self._on_snapshot,
            on_failed=self._on_snapshot_failed,
            on_retry=self._on_snapshot_retry,
            budget=budget,
        )

    def start(self) -> None:
        """Look for fills that are owed from now on; the first reading is begun by the link."""
        self._scheduler.call_at(self._clock() + _OWED_LOOK_NS, self._look_for_owed)

    def reread(self) -> None:
        """Read the whole account, unless that is under way."""
        if not self.reader.is_reading:
            self.reader.start()

    def _on_snapshot(self, event: Event) -> None:
        assert isinstance(event, Snapshot)
        self._is_outage_told = False
        if self.start_equity_usd is None:
            self.start_equity_usd = event.equity_usd
        self._book_fills(event.fills)
        if self._closing().read(event):
            return
        self._log().info(
            "snapshot.read",
            position_sz=self._instrument.sz(event.position_lots),
            equity_usd=event.equity_usd,
            mark_px=event.mark_px,
            maker_fee_bps=event.fees.maker_bps,
            open_orders=len(event.open_orders),
            requests_used=event.requests_used,
            requests_cap=event.requests_cap,
            ip_weight=self._budget.weight_used(event.recv_ns),
        )
        self._on_read()
        self._emit(event)

    def _look_for_owed(self) -> None:
        """Read the account when fills that the venue spoke of have not come for a whole period."""
        if not self._closing().is_trading:
            return
        slots = self._engine.orders.slots
        owed = frozenset(c for c, slot in slots.items() if slot.state is SlotState.SETTLING)
        late = owed & self._owed
        if late and self._is_up() and not self.reader.is_reading:
            self._log().warning("fills.late", orders=len(late))
            self.reader.start()
        self._owed = owed
        self._scheduler.call_at(self._clock() + _OWED_LOOK_NS, self._look_for_owed)

    def _on_snapshot_retry(self, error: VenueError) -> None:
        """Say once per outage what is being waited for."""
        if "429" in str(error):
            self._closing().venue_is_busy()
        if not self._is_outage_told:
            self._is_outage_told = True
            self._log().warning("snapshot.retried", error=str(error))

    def _on_snapshot_failed(self, error: VenueError) -> None:
        self._log().error("snapshot.failed", error=str(error))
        if not self._closing().not_read():
            self._fail(error)

    def is_square(self, final: Snapshot) -> bool:
        """Whether our ledger explains the account: fills that we never heard of leave a gap."""
        if self.start_equity_usd is None:
            return True
        ledger_usd = self._engine.position.pnl_usd(self._instrument.ticks(final.mark_px))
        return abs(final.equity_usd - self.start_equity_usd - ledger_usd) < _SQUARE_USD
