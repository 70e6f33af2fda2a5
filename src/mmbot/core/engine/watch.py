"""What looks over the engine's shoulder: sweeps, soft guards, and whether every term is alive."""

from __future__ import annotations

from mmbot.core.engine.decision import Decision
from mmbot.core.engine.digest import Digest
from mmbot.core.engine.intake import RESTART_STEP_NS, Intake
from mmbot.core.engine.params import EngineParams
from mmbot.core.estimators.burst import Trigger
from mmbot.core.events import Bbo, Book, ClockStepped, LinkLost
from mmbot.core.guards import Guards
from mmbot.core.guards import Position as Guarded
from mmbot.core.hours import Hours
from mmbot.core.markout import RecentEdge
from mmbot.core.risk import Trip
from mmbot.core.stance import StanceView
from mmbot.core.types import BUY, SELL, Instrument
from mmbot.core.vitals import Facts, Vitals

_EDGE_S = 5
"""Horizon of the edge that the guards judge, s."""
_JUDGED_AS = {
    "skew": frozenset({"inventory_skew"}),
    "widening": frozenset({"widening", "guard"}),
    "cascade": frozenset({"cascade", "hold"}),
    "reduce": frozenset({"touch"}),
}


class Watch(Intake):
    """Beside the state: the guards over it. `ablate` names terms that a comparison leaves out."""

    def __init__(
        self,
        params: EngineParams,
        instrument: Instrument,
        *,
        cloid_prefix: int,
        own_in_book: bool = True,
        ablate: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(params, instrument, cloid_prefix=cloid_prefix, own_in_book=own_in_book)
        self._digest = Digest()
        self._guards = None if "guards" in ablate else Guards(params.guards)
        self._watched = params, _off(ablate)
        self._vitals = Vitals(params, instrument, off=self._watched[1])
        self._hours = Hours(params.hours)
        self._stance: StanceView | None = None
        self._edge: RecentEdge | None = None
        self._edge_events = 0

    def reconfigure(self, params: EngineParams, now_ns: int) -> None:
        """As of `Intake`; guards, hours and vitals take theirs."""
        super().reconfigure(params, now_ns)
        self._watched = params, self._watched[1]
        self._vitals.retune(params)
        self._hours = Hours(params.hours)
        if self._guards is not None:
            self._guards.retune(params.guards)

    def _on_link_lost(self, event: LinkLost) -> None:
        super()._on_link_lost(event)
        self._vitals.reset_gap()
        if self._guards is not None:
            self._guards.reset_gap()

    def _on_book(self, event: Bbo | Book) -> None:
        volatility, book = self.signals.volatility, self.book
        sd_ticks = volatility.robust_bps_rt_s * volatility.ticks_per_bps
        version = book.version
        super()._on_book(event)
        mid = book.mid_ticks
        if self._guards is None or mid is None or book.version == version:
            return
        note = self._guards.on_mid(event.recv_ns, book.venue_ms, mid, sd_ticks)
        if note is not None:
            self._notes.append(note)

    def _on_clock(self, event: ClockStepped) -> None:
        super()._on_clock(event)
        if abs(event.step_ns) >= RESTART_STEP_NS:
            # What they recompute begins anew, and they judge no record older than their last.
            params, off = self._watched
            self._vitals = Vitals(params, self.instrument, off=off)

    @property
    def is_opposed(self) -> bool:
        """Whether the last quote stood against a trend."""
        return self._stance is not None and self._stance.is_opposed

    def _settle_fills(self, now_ns: int) -> None:
        """Judge what was filled since the last decision: a sweep comes in one message."""
        if not self.signals.has_fills:
            return
        orders = self.orders
        resting = (orders.resting_lots(BUY), orders.resting_lots(SELL))
        for burst in self.signals.settle_fills(now_ns, self.book, resting):
            self._note(
                "cascade.seen",
                "warning",
                side=burst.side.name.lower(),
                depth_bps=burst.depth_bps,
                trigger=burst.trigger.value,
            )
            if self._guards is None or burst.is_extension or burst.trigger is Trigger.EVENTS:
                continue  # many small fills are no sweep
            note = self._guards.on_sweep(burst.at_ns, burst.side)
            if note is not None:
                self._notes.append(note)

    def judge(self, decision: Decision) -> None:
        """
        Look whether every term did what it must; what did not is noted and reduces the position.

        For the shell, once what was decided has left and before the next event is folded: it takes
        a third of a millisecond, and the state must be that of the decision.
        """
        record = decision.diagnostics
        if record is None:
            return
        for violation in self._vitals.observe(record, self._facts()):
            self._note(
                "vitals.violated",
                "error",
                term=violation.term,
                where=violation.at,
                kind=violation.kind.value,
                observed=violation.observed,
                expected=violation.expected,
                text=violation.text,
            )

    def _facts(self) -> Facts:
        """What came in, before any estimator, quoter or ladder made something of it."""
        instrument, signals = self.instrument, self.signals
        bids, asks = self._digest.live_px(self.orders)
        intensity, adverse = signals.intensity.served, signals.adverse.law
        filled = tuple(self._filled)
        self._filled.clear()
        return Facts(
            fee_bps=self._fee_bps,
            funding_bps_per_h=signals.funding_bps_per_h,
            reference_px=signals.reference.px,
            a_per_s=intensity.a_per_s,
            k_per_bp=intensity.k_per_bp,
            a0_bps=adverse.a0_bps,
            a1=adverse.a1,
            tape_events=intensity.events,
            taker_fills=self.position.taker_fills,
            filled=filled,
            live_bid_px=instrument.px(max(bids)) if bids else None,
            live_ask_px=instrument.px(min(asks)) if asks else None,
            is_k_bounded=signals.intensity.is_bounded,
            is_law_bounded=signals.adverse.is_bounded,
        )

    def _guard(self, x: float, now_ns: int) -> Trip | None:
        """The soft guard that asks to reduce, by the stance of the last decision."""
        # Asked whatever comes of it: their clocks go on while a dead term reduces as well.
        guard = self._guarded(x, now_ns)
        if not self._vitals.is_well:
            return Trip.VITALS
        if guard is None and not self._hours.is_open(now_ns):
            return Trip.HOURS
        return guard

    def _guarded(self, x: float, now_ns: int) -> Trip | None:
        stance = self._stance
        if self._guards is None or stance is None:
            return None
        events = self.markouts.events(_EDGE_S)
        if events != self._edge_events:
            self._edge, self._edge_events = self.markouts.recent_edge(_EDGE_S), events
        guarded = Guarded(x, stance.is_opposed, stance.urgency)
        guard = self._guards.update(now_ns, guarded, self._edge, events)
        return None if guard is None else Trip(guard.value)

    def _alarm(self, now_ns: int) -> None:
        """Look at every trigger of the kill switch that is not of money, after the guards."""
        known = self._snapshot_ns is not None
        self.alarms.update(
            now_ns,
            self.orders,
            missing_lots=self.missing_lots,
            offset_ns=self.book.offset_ns,
            requests_left=self._reconciler.requests.left if known else None,
            is_well=self._vitals.is_sound,
            stuck_ns=None if self._guards is None else self._guards.stuck_ns,
        )

    def _leave(self, x: float, half_bps: float, now_ns: int) -> str | None:
        """Why the run should end with its position closed as a taker; None nearly always."""
        stance, bid, ask = self._stance, self.book.bid, self.book.ask
        if self._guards is None or stance is None or bid is None or ask is None or x == 0:
            return None
        mid = (bid.px_ticks + ask.px_ticks) / 2
        cost_bps = self._taker_bps + (ask.px_ticks - mid) / mid * 1e4
        # Urgency is that move of the whole limit's share of it, in half spreads.
        saved_bps = stance.urgency * half_bps / abs(x)
        if not self._guards.wants_exit(now_ns, cost_bps=cost_bps, saved_bps=saved_bps):
            return None
        return (
            f"stuck against a trend: closing costs {cost_bps:.1f} bps, waiting is expected to cost "
            f"{saved_bps:.1f}"
        )


def _off(ablate: frozenset[str]) -> frozenset[str]:
    """Names under which the vitals know what was left out."""
    return frozenset[str]().union(*(_JUDGED_AS.get(term, frozenset()) for term in ablate))
