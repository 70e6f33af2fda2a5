"""
The engine: what is decided from the state that `intake` holds.

The steps of a decision stand together, since their order is what this module is about; each asks
another module for what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable

from mmbot.core.diagnostics import Capture, Summary, View, summarise
from mmbot.core.engine.decision import Decision
from mmbot.core.engine.intake import RESTART_STEP_NS
from mmbot.core.engine.params import EngineParams
from mmbot.core.engine.shown import Shown
from mmbot.core.engine.tally import Tally
from mmbot.core.events import ClockStepped, Event
from mmbot.core.intents import Cancel, Diff, Note, Status
from mmbot.core.ladder import Ladder, SideInputs, SideTarget
from mmbot.core.premises import Shut
from mmbot.core.quoter import MarketView, Quote, Quoter
from mmbot.core.reconcile import Forecast, SideView
from mmbot.core.risk import Batch, GateView, Limits, gate
from mmbot.core.slots import may_cancel
from mmbot.core.types import BUY, HALTED, NS_PER_S, RUNNING, SELL, Instrument, Side

_SIDES = (BUY, SELL)
_STALE = "stale book"
_LATE = "late book"
_DIAGNOSTICS_NS = NS_PER_S
_RELINK_NS = 5 * NS_PER_S
"""Lateness that lasts so long may be the connection's, so another is tried. Long enough for a burst
of retransmissions to be over; each time it did not help, the next one waits twice as long."""
_RELINK_NS_MAX = 160 * NS_PER_S


class Engine(Shown):
    """
    All trading state of one instrument. Deterministic: the same events and times give the same
    decisions; time comes in through the events and `decide` alone.
    """

    def __init__(
        self,
        params: EngineParams,
        instrument: Instrument,
        *,
        cloid_prefix: int,
        own_in_book: bool = True,
        ablate: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(
            params, instrument, cloid_prefix=cloid_prefix, own_in_book=own_in_book, ablate=ablate
        )
        self._quoter = Quoter(params.quoter, ablate=ablate)
        self._ladder = Ladder(params.ladder, instrument)
        self._stale_pull_ns = int(params.risk.stale_pull_s * NS_PER_S)
        self._stale_kill_ns = int(params.risk.stale_kill_s * NS_PER_S)
        self._warm_ns = int(params.risk.warm_s * NS_PER_S)
        self._shut: Shut | None = None
        """Why nothing may be added to the position, as of the last decision."""
        self._warm_at_ns: int | None = None
        """When the first market to be priced will have been watched for long enough."""
        self._is_stale = False
        self._late_since_ns: int | None = None
        self._relink_at_ns = 0
        self._relink_wait_ns = _RELINK_NS
        self._delta: float | None = None
        self._diagnosed_ns: int | None = None
        self._wake_ns: int | None = None
        self._wake_of: tuple[View | None, int | None, int | None, int] | None = None
        """Of the last decision, as long as `_wake_ns` has not been worked out."""
        self._dropped_ns: dict[tuple[str, str], int] = {}
        self._tally = Tally()
        self._inside_since_ns = 0
        self._inside_ns = 0

    def reconfigure(self, params: EngineParams, now_ns: int) -> None:
        """As of `Intake`; quoter and ladder take theirs."""
        if self._wake_of is not None:
            self._settle_wake()
        super().reconfigure(params, now_ns)
        self._quoter.retune(params.quoter)
        self._ladder.retune(params.ladder)
        self._delta = None

    def decide(self, now_ns: int) -> Decision:
        """The smallest set of requests that turns the orders we have into those we want."""
        orders, risk, book = self.orders, self.risk, self.book
        self._count_inside(now_ns)
        self._settle_fills(now_ns)
        age_ns, lag_ns = book.touch_age_ns(now_ns), book.lag_ns(now_ns)
        if age_ns is None and self._waited_ns is not None:
            age_ns = now_ns - self._waited_ns
        q_max = self._q_max_lots()
        x = self.position.lots / q_max if q_max > 0 else 0.0
        old_ns = self._old_ns(age_ns, lag_ns, now_ns)
        guard = self._guard(x, now_ns)
        self._alarm(now_ns)
        risk.update(x, old_ns, now_ns, guard)
        self._shut = self.premises.update(now_ns, has_book=book.fair_ticks is not None)
        blocked = self._blocked(age_ns, lag_ns, q_max)
        if (blocked is _STALE or blocked is _LATE) is not self._is_stale:
            self._tell_stale(blocked, age_ns, lag_ns)
        relink = self._relink(blocked, lag_ns, now_ns)
        view: View | None = None
        gate_view: GateView | None = None
        if blocked is None and book.fair_ticks is not None:
            view, diff, gate_view = self._trade(now_ns, q_max, x)
        else:
            held = self.position.lots
            # Where nothing can be priced, what reduces stays as it is; the rest must not.
            pulled = [side for side in _SIDES if blocked is not None or side * held >= 0]
            diff = Diff(self._all_cancels(now_ns, pulled))
        batch, dropped = gate(diff, orders, gate_view, self.instrument, now_ns)
        if dropped:
            self._note_dropped(dropped, now_ns)
        if batch is not None:
            self._book_sent(batch, now_ns)
        capture = self._capture(view, batch, now_ns)
        queries = orders.queries(now_ns)
        self._wake_of = (view, age_ns, old_ns, now_ns)
        status = self._status(blocked, view)
        leave = None if blocked is not None else self._leave(x, self._quoter.base_bps, now_ns)
        refusal = self.premises.refusal(self.instrument.coin, now_ns)
        return Decision(
            batch, self._drain(), queries, status, capture, risk.kill, relink, leave, refusal
        )

    @property
    def x(self) -> float:
        """Position as a fraction of its limit, long positive; 0 before the limits are known."""
        q_max = self._q_max_lots()
        return self.position.lots / q_max if q_max > 0 else 0.0

    def _on_clock(self, event: ClockStepped) -> None:
        super()._on_clock(event)
        self._diagnosed_ns = self._late_since_ns = None
        self._dropped_ns.clear()
        if abs(event.step_ns) >= RESTART_STEP_NS:
            self._warm_at_ns = None

    def forecast(self, now_ns: int) -> Forecast:
        """How long the request budget lasts at the present churn."""
        return self._reconciler.requests.forecast(now_ns)

    def wake_at_ns(self) -> int | None:
        """Earliest time at which `decide` could change its answer without a new event."""
        if self._wake_of is not None:
            self._settle_wake()
        return self._wake_ns

    def apply(self, event: Event) -> None:
        """Fold one event into state."""
        if self._wake_of is not None:
            self._settle_wake()
        self._handler_of(event)(event)

    def _settle_wake(self) -> None:
        """Work out the wake-up of the last decision: after it has left, before anything changes."""
        found, self._wake_of = self._wake_of, None
        assert found is not None
        self._wake_ns = self._next_wake(*found)

    def _book_sent(self, batch: Batch, now_ns: int) -> None:
        """Take what leaves as sent, before any answer to it."""
        self.orders.sent(batch.cancels, batch.moves, batch.places, now_ns)
        self._reconciler.requests.spend(len(batch))
        version = self.book.version
        for move in batch.moves:
            self._backoff[move.side < 0].book_version = version
        for place in batch.places:
            self._backoff[place.side < 0].book_version = version

    def _q_max_lots(self) -> float:
        limits = self.risk.limits
        px = self.book.fair_ticks or self.book.last_mid_ticks or self._mark_ticks
        return limits.q_max_lots(px) if limits is not None and px else 0.0

    # -- what keeps orders out of the market ------------------------------------------------------

    def _blocked(self, age_ns: int | None, lag_ns: int | None, q_max_lots: float) -> str | None:
        """Why nothing may rest at all; None if trading is on."""
        if self.risk.mode is HALTED:
            return "halted"
        if self._is_stopping:
            return "stopping"
        if self._is_unrecorded:
            return "journal late"
        if self.alarms.is_pulled:
            return "position mismatch"
        if self._linked_ns is None:
            return "no link"
        if self._snapshot_ns is None or self._snapshot_ns < self._linked_ns:
            return "waiting for the account"
        if age_ns is None or self.book.valid_recv_ns is None:
            return "no book yet"
        if age_ns >= self._stale_pull_ns:
            return _STALE
        if lag_ns is not None and lag_ns >= self._stale_pull_ns:
            return _LATE
        if q_max_lots <= 0:
            return "no capital"
        return None

    def _tell_stale(self, blocked: str | None, age_ns: int | None, lag_ns: int | None) -> None:
        """Note that prices became too old to quote on, or are fresh again."""
        self._is_stale = is_stale = not self._is_stale
        self._note(
            "book.stale" if is_stale else "book.fresh",
            "warning" if is_stale else "info",
            reason=blocked,
            age_s=None if age_ns is None else age_ns / NS_PER_S,
            lag_s=None if lag_ns is None else lag_ns / NS_PER_S,
        )

    def _old_ns(self, age_ns: int | None, lag_ns: int | None, now_ns: int) -> int | None:
        """For how long there has been no touch that could be quoted from."""
        if age_ns is None or lag_ns is None:
            return age_ns
        late_ns = 0 if self._late_since_ns is None else now_ns - self._late_since_ns
        return max(age_ns, lag_ns, late_ns)

    def _relink(self, blocked: str | None, lag_ns: int | None, now_ns: int) -> str | None:
        """Why another connection must be tried, once prices have been late for a while."""
        if blocked is None:
            self._late_since_ns = None
            self._relink_wait_ns = _RELINK_NS
        if blocked is not _LATE or lag_ns is None:
            return None
        if self._late_since_ns is None:
            self._late_since_ns = now_ns
            self._relink_at_ns = now_ns + self._relink_wait_ns
        if now_ns < self._relink_at_ns:
            return None
        late_s = (now_ns - self._late_since_ns) / NS_PER_S
        self._relink_wait_ns = min(2 * self._relink_wait_ns, _RELINK_NS_MAX)
        self._relink_at_ns = now_ns + self._relink_wait_ns
        return f"prices come {lag_ns / NS_PER_S:.1f} s late for {late_s:.0f} s"

    def _all_cancels(self, now_ns: int, sides: Iterable[Side]) -> tuple[Cancel, ...]:
        return tuple(
            Cancel(slot.cloid)
            for side in sides
            for slot in self.orders.side(side)
            if may_cancel(slot, now_ns)
        )

    def _closed(self, side: Side, x: float, quote: Quote, now_ns: int) -> str | None:
        """
        A rule by which nothing may be added on a side.

        It leaves the side empty, or with orders that reduce the position and cannot turn it round.
        """
        if self.risk.mode is not RUNNING:
            return "reducing"
        if side * x >= 1.0:
            return "position limit"
        if self._shut is not None:
            return self._shut.value
        guards = self._guards
        if guards is not None and guards.is_jumping(now_ns):
            return "price jump"
        if guards is not None and guards.is_off(side, now_ns):
            return "swept again"
        return "danger" if quote.pulls(side) else None

    # -- quote, ladder, difference ----------------------------------------------------------------

    def _trade(self, now_ns: int, q_max: float, x: float) -> tuple[View, Diff, GateView]:
        """Quote, ladder and difference of a market that can be priced."""
        book, limits, ladder = self.book, self.risk.limits, self._ladder
        fair, bid, ask = book.fair_ticks, book.bid, book.ask
        assert fair is not None
        assert bid is not None
        assert ask is not None
        assert limits is not None
        instrument, lots = self.instrument, self.position.lots
        live_px = self._digest.live_px(self.orders)
        self.signals.look(now_ns, book, live_px)
        step = instrument.step_ticks(int(fair))
        quote, market = self._quote(limits, fair, step, x, now_ns)
        self._stance = market.stance
        sigma = market.vol_bps_rt_s
        spacing = ladder.settle_spacing(fair, sigma)
        closed = (self._closed(BUY, x, quote, now_ns), self._closed(SELL, x, quote, now_ns))
        budgets = self._budgets(limits, fair, closed, now_ns)
        hold = self._reconciler.hold(sigma, spacing / fair * 1e4)
        hold_ticks = hold.bps * fair * 1e-4
        # The best prices that cannot execute: one step inside the other side's touch as shown.
        # An order of ours counts there: the venue refuses to cross it as it does any other.
        posts = instrument.floor_ticks(ask.px_ticks - 1), instrument.ceil_ticks(bid.px_ticks + 1)
        if self._shut is Shut.CAP:
            posts = self._not_beyond_oracle(*posts)
        targets: list[SideTarget] = []
        views: list[SideView] = []
        for side, budget, rule, post, live, backoff in zip(
            _SIDES, budgets, closed, posts, live_px, self._backoff, strict=True
        ):
            reduce_lots = max(0, -side * lots)
            is_only = rule is not None and reduce_lots > 0
            pulled = None if is_only else rule
            target = ladder.build(
                quote,
                SideInputs(side, budget, reduce_lots, post, live, pulled, is_only),
                position_lots=lots,
                step_ticks=step,
                hold_ticks=hold_ticks,
                hold_ns=hold.ns,
                now_ns=now_ns,
            )
            targets.append(target)
            floor_u = side * fair - quote.floor_bps * fair * 1e-4
            is_paused = backoff.is_active(book.version, now_ns)
            views.append(SideView(side, target, budget, reduce_lots, floor_u, is_paused))
        diff = self._reconciler.diff(self.orders, (views[0], views[1]), now_ns)
        gate_view = GateView(
            fair,
            quote.floor_bps,
            bid.px_ticks,
            ask.px_ticks,
            lots,
            *budgets,
            q_max,
            is_trading=True,
            closed=closed,
        )
        self._tally.see(lots, quote, targets[0], targets[1])
        view = View(quote, targets[0], targets[1], budgets, hold, q_max, market, spacing)
        return view, diff, gate_view

    def _not_beyond_oracle(self, bid_ticks: int, ask_ticks: int) -> tuple[int, int]:
        """At the cap of open interest the venue refuses prices more aggressive than its oracle."""
        instrument, oracle = self.instrument, self.instrument.ticks(self.premises.oracle_px)
        if oracle <= 0:
            return bid_ticks, ask_ticks
        bid = min(bid_ticks, instrument.floor_ticks(oracle))
        return bid, max(ask_ticks, instrument.ceil_ticks(oracle))

    def _budgets(
        self, limits: Limits, fair: float, closed: tuple[str | None, str | None], now_ns: int
    ) -> tuple[int, int]:
        """
        What may rest on either side: small while the market is known by priors alone.

        On a side where nothing may be added, no more than the position: what reduces a small one
        would else turn it round there.
        """
        lots, mode = self.position.lots, self.risk.mode
        if self._warm_at_ns is None:
            self._warm_at_ns = now_ns + self._warm_ns
        if now_ns >= self._warm_at_ns:
            bid, ask = limits.budgets_lots(lots, fair, mode)
        else:
            share, least = self._risk_params.warm_frac, self._ladder.least_lots(fair)
            bid, ask = limits.budgets_lots(lots, fair, mode, share=share, least_lots=least)
        if closed[0] is not None:
            bid = min(bid, max(0, -lots))
        if closed[1] is not None:
            ask = min(ask, max(0, lots))
        return bid, ask

    def _quote(
        self, limits: Limits, fair: float, step: int, x: float, now_ns: int
    ) -> tuple[Quote, MarketView]:
        if self._delta is None:
            budget_usd = limits.q_max_usd * limits.side_budget_frac
            self._delta = self._ladder.order_fraction(limits.q_max_usd, budget_usd)
        market = self.signals.view(
            now_ns,
            x,
            fair_px=self.instrument.px(fair),
            delta=self._delta,
            half_bps=self._quoter.base_bps,
        )
        quote = self._quoter.quote(
            now_ns=now_ns,
            fair_ticks=fair,
            step_ticks=step,
            x=x,
            fee_bps=self._fee_bps,
            delta=self._delta,
            market=market,
        )
        return quote, market

    # -- when to look again -----------------------------------------------------------------------

    def _next_wake(
        self, view: View | None, age_ns: int | None, old_ns: int | None, now_ns: int
    ) -> int | None:
        """`old_ns` is the age of the touch, by the venue's time where that makes it older."""
        times: list[int | None] = [
            self.orders.query_at_ns(),
            self.risk.wake_at_ns(),
            *self.alarms.wake_at_ns(),
            *self._digest.retries_ns(self.orders),
        ]
        if self.risk.mode is not HALTED:
            times += (self.premises.wake_at_ns(now_ns), self._hours.changes_at_ns(now_ns))
        if age_ns is not None and old_ns is not None and self.risk.mode is not HALTED:
            old_at_ns, pull_ns = now_ns - old_ns, self._stale_pull_ns
            times += (
                old_at_ns + self._stale_kill_ns,
                old_at_ns + pull_ns,
                now_ns - age_ns + pull_ns,
            )
        if self._late_since_ns is not None:
            times.append(self._relink_at_ns)
            times.append(self._late_since_ns + self._stale_kill_ns)
        if view is not None:
            bids, asks = self._backoff
            times += (
                self._warm_at_ns,
                view.bid.wake_ns,
                view.ask.wake_ns,
                bids.until_ns,
                asks.until_ns,
                self.signals.wake_at_ns(now_ns),
                self._reconciler.ready_at_ns(now_ns),
            )
            if self._diagnosed_ns is not None:
                times.append(self._diagnosed_ns + _DIAGNOSTICS_NS)
            if view.quote.reference_bps is not None:
                times.append(self.signals.reference.expires_at_ns())
            if self._guards is not None:
                times.append(self._guards.wake_at_ns(now_ns))
        return _soonest(times, now_ns)

    # -- reports ----------------------------------------------------------------------------------

    def _status(self, blocked: str | None, view: View | None) -> Status:
        mode = self.risk.mode
        if blocked is not None:
            return Status(mode, (blocked,))
        if view is None:
            return Status(mode, (self.book.invalid or "no fair price",))
        reasons: tuple[str, ...] = ()
        if view.bid.pulled is not None:
            reasons += (f"bid: {view.bid.pulled}",)
        if view.ask.pulled is not None:
            reasons += (f"ask: {view.ask.pulled}",)
        if self._reconciler.requests.is_spent:
            reasons += ("requests spent",)
        return Status(mode, reasons)

    def _capture(self, view: View | None, batch: Batch | None, now_ns: int) -> Capture | None:
        """What the record of this decision is made of; one a second where nothing changes."""
        if view is None:
            return None
        last = self._diagnosed_ns
        if batch is None and last is not None and now_ns - last < _DIAGNOSTICS_NS:
            return None
        self._diagnosed_ns = now_ns
        orders = self.orders
        return Capture(
            view,
            self.instrument,
            now_ns,
            self.risk.mode,
            self.book.mid_ticks,
            self.position.lots,
            (orders.exposure_lots(BUY), orders.exposure_lots(SELL)),
            self.risk.equity_usd,
            self._reconciler.requests.left,
        )

    def _count_inside(self, now_ns: int) -> None:
        """Add the time since the last decision that an order spent inside its floor."""
        since, self._inside_since_ns = self._inside_since_ns, now_ns
        inside = self._reconciler.inside
        if not inside:
            return
        ends = [
            now_ns if cloid in self.orders.slots else self.orders.gone_at_ns(cloid) or since
            for cloid in inside
        ]
        self._inside_ns += max(0, max(ends) - since)
        inside[:] = [cloid for cloid in inside if cloid in self.orders.slots]

    def summary(self) -> Summary:
        """What the session did so far."""
        px = self.book.last_mid_ticks or self._mark_ticks
        return summarise(
            self.position,
            self.markouts,
            self.instrument,
            px_ticks=px,
            max_drawdown_frac=self.risk.max_drawdown_frac,
            skew_at_max_bps=self._tally.skew_at_max_bps,
            max_inventory_lots=self._tally.max_lots,
            touches_at_max=self._tally.at_max,
            touches_at_end=self._tally.at_end,
            resting_orders=len(self.orders.slots),
            inside_ns=self._inside_ns,
        )

    def _note_dropped(self, dropped: list[Note], now_ns: int) -> None:
        """Log what the gate dropped, a given reason on a given side once a second."""
        for note in dropped:
            key = (str(note.facts["side"]), str(note.facts["reason"]))
            if now_ns - self._dropped_ns.get(key, -NS_PER_S) >= NS_PER_S:
                self._dropped_ns[key] = now_ns
                self._notes.append(note)


def _soonest(times: Iterable[int | None], now_ns: int) -> int | None:
    """The first of these times that is still to come."""
    soonest: int | None = None
    for at_ns in times:
        if at_ns is not None and at_ns > now_ns and (soonest is None or at_ns < soonest):
            soonest = at_ns
    return soonest
