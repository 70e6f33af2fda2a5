"""
The shell around one engine: read, decide, send, keep time.

Nothing here knows whether time is real: transport, clock, scheduler and HTTP come as arguments, so
the same object trades over sockets and over the in-memory pipe in simulated time. The way from a
read to the signed requests is one synchronous call chain; the log hears of it afterwards.

`Trader` owns the engine and the timer of its next decision. Around it are parts (`wiring` joins
them), each of which keeps what is its own:

- `connecting`: decoder, link, gateway with its budget, and dead man;
- `readings`: the reader of the account, and what it was worth at the first reading;
- `remembering`: what one run hands on to the next, and when that was told last;
- `telling`: what was decided and not told to the log yet;
- `halting`: the ways into the end; `ending`: where the end stands, and why;
- `truth`, `listing`: the timers that compare the position and read the venue's lists.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from mmbot.config import Config
from mmbot.core.diagnostics import Diagnostics
from mmbot.core.engine import Decision, Engine
from mmbot.core.events import AccountRead, ClockStepped, Event, Fill, LinkLost, LinkUp, Snapshot
from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.errors import CheckError, MmbotError, VenueProtocolError
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Handle, Ports
from mmbot.hyperliquid.replies import PostReply, post_id_of
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.wire import ErrorFrame, NonUserCancel, Pong, SubscriptionAck
from mmbot.journal.writer import Writer
from mmbot.runtime.connecting import Basis
from mmbot.runtime.ending import Ending
from mmbot.runtime.recording import new_engine
from mmbot.runtime.remembering import Kept, Remembering
from mmbot.runtime.telling import Log, Spans
from mmbot.runtime.wiring import wire

_STEP_NS: Final = 100 * NS_PER_MS
"""Least difference between the two clocks that is a step; less is slewing."""

Decoded = Event | SubscriptionAck | Pong | ErrorFrame | PostReply | NonUserCancel


class Trader:
    """
    One engine joined to one venue.

    Args:
        config: The whole configuration.
        instrument: Which perp, as the venue lists it.
        signer: Signs actions; its address may be an agent's.
        user: Address of the account traded.
        ports: Transport, clock, scheduler, HTTP.
        url: WebSocket address of the venue.
        cloid_prefix: High 64 bits of every cloid of this run.
        log: Structured log.
        latch: Stores a kill reason. Called before the run begins to end, and returns at once: the
            cancels do not wait for a disk, and whoever ends the run waits for what it stores.
        on_end: Called once, when nothing rests or the venue cannot be reached.
        jitter: Spreads reconnects.
        nonces: Of the key; those of the clock alone where nothing is known of earlier ones.
        journal: Records every input before it is acted on, and every decision; None for none.
        kept: What earlier runs left, and who stores what this one leaves; None for neither.
    """

    def __init__(
        self,
        config: Config,
        instrument: Instrument,
        *,
        signer: Signer,
        user: str,
        ports: Ports,
        url: str,
        cloid_prefix: int,
        log: Log,
        latch: Callable[[KillReason], None],
        on_end: Callable[[Ending], None],
        jitter: random.Random,
        nonces: Nonces | None = None,
        journal: Writer | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.instrument = instrument
        self.started_ns = ports.clock()
        basis = Basis(
            config=config,
            instrument=instrument,
            signer=signer,
            user=user,
            ports=ports,
            nonces=Nonces() if nonces is None else nonces,
            cloid_prefix=cloid_prefix,
            url=url,
            jitter=jitter,
        )
        self.engine: Engine = new_engine(
            config,
            instrument,
            cloid_prefix=cloid_prefix,
            settle_ns=basis.lifetime_ns + READ_LAG_NS,
            now_ns=self.started_ns,
            journal=journal,
        )
        self._record = None if journal is None else journal.read
        self._remembering = Remembering(
            self.engine,
            self.started_ns,
            ports,
            Kept() if kept is None else kept,
            is_over=lambda: self._parts.closing.is_over,
        )
        self._clock = ports.clock
        self._steady = ports.steady
        self._offset_ns = ports.clock() - ports.steady()
        self._scheduler = ports.scheduler
        self._timer: Handle | None = None
        self._timer_at_ns = 0
        self._deciding = False
        self._stale = False
        self.decided_ns: int | None = None
        """When the engine was asked last."""
        self.decision: Decision | None = None
        """What it said then."""
        self._nonces = basis.nonces
        self._parts = parts = wire(
            self, basis, self.engine, self._remembering, log=log, latch=latch, on_end=on_end
        )
        self.decoder, self.link, self.gateway, self.dead_man = parts.connections
        self.snapshot = parts.readings.reader
        self._teller, self._closing, self._halting = parts.teller, parts.closing, parts.halting

    @property
    def now_ns(self) -> int:
        """The time as this run has it."""
        return self._clock()

    @property
    def start_equity_usd(self) -> float | None:
        """Account value at the first snapshot; None before it."""
        return self._parts.readings.start_equity_usd

    @property
    def log(self) -> Log:
        """The log, with everything decided so far in it."""
        return self._teller.log

    # -- the way of a frame -----------------------------------------------------------------

    def start(self) -> None:
        """Connect; quoting begins with the first snapshot after every acknowledgement."""
        self.link.start()
        self._parts.readings.start()
        self._remembering.start()
        self._parts.truth.start()
        self._parts.listing.start()

    def on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        """Handle one socket read: record it, fold every frame, decide once, send once."""
        if self._record is not None:
            self._record(recv_ns, frames)
        self._teller.tell()
        self._watch_clock(recv_ns)
        try:
            self._deciding = True
            for frame in frames:
                for event in self.decoder.decode(frame, recv_ns):
                    self._fold(event, recv_ns)
        except VenueProtocolError as error:
            # Nothing is guessed from a frame we cannot read: resynchronise.
            self.log.error("frame.malformed", error=str(error))
            self.link.drop(f"malformed frame: {error}")
        except MmbotError as error:
            self._halting.on_bug(error)
        finally:
            self._deciding = False
        self.decide(recv_ns)
        self._remembering.hand_on_fills()

    def _watch_clock(self, now_ns: int) -> None:
        """Tell the engine when our clock was set, or every frame after it looks late or early."""
        step_ns = now_ns - self._steady() - self._offset_ns
        if not -_STEP_NS < step_ns < _STEP_NS:
            self._offset_ns += step_ns
            self.engine.apply(ClockStepped(now_ns, step_ns))

    def _fold(self, event: Decoded, at_ns: int) -> None:
        match event:
            case PostReply():
                self.gateway.on_reply(event)
            case SubscriptionAck() | Pong():
                pass  # the link keeps count of these itself
            case ErrorFrame():
                self.log.warning("venue.complained", text=event.text)
                post_id = post_id_of(event.text)
                if post_id is not None:
                    self.gateway.on_error_frame(post_id, event.text, at_ns)
            case NonUserCancel():
                self.log.warning("order.cancelled_by_venue", oid=event.oid)
            case Fill():
                self._remembering.hear(event)
                self.engine.apply(event)
            case _:
                self.engine.apply(event)

    def emit(self, event: Event) -> None:
        """Fold an event that did not come in a frame, and decide unless a read is being folded."""
        if not self._deciding:
            self._teller.tell()
        if isinstance(event, AccountRead | Snapshot):
            self._nonces.hear(event.venue_ms)
        try:
            self.engine.apply(event)
        except MmbotError as error:
            self._halting.on_bug(error)
            return
        if self._deciding:
            self._stale = True
        else:
            self.decide(event.recv_ns)

    def decide(self, now_ns: int) -> None:
        """Decide, send, set the clock for the next look; the log hears of it when that has left."""
        closing = self._closing
        if closing.is_over:
            return
        if closing.is_broken:
            self._halting.trip_if_killed()
            return
        self._deciding = True
        self._stale = False
        try:
            decision = self.engine.decide(now_ns)
            self.decided_ns, self.decision = now_ns, decision
            self._act(decision)
        except MmbotError as error:
            self._deciding = False
            self._halting.on_bug(error)
            return
        finally:
            self._deciding = False
        self._teller.later(decision)
        self._halting.trip_if_killed()
        # The fills before what they are remembered by: killed in between, the next run must not
        # take them for news.
        self._remembering.hand_on_fills()
        self._remembering.keep_memory()
        closing.after_decision()
        # What sending told us (a request counted, a refusal over HTTP) is looked at next.
        try:
            self._arm(now_ns if self._stale else self.engine.wake_at_ns())
        except MmbotError as error:
            self._halting.on_bug(error)
            return
        if decision.relink is not None and not closing.is_over:
            self.link.drop(decision.relink)
        if decision.leave is not None and closing.is_trading:
            closing.must_flatten = True
            self.stop(decision.leave)
        if decision.refusal is not None:
            self.fail(CheckError(decision.refusal))

    def _act(self, decision: Decision) -> None:
        batch = decision.batch
        if batch is not None:
            if batch.places or batch.moves:
                self._closing.something_was_sent()
            self.gateway.send(batch)
        for query in decision.queries:
            self.gateway.query(query.cloid)

    def _arm(self, at_ns: int | None) -> None:
        if self._timer is not None:
            if at_ns == self._timer_at_ns:
                return
            self._timer.cancel()
            self._timer = None
        if at_ns is not None:
            self._timer_at_ns = at_ns
            self._timer = self._scheduler.call_at(at_ns, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.decide(self._clock())

    # -- the link ---------------------------------------------------------------------------

    def on_up(self, recv_ns: int) -> None:
        """Every stream is there: read the account, quote."""
        self.emit(LinkUp(recv_ns=recv_ns))
        if self._closing.is_trading:
            # The end has readings of its own, which this one would push aside.
            self.snapshot.start()

    def on_lost(self, recv_ns: int, reason: str) -> None:
        """A connection ended, or an attempt at one: what rests is not known until it is read."""
        if self._closing.is_over:
            return
        # The engine first: what the gateway then calls unknown must be no occasion to quote. A
        # socket found dead in the middle of sending is looked at once that is done.
        if not self._deciding:
            self._teller.tell()
        is_nested, self._deciding = self._deciding, True
        self.engine.apply(LinkLost(recv_ns=recv_ns, reason=reason))
        self.gateway.on_link_lost()
        self._deciding = is_nested
        if is_nested:
            self._stale = True
        else:
            self.decide(recv_ns)

    # -- the end ----------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether `on_end` was called."""
        return self._closing.is_over

    @property
    def closing(self) -> bool:
        """Whether a stop or a kill is under way."""
        return not self._closing.is_trading

    @property
    def phase(self) -> str:
        """Where the run stands, in a word."""
        return self._closing.phase.value

    @property
    def flattens_on_exit(self) -> bool:
        """Whether the end of the run closes its position."""
        return self._closing.must_flatten

    @property
    def facts(self) -> Diagnostics | None:
        """The newest record of a decision: one of every change, and one a second."""
        return self._teller.facts

    @property
    def sent(self) -> Spans:
        """How long a decision took to leave."""
        return self._teller.sent

    def reconfigure(self, config: Config) -> None:
        """
        Take over what is marked reloadable, between two decisions; the rest must be as it was.

        What was decided before is told and judged first, by the parameters it was made with.
        """
        self._teller.tell()
        now_ns = self._clock()
        try:
            self.engine.reconfigure(config.engine, now_ns)
        except MmbotError as error:
            self._halting.on_bug(error)
            return
        self._closing.must_flatten = config.on_exit == "flatten"
        self.decide(now_ns)

    def stop(self, reason: str, *, is_flatten: bool = False) -> None:
        """As of `Halting.stop`."""
        self._halting.stop(reason, is_flatten=is_flatten)

    def kill(self, text: str, *, is_flatten: bool = False) -> None:
        """As of `Halting.kill`."""
        self._halting.kill(text, is_flatten=is_flatten)

    def force(self) -> None:
        """As of `Halting.force`."""
        self._halting.force()

    def fail(self, error: MmbotError) -> None:
        """As of `Halting.fail`."""
        self._halting.fail(error)

    def crash(self, error: BaseException) -> None:
        """As of `Halting.crash`."""
        self._halting.crash(error)

    def release(self) -> None:
        """Ask, send and expect nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self.dead_man.end(is_clear=not self.engine.orders.slots)
        self.link.close()
        self.gateway.close()
        self.snapshot.close()
