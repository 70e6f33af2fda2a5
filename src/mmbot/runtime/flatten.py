"""
Closes a position: reduce-only taker orders inside a price bound, each checked with the venue.

At the end of a run that says so (`on_exit = "flatten"`), and as a command of its own. It speaks
with the venue over HTTP alone and asks no engine: the position is what the venue says it is, so a
run whose engine broke, or whose socket is lost, is closed by the same code as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mmbot.core.events import Acked, Event, OutcomeUnknown, Rejected, Rejection
from mmbot.core.flatten import FlattenParams, Touch, bound_ticks, next_close, slice_lots, too_dear
from mmbot.core.gate import gate_close
from mmbot.core.types import NS_PER_S, Fees, Instrument, Side, notional_usd
from mmbot.errors import VenueError, VenueProtocolError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.gateway import Gateway, GatewayParams
from mmbot.hyperliquid.grid import Grid
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, Handle, Http, HttpReply, Scheduler, reply_error
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import fees as account_fees
from mmbot.hyperliquid.wire_types import WireBook
from mmbot.runtime.telling import Log

_READ_TIMEOUT_S: Final = 5.0
_ACCOUNT: Final = "clearinghouseState"
_BOOK: Final = "l2Book"
_FEES: Final = "userFees"
_WINDOW_PAUSE_NS: Final = 5 * NS_PER_S
"""Between two tries while the venue takes post-only orders alone: each costs a request."""
_CLOID_BIT: Final = 1 << 63
"""Set in the cloid of a closing order, and in none of the ladder's: those count from 1."""


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a position that was to be closed.

    `left_sz` is by the venue's last word, None if it gave none; `why` says why something is left,
    None when nothing is.
    """

    before_sz: float | None
    left_sz: float | None
    orders: int
    taker_fee_bps: float | None
    mid_px: float | None
    """At which closing began."""
    worst_px: float | None
    """The bound."""
    why: str | None

    @property
    def is_flat(self) -> bool:
        """Whether the venue confirms that nothing is held."""
        return self.left_sz == 0


class _Round(msgspec.Struct):
    """One look at the venue: the answers that have come."""

    kinds: tuple[str, ...]
    bodies: dict[str, bytes] = {}


class Flattener:
    """
    Closes what is held of one instrument; `start` may be called once.

    A round reads position and book, and sends at most one order; the next one begins after the
    verdict and a pause. Nothing is sent again while an order without a verdict may still take
    effect. Rounds are counted, so the end comes whatever the venue does.

    Args:
        cloid_prefix: High 64 bits of every cloid.
        on_done: Called once.
        say: Hears of every order before it is sent, a sentence each.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        signer: Signer,
        user: str,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        gateway: GatewayParams,
        params: FlattenParams,
        nonces: Nonces,
        cloid_prefix: int,
        log: Log,
        on_done: Callable[[Closed], None],
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._instrument = instrument
        self._grid = Grid(instrument)
        self._user = user
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._params = params
        self._nonces = nonces
        self._expires_ns = round(gateway.expires_after_s * NS_PER_S)
        self._cloid = cloid_prefix << 64 | _CLOID_BIT
        self._log = log
        self._on_done = on_done
        self._say = say
        self._gateway = Gateway(
            instrument,
            signer,
            nonces,
            link_send=lambda _: False,  # over HTTP: whether there is a socket does not matter
            http=http,
            clock=clock,
            scheduler=scheduler,
            params=gateway,
            emit=self._on_verdict,
            user=user,
        )
        self._round: _Round | None = None
        self._timer: Handle | None = None
        self._waits_for: int | None = None
        """Cloid of the order that has no verdict yet."""
        self._rounds = 0
        self._window_ns: int | None = None
        """When the venue first refused takers, after an upgrade of its network."""
        self._orders = 0
        self._fees: Fees | None = None
        self._before_lots: int | None = None
        self._left_lots: int | None = None
        self._mid_ticks: float | None = None
        self._part_lots = 0
        self._why = "the account could not be read"
        self.is_over = False

    def start(self) -> None:
        """Begin; the first answer comes later, never from within."""
        self._look()

    def abandon(self) -> None:
        """Send and expect nothing more; `on_done` is not called."""
        self.is_over = True
        self._round = None
        if self._timer is not None:
            self._timer.cancel()
        self._gateway.close()

    @property
    def so_far(self) -> Closed:
        """What has been done, and what is left by the venue's last word."""
        instrument, mid = self._instrument, self._mid_ticks
        before, left = self._before_lots, self._left_lots
        worst: float | None = None
        if before and mid is not None:
            side = Side.SELL if before > 0 else Side.BUY
            worst = instrument.px(bound_ticks(instrument, side, mid, self._params))
        return Closed(
            before_sz=None if before is None else instrument.sz(before),
            left_sz=None if left is None else instrument.sz(left),
            orders=self._orders,
            taker_fee_bps=None if self._fees is None else self._fees.taker_bps,
            mid_px=None if mid is None else instrument.px(mid),
            worst_px=worst,
            why=None if left == 0 else self._why,
        )

    # -- looking ----------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = None
        if self.is_over:
            return
        kinds: tuple[str, ...] = (_ACCOUNT, _BOOK)
        if self._fees is None:
            kinds = (*kinds, _FEES)
        looking = self._round = _Round(kinds)
        for kind in kinds:
            self._ask(looking, kind)

    def _ask(self, looking: _Round, kind: str) -> None:
        payload: dict[str, str] = {"type": kind}
        if kind == _BOOK:
            payload["coin"] = self._instrument.coin
        else:
            payload["user"] = self._user
        if kind == _ACCOUNT:
            payload["dex"] = self._instrument.dex
        self._http.post(
            "/info",
            msgspec.json.encode(payload),
            lambda reply: self._on_read(looking, kind, reply),
            _READ_TIMEOUT_S,
        )

    def _on_read(self, looking: _Round, kind: str, reply: HttpReply) -> None:
        if looking is not self._round:
            return
        error = reply_error(reply, f"/info {kind}")
        if error is None:
            looking.bodies[kind] = reply.body
            if len(looking.bodies) < len(looking.kinds):
                return
            self._round = None
            try:
                self._judge(looking)
            except VenueProtocolError as unreadable:
                self._go_on(str(unreadable))
        else:
            self._round = None
            self._on_refused_read(error)

    def _on_refused_read(self, error: VenueError) -> None:
        self._log.warning("flatten.unread", error=str(error))
        self._go_on(str(error))

    def _judge(self, looking: _Round) -> None:
        """Everything of a round is here: what is held, and what is done about it."""
        account = wire_rest.clearinghouse_state(looking.bodies[_ACCOUNT], self._instrument)
        self._nonces.hear(account.venue_ms)
        held = self._left_lots = account.position_lots
        if self._before_lots is None:
            self._before_lots = held
        if held == 0:
            self._end()
            return
        if self._fees is None:
            self._fees = account_fees(self._instrument, looking.bodies[_FEES])
        dear = too_dear(self._fees, self._params)
        if dear is not None:
            self._why = dear
            self._end()
            return
        touch = self._touch(looking.bodies[_BOOK])
        if touch is None:
            self._go_on("the book has no two sides")
            return
        if self._mid_ticks is None:
            self._mid_ticks = touch.mid_ticks
            self._part_lots = slice_lots(held, touch.mid_ticks, self._params)
        if self._rounds >= self._params.tries:
            self._end()
            return
        self._send(held, touch, self._mid_ticks)

    def _touch(self, body: bytes) -> Touch | None:
        try:
            book = msgspec.json.decode(body, type=WireBook | None, strict=False)
        except msgspec.DecodeError as error:
            raise VenueProtocolError(f"/info {_BOOK}: not a book: {error}") from None
        if book is None or not book.levels[0] or not book.levels[1]:
            return None
        best = [self._grid.level(levels[0]).px_ticks for levels in book.levels]
        return Touch(best[0], best[1])

    # -- sending ----------------------------------------------------------------------------

    def _send(self, held_lots: int, touch: Touch, mid_ticks: float) -> None:
        instrument, params = self._instrument, self._params
        self._cloid += 1
        place = next_close(
            cloid=self._cloid,
            held_lots=held_lots,
            part_lots=self._part_lots,
            touch=touch,
            mid_ticks=mid_ticks,
            instrument=instrument,
            params=params,
        )
        if place is None:
            self._go_on(
                f"the market is more than flatten.bound_bps = {params.bound_bps:g} from where "
                f"closing began ({instrument.px(mid_ticks):g})"
            )
            return
        now_ns = self._clock()
        batch, dropped = gate_close(
            place,
            held_lots=held_lots,
            worst_px_ticks=bound_ticks(instrument, place.side, mid_ticks, params),
            instrument=instrument,
            now_ns=now_ns,
        )
        if batch is None:
            self._go_on(f"the closing order was not let out: {dropped}")
            return
        assert self._fees is not None
        sz, px = instrument.sz(place.sz_lots), instrument.px(place.px_ticks)
        fee_usd = self._fees.taker_bps * 1e-4 * notional_usd(touch.mid_ticks, place.sz_lots)
        self._log.info(
            "flatten.sent",
            side=place.side.name.lower(),
            sz=sz,
            worst_px=px,
            position_sz=instrument.sz(held_lots),
            fee_usd=fee_usd,
        )
        if self._say is not None:
            verb = "buying" if place.side > 0 else "selling"
            self._say(f"{verb} {sz:g} at {px:g} or better, fee about {fee_usd:.4f} USD")
        self._orders += 1
        self._waits_for = place.cloid
        self._why = "what the book offered inside the bound was not enough"
        self._gateway.send(batch)

    def _on_verdict(self, event: Event) -> None:
        if not isinstance(event, Acked | Rejected | OutcomeUnknown) or self.is_over:
            return
        if event.cloid != self._waits_for:
            return
        self._waits_for = None
        if isinstance(event, Rejected):
            self._log.warning("flatten.refused", text=event.text)
            if event.reason is Rejection.POST_ONLY_WINDOW and self._waits_out_window():
                return
            self._go_on(f"the venue refused it: {event.text}")
        elif isinstance(event, OutcomeUnknown):
            self._log.warning("flatten.unanswered", text=event.text)
            # It may take effect until it expires; what is held is known for certain only then.
            self._go_on(f"the venue did not answer: {event.text}", wait_ns=self._expires_ns)
        else:
            self._go_on(self._why)

    def _waits_out_window(self) -> bool:
        """After an upgrade of its network the venue takes no taker for minutes: no try counts."""
        now_ns = self._clock()
        if self._window_ns is None:
            self._window_ns = now_ns
            self._log.warning("flatten.waits", window_s=self._params.window_s)
            if self._say is not None:
                self._say("the venue takes post-only orders alone after an upgrade: waiting")
        if now_ns - self._window_ns >= self._params.window_s * NS_PER_S:
            return False
        self._timer = self._scheduler.call_at(now_ns + _WINDOW_PAUSE_NS, self._look)
        return True

    def _go_on(self, why: str, *, wait_ns: int = 0) -> None:
        """Look again after a pause, unless that was the last round."""
        self._why = why
        self._rounds += 1
        if self._rounds > self._params.tries:
            self._end()
            return
        wait_ns += round(self._params.pause_s * NS_PER_S)
        self._timer = self._scheduler.call_at(self._clock() + wait_ns, self._look)

    def _end(self) -> None:
        result = self.so_far
        self.abandon()
        self._on_done(result)


def closed_line(closed: Closed, coin: str) -> str:
    """What became of it, as a sentence for a person."""
    count = f"{closed.orders} order{'' if closed.orders == 1 else 's'}"
    if closed.is_flat:
        if not closed.before_sz:
            return f"flat     nothing is held of {coin}"
        return f"flat     {closed.before_sz:+g} {coin} closed by {count}, confirmed by the venue"
    if closed.left_sz is None:
        return f"NOT FLAT what is held of {coin} is not known: {closed.why}"
    return f"NOT FLAT {closed.left_sz:+g} {coin} is left after {count}: {closed.why}"
