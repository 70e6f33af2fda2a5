"""
What of a recorded market was us, and the same market without it.

The book of a venue shows our orders, and its tape what they traded. Played back with them in it, an
engine would price from the quotes of another one of itself, queue behind them, and be unable to
leave a price that it had once been at.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.core.engine.intake import Intake
from mmbot.core.events import Bbo, Book, Fill, Level, Trade, Trades
from mmbot.core.footprint import Footprint, OwnLevels
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.types import BUY, SELL, Side, Tif
from mmbot.emulator.recordings import Frame, Message, Recording, in_venue_order, lead_ns
from mmbot.journal.records import Output

FillKey = tuple[int, int, int]


class Desk(Intake):
    """
    Our orders and our position as the run's own engine had them, from its journal alone.

    It is the part of the engine that folds events, given what was recorded of the decisions. So it
    needs no decision to come out the same, and a journal of an earlier version serves as well.
    """

    def __init__(self, *args: Any, settle_ns: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.orders.settle_ns = settle_ns
        self.footprint = Footprint(self.orders)

    def decided(self, output: Output, now_ns: int) -> None:
        """Take what a decision sent, and that it asked what became of orders."""
        slots = self.orders.slots
        # Of what was sent before this desk was opened nothing is known: it is left alone.
        cancels = [Cancel(_cloid(row)) for row in output.cancels if _cloid(row) in slots]
        moves = [Move(*_order(row)) for row in output.moves if _cloid(row[0]) in slots]
        places = [Place(*_order(row), Tif(row[5])) for row in output.places]
        if cancels or moves or places:
            self.orders.sent(cancels, moves, places, now_ns)
        self.orders.queries(now_ns)
        self._drain()

    @property
    def is_two_sided(self) -> bool:
        """Whether a bid and an ask of ours rest."""
        return is_two_sided(self)


def is_two_sided(engine: Intake) -> bool:
    """Whether a bid and an ask rest, by the last word on every order."""
    orders = engine.orders
    return orders.resting_lots(BUY) > 0 and orders.resting_lots(SELL) > 0


def _cloid(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _order(row: Any) -> tuple[int, Side, int, int, bool]:
    return _cloid(row[0]), Side(row[1]), row[2], row[3], row[4]


def key_of(fill: Fill) -> FillKey:
    """What tells a fill from every other one of the coin."""
    return fill.tid, fill.oid, fill.venue_ms


def without_us(frame: Bbo | Book, desk: Desk) -> Bbo | Book:
    """
    A frame of the book as it would have been shown without our orders.

    A price that was ours alone is gone. Behind a touch that was ours alone the newest books tell
    what stood there, as they do for the engine (`core.book`); where they do not, that side is
    empty, and prices nothing.
    """
    ours = desk.footprint.at(frame.recv_ns)
    book = desk.book
    is_touch = book.apply(frame, ours)
    if not ours:
        return frame
    if isinstance(frame, Book):
        return msgspec.structs.replace(
            frame, bids=_levels(BUY, frame.bids, ours), asks=_levels(SELL, frame.asks, ours)
        )
    is_priced = is_touch and book.invalid is None
    return msgspec.structs.replace(
        frame,
        bid=_touch(BUY, frame.bid, ours, book.others_bid if is_priced else None),
        ask=_touch(SELL, frame.ask, ours, book.others_ask if is_priced else None),
    )


def _levels(side: Side, levels: tuple[Level, ...], ours: OwnLevels) -> tuple[Level, ...]:
    left: list[Level] = []
    for level in levels:
        own = ours.get(side * level.px_ticks)
        lots = level.sz_lots if own is None else own.others_lots(level.sz_lots)
        if lots > 0:
            left.append(level if own is None else Level(level.px_ticks, lots))
    return tuple(left)


def _touch(side: Side, level: Level | None, ours: OwnLevels, behind: Level | None) -> Level | None:
    own = None if level is None else ours.get(side * level.px_ticks)
    if level is None or own is None:
        return level
    lots = own.others_lots(level.sz_lots)
    return Level(level.px_ticks, lots) if lots > 0 else behind


def without_taken(trades: Trades, taken: set[int]) -> Trades | None:
    """A message of trades without those in which we were the taker; None where nothing is left."""
    kept = [i for i, tid in enumerate(trades.tids) if tid not in taken]
    if len(kept) == len(trades.tids):
        return trades
    if not kept:
        return None
    times = tuple([trades.times_ms[i] for i in kept])
    return Trades(
        recv_ns=trades.recv_ns,
        venue_ms=max(times),
        times_ms=times,
        sides=tuple([trades.sides[i] for i in kept]),
        px_ticks=tuple([trades.px_ticks[i] for i in kept]),
        sz_lots=tuple([trades.sz_lots[i] for i in kept]),
        tids=tuple([trades.tids[i] for i in kept]),
    )


def at_next_price(happened: tuple[Frame, ...], made: set[int]) -> tuple[Frame, ...]:
    """
    The tape in which whoever traded with us traded with the next in line.

    Such a taker came for whoever was there. The price of the trade was ours: without us he would
    have got the best price of others, if that is worse for him than ours was. Where our order stood
    behind others he had gone through them already, and the price stays.
    """
    found: list[Frame] = []
    bid: Level | None = None
    ask: Level | None = None
    for frame in happened:
        if isinstance(frame, Trade):
            next_ = ask if frame.side is BUY else bid
            if frame.tid in made and next_ is not None:
                # The taker's side is the sign: a buyer pays more, a seller gets less.
                worse = max(frame.side * frame.px_ticks, frame.side * next_.px_ticks)
                found.append(msgspec.structs.replace(frame, px_ticks=frame.side * worse))
                continue
        elif isinstance(frame, Bbo):
            bid, ask = frame.bid, frame.ask
        else:
            bid = frame.bids[0] if frame.bids else None
            ask = frame.asks[0] if frame.asks else None
        found.append(frame)
    return tuple(found)


def recording_of(coin: str, frames: tuple[Message, ...], made: set[int]) -> Recording:
    """
    A recording of messages in which nothing of us is left but the takers that traded with us.

    Args:
        coin: Name of the perp.
        frames: In the order in which they were received.
        made: Trades in which an order of ours was hit.
    """
    first_ms = min(frame.venue_ms for frame in frames if not isinstance(frame, Trades))
    happened: list[Frame] = []
    seen: set[int] = set()
    repeated = replayed = 0
    for frame in frames:
        if not isinstance(frame, Trades):
            happened.append(frame)
            continue
        for trade in _each(frame):
            if trade.tid in seen:
                repeated += 1
            elif trade.venue_ms < first_ms:
                replayed += 1
            else:
                happened.append(trade)
            seen.add(trade.tid)
    return Recording(
        coin=coin,
        frames=frames,
        happened=at_next_price(in_venue_order(happened), made),
        lead_ns=lead_ns(happened),
        duplicate_trades=repeated,
        replayed_trades=replayed,
        read_s=0.0,
        parse_s=0.0,
    )


def _each(trades: Trades) -> list[Trade]:
    """The trades of a message, each by itself."""
    return [
        Trade(trades.recv_ns, *row)
        for row in zip(
            trades.times_ms,
            trades.sides,
            trades.px_ticks,
            trades.sz_lots,
            trades.tids,
            strict=True,
        )
    ]
