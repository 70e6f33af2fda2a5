"""
One session: the engine that trades live, joined to the emulated venue in simulated time.

Event by event, on one thread, without a clock: the market's next event, a request that arrives, an
answer that comes back, the engine's own alarm, whichever is first. A session is a function of its
plan; two plans that differ in the engine alone meet the same prices and the same takers.
"""

from __future__ import annotations

import gc
from collections import deque
from heapq import heappop, heappush
from typing import Final

import msgspec
import numpy as np

from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.events import (
    Event,
    Fill,
    Funding,
    LinkUp,
    OrderUpdate,
    Rejected,
    RequestsLeft,
    Snapshot,
)
from mmbot.core.hours import HoursParams
from mmbot.core.types import NS_PER_MS, NS_PER_S, USD_PER_TICK_LOT
from mmbot.emulator.flow import surprises
from mmbot.emulator.market import MarketParams
from mmbot.errors import InvariantError
from mmbot.runtime.lab.exchange import START_MS, Exchange, Requests
from mmbot.runtime.lab.measure import Outcome
from mmbot.runtime.lab.mirror import Mirror
from mmbot.runtime.lab.predecessor import PredecessorEngine, Recorded
from mmbot.runtime.lab.variants import endless

_CLOID_PREFIX: Final = 0x6D6D_0000_01AB_0001
_CALM_X: Final = 0.2
_START_NS: Final = START_MS * NS_PER_MS


class Times(msgspec.Struct, frozen=True):
    """How long things travel, ms. With 0 there and back it is as on the embedded exchange."""

    order_ms: float = 50.0
    """From our send to the execution."""
    reply_ms: float = 0.0
    """From the execution to our knowing the verdict."""
    feed_ms: float = 0.0
    """From the event to our seeing it in a stream."""


class Plan(msgspec.Struct, frozen=True):
    """All that a session depends on."""

    coin: str
    market: MarketParams
    engine: EngineParams
    seed: int
    minutes: float = 25.0
    ablate: frozenset[str] = frozenset()
    """Terms the engine leaves out."""
    recorded: Recorded | None = None
    """What the engine does as the quoter of 24 February did."""
    times: Times = Times()
    has_queue: bool = True
    requests_base: int = 10_000
    block_ms: int = 1
    """The venue works in blocks, so far apart: what is due waits for the next one, ms."""
    maker_bps: float | None = None
    """Maker fee charged; None for the venue's own."""
    reference_coin: str = ""
    is_mirrored: bool = False
    """The engine sees the market upside down (`mirror`)."""
    is_kill_on: bool = False
    """Loss and drawdown limits end the session; else they are counted alone."""


class Session:
    """A plan being carried out. `run` may be called once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        risk = plan.engine.risk
        self.exchange = Exchange(
            plan.coin,
            plan.market,
            plan.seed,
            equity_usd=risk.capital_usd,
            leverage=risk.leverage,
            maker_bps=plan.maker_bps,
            reference_coin=plan.reference_coin,
            has_queue=plan.has_queue,
            requests_base=plan.requests_base,
        )
        self.engine = self._engine()
        exchange, instrument = self.exchange, self.exchange.instrument
        self._mirror = (
            Mirror(instrument, exchange.start_px, exchange.reference_start_px)
            if plan.is_mirrored
            else None
        )
        self._order_ns, self._reply_ns, self._feed_ns = (
            round(ms * NS_PER_MS)
            for ms in (plan.times.order_ms, plan.times.reply_ms, plan.times.feed_ms)
        )
        self._block_ns = plan.block_ms * NS_PER_MS
        self._arrivals: deque[tuple[int, Requests]] = deque()
        self._mail: list[tuple[int, int, list[Event]]] = []
        self._posted = 0
        # The venue's truth, of its own fills, when they happen.
        self.lots = 0
        self.fills = 0
        self._held: list[tuple[int, int]] = [(0, 0)]
        """Venue time since the start, ms, and the position from then on."""
        self._cash_ticks = 0
        self._costs_usd = 0.0
        self._x = self._max_x = 0.0
        self._low_usd = risk.capital_usd
        self.requests = self.refused = 0
        self._is_bid = self._is_ask = self._is_opposed = False
        self._bid_ns = self._ask_ns = self._opposed_ns = 0
        self._calm_ns = self._calm_quoted_ns = 0

    def _engine(self) -> Engine:
        plan, params = self.plan, self.plan.engine
        if not plan.is_kill_on:
            params = endless(params)
        # Its markets have no calendar: every session begins at the same time of one day.
        params = params.model_copy(update={"hours": HoursParams()})
        instrument, ablate = self.exchange.instrument, plan.ablate
        if plan.recorded is not None:
            return PredecessorEngine(
                params,
                instrument,
                cloid_prefix=_CLOID_PREFIX,
                recorded=plan.recorded,
                start_ticks=instrument.ticks(self.exchange.start_px),
                ablate=ablate,
            )
        return Engine(params, instrument, cloid_prefix=_CLOID_PREFIX, ablate=ablate)

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """
        Trade until the end, or until a limit ends it where limits do.

        Raises:
            InvariantError: The engine asks to be woken in the past.
        """
        is_collecting = gc.isenabled()
        # Nothing here makes cycles; looking for them would cost a tenth of the time.
        gc.disable()
        try:
            return self._run()
        finally:
            if is_collecting:
                gc.enable()

    def _run(self) -> Outcome:
        exchange, engine = self.exchange, self.engine
        end_ns = _START_NS + round(self.plan.minutes * 60 * NS_PER_S)
        arrivals, mail = self._arrivals, self._mail
        now_ns = _START_NS
        self._open(now_ns)
        wake_ns: int | None = now_ns
        while True:
            before_ns = now_ns
            market_ns = self._block_at(exchange.next_due_ms() * NS_PER_MS)
            now_ns = market_ns
            if arrivals and arrivals[0][0] < now_ns:
                now_ns = arrivals[0][0]
            if mail and mail[0][0] < now_ns:
                now_ns = mail[0][0]
            if wake_ns is not None and wake_ns < now_ns:
                now_ns = wake_ns
            if now_ns >= end_ns:
                self._count_time(end_ns - before_ns)
                break
            self._count_time(now_ns - before_ns)
            # Post-only orders and cancels come before what takes, in the block they share
            # (Hyperliquid docs, "Transaction ordering").
            while arrivals and arrivals[0][0] <= now_ns:
                self._execute(arrivals.popleft()[1], now_ns)
            if market_ns == now_ns:
                recv_ns = now_ns + self._feed_ns
                self._post(recv_ns, exchange.advance(now_ns // NS_PER_MS, recv_ns))
            is_due = wake_ns is not None and wake_ns <= now_ns
            while mail and mail[0][0] <= now_ns:
                is_due = True
                for event in heappop(mail)[2]:
                    engine.apply(event)
            if not is_due:
                continue
            decision = engine.decide(now_ns)
            if decision.batch is not None or decision.queries:
                self._send(decision, now_ns)
            self._watch(decision)
            wake_ns = engine.wake_at_ns()
            if wake_ns is not None and wake_ns <= now_ns:
                msg = f"the engine asks to be woken at {wake_ns}, which {now_ns} has passed"
                raise InvariantError(msg)
            if decision.kill is not None and self.plan.is_kill_on:
                end_ns = now_ns
                break
        return self._outcome(end_ns - _START_NS)

    def _open(self, now_ns: int) -> None:
        """What a connection would bring before the first frame: the account, fresh and flat."""
        exchange = self.exchange
        used, cap = exchange.requests
        self.engine.apply(LinkUp(now_ns))
        self.engine.apply(
            Snapshot(
                recv_ns=now_ns,
                requested_at_ns=now_ns,
                venue_ms=START_MS - 1,
                position_lots=0,
                entry_px=None,
                equity_usd=self.plan.engine.risk.capital_usd,
                mark_px=exchange.start_px,
                fees=exchange.fees,
                open_orders=(),
                fills=(),
                requests_used=used,
                requests_cap=cap,
            )
        )

    def _post(self, at_ns: int, events: list[Event]) -> None:
        """Book what happened, and let the engine know of it at `at_ns`."""
        if not events:
            return
        for event in events:
            if type(event) is Fill:
                self._book(event)
            elif type(event) is Funding:
                self._costs_usd += event.usd
            elif type(event) is Rejected:
                self.refused += 1
            elif type(event) is OrderUpdate:
                self._is_bid, self._is_ask = self.exchange.is_quoted
        mirror = self._mirror
        if mirror is not None:
            events = [mirror.event(event) for event in events]
        self._posted += 1
        heappush(self._mail, (at_ns, self._posted, events))

    def _book(self, fill: Fill) -> None:
        signed = fill.side * fill.sz_lots
        self.lots += signed
        self.fills += 1
        self._held.append((fill.venue_ms - START_MS, self.lots))
        self._cash_ticks -= signed * fill.px_ticks
        self._costs_usd += fill.fee_usd
        limits = self.engine.limits
        assert limits is not None
        self._x = self.lots / limits.q_max_lots(self.exchange.mid_ticks)
        self._max_x = max(self._max_x, abs(self._x))

    def _send(self, decision: Decision, now_ns: int) -> None:
        batch = decision.batch
        if batch is None:
            requests = Requests(queries=decision.queries)
        else:
            moves, places = batch.moves, batch.places
            mirror = self._mirror
            if mirror is not None:
                moves = tuple([mirror.order(move) for move in moves])
                places = tuple([mirror.order(place) for place in places])
            requests = Requests(batch.cancels, moves, places, decision.queries)
        self.requests += requests.cost
        self._arrivals.append((self._block_at(now_ns + self._order_ns), requests))

    def _block_at(self, at_ns: int) -> int:
        """First block at or after a time, counted from the start."""
        return _START_NS - (_START_NS - at_ns) // self._block_ns * self._block_ns

    def _execute(self, requests: Requests, now_ns: int) -> None:
        exchange = self.exchange
        recv_ns, reply_ns = now_ns + self._feed_ns, now_ns + self._reply_ns
        news, verdicts = exchange.execute(requests, now_ns // NS_PER_MS, recv_ns, reply_ns)
        self._post(recv_ns, news)
        if requests.cost:
            verdicts.append(RequestsLeft(reply_ns, *exchange.requests))
        self._post(reply_ns, verdicts)

    # -- measuring --------------------------------------------------------------------------------

    def _watch(self, decision: Decision) -> None:
        self._low_usd = min(self._low_usd, self.engine.risk.equity_usd)
        if decision.capture is not None:
            self._is_opposed = decision.capture.view.market.stance.is_opposed

    def _count_time(self, span_ns: int) -> None:
        is_bid, is_ask = self._is_bid, self._is_ask
        if is_bid:
            self._bid_ns += span_ns
        if is_ask:
            self._ask_ns += span_ns
        if self._is_opposed:
            self._opposed_ns += span_ns
        if -_CALM_X < self._x < _CALM_X:
            self._calm_ns += span_ns
            if is_bid and is_ask:
                self._calm_quoted_ns += span_ns

    @property
    def pnl_usd(self) -> float:
        """Change of equity at the fair price, by the venue's fills and charges."""
        gross = (self._cash_ticks + self.lots * self.exchange.fair_ticks) * USD_PER_TICK_LOT
        return gross - self._costs_usd

    def luck_usd(self, length_s: float) -> float | None:
        """
        What the position gained by moves of the fair price that could not be foreseen.

        Of mean zero whoever quotes: each move meets the position of the time before it. That holds
        of a session that runs to its end; one that a limit ends may stop at the move that did it.
        None where the market has moves that could be foreseen.
        """
        moves = surprises(self.plan.market, self.plan.seed, length_s)
        if moves is None:
            return None
        at_ms, lots = zip(*self._held, strict=True)
        # A fill of the same millisecond may be the move's own doing.
        before = np.searchsorted(np.array(at_ms), np.floor(moves.at_ms), side="left") - 1
        held = np.where(before >= 0, np.array(lots)[np.maximum(before, 0)], 0)
        there = moves.at_ms < length_s * 1000
        ticks = self.exchange.instrument.ticks(self.exchange.start_px) * 1e-4
        return float((held * moves.moves_bps)[there].sum()) * ticks * USD_PER_TICK_LOT

    def _kill_trips(self) -> int:
        risk, limits = self.engine.risk, self.plan.engine.risk
        loss_frac = (risk.start_usd - self._low_usd) / risk.start_usd
        return (loss_frac >= limits.loss_limit_frac - 1e-12) + (
            risk.max_drawdown_frac >= limits.drawdown_limit_frac - 1e-12
        )

    def _outcome(self, length_ns: int) -> Outcome:
        summary = self.engine.summary()
        span_ns = max(1, length_ns)
        return Outcome(
            seed=self.plan.seed,
            pnl_usd=self.pnl_usd,
            luck_usd=self.luck_usd(length_ns / NS_PER_S),
            final_lots=-self.lots if self._mirror is not None else self.lots,
            final_q_frac=abs(self._x),
            max_q_frac=self._max_x,
            fills=self.fills,
            opposed_frac=self._opposed_ns / span_ns,
            markout_1s_bps=summary.markout_1s_bps,
            markout_5s_bps=summary.markout_5s_bps,
            markout_30s_bps=summary.markout_30s_bps,
            max_drawdown_pct=summary.max_drawdown_pct,
            quoted_frac_bid=(self._ask_ns if self._mirror is not None else self._bid_ns) / span_ns,
            quoted_frac_ask=(self._bid_ns if self._mirror is not None else self._ask_ns) / span_ns,
            calm_two_sided_frac=self._calm_quoted_ns / self._calm_ns if self._calm_ns else None,
            requests=self.requests,
            refused=self.refused,
            kill_trips=self._kill_trips(),
            length_s=length_ns / NS_PER_S,
        )


def run_session(plan: Plan) -> Outcome:
    """The outcome of a plan: the same plan gives the same outcome to the last bit."""
    return Session(plan).run()
