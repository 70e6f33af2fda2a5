"""
The shell around one engine: read, decide, send, keep time.

Nothing here knows whether time is real: transport, clock, scheduler and HTTP come as arguments, so
the same object trades over sockets and over the in-memory pipe in simulated time. The way from a
read to the signed requests is one synchronous call chain; the log hears of it afterwards
(`runtime.telling`), and how it ends is in `runtime.ending`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.diagnostics import Diagnostics
from mmbot.core.engine import Decision, Engine
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import (
    AccountRead,
    ClockStepped,
    Command,
    CommandKind,
    DayBegan,
    Event,
    Fill,
    LedgerEnds,
    LinkLost,
    LinkUp,
    Snapshot,
)
from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS, SlotState
from mmbot.core.risk import Day
from mmbot.core.triggers import Trip, closes_position
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import (
    CheckError,
    Exit,
    InvariantError,
    MmbotError,
    VenueError,
    VenueProtocolError,
)
from mmbot.hyperliquid.deadman import DeadMan
from mmbot.hyperliquid.gateway import Gateway
from mmbot.hyperliquid.link import Link
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, Dialer, Handle, Http, Scheduler
from mmbot.hyperliquid.replies import PostReply, post_id_of
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import SnapshotReader
from mmbot.hyperliquid.wire import Decoder, ErrorFrame, NonUserCancel, Pong, SubscriptionAck
from mmbot.journal.writer import Writer
from mmbot.runtime.ending import Closing, Ending
from mmbot.runtime.flatten import Closed, Flattener
from mmbot.runtime.listing import ListingReader
from mmbot.runtime.recording import new_engine
from mmbot.runtime.telling import Log, Spans, Teller
from mmbot.runtime.truth import Truth

__all__ = ["Ports", "Trader", "subscriptions"]

_SQUARE_USD: Final = 1e-3
"""Gap between account and ledger that is no rounding."""
_STEP_NS: Final = 100 * NS_PER_MS
"""Least difference between the two clocks that is a step; less is slewing."""
_DAY_NS: Final = 5 * NS_PER_S
"""How often the account of the day is stored: what a killed process loses of it."""
_OWED_LOOK_NS: Final = 10 * NS_PER_S
"""Fills owed for a whole such period will not come by the stream: the account is read again."""

Decoded = Event | SubscriptionAck | Pong | ErrorFrame | PostReply | NonUserCancel


class Ports(msgspec.Struct, frozen=True):
    """What connects the program to the world: real sockets and time, or a pipe and a simulation."""

    clock: Clock
    scheduler: Scheduler
    dialer: Dialer
    http: Http
    steady: Clock
    """A clock that nobody sets: it tells when the other one was."""


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
        day: What earlier runs of the day did, or None.
        remember_day: Stores the account of the day, every few seconds in which it changed.
        nonces: Of the key; those of the clock alone where nothing is known of earlier ones.
        memory: What an earlier run remembered of sweeps, or None.
        remember: Stores that memory whenever it changes; returns at once.
        keep_fills: Stores fills as the venue tells them, again and again; returns at once.
        ledger_ms: Venue's time of the last fill that earlier runs have stored, or None.
        on_end: Called once, when nothing rests or the venue cannot be reached.
        journal: Records every input before it is acted on, and every decision; None for none.
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
        memory: CascadeMemory | None = None,
        remember: Callable[[CascadeMemory], None] | None = None,
        journal: Writer | None = None,
        day: Day | None = None,
        remember_day: Callable[[Day], None] | None = None,
        keep_fills: Callable[[Sequence[Fill]], None] | None = None,
        ledger_ms: int | None = None,
    ) -> None:
        self.instrument = instrument
        self.started_ns = ports.clock()
        lifetime_ns = round(config.gateway.expires_after_s * NS_PER_S)
        self.engine: Engine = new_engine(
            config,
            instrument,
            cloid_prefix=cloid_prefix,
            settle_ns=lifetime_ns + READ_LAG_NS,
            now_ns=self.started_ns,
            journal=journal,
        )
        self._record = None if journal is None else journal.read
        if memory is not None:
            self.engine.restore(memory, self.started_ns)
        if day is not None:
            began = DayBegan(self.started_ns, day.number, day.base_usd, day.pnl_usd)
            self.engine.apply(began)
        if ledger_ms is not None:
            self.engine.apply(LedgerEnds(self.started_ns, ledger_ms))
        self._day = day
        self._remember_day = remember_day
        self._keep_fills = keep_fills
        self._fills: list[Fill] = []
        """Told by the stream and not handed on yet."""
        self._memory = self.engine.memory
        self._remember = remember
        self.start_equity_usd: float | None = None
        """Account value at the first snapshot; None before it."""
        self._clock = ports.clock
        self._steady = ports.steady
        self._offset_ns = ports.clock() - ports.steady()
        self._scheduler = ports.scheduler
        self._latch = latch
        self._timer: Handle | None = None
        self._timer_at_ns = 0
        self._is_outage_told = False
        self._owed: frozenset[int] = frozenset()
        self._deciding = False
        self._stale = False
        self.decided_ns: int | None = None
        """When the engine was asked last."""
        self.decision: Decision | None = None
        """What it said then."""
        self._nonces = Nonces() if nonces is None else nonces
        self._cloid_prefix = cloid_prefix
        self._connect(config, signer, user, ports, url, jitter)
        self._teller = Teller(
            log, ports.clock, ports.scheduler, self.decoder.unknown, self.engine.judge
        )
        self._closing = Closing(
            engine=self.engine,
            gateway=self.gateway,
            snapshot=self.snapshot,
            clock=ports.clock,
            scheduler=ports.scheduler,
            teller=self._teller,
            emit=self.emit,
            is_link_up=lambda: self.link.is_up,
            release=self._release,
            is_square=self._is_square,
            flattener=lambda done: self._flattener(config, signer, user, ports, done),
            must_flatten=config.on_exit == "flatten",
            closes=lambda reason: (
                reason.is_flatten or (config.kill.flatten and closes_position(reason.trigger))
            ),
            on_end=on_end,
            lifetime_ns=lifetime_ns,
        )
        self._truth = Truth(
            instrument,
            user,
            engine=self.engine,
            http=ports.http,
            clock=ports.clock,
            scheduler=ports.scheduler,
            budget=self.gateway.budget,
            params=config.kill,
            emit=self.emit,
            is_trading=lambda: self._closing.is_trading,
            is_up=lambda: self.link.is_up,
            reread=self._reread,
            log=lambda: self.log,
            worth_s=config.premises.oracle_stale_s,
        )
        self._listing = ListingReader(
            instrument,
            engine=self.engine,
            http=ports.http,
            clock=ports.clock,
            scheduler=ports.scheduler,
            budget=self.gateway.budget,
            params=config.premises,
            emit=self.emit,
            is_trading=lambda: self._closing.is_trading,
            log=lambda: self.log,
        )

    def _connect(
        self,
        config: Config,
        signer: Signer,
        user: str,
        ports: Ports,
        url: str,
        jitter: random.Random,
    ) -> None:
        """Build what speaks with the venue: decoder, link, gateway, snapshot reader."""
        instrument = self.instrument
        clock, scheduler, http = ports.clock, ports.scheduler, ports.http
        reference = config.reference.coin or None
        self.decoder = Decoder(instrument, user=user, reference_coin=reference)
        self.link = Link(
            url,
            subscriptions=subscriptions(instrument.coin, user, reference),
            dialer=ports.dialer,
            clock=clock,
            scheduler=scheduler,
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
            self._nonces,
            link_send=self.link.send,
            http=http,
            clock=clock,
            scheduler=scheduler,
            params=config.gateway,
            emit=self.emit,
            user=user,
        )
        self.snapshot = SnapshotReader(
            instrument,
            user,
            http=http,
            clock=clock,
            scheduler=scheduler,
            emit=self._on_snapshot,
            on_failed=self._on_snapshot_failed,
            on_retry=self._on_snapshot_retry,
            budget=self.gateway.budget,
        )

        self.dead_man = DeadMan(
            span_s=config.gateway.schedule_cancel_s,
            budget=self.gateway.budget,
            send=self.gateway.schedule_cancel,
            clock=clock,
            scheduler=scheduler,
            tell=lambda event, facts: self.log.info(event, **facts),
        )

    @property
    def now_ns(self) -> int:
        """The time as this run has it."""
        return self._clock()

    def _flattener(
        self,
        config: Config,
        signer: Signer,
        user: str,
        ports: Ports,
        on_done: Callable[[Closed], None],
    ) -> Flattener:
        """What closes the position; it shares nothing with the engine but the account."""
        return Flattener(
            self.instrument,
            signer=signer,
            user=user,
            http=ports.http,
            clock=ports.clock,
            scheduler=ports.scheduler,
            gateway=config.gateway,
            params=config.flatten,
            nonces=self._nonces,
            cloid_prefix=self._cloid_prefix,
            log=self.log,
            on_done=on_done,
        )

    @property
    def log(self) -> Log:
        """The log, with everything decided so far in it."""
        return self._teller.log

    # -- the way of a frame -----------------------------------------------------------------

    def start(self) -> None:
        """Connect; quoting begins with the first snapshot after every acknowledgement."""
        self.link.start()
        self._scheduler.call_at(self._clock() + _OWED_LOOK_NS, self._look_for_owed)
        self._scheduler.call_at(self._clock() + _DAY_NS, self._keep_day)
        self._truth.start()
        self._listing.start()

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
            self._on_bug(error)
        finally:
            self._deciding = False
        self.decide(recv_ns)
        self._hand_on_fills()

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
                self._fills.append(event)
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
            self._on_bug(error)
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
            self._trip_if_killed()
            return
        self._deciding = True
        self._stale = False
        try:
            decision = self.engine.decide(now_ns)
            self.decided_ns, self.decision = now_ns, decision
            self._act(decision)
        except MmbotError as error:
            self._deciding = False
            self._on_bug(error)
            return
        finally:
            self._deciding = False
        self._teller.later(decision)
        self._trip_if_killed()
        # The fills before what they are remembered by: killed in between, the next run must not
        # take them for news.
        self._hand_on_fills()
        self._keep_memory()
        closing.after_decision()
        # What sending told us (a request counted, a refusal over HTTP) is looked at next.
        self._arm(now_ns if self._stale else self.engine.wake_at_ns())
        if decision.relink is not None and not closing.is_over:
            self.link.drop(decision.relink)
        if decision.leave is not None and closing.is_trading:
            closing.must_flatten = True
            self.stop(decision.leave)
        if decision.refusal is not None:
            self.fail(CheckError(decision.refusal))

    def _keep_memory(self) -> None:
        """Have the memory of sweeps stored when it has changed, after what it led to has left."""
        memory = self.engine.memory
        if memory is not self._memory:
            self._memory = memory
            if self._remember is not None:
                self._remember(memory)

    def _hand_on_fills(self) -> None:
        """Have the fills of the stream stored, after the orders have left."""
        if self._fills:
            fills, self._fills = self._fills, []
            self._book_fills(fills)

    def _book_fills(self, fills: Sequence[Fill]) -> None:
        if self._keep_fills is not None:
            self._keep_fills(fills)

    def _keep_day(self) -> None:
        """Have the account of the day stored when it has changed."""
        if self._closing.is_over:
            return
        self._scheduler.call_at(self._clock() + _DAY_NS, self._keep_day)
        day = self.engine.risk.day
        if day is not None and day != self._day:
            self._day = day
            if self._remember_day is not None:
                self._remember_day(day)

    def _reread(self) -> None:
        """Read the whole account, unless that is under way."""
        if not self.snapshot.is_reading:
            self.snapshot.start()

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

    def _on_up(self, recv_ns: int) -> None:
        self.emit(LinkUp(recv_ns=recv_ns))
        if self._closing.is_trading:
            # The end has readings of its own, which this one would push aside.
            self.snapshot.start()

    def _on_lost(self, recv_ns: int, reason: str) -> None:
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

    def _on_snapshot(self, event: Event) -> None:
        assert isinstance(event, Snapshot)
        self._is_outage_told = False
        if self.start_equity_usd is None:
            self.start_equity_usd = event.equity_usd
        self._book_fills(event.fills)
        if self._closing.read(event):
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
            ip_weight=self.gateway.budget.weight_used(event.recv_ns),
        )
        self.dead_man.start()
        self.emit(event)

    def _look_for_owed(self) -> None:
        """Read the account when fills that the venue spoke of have not come for a whole period."""
        if not self._closing.is_trading:
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
        if "429" in str(error):
            self._closing.venue_is_busy()
        if not self._is_outage_told:
            self._is_outage_told = True
            self.log.warning("snapshot.retried", error=str(error))

    def _on_snapshot_failed(self, error: VenueError) -> None:
        self.log.error("snapshot.failed", error=str(error))
        if not self._closing.not_read():
            self.fail(error)

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
            self._on_bug(error)
            return
        self._closing.must_flatten = config.on_exit == "flatten"
        self.decide(now_ns)

    def stop(self, reason: str, *, is_flatten: bool = False) -> None:
        """
        Cancel everything, verify with the venue that nothing rests, then end.

        With `is_flatten` the position is closed whatever `on_exit` says.
        """
        if self._closing.is_trading:
            if is_flatten:
                self._closing.must_flatten = True
            self._closing.begin(reason, Exit.OK)
            self.emit(Command(recv_ns=self._clock(), kind=CommandKind.STOP, text=reason))

    def kill(self, text: str, *, is_flatten: bool = False) -> None:
        """Trip the kill switch by hand; `is_flatten`: and close the position."""
        if self._closing.kill is None and not self._closing.is_over:
            self.emit(Command(self._clock(), CommandKind.KILL, text, is_flatten))

    def force(self) -> None:
        """End now; the cancels were sent, their outcome is not waited for."""
        self._closing.force()

    def fail(self, error: MmbotError) -> None:
        """Something the run cannot go on without is refused: stop, and exit with its code."""
        if self._closing.is_trading:
            self._closing.begin("failed", error.exit_code, str(error))
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
        closing = self._closing
        if closing.is_over or closing.is_broken:
            return
        self.log.critical("invariant.broken", error=str(error), exc_info=error)
        closing.broken(f"internal error, everything was cancelled: {error}", Exit.KILLED)
        self._trip_if_killed()
        if closing.kill is None:
            # The engine cannot be asked to trip any more.
            reason = KillReason(
                Trip.EXCEPTION.value, 1.0, 1.0, "exceptions", str(error), self._clock()
            )
            self._latch(reason)
            closing.killed(reason)
        closing.cancel_over_the_engine()

    def _trip_if_killed(self) -> None:
        """Latch what the engine's kill switch says, also when the engine is not asked any more."""
        reason = self.engine.risk.kill
        if reason is None or self._closing.kill is not None:
            return
        self._latch(reason)
        self._closing.killed(reason)

    def _is_square(self, final: Snapshot) -> bool:
        """Whether our ledger explains the account: fills that we never heard of leave a gap."""
        if self.start_equity_usd is None:
            return True
        ledger_usd = self.engine.position.pnl_usd(self.instrument.ticks(final.mark_px))
        return abs(final.equity_usd - self.start_equity_usd - ledger_usd) < _SQUARE_USD

    def _release(self) -> None:
        """Ask, send and expect nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self.dead_man.end(is_clear=not self.engine.orders.slots)
        self.link.close()
        self.gateway.close()
        self.snapshot.close()


def subscriptions(coin: str, user: str, reference: str | None) -> list[dict[str, object]]:
    """
    Every stream the engine lives on; `bbo`, `trades` and fast books are what it reacts to.

    The plain book tells what lies behind five levels that are all ours.
    """
    wanted: list[dict[str, object]] = [
        {"type": "bbo", "coin": coin},
        {"type": "l2Book", "coin": coin, "fast": True},
        {"type": "l2Book", "coin": coin, "fast": False},
        {"type": "trades", "coin": coin},
        {"type": "activeAssetCtx", "coin": coin},
        {"type": "orderUpdates", "user": user},
        {"type": "userFills", "user": user},
        {"type": "userFundings", "user": user},
    ]
    if reference is not None:
        wanted.append({"type": "bbo", "coin": reference})
    return wanted
