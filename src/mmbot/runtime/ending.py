"""
How a run ends: cancel everything, look with the venue that nothing rests, close the position if
that is wanted, say how it ended.

The engine takes part as long as it can be trusted: it sends the cancels and hears of every verdict.
The end itself is not its matter, so that a broken engine ends as cleanly as a sound one.

One machine of five phases, and what may happen in each: it is read as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from mmbot.core.engine import Engine
from mmbot.core.events import Event, Snapshot
from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import Exit
from mmbot.hyperliquid.gateway import Gateway
from mmbot.hyperliquid.ports import Clock, Handle, Scheduler
from mmbot.hyperliquid.snapshot import SnapshotReader
from mmbot.runtime.cloids import is_ours
from mmbot.runtime.flatten import Closed, Flattener
from mmbot.runtime.telling import Teller

_ACK_WAIT_NS: Final = 700 * NS_PER_MS
"""How long a stop waits for the venue to acknowledge the cancels before it looks for itself."""
_VERIFY_EVERY_NS: Final = 400 * NS_PER_MS
_VERIFY_EVERY_NS_MAX: Final = 2 * NS_PER_S
"""Longest wait between two readings: each costs 22 of the 1200 that an address has a minute."""
_WATCH_NS: Final = 2 * NS_PER_S
"""How often the end is looked after, whatever became of its readings and cancels."""
_FILLS_EVERY_NS_MAX: Final = 5 * NS_PER_S
"""The same where nothing rests and fills alone are missing: such a reading costs 42 and more."""
_STUCK_NS: Final = 4 * NS_PER_S
"""Age of a reading that is begun anew."""
_GIVE_UP_NS: Final = 20 * NS_PER_S
"""A stop that cannot be verified for this long ends and says what may still rest."""
_GIVE_UP_BUSY_NS: Final = 70 * NS_PER_S
"""The same where the venue answers that we ask too much: its limit is one of a minute."""
_BUSY_NS: Final = 10 * NS_PER_S
"""How long such an answer counts."""
_FILLS_NS: Final = NS_PER_S
"""How long what is known of the orders waits for the fills that belong to it."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a run ended.

    `final` is the last reading of the account; None means that the venue did not answer, and
    `resting_orders` then counts what may still rest. `error` says also that the fills which could
    be read do not explain the position, or that none could.
    """

    reason: str
    exit_code: Exit
    kill: KillReason | None
    final: Snapshot | None
    resting_orders: int
    error: str | None = None
    closed: Closed | None = None
    """What became of the position where it was to be closed; None where it was not."""


class Phase(Enum):
    """Where a run stands."""

    TRADING = "trading"
    CANCELLING = "cancelling"
    VERIFYING = "verifying"
    FLATTENING = "flattening"
    ENDED = "ended"


class Closing:
    """
    The last part of a run, from the first word of its end to `on_end`.

    Args:
        emit: Folds an event into the engine and lets it decide.
        is_link_up: Whether fills still come by the stream.
        release: Closes every connection, once, just before `on_end`.
        is_square: Whether the ledger explains a reading of the account.
        flattener: Makes what closes the position, given who hears of the end of that.
        must_flatten: Whether every end closes the position.
        closes: Whether the position is closed after this trip of the kill switch.
        lifetime_ns: How long a placement may wait before the venue refuses it.

    Attributes:
        is_broken: The engine is not asked any more; what it holds is cancelled over its head.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        gateway: Gateway,
        snapshot: SnapshotReader,
        clock: Clock,
        scheduler: Scheduler,
        teller: Teller,
        emit: Callable[[Event], None],
        is_link_up: Callable[[], bool],
        release: Callable[[], None],
        is_square: Callable[[Snapshot], bool],
        flattener: Callable[[Callable[[Closed], None]], Flattener],
        must_flatten: bool,
        closes: Callable[[KillReason], bool],
        on_end: Callable[[Ending], None],
        lifetime_ns: int,
    ) -> None:
        self.phase = Phase.TRADING
        self.kill: KillReason | None = None
        self.is_broken = False
        self._engine = engine
        self._gateway = gateway
        self._snapshot = snapshot
        self._clock = clock
        self._scheduler = scheduler
        self._teller = teller
        self._emit = emit
        self._is_link_up = is_link_up
        self._release = release
        self._is_square = is_square
        self._make_flattener = flattener
        self.must_flatten = must_flatten
        self._closes = closes
        self._flattener: Flattener | None = None
        self._closed: Closed | None = None
        self._on_end = on_end
        self._lifetime_ns = lifetime_ns + READ_LAG_NS
        self._quiet_at_ns = 0
        """From then on nothing sent so far can come to rest: it rests already or has expired."""
        self._reason = ""
        self._exit = Exit.OK
        self._error: str | None = None
        self._readings = 0
        self._has_fills = False
        """Whether the reading under way asks for them."""
        self._open: Snapshot | None = None
        """Shows that nothing rests nor can come to rest, but not how the position came about."""
        self._verified_ns = 0
        self._began_ns = 0
        self._busy_ns: int | None = None
        self._wait_ns = _VERIFY_EVERY_NS
        self._again_timer: Handle | None = None

    @property
    def is_trading(self) -> bool:
        """No word of an end yet."""
        return self.phase is Phase.TRADING

    @property
    def is_over(self) -> bool:
        """Whether `on_end` was called."""
        return self.phase is Phase.ENDED

    def something_was_sent(self) -> None:
        """A placement or move left; until it has expired it may come to rest."""
        self._quiet_at_ns = self._clock() + self._lifetime_ns

    def begin(self, reason: str, code: Exit, error: str | None = None) -> None:
        """The end begins; the cancels follow, by whoever says so."""
        self.phase = Phase.CANCELLING
        self._reason = reason
        self._exit = code
        self._error = error
        now_ns = self._clock()
        live = len(self._engine.orders.slots)
        self._teller.log.info("run.stopping", reason=reason, live_orders=live)
        self._scheduler.call_at(now_ns + _ACK_WAIT_NS, self._on_ack_deadline)
        self._began_ns = now_ns
        self._scheduler.call_at(now_ns + _GIVE_UP_NS, self._give_up)
        self._scheduler.call_at(now_ns + _WATCH_NS, self._watch)

    def venue_is_busy(self) -> None:
        """It answered 429: what cannot be read now can be read within a minute."""
        self._busy_ns = self._clock()

    def _give_up(self) -> None:
        now_ns = self._clock()
        is_busy = self._busy_ns is not None and now_ns - self._busy_ns < _BUSY_NS
        if self.phase is Phase.FLATTENING or now_ns < self._began_ns + _GIVE_UP_NS:
            return  # closing has an end of its own, and the wait begins anew then
        if self.phase is not Phase.ENDED and is_busy and now_ns < self._began_ns + _GIVE_UP_BUSY_NS:
            self._scheduler.call_at(now_ns + _WATCH_NS, self._give_up)
        else:
            self.force()

    def _watch(self) -> None:
        """Go on with the end whatever stopped it: an answer that never came, a fault of ours."""
        if self.phase not in (Phase.CANCELLING, Phase.VERIFYING):
            return
        now_ns = self._clock()
        self._scheduler.call_at(now_ns + _WATCH_NS, self._watch)
        if self.is_broken:
            self._gateway.cancel_all(list(self._engine.orders.slots))
        is_idle = not self._snapshot.is_reading and self._again_timer is None
        if self.phase is Phase.VERIFYING and (is_idle or now_ns - self._verified_ns > _STUCK_NS):
            self.verify()

    def killed(self, reason: KillReason) -> None:
        """The kill switch tripped, before the end began or during it."""
        self.kill = reason
        self.must_flatten = self.must_flatten or self._closes(reason)
        # The engine has cancelled by cloid; what the venue knows by its own id alone goes as well.
        self._cancel_by_oid()
        if self.is_trading:
            self.begin(f"kill: {reason.trigger}", Exit.KILLED)
        else:
            self._exit = Exit.KILLED

    def broken(self, error: str, code: Exit) -> None:
        """The engine cannot be trusted any more: cancel all that may rest, look, end."""
        self.is_broken = True
        if self.is_trading:
            self.begin("invariant", code)
        self._error = error
        self._exit = max(self._exit, code)
        if self.phase is Phase.FLATTENING:
            self._on_flattened(self._cut_short(f"{error}; what was sent last may take effect"))

    def cancel_over_the_engine(self) -> None:
        """Cancel whatever the broken engine held."""
        self._gateway.cancel_all(list(self._engine.orders.slots))
        self._cancel_by_oid()
        self.verify()

    def _cancel_by_oid(self) -> None:
        slots = self._engine.orders.slots.values()
        self._gateway.cancel_oids([slot.oid for slot in slots if slot.oid])

    def after_decision(self) -> None:
        """Every cancel is acknowledged: look at once, there is nothing to wait for."""
        if self.phase is Phase.CANCELLING and not self._engine.orders.slots:
            self.verify()

    def verify(self, *, has_fills: bool = False) -> None:
        """Read the account to see that nothing rests, and the fills when that is seen."""
        if self.phase in (Phase.CANCELLING, Phase.VERIFYING):
            self.phase = Phase.VERIFYING
            self._verified_ns = self._clock()
            self._cancel_again()
            self._has_fills = has_fills or self._open is not None
            # What rests is asked at once, whatever the weight of the address.
            self._snapshot.start(is_brief=True, has_fills=self._has_fills)

    def force(self) -> None:
        """End now, with what was read; the cancels were sent, their outcome is not waited for."""
        if self.phase is Phase.ENDED:
            return
        if self.phase is Phase.FLATTENING:
            why = "it was cut short, and what was sent last may still take effect"
            self._closed = self._cut_short(why)
        if self._open is not None:
            self._leave_open(self._open)
        self._end(self._open)

    def _cut_short(self, why: str) -> Closed:
        """Give up closing the position: what is left of it is not known then."""
        assert self._flattener is not None
        self._flattener.abandon()
        return msgspec.structs.replace(self._flattener.so_far, why=why, left_sz=None)

    # -- readings ---------------------------------------------------------------------------

    def read(self, final: Snapshot) -> bool:
        """
        Take a reading of the account; False if it is not one for the end.

        What it shows resting is cancelled again at once. That it shows nothing counts only when
        nothing can come to rest any more: every order has its verdict, or what was sent last has
        expired before the reading began. Then a position is closed at once where it has to be; the
        run ends when the fills explain what is held, and reads on until they do, as long as the end
        may take at all: fills that a lost socket missed come by a reading alone.
        """
        if self.phase is not Phase.VERIFYING:
            return False
        self._readings += 1
        ours = [order for order in final.open_orders if is_ours(order.cloid)]
        for order in ours:
            self._teller.log.warning("order.still_resting", oid=order.oid, status=order.status)
        if ours:
            self._gateway.cancel_all([order.cloid for order in ours if order.cloid is not None])
            self._gateway.cancel_oids([order.oid for order in ours])
        is_known = self._is_explained(final) and self._is_square(final) and self._is_link_up()
        if is_known or self._has_fills or self.is_broken:
            self._take(final, is_clean=not ours, is_known=is_known or self._has_fills)
            return True
        # A fill has not reached us, or none could. Together with its fills the reading explains
        # itself; alone it turns into lots that came from nowhere.
        if ours:
            self._again()
            return True
        number = self._readings
        self.verify(has_fills=True)

        def late() -> None:
            if self.phase is Phase.VERIFYING and self._readings == number:
                self._take(final, is_clean=True, is_known=False)

        self._scheduler.call_at(self._clock() + _FILLS_NS, late)
        return True

    def _take(self, final: Snapshot, *, is_clean: bool, is_known: bool) -> None:
        """Fold a reading and end with it; or read on, if something may still come to rest."""
        if not self.is_broken:
            self._emit(final)
        is_quiet = final.requested_at_ns >= self._quiet_at_ns
        if not is_clean or not (is_quiet or not self._engine.orders.slots):
            self._again()
        elif self.must_flatten and self._flattener is None and final.position_lots:
            self._flatten(final)
        elif self.is_broken or (is_known and self._is_explained(final)):
            # What is broken has no ledger to close.
            self._end(final)
        else:
            self._open = final
            if is_known:
                self._again()

    def _is_explained(self, final: Snapshot) -> bool:
        """Whether our fills alone make what the venue holds."""
        position = self._engine.position
        return position.lots == final.position_lots and not position.adopted_lots

    def _leave_open(self, final: Snapshot) -> None:
        """The patience is over: say that fills are missing, and hold what the venue holds."""
        engine = self._engine
        sz, ours = engine.instrument.sz, engine.position.lots - engine.position.adopted_lots
        text = (
            f"the account holds {sz(final.position_lots):g}, the fills that could be read make "
            f"{sz(ours):g}: profit and fees may lack some, the venue's own list has them all"
        )
        self._teller.log.error(
            "ledger.open", venue_sz=sz(final.position_lots), fills_sz=sz(ours), text=text
        )
        self._error = text if self._error is None else f"{self._error}; {text}"
        if not self.is_broken:
            self._emit(final)

    def not_read(self) -> bool:
        """A reading failed; False if it was not one for the end."""
        if self.phase is not Phase.VERIFYING:
            return False
        self._again()
        return True

    def _flatten(self, final: Snapshot) -> None:
        """Nothing rests any more: close the position, then read the account again."""
        self.phase = Phase.FLATTENING
        self._open = None
        self._teller.log.info("flatten.began", position_lots=final.position_lots)
        self._flattener = self._make_flattener(self._on_flattened)
        self._flattener.start()

    def _on_flattened(self, closed: Closed) -> None:
        if self.phase is not Phase.FLATTENING:
            return
        self._closed = closed
        facts = msgspec.structs.asdict(closed)
        log = self._teller.log
        (log.info if closed.is_flat else log.error)("flatten.ended", **facts)
        if not closed.is_flat:
            self._exit = max(self._exit, Exit.FAILED)
        self.phase = Phase.VERIFYING
        self._began_ns = self._verified_ns = now_ns = self._clock()
        self._wait_ns = _VERIFY_EVERY_NS
        self._scheduler.call_at(now_ns + _GIVE_UP_NS, self._give_up)
        self._scheduler.call_at(now_ns + _WATCH_NS, self._watch)
        # The ledger is closed with the fills of it, and those may come by the reading alone.
        self.verify(has_fills=True)

    def _again(self) -> None:
        self._cancel_again()
        self._again_timer = self._scheduler.call_at(self._clock() + self._wait_ns, self.verify)
        longest_ns = _VERIFY_EVERY_NS_MAX if self._open is None else _FILLS_EVERY_NS_MAX
        self._wait_ns = min(longest_ns, self._wait_ns * 3 // 2)

    def _cancel_again(self) -> None:
        if self._again_timer is not None:
            self._again_timer.cancel()
            self._again_timer = None

    def _on_ack_deadline(self) -> None:
        if self.phase is Phase.CANCELLING:
            self.verify()

    def _end(self, final: Snapshot | None) -> None:
        resting = 0 if final is not None else len(self._engine.orders.slots)
        self.phase = Phase.ENDED
        self._cancel_again()
        self._teller.tell()
        self._release()
        code = self._exit if final is not None else max(self._exit, Exit.FAILED)
        self._on_end(
            Ending(
                reason=self._reason or "forced",
                exit_code=Exit(code),
                kill=self.kill,
                final=final,
                resting_orders=resting,
                error=self._error,
                closed=self._closed,
            )
        )
