"""
The shell around one engine: read, decide, send, keep time, end cleanly.

Nothing here knows whether time is real: transport, clock, scheduler and HTTP come as arguments, so
the same object trades over sockets and over the in-memory pipe in simulated time. The way from a
read to the signed requests is one synchronous call chain.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import msgspec
import structlog

from mmbot.config import Config
from mmbot.core.engine import Decision, Engine
from mmbot.core.events import Command, CommandKind, Event, LinkLost, LinkUp, Snapshot
from mmbot.core.intents import KillReason, Note
from mmbot.core.orders import SlotState
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import Exit, InvariantError, MmbotError, VenueError, VenueProtocolError
from mmbot.hyperliquid.gateway import Gateway
from mmbot.hyperliquid.link import Link
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, Dialer, Handle, Http, Scheduler
from mmbot.hyperliquid.replies import PostReply, post_id_of
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import SnapshotReader
from mmbot.hyperliquid.wire import Decoder, ErrorFrame, NonUserCancel, Pong, SubscriptionAck

CLOID_MAGIC: Final = 0x6D6D
"""Top 16 bits of every cloid of ours: a leftover of an earlier run is known by them."""
_ACK_WAIT_NS: Final = 700 * NS_PER_MS
"""How long a stop waits for the venue to acknowledge the cancels before it looks for itself."""
_VERIFY_EVERY_NS: Final = 400 * NS_PER_MS
_READ_LAG_NS: Final = NS_PER_S
"""A reading may trail what is committed by about a second (protocol notes, gotcha 7)."""
_GIVE_UP_NS: Final = 20 * NS_PER_S
"""A stop that cannot be verified for this long ends and says what may still rest."""
_REREAD_NS: Final = NS_PER_S
"""How long a stop waits for fills that the account knows and we do not."""
_OWED_LOOK_NS: Final = 10 * NS_PER_S
"""Fills owed for a whole such period will not come by the stream: the account is read again."""

Decoded = Event | SubscriptionAck | Pong | ErrorFrame | PostReply | NonUserCancel


class Ports(msgspec.Struct, frozen=True):
    """What connects the program to the world: real sockets and time, or a pipe and a simulation."""

    clock: Clock
    scheduler: Scheduler
    dialer: Dialer
    http: Http


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a run ended.

    `final` is the last reading of the account; None means that the venue did not answer, and
    `resting_orders` then counts what may still rest.
    """

    reason: str
    exit_code: Exit
    kill: KillReason | None
    final: Snapshot | None
    resting_orders: int
    error: str | None = None


class _Phase(Enum):
    TRADING = "trading"
    CANCELLING = "cancelling"
    VERIFYING = "verifying"
    ENDED = "ended"


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
        latch: Stores a kill reason before anything else is done about it.
        on_end: Called once, when nothing rests or the venue cannot be reached.
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
        log: structlog.typing.FilteringBoundLogger,
        latch: Callable[[KillReason], None],
        on_end: Callable[[Ending], None],
        jitter: random.Random,
    ) -> None:
        self.engine = Engine(config.engine, instrument, cloid_prefix=cloid_prefix)
        self.instrument = instrument
        self.log = log
        self.started_ns = ports.clock()
        self._clock = ports.clock
        self._scheduler = ports.scheduler
        self._latch = latch
        self._on_end = on_end
        self._phase = _Phase.TRADING
        self._reason = ""
        self._exit = Exit.OK
        self._error: str | None = None
        self._kill: KillReason | None = None
        self._timer: Handle | None = None
        self._timer_at_ns = 0
        self._is_reread = False
        self._is_broken = False
        self._is_outage_told = False
        self._owed: frozenset[int] = frozenset()
        self._deciding = False
        self._stale = False
        self._seen_unknown: set[str] = set()
        self._lifetime_ns = round(config.gateway.expires_after_s * NS_PER_S) + _READ_LAG_NS
        self._quiet_at_ns = 0
        """From then on nothing sent so far can come to rest: it rests already or has expired."""
        self._readings = 0
        self.start_equity_usd: float | None = None
        """Account value at the first snapshot; None before it."""
        reference = config.reference.coin or None
        self.decoder = Decoder(instrument, user=user, reference_coin=reference)
        self.link = Link(
            url,
            subscriptions=subscriptions(instrument.coin, user, reference),
            dialer=ports.dialer,
            clock=ports.clock,
            scheduler=ports.scheduler,
            jitter=jitter,
            params=config.link,
            on_frames=self.on_frames,
            on_up=self._on_up,
            on_lost=self._on_lost,
            on_refused=self.fail,
        )
        self.gateway = Gateway(
            instrument,
            signer,
            Nonces(),
            link_send=self.link.send,
            http=ports.http,
            clock=ports.clock,
            scheduler=ports.scheduler,
            params=config.gateway,
            emit=self.emit,
            user=user,
        )
        self.snapshot = SnapshotReader(
            instrument,
            user,
            http=ports.http,
            clock=ports.clock,
            scheduler=ports.scheduler,
            emit=self._on_snapshot,
            on_failed=self._on_snapshot_failed,
            on_retry=self._on_snapshot_retry,
            budget=self.gateway.budget,
        )

    # -- the way of a frame -----------------------------------------------------------------

    def start(self) -> None:
        """Connect; quoting begins with the first snapshot after every acknowledgement."""
        self.link.start()
        self._scheduler.call_at(self._clock() + _OWED_LOOK_NS, self._look_for_owed)

    def on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        """Handle one socket read: fold every frame, decide once, send once."""
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
            self._on_bug(error)
        finally:
            self._deciding = False
        self.decide(recv_ns)

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
            case _:
                self.engine.apply(event)

    def emit(self, event: Event) -> None:
        """Fold an event that did not come in a frame, and decide unless a read is being folded."""
        try:
            self.engine.apply(event)
        except MmbotError as error:
            self._on_bug(error)
            return
        if self._deciding:
            self._stale = True
        else:
            self.decide(event.recv_ns)

    def decide(self, now_ns: int) -> None:
        """Decide, send, then log what was noticed and set the clock for the next look."""
        if self._phase is _Phase.ENDED:
            return
        if self._is_broken:
            self._trip_if_killed()
            return
        self._deciding = True
        self._stale = False
        try:
            decision = self.engine.decide(now_ns)
            self._act(decision)
        except MmbotError as error:
            self._deciding = False
            self._on_bug(error)
            return
        finally:
            self._deciding = False
        self._tell(decision)
        self._trip_if_killed()
        if self._phase is _Phase.CANCELLING and not self.engine.orders.slots:
            self._verify()
        # What sending told us (a request counted, a refusal over HTTP) is looked at next.
        self._arm(now_ns if self._stale else self.engine.wake_at_ns())

    def _act(self, decision: Decision) -> None:
        batch = decision.batch
        if batch is not None:
            if batch.places or batch.moves:
                self._quiet_at_ns = self._clock() + self._lifetime_ns
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

    def _tell(self, decision: Decision) -> None:
        for note in decision.notes:
            self._note(note)
        if decision.diagnostics is not None:
            name = "quote.moved" if decision.batch is not None else "quote.held"
            level = self.log.info if decision.batch is not None else self.log.debug
            level(name, **msgspec.structs.asdict(decision.diagnostics))
        if len(self.decoder.unknown) != len(self._seen_unknown):
            for what in self.decoder.unknown.keys() - self._seen_unknown:
                self._seen_unknown.add(what)
                self.log.warning("frame.unknown", what=what)

    def _note(self, note: Note) -> None:
        getattr(self.log, note.level)(note.event, **note.facts)

    # -- the link ---------------------------------------------------------------------------

    def _on_up(self, recv_ns: int) -> None:
        self.emit(LinkUp(recv_ns=recv_ns))
        self.snapshot.start()

    def _on_lost(self, recv_ns: int, reason: str) -> None:
        if self._phase is _Phase.ENDED:
            return
        # The engine first: what the gateway then calls unknown must be no occasion to quote. A
        # socket found dead in the middle of sending is looked at once that is done.
        is_nested, self._deciding = self._deciding, True
        self.engine.apply(LinkLost(recv_ns=recv_ns, reason=reason))
        self.gateway.on_link_lost()
        self._deciding = is_nested
        if is_nested:
            self._stale = True
        else:
            self.decide(recv_ns)

    def _on_snapshot(self, event: Event) -> None:
        assert isinstance(event, Snapshot)
        self._is_outage_told = False
        if self.start_equity_usd is None:
            self.start_equity_usd = event.equity_usd
        if self._phase is _Phase.VERIFYING:
            self._verified(event)
            return
        self.log.info(
            "snapshot.read",
            position_sz=self.instrument.sz(event.position_lots),
            equity_usd=event.equity_usd,
            mark_px=event.mark_px,
            maker_fee_bps=event.fees.maker_bps,
            open_orders=len(event.open_orders),
            requests_used=event.requests_used,
            requests_cap=event.requests_cap,
        )
        self.emit(event)

    def _look_for_owed(self) -> None:
        """Read the account when fills that the venue spoke of have not come for a whole period."""
        if self._phase is not _Phase.TRADING:
            return
        slots = self.engine.orders.slots
        owed = frozenset(c for c, slot in slots.items() if slot.state is SlotState.SETTLING)
        late = owed & self._owed
        if late and self.link.is_up and not self.snapshot.is_reading:
            self.log.warning("fills.late", orders=len(late))
            self.snapshot.start()
        self._owed = owed
        self._scheduler.call_at(self._clock() + _OWED_LOOK_NS, self._look_for_owed)

    def _on_snapshot_retry(self, error: VenueError) -> None:
        """Say once per outage what is being waited for."""
        if not self._is_outage_told:
            self._is_outage_told = True
            self.log.warning("snapshot.retried", error=str(error))

    def _on_snapshot_failed(self, error: VenueError) -> None:
        self.log.error("snapshot.failed", error=str(error))
        if self._phase is _Phase.VERIFYING:
            self._again()
        else:
            self.fail(error)

    # -- the end ----------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether `on_end` was called."""
        return self._phase is _Phase.ENDED

    @property
    def closing(self) -> bool:
        """Whether a stop or a kill is under way."""
        return self._phase is not _Phase.TRADING

    def stop(self, reason: str) -> None:
        """Cancel everything, verify with the venue that nothing rests, then end."""
        if self._phase is not _Phase.TRADING:
            return
        self._close(reason, Exit.OK)
        self.emit(Command(recv_ns=self._clock(), kind=CommandKind.STOP, text=reason))

    def kill(self, text: str) -> None:
        """Trip the kill switch by hand."""
        if self._kill is None and self._phase is not _Phase.ENDED:
            self.emit(Command(recv_ns=self._clock(), kind=CommandKind.KILL, text=text))

    def force(self) -> None:
        """End now; the cancels were sent, their outcome is not waited for."""
        if self._phase is not _Phase.ENDED:
            self._end(None)

    def fail(self, error: MmbotError) -> None:
        """Something the run cannot go on without is refused: stop, and exit with its code."""
        if self._phase is not _Phase.TRADING:
            return
        self._error = str(error)
        self._close("failed", error.exit_code)
        self.emit(Command(recv_ns=self._clock(), kind=CommandKind.STOP, text=str(error)))

    def crash(self, error: BaseException) -> None:
        """A callback raised what nobody expected: end as for a broken invariant."""
        if isinstance(error, MmbotError):
            self._on_bug(error)
            return
        bug = InvariantError(f"{type(error).__name__}: {error}")
        bug.__cause__ = error
        self._on_bug(bug)

    def _on_bug(self, error: MmbotError) -> None:
        """An invariant of ours broke: cancel all that may rest without asking the engine again."""
        if self._phase is _Phase.ENDED or self._is_broken:
            return
        self._is_broken = True
        self.log.critical("invariant.broken", error=str(error), exc_info=error)
        self._error = f"internal error, everything was cancelled: {error}"
        if self._phase is _Phase.TRADING:
            self._close("invariant", InvariantError.exit_code)
        self._exit = max(self._exit, InvariantError.exit_code)
        self._trip_if_killed()
        self.gateway.cancel_all(list(self.engine.orders.slots))
        self._verify()

    def _trip_if_killed(self) -> None:
        """Latch what the engine's kill switch says, also when the engine is not asked any more."""
        reason = self.engine.risk.kill
        if reason is None or self._kill is not None:
            return
        self._kill = reason
        self._latch(reason)
        if self._phase is _Phase.TRADING:
            self._close(f"kill: {reason.trigger}", Exit.KILLED)
        else:
            self._exit = Exit.KILLED

    def _close(self, reason: str, code: Exit) -> None:
        self._phase = _Phase.CANCELLING
        self._reason = reason
        self._exit = code
        now_ns = self._clock()
        self.log.info("run.stopping", reason=reason, live_orders=len(self.engine.orders.slots))
        self._scheduler.call_at(now_ns + _ACK_WAIT_NS, self._on_ack_deadline)
        self._scheduler.call_at(now_ns + _GIVE_UP_NS, self.force)

    def _on_ack_deadline(self) -> None:
        if self._phase is _Phase.CANCELLING:
            self._verify()

    def _verify(self) -> None:
        if self._phase in (_Phase.CANCELLING, _Phase.VERIFYING):
            self._phase = _Phase.VERIFYING
            # With the link up every fill has come by the stream; without it they are read as well.
            self.snapshot.start(is_brief=self.link.is_up)

    def _verified(self, final: Snapshot) -> None:
        """
        Look at a reading taken for the end.

        What it shows resting is cancelled again at once. That it shows nothing counts only when
        nothing can come to rest any more: every order has its verdict, or what was sent last has
        expired before the reading began.
        """
        self._readings += 1
        ours = [order for order in final.open_orders if is_ours(order.cloid)]
        for order in ours:
            self.log.warning("order.still_resting", oid=order.oid, status=order.status)
        if ours:
            self.gateway.cancel_all([order.cloid for order in ours if order.cloid is not None])
        if not ours and not self._is_reread and final.position_lots != self.engine.position.lots:
            # A fill has not reached us, and a brief reading has none: the ledger is closed with
            # the fills if they can be had soon.
            self._is_reread = True
            number = self._readings
            self.snapshot.start()
            self._scheduler.call_at(
                self._clock() + _REREAD_NS, lambda: self._settle_for(final, number)
            )
            return
        self._settle_for(final, self._readings, is_clean=not ours)

    def _settle_for(self, final: Snapshot, number: int, *, is_clean: bool = True) -> None:
        """End with a reading, unless a newer one came or something may still come to rest."""
        if self._phase is not _Phase.VERIFYING or self._readings != number:
            return
        if not self._is_broken:
            self.emit(final)
        is_quiet = final.requested_at_ns >= self._quiet_at_ns
        if is_clean and (is_quiet or not self.engine.orders.slots):
            self._end(final)
        else:
            self._again()

    def _again(self) -> None:
        self._scheduler.call_at(self._clock() + _VERIFY_EVERY_NS, self._verify)

    def _end(self, final: Snapshot | None) -> None:
        resting = 0 if final is not None else len(self.engine.orders.slots)
        self._phase = _Phase.ENDED
        if self._timer is not None:
            self._timer.cancel()
        self.link.close()
        self.gateway.close()
        self.snapshot.close()
        code = self._exit if final is not None else max(self._exit, Exit.FAILED)
        self._on_end(
            Ending(
                reason=self._reason or "forced",
                exit_code=Exit(code),
                kill=self._kill,
                final=final,
                resting_orders=resting,
                error=self._error,
            )
        )


def is_ours(cloid: int | None) -> bool:
    """Whether an order was made by this program, in this run or an earlier one."""
    return cloid is not None and cloid >> 112 == CLOID_MAGIC


def subscriptions(coin: str, user: str, reference: str | None) -> list[dict[str, object]]:
    """Every stream the engine lives on; `bbo`, `trades` and fast books are what it reacts to."""
    wanted: list[dict[str, object]] = [
        {"type": "bbo", "coin": coin},
        {"type": "l2Book", "coin": coin, "fast": True},
        {"type": "trades", "coin": coin},
        {"type": "activeAssetCtx", "coin": coin},
        {"type": "orderUpdates", "user": user},
        {"type": "userFills", "user": user},
        {"type": "userFundings", "user": user},
    ]
    if reference is not None:
        wanted.append({"type": "bbo", "coin": reference})
    return wanted
