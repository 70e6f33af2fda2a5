"""
An account on paper: the emulated venue, with a real market on the other side of its book.

Accounts, margin, fees, funding, budgets, rules and wire shapes are those of the emulated exchange.
Only the book differs: our orders alone rest in it, and what meets them is the market that somebody
else runs, as its public streams tell. Pure: frames and time come in.

The fills err against us, in size and in money. In size by the rules of a recording (`tape`,
`flights`): an order waits behind the largest size seen at its price while it was on its way, only
trades shorten that queue, a trade at the price fills what exceeds it, one trade never fills more
than its own size. What else there is:

- An order that a book shows the market beyond is filled whole, at its price, whether a trade was
  told or not: where the other side's touch is at its price or better, for whoever rested there
  would have met it; and where the mid has moved to its price or past it since it stood behind the
  mid, for then it is the best offer there is and whoever knows the price takes it. These are the
  fills that lose money, and a model that waits for a trade lets us cancel out of them. What
  happened while the streams were away is no other case.
- Streams do not arrive in the order of the venue's time, and may stand still. A trade or a book
  counts for an order only if it is dated after every frame that was known when the order came in,
  and after what the venue's clock then showed (`Lateness`).
- Before the first price nobody knows what an order would meet, so it is refused.

Orders that take meet the visible levels only, and each of them once until the next whole book.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator

from mmbot.core.events import AssetCtx, Bbo, Book, Event, Trade, Trades
from mmbot.core.types import Instrument, Side, Tif
from mmbot.emulator.assets import DEX_ID_BASE, DEX_ID_STEP
from mmbot.emulator.fees import GROWTH_FACTOR
from mmbot.emulator.flights import Approach, behind_own, hits, set_out
from mmbot.emulator.limits import NO_LIMITS
from mmbot.emulator.matching import SELF_TRADE, Desk, Level, MatchBook, Order
from mmbot.emulator.papering import PaperParams
from mmbot.emulator.params import ExchangeParams
from mmbot.emulator.queueing import RecordedBook
from mmbot.emulator.specs import AssetSpec, DexSpec, VenueParams
from mmbot.emulator.transfers import open_account
from mmbot.emulator.venue import Venue
from mmbot.emulator.wire import Exchange

STRANGERS = "0x" + "5" * 40
"""The account that stands for everybody else."""
TIDS_KEPT = 20_000
"""Trades remembered, to know those again that a new subscription repeats."""
_LATENESS_MS = 300_000
"""How long the promptest frame counts, and as long again."""
_NEVER_MS = 10**12
"""The real venue ends silent sockets; this one has nobody to protect."""


class Lateness:
    """
    How late the promptest frame of late was: receipt less the venue's time, in ms.

    It is the way from the venue and the difference of two clocks together, which nobody can tell
    apart and nobody has to. Forgotten after `_LATENESS_MS` to twice as much: a clock that was set
    is then understood, and no line that stands still lasts as long.
    """

    __slots__ = ("_before_ms", "_newest_ms", "_since_ms")

    def __init__(self) -> None:
        self._newest_ms: int | None = None
        self._before_ms: int | None = None
        self._since_ms = 0

    def note(self, now_ms: int, venue_ms: int) -> None:
        """A frame of the venue's time `venue_ms` was received."""
        late_ms = now_ms - venue_ms
        if self._newest_ms is None:
            self._newest_ms, self._since_ms = late_ms, now_ms
        elif now_ms - self._since_ms >= _LATENESS_MS:
            self._before_ms, self._newest_ms, self._since_ms = self._newest_ms, late_ms, now_ms
        else:
            self._newest_ms = min(self._newest_ms, late_ms)

    def venue_ms(self, now_ms: int) -> int:
        """What the venue's clock shows at `now_ms`, or little less; 0 before the first frame."""
        known = [late for late in (self._newest_ms, self._before_ms) if late is not None]
        return now_ms - min(known) if known else 0


class _Waiting:
    """
    An order of ours in the book, and what must trade before it.

    `since_ms` is the venue's time when it came in: what is not dated later did not meet it.
    `was_behind` says that the mid has been on the far side of it: a quote, not one at the mid.
    """

    __slots__ = ("ahead_lots", "order", "since_ms", "was_behind")

    def __init__(self, order: Order, ahead_lots: int, since_ms: int, *, was_behind: bool) -> None:
        self.order = order
        self.ahead_lots = ahead_lots
        self.since_ms = since_ms
        self.was_behind = was_behind

    @property
    def oid(self) -> int:
        return self.order.oid

    @property
    def side(self) -> Side:
        return self.order.side

    @property
    def px_ticks(self) -> int:
        return self.order.px_ticks

    @property
    def left_lots(self) -> int:
        return self.order.sz_lots

    @property
    def is_reduce_only(self) -> bool:
        return self.order.is_reduce_only


class PaperBook(MatchBook):
    """
    Our orders, and the market as it is known.

    Args:
        queue_factor: Multiplies every size that stands ahead of an order.
        flight_ms: How long an action has been on its way when it comes in.
        clock_ms: The venue's time.
        stranger: An order of somebody else, by side, price and size, that trades with ours.
    """

    __slots__ = (
        "_clock_ms",
        "_earlier",
        "_flight_ms",
        "_lateness",
        "_passed",
        "_stranger",
        "_taken",
        "market",
        "newest_ms",
        "waiting",
    )

    def __init__(
        self,
        queue_factor: float,
        flight_ms: int,
        *,
        clock_ms: Callable[[], int],
        stranger: Callable[[Side, int, int], Order],
    ) -> None:
        super().__init__()
        self.market = RecordedBook(queue_factor)
        self.waiting: dict[int, _Waiting] = {}
        self.newest_ms = 0
        """Venue's time of the newest frame, a trade or a book."""
        self._earlier = RecordedBook(queue_factor)
        """The market as it was when what comes in now was sent."""
        self._passed: deque[tuple[int, Bbo | Book | Trade]] = deque()
        """What was heard since then, with the time it was."""
        self._flight_ms = flight_ms
        self._clock_ms = clock_ms
        self._lateness = Lateness()
        self._stranger = stranger
        self._taken: Counter[tuple[Side, int]] = Counter()

    # -- the market -------------------------------------------------------------------------------

    def hear(self, frame: Bbo | Book | Trade) -> None:
        """Take the next frame of the market in."""
        self._forget()
        self._passed.append((self._clock_ms(), frame))
        self._lateness.note(self._clock_ms(), frame.venue_ms)
        self.newest_ms = max(self.newest_ms, frame.venue_ms)
        if isinstance(frame, Trade):
            return
        self.market.apply(frame)
        if isinstance(frame, Book):
            self._taken.clear()

    def _forget(self) -> None:
        """What was heard before anything on its way has left is one book, and no longer a film."""
        since_ms = self._clock_ms() - self._flight_ms
        passed = self._passed
        while passed and passed[0][0] < since_ms:
            frame = passed.popleft()[1]
            if not isinstance(frame, Trade):
                self._earlier.apply(frame)

    def strangers(self, side: Side) -> Iterator[tuple[int, int]]:
        """Prices and what is left of their visible size, best first."""
        for level in self.market.visible(side):
            lots = level.sz_lots - self._taken[side, level.px_ticks]
            if lots > 0:
                yield level.px_ticks, lots

    def met(self, trade: Trade) -> list[_Waiting]:
        """Orders that were in the book when a trade happened."""
        return [one for one in self.waiting.values() if trade.venue_ms > one.since_ms]

    def passed_over(self) -> list[_Waiting]:
        """Orders that the market has moved beyond after they had come in, best price first."""
        passed: list[_Waiting] = []
        for one in self.waiting.values():
            # The touch is always of the frame that is dated last.
            if self.market.venue_ms <= one.since_ms:
                continue
            behind = self._behind_mid(one.side, one.px_ticks)
            if self.market.crosses(one.side, one.px_ticks) or (one.was_behind and behind <= 0):
                passed.append(one)
            elif behind > 0:
                one.was_behind = True
        return sorted(passed, key=lambda one: (-one.px_ticks * one.side, one.oid))

    def _behind_mid(self, side: Side, px_ticks: int) -> int:
        """Half ticks from a price to the mid, above zero for a quote; 1 without a mid."""
        bid, ask = self.market.touch[Side.BUY], self.market.touch[Side.SELL]
        if bid is None or ask is None:
            return 1
        return (bid.px_ticks + ask.px_ticks - 2 * px_ticks) * side

    def _approach(self, side: Side, px_ticks: int) -> Approach:
        self._forget()
        book = self._earlier.copy()
        approach = set_out(book, side, px_ticks)
        for _, frame in self._passed:
            if isinstance(frame, Trade):
                approach.pass_by(frame)
            else:
                book.apply(frame)
                approach.meet(book)
        return approach

    # -- as the venue reads it --------------------------------------------------------------------

    @property
    def bid_ticks(self) -> int | None:
        """The market's best bid."""
        touch = self.market.touch[Side.BUY]
        return None if touch is None else touch.px_ticks

    @property
    def ask_ticks(self) -> int | None:
        """The market's best ask."""
        touch = self.market.touch[Side.SELL]
        return None if touch is None else touch.px_ticks

    def levels(self, side: Side) -> Iterator[Level]:
        """The market's levels, best first; nobody's orders are in them."""
        for px_ticks, lots in self.strangers(side):
            level = Level(px_ticks)
            level.sz_lots = lots
            yield level

    def orders(self) -> Iterator[Order]:
        """Ours."""
        return iter([one.order for one in self.waiting.values()])

    def would_cross(self, side: Side, px_ticks: int) -> bool:
        """
        Whether it meets the market, now or at any moment of its way, or an order of ours.

        Before the first price nobody knows, and what must not is refused.
        """
        if not self.market.venue_ms:
            return True
        return self._approach(side, px_ticks).is_refused or super().would_cross(side, px_ticks)

    # -- changing ---------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        """Rest `order` behind what the market and we have at its price."""
        approach = self._approach(order.side, order.px_ticks)
        ahead_lots = behind_own(
            approach.ahead_lots, order.side, order.px_ticks, self.waiting.values()
        )
        super().add(order)
        since_ms = max(self.newest_ms, self._lateness.venue_ms(self._clock_ms()))
        was_behind = self._behind_mid(order.side, order.px_ticks) > 0
        self.waiting[order.oid] = _Waiting(order, ahead_lots, since_ms, was_behind=was_behind)

    def remove(self, order: Order) -> None:
        """Take an order of ours off."""
        super().remove(order)
        del self.waiting[order.oid]

    def give(self, order: Order, lots: int) -> None:
        """Take `lots` off an order of ours; an order that is filled leaves the book."""
        if lots < order.sz_lots:
            self.shrink(order, order.sz_lots - lots)
            return
        self.remove(order)
        order.sz_lots = 0

    def match(self, taker: Order, desk: Desk) -> int:
        """Take what is visible up to the limit; orders of ours in the way are cancelled."""
        side = taker.side.opposite
        for one in list(self.waiting.values()):
            if one.side is side and (taker.px_ticks - one.px_ticks) * taker.side >= 0:
                self.remove(one.order)
                desk.dropped(one.order, SELF_TRADE)
        got = 0
        for px_ticks, lots in list(self.strangers(side)):
            if not taker.sz_lots or (taker.px_ticks - px_ticks) * taker.side < 0:
                break
            sz_lots = min(lots, taker.sz_lots)
            taker.sz_lots -= sz_lots
            got += sz_lots
            self._taken[side, px_ticks] += sz_lots
            desk.executed(self._stranger(side, px_ticks, sz_lots), taker, sz_lots)
        return got


class PaperMarket:
    """
    The market of one perp as it is told, and what it does to our orders.

    Args:
        venue: Holds our account; its book of this perp is replaced.
        asset_id: The perp.
        queue_factor: Of `PaperParams`.
        flight_ms: How long an action has been on its way when it comes in.

    Attributes:
        crossed_orders: Orders that were filled because a book showed the market beyond them.
        crossed_lots: What of them was filled so.
    """

    def __init__(self, venue: Venue, asset_id: int, *, queue_factor: float, flight_ms: int) -> None:
        self._venue = venue
        self._asset = venue.asset(asset_id)
        self._house = open_account(venue.state, STRANGERS, is_house=True).slot(self._asset, 1)
        self.book = self._asset.book = PaperBook(
            queue_factor,
            flight_ms,
            clock_ms=lambda: venue.state.now_ms,
            stranger=self._order,
        )
        self._tids: dict[int, None] = {}
        self.crossed_orders = 0
        self.crossed_lots = 0

    def see(self, event: Event) -> None:
        """Take one event of the public streams in; the venue is at the present."""
        match event:
            case Bbo() | Book():
                self.book.hear(event)
                self._pass()
            case Trades():
                for trade in _rows(event):
                    if trade.tid not in self._tids:
                        self._remember(trade.tid)
                        self._trade(trade)
            case AssetCtx():
                asset_id = self._asset.asset_id
                self._venue.set_oracle(asset_id, event.oracle_px)
                self._venue.set_funding(asset_id, event.funding_per_h)
                self._venue.set_mark(asset_id, event.mark_px)
            case _:
                pass

    def _remember(self, tid: int) -> None:
        self._tids[tid] = None
        if len(self._tids) > TIDS_KEPT:
            del self._tids[next(iter(self._tids))]

    def _trade(self, trade: Trade) -> None:
        self.book.hear(trade)
        met = self.book.met(trade)
        if not met:
            return
        slot = met[0].order.slot
        for one, lots in hits(met, trade, lambda: slot.szi_lots):
            self._fill(one.order, lots)

    def _pass(self) -> None:
        """Fill what the market is beyond."""
        for one in self.book.passed_over():
            lots = one.left_lots  # a fill before it may have shortened what only reduces
            if self._fill(one.order, lots):
                self.crossed_orders += 1
                self.crossed_lots += lots

    def _fill(self, order: Order, lots: int) -> bool:
        """Let somebody trade with an order of ours, unless its margin is gone; whether it did."""
        if order.oid not in self.book.waiting:
            return False  # a fill before this one ended it
        desk, state = self._venue.desk, self._venue.state
        refused = desk.refusal(order, lots)
        if refused is not None:
            self.book.remove(order)
            desk.dropped(order, refused)
            return False
        state.tx += 1
        self.book.give(order, lots)
        desk.executed(order, self._order(order.side.opposite, order.px_ticks, lots), lots)
        return True

    def _order(self, side: Side, px_ticks: int, lots: int) -> Order:
        """Of somebody else; all of it trades now."""
        state = self._venue.state
        return Order(
            oid=state.next_oid(),
            slot=self._house,
            side=side,
            px_ticks=px_ticks,
            sz_lots=0,
            orig_sz_lots=lots,
            tif=Tif.GTC,
            time_ms=state.now_ms,
        )


def _rows(trades: Trades) -> Iterator[Trade]:
    """The trades of a message, one by one."""
    for time_ms, side, px_ticks, sz_lots, tid in zip(
        trades.times_ms, trades.sides, trades.px_ticks, trades.sz_lots, trades.tids, strict=True
    ):
        yield Trade(trades.recv_ns, time_ms, side, px_ticks, sz_lots, tid)


def paper_exchange(
    instrument: Instrument,
    params: PaperParams,
    *,
    user: str,
    agent: str,
    equity_usd: float,
    mark_px: float,
    oracle_px: float,
    now_ms: int,
) -> tuple[Exchange, PaperMarket]:
    """
    An exchange with one account and one perp, whose market is told to it.

    Args:
        instrument: As the real venue lists it; ids and fees are the same here.
        params: How orders are answered.
        user: Address of the account. It is flat, and new: base tier, 10,000 requests.
        agent: Address of the key that signs for it.
        equity_usd: What it has, in the collateral of the dex.
        mark_px: At the start, USD, as is `oracle_px`.
        now_ms: The time.
    """
    place = instrument.asset_id
    index = (place - DEX_ID_BASE) // DEX_ID_STEP if instrument.dex else 0
    number = (place - DEX_ID_BASE) % DEX_ID_STEP if instrument.dex else place
    traded = AssetSpec(
        name=instrument.coin,
        sz_decimals=instrument.sz_decimals,
        max_leverage=instrument.max_leverage,
        mark_px=mark_px,
        oracle_px=oracle_px,
        only_isolated=instrument.only_isolated,
        growth_mode=instrument.growth_mode,
        deployer_fee_scale=_scale(instrument),
    )
    # Whatever comes before it in the lists is there for the count alone.
    fillers = tuple(
        AssetSpec(name=f"#{n}", sz_decimals=0, max_leverage=1, mark_px=1.0, is_delisted=True)
        for n in range(number)
    )
    dexes = [DexSpec(name="" if n == 0 else f"#{n}", assets=()) for n in range(index)]
    own = DexSpec(name=instrument.dex, assets=(*fillers, traded), collateral=instrument.collateral)
    venue = Venue(VenueParams(), [*dexes, own], now_ms)
    venue.open_account(user, usd=equity_usd, dex=instrument.dex)
    latency_ms = round(params.order_latency_ms + params.feed_lag_ms)
    manners = ExchangeParams(
        network="b",
        is_network_strict=True,
        latency_ms=latency_ms,
        reply_ms=round(params.reply_latency_ms),
        feed_ms=round(params.reply_latency_ms),
        idle_close_ms=_NEVER_MS,
        limits=NO_LIMITS,
    )
    market = PaperMarket(
        venue,
        place,
        queue_factor=params.queue_factor,
        flight_ms=latency_ms + manners.block_ms,
    )
    exchange = Exchange(venue, params=manners, now_ms=now_ms)
    exchange.gate.identities.approve_agent(user, agent, "", now_ms)
    return exchange, market


def _scale(instrument: Instrument) -> float | None:
    """The deployer's fee scale behind the multiplier of the fees (`fees.scale_factor`)."""
    if not instrument.dex:
        return None
    factor = instrument.fee_multiplier / (GROWTH_FACTOR if instrument.growth_mode else 1.0)
    return factor - 1 if factor < 2 else factor / 2
