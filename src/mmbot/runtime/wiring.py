"""How the parts of a trader are joined: who hears of what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from mmbot.core.engine import Engine
from mmbot.core.events import Event
from mmbot.core.intents import KillReason
from mmbot.errors import MmbotError
from mmbot.runtime.connecting import Basis, Connections, connect
from mmbot.runtime.ending import Closing, Ending
from mmbot.runtime.halting import Halting
from mmbot.runtime.listing import ListingReader
from mmbot.runtime.readings import Readings
from mmbot.runtime.remembering import Remembering
from mmbot.runtime.telling import Log, Teller
from mmbot.runtime.truth import Truth


class Shell(Protocol):
    """What the parts call back: the trader around them."""

    def on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        """One socket read."""

    def on_up(self, recv_ns: int) -> None:
        """Every subscription is acknowledged."""

    def on_lost(self, recv_ns: int, reason: str) -> None:
        """A connection, or an attempt at one, ended."""

    def emit(self, event: Event) -> None:
        """Fold an event that did not come in a frame, and decide."""

    def fail(self, error: MmbotError) -> None:
        """The run cannot go on without what was refused."""

    def release(self) -> None:
        """Close every connection: the run is about to end."""


class Parts(NamedTuple):
    """The parts of one trader; none starts by itself."""

    connections: Connections
    readings: Readings
    teller: Teller
    closing: Closing
    halting: Halting
    truth: Truth
    listing: ListingReader


def wire(
    shell: Shell,
    basis: Basis,
    engine: Engine,
    remembering: Remembering,
    *,
    log: Log,
    latch: Callable[[KillReason], None],
    on_end: Callable[[Ending], None],
) -> Parts:
    """
    Build the parts around an engine.

    Args:
        shell: What they call back, from `Link.start` on.
        basis: Who trades what.
        engine: Holds all trading state.
        remembering: Has fills stored.
        log: Where what was decided is told.
        latch: Stores a kill reason; returns at once.
        on_end: Called once, at the end.
    """
    ports = basis.ports
    connections = connect(
        basis,
        emit=shell.emit,
        on_frames=shell.on_frames,
        on_up=shell.on_up,
        on_lost=shell.on_lost,
        on_refused=shell.fail,
        log=lambda: teller.log,
    )
    decoder, link, gateway, dead_man = connections
    readings = Readings(
        basis,
        engine=engine,
        budget=gateway.budget,
        is_up=lambda: link.is_up,
        closing=lambda: closing,
        book_fills=remembering.book_fills,
        on_read=dead_man.start,
        emit=shell.emit,
        fail=shell.fail,
        log=lambda: teller.log,
    )
    teller = Teller(log, ports.clock, ports.scheduler, decoder.unknown, engine.judge)
    closing = Closing(
        engine=engine,
        gateway=gateway,
        snapshot=readings.reader,
        clock=ports.clock,
        scheduler=ports.scheduler,
        teller=teller,
        emit=shell.emit,
        is_link_up=lambda: link.is_up,
        release=shell.release,
        is_square=readings.is_square,
        flattener=lambda done: basis.flattener(teller.log, done),
        must_flatten=basis.config.on_exit == "flatten",
        closes=basis.closes,
        on_end=on_end,
        lifetime_ns=basis.lifetime_ns,
    )
    halting = Halting(
        engine, closing, ports.clock, emit=shell.emit, latch=latch, log=lambda: teller.log
    )
    truth, listing = _looks(shell, basis, engine, connections, readings, closing, teller)
    return Parts(connections, readings, teller, closing, halting, truth, listing)


def _looks(
    shell: Shell,
    basis: Basis,
    engine: Engine,
    connections: Connections,
    readings: Readings,
    closing: Closing,
    teller: Teller,
) -> tuple[Truth, ListingReader]:
    """What looks at the position and at the market on a timer."""
    config, ports = basis.config, basis.ports
    truth = Truth(
        basis.instrument,
        basis.user,
        engine=engine,
        http=ports.http,
        clock=ports.clock,
        scheduler=ports.scheduler,
        budget=connections.gateway.budget,
        params=config.kill,
        emit=shell.emit,
        is_trading=lambda: closing.is_trading,
        is_up=lambda: connections.link.is_up,
        reread=readings.reread,
        log=lambda: teller.log,
        worth_s=config.premises.oracle_stale_s,
    )
    listing = ListingReader(
        basis.instrument,
        engine=engine,
        http=ports.http,
        clock=ports.clock,
        scheduler=ports.scheduler,
        budget=connections.gateway.budget,
        params=config.premises,
        emit=shell.emit,
        is_trading=lambda: closing.is_trading,
        log=lambda: teller.log,
    )
    return truth, listing
