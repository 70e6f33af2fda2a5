"""
One engine in the market of a run: its orders are answered by the recorded market.

Whatever came in that no order of ours has a part in comes again at its time: the market, the mark,
the reference, the link, the lists of the venue. What the venue said of our account is said anew, of
the account as it is here: readings at the times at which the run had one, funding at the rate that
was paid, requests as they are used. The venue's verdicts come from `emulator.tape`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.events import AccountRead, Command, CommandKind, Fill, Funding, Snapshot
from mmbot.core.types import notional_usd
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.runtime.playback import EngineAdapter, Playback, Timed
from mmbot.runtime.report.facts import Fill as Booked
from mmbot.runtime.report.facts import Payment
from mmbot.runtime.report.fromlog import fill_of
from mmbot.runtime.whatif.market import End, FundingDue, Market, Reload
from mmbot.runtime.whatif.own import is_two_sided

Retune = Callable[[EngineParams], EngineParams]
"""What becomes of parameters that the run had; the change that is asked about."""


class Simulation(Playback):
    """
    One run of one engine through a market.

    Args:
        market: What comes in.
        retune: Gives the parameters, of the start and of every reload.
        ablate: Terms that are left out, beside those that the run left out.
        params: How orders travel and queue.

    Attributes:
        booked: Fills in their order.
        payments: Funding.
        quoted_ns: Time with a bid and an ask resting, up to the end of the run.
        is_leaving: Whether it ended of itself, without its switch, at `ended_ns`.
    """

    def __init__(
        self,
        market: Market,
        *,
        retune: Retune | None = None,
        ablate: frozenset[str] = frozenset(),
        params: RecordedVenueParams,
    ) -> None:
        started, first = market.started, market.first
        self._retune: Retune = retune or _as_it_was
        self._engine = engine = Engine(
            self._retune(market.params),
            started.instrument,
            cloid_prefix=started.cloid_prefix,
            own_in_book=False,
            ablate=frozenset(started.ablate) | ablate,
        )
        engine.orders.settle_ns = started.settle_ns
        super().__init__(
            EngineAdapter(engine),
            market.recording,
            instrument=started.instrument,
            fees=first.fees,
            params=params,
            capital_usd=first.equity_usd,
            requests_cap=first.requests_cap,
        )
        self.booked: list[Booked] = []
        self.payments: list[Payment] = []
        self.quoted_ns = 0
        self.ended_ns = market.end_ns
        self._market = market
        self._is_quoting = False
        self._counted_ns = market.start_ns
        self._is_read = False
        self.is_leaving = False
        self.venue.inherit(first.position_lots, started.instrument.ticks(first.mark_px))

    # -- inputs ---------------------------------------------------------------------------------

    def _begin(self, now_ns: int) -> None:
        """The account and the connection are among the inputs."""
        del now_ns
        restored = self._market.restored
        if restored is not None:
            self._engine.restore(restored.memory, restored.now_ns)

    def _inputs(self) -> Sequence[Timed]:
        return self._market.inputs

    def _fold(self, item: Timed) -> None:
        engine = self._engine
        match item:
            case Snapshot():
                engine.apply(self._snapshot(item))
            case AccountRead():
                engine.apply(self._reading(item))
            case FundingDue():
                usd = engine.position.lots * item.usd_per_lot
                if usd and engine.position.is_started:
                    engine.apply(Funding(item.recv_ns, item.venue_ms, usd))
                    self.payments.append(Payment(item.recv_ns, usd, "simulated"))
            case Fill():
                self._by_hand(item)
            case Reload():
                params = EngineParams.model_validate(item.params)
                engine.reconfigure(self._retune(params), item.recv_ns)
            case End():
                pass
            case _:
                super()._fold(item)

    def _snapshot(self, event: Snapshot) -> Snapshot:
        """A reading of the account as it is here; the first one is that of the run."""
        if not self._is_read:
            self._is_read = True
            # What an earlier run left behind is cancelled at once; it is not in this market.
            return msgspec.structs.replace(event, open_orders=())
        used, cap = self._requests()
        ticks = self._instrument.ticks(event.mark_px)
        return msgspec.structs.replace(
            event,
            position_lots=self._engine.position.lots,
            entry_px=None,
            equity_usd=self._equity_usd(ticks),
            maintenance_usd=self._maintenance_usd(event, ticks),
            liquidation_px=None,
            open_orders=self.venue.open_orders(event.recv_ns),
            fills=(),
            requests_used=used,
            requests_cap=cap,
        )

    def _reading(self, event: AccountRead) -> AccountRead:
        ticks = self._engine.mark_ticks
        if ticks is None:
            return event
        return msgspec.structs.replace(
            event,
            position_lots=self._engine.position.lots,
            equity_usd=self._equity_usd(ticks),
            maintenance_usd=self._maintenance_usd(event, ticks),
        )

    def _equity_usd(self, mark_ticks: float) -> float:
        return self.capital_usd + self._engine.position.pnl_usd(mark_ticks)

    def _maintenance_usd(self, event: Snapshot | AccountRead, mark_ticks: float) -> float:
        """
        Maintenance margin: that of the other positions of the account, and of ours as it is here.

        Half of the initial margin at the greatest leverage (Hyperliquid docs, "Margining").
        """
        rate = 0.5 / self._instrument.max_leverage
        ours = rate * abs(notional_usd(event.position_lots, mark_ticks))
        here = rate * abs(notional_usd(self._engine.position.lots, mark_ticks))
        return max(0.0, event.maintenance_usd - ours) + here

    def _by_hand(self, fill: Fill) -> None:
        """Somebody trades the account beside us, and would have here as well."""
        held = self._engine.position.lots
        self._engine.apply(
            msgspec.structs.replace(fill, start_position_lots=held, closed_pnl_usd=0.0)
        )
        self.venue.inherit(self.venue.position_lots + fill.side * fill.sz_lots, fill.px_ticks)

    def _requests(self) -> tuple[int, int]:
        first = self._market.first
        earned = int(self._earned_usd * self._instrument.request_credit)
        return first.requests_used + sum(self.sent.values()), self._requests_cap + earned

    # -- decisions ------------------------------------------------------------------------------

    def _step(self, read: Sequence[Timed], now_ns: int, wake_ns: int | None) -> Decision | None:
        self._count_time(now_ns)
        decision = super()._step(read, now_ns, wake_ns)
        if decision is not None:
            for note in decision.notes:
                if note.event == "fill.booked":
                    self.booked.append(fill_of(now_ns, note.facts, "simulated"))
            if decision.capture is not None:
                # As the run does once what was decided has left.
                self._engine.judge(decision)
            self._look_for_end(decision, now_ns)
        self._is_quoting = is_two_sided(self._engine)
        return decision

    def _look_for_end(self, decision: Decision, now_ns: int) -> None:
        """End where the run would have been ended by the program around the engine."""
        why = decision.leave or decision.refusal
        if why is not None and not self.is_leaving and self.kill is None:
            self.is_leaving = True
            self.end_reason, self.ended_ns = why, now_ns
            self._engine.apply(Command(now_ns, CommandKind.STOP, why))

    def _count_time(self, now_ns: int) -> None:
        until_ns = min(now_ns, self._market.end_ns)
        if self._is_quoting:
            self.quoted_ns += max(0, until_ns - self._counted_ns)
        self._counted_ns = max(self._counted_ns, until_ns)


def _as_it_was(params: EngineParams) -> EngineParams:
    return params
