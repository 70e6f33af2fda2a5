"""The same orders at a venue that trades them and on paper, and what their fills are worth."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from mmbot.core.types import NS_PER_MS, Side
from mmbot.emulator.paper import paper_exchange
from mmbot.emulator.papering import PaperParams
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.wire import Decoder
from mmbot.runtime.connecting import subscriptions
from runtime.pipe_rig import START_MS, PipeRun

SPANS_S: Final = (1, 5, 30)
"""Of the markouts."""
_KNOWN_MS: Final = 200
"""An order may be this long on its way to the venue."""
_STEP_S: Final = 0.02


class Taken:
    """Fills of one account, summed: size, and size times markout by its span in s."""

    def __init__(self) -> None:
        self.fills = 0
        self.sz = 0.0
        self._worth = dict.fromkeys(SPANS_S, 0.0)

    def note(self, sz: float, markouts_bps: Sequence[float]) -> None:
        """One fill; markouts are for us above zero, in the order of `SPANS_S`."""
        self.fills += 1
        self.sz += sz
        for span_s, markout_bps in zip(SPANS_S, markouts_bps, strict=True):
            self._worth[span_s] += sz * markout_bps

    def add(self, other: Taken) -> None:
        """Take the fills of another run in."""
        self.fills += other.fills
        self.sz += other.sz
        for span_s in SPANS_S:
            self._worth[span_s] += other._worth[span_s]

    def worth(self, span_s: int) -> float:
        """Size times bps."""
        return self._worth[span_s]

    def markout_bps(self, span_s: int) -> float:
        """By size."""
        return self._worth[span_s] / self.sz


class OnPaper:
    """
    One account on paper.

    An order that ended at the venue, by a fill there for instance, ends here `keep_ms` later if it
    has not ended by itself.
    """

    def __init__(self, run: PipeRun, keep_ms: int) -> None:
        self.run = run
        self.keep_ms = keep_ms
        mark_px = run.touch()[0]
        self.books, self.market = paper_exchange(
            run.instrument,
            PaperParams(order_latency_ms=50, feed_lag_ms=0, reply_latency_ms=0),
            user=run.user,
            agent="0x" + "1" * 40,
            equity_usd=1e6,
            mark_px=mark_px,
            oracle_px=mark_px,
            now_ms=run.exchange.now_ms,
        )
        self._gone_ms: dict[str, int] = {}

    def order(self, bodies: Sequence[bytes]) -> None:
        """The requests that the venue got."""
        for body in bodies:
            self.books.request("POST", "/exchange", "application/json", body, lambda _: None)

    def end_what_ended(self, live: set[str], now_ms: int) -> None:
        """End what does not rest at the venue any more."""
        for row in self.books.venue.open_orders(self.run.user, ""):
            if row["cloid"] in live or row["timestamp"] >= now_ms - _KNOWN_MS:
                continue
            if now_ms - self._gone_ms.setdefault(row["cloid"], now_ms) >= self.keep_ms:
                self.books.venue.cancel(self.run.user, 5, oid=row["oid"])


class Mirrored:
    """
    A trading account, and its orders on paper at the same time on a twin of its market.

    The twin is of the same seed and has no such account, as a real market has none of paper's.

    Args:
        scenario: Of the emulated market.
        seed: Of both.
        sets: Configuration.
        keeps_ms: One account on paper each, see `OnPaper`.
    """

    def __init__(
        self, scenario: str, seed: int, *, sets: Sequence[str], keeps_ms: Sequence[int] = (0,)
    ) -> None:
        self.run = run = PipeRun(scenario, seed=seed, sets=sets)
        self.papers = [OnPaper(run, keep_ms) for keep_ms in keeps_ms]
        venue, market = build_venue(
            "HYPE", scenario, overrides={}, seed=seed, now_ms=START_MS, accounts=[]
        )
        self.twin = Exchange(venue, market, ExchangeParams(), market_coin="HYPE")
        self.session = self.twin.connect()
        for topic in subscriptions("HYPE", run.user, None):
            if "user" not in topic:
                message = {"method": "subscribe", "subscription": topic}
                self.session.receive(msgspec.json.encode(message).decode())
        self.decoder = Decoder(run.instrument, user=run.user)
        self._copied = 0
        self._mid_ms: list[int] = []
        self._mid_px: list[float] = []

    def trade(self, span_s: float) -> None:
        """Trade for a span."""
        self.run.start()
        for _ in range(round(span_s / _STEP_S)):
            self.run.sim.run_for(_STEP_S)
            now_ns = self.run.sim.clock()
            now_ms = now_ns // NS_PER_MS
            self.twin.advance(now_ms)
            events = [
                event
                for text in self.session.take()
                for event in self.decoder.decode(text.encode(), now_ns)
            ]
            requests = list(self.run.exchange.requests)[self._copied :]
            self._copied += len(requests)
            bodies = [msgspec.json.encode(entry["body"]) for entry in requests]
            live = {row["cloid"] for row in self.run.resting()}
            for paper in self.papers:
                paper.books.advance(now_ms)
                for event in events:
                    paper.market.see(event)  # type: ignore[arg-type]
                paper.books.collect()
                paper.order(bodies)
                paper.end_what_ended(live, now_ms)
            self._look(now_ms)

    def taken(self) -> list[Taken]:
        """Fills at the venue, then of each account on paper; markouts by the twin's mid."""
        return [
            self._of(exchange)
            for exchange in (self.run.exchange, *(paper.books for paper in self.papers))
        ]

    def _look(self, now_ms: int) -> None:
        touch = self.papers[0].market.book.market.touch
        bid, ask = touch[Side.BUY], touch[Side.SELL]
        if bid is not None and ask is not None:
            self._mid_ms.append(now_ms)
            self._mid_px.append(self.run.instrument.px(bid.px_ticks + ask.px_ticks) / 2)

    def _of(self, exchange: Exchange) -> Taken:
        found = Taken()
        rows: list[dict[str, Any]] = exchange.venue.user_fills(self.run.user, aggregate=False)
        for row in rows:
            px, sign = float(row["px"]), 1 if row["side"] == "B" else -1
            markouts = [
                sign * (self._mid_at(row["time"] + span_s * 1000) - px) / px * 1e4
                for span_s in SPANS_S
            ]
            found.note(float(row["sz"]), markouts)
        return found

    def _mid_at(self, at_ms: int) -> float:
        return self._mid_px[max(0, bisect_right(self._mid_ms, at_ms) - 1)]
