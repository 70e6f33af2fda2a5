"""How a run of the campaign ends, and which trigger of the kill switch that must fire."""

from __future__ import annotations

from typing import Final

from mmbot.config import Config
from mmbot.core.triggers import Trip
from mmbot.core.types import NS_PER_S, Side
from mmbot.emulator import budgets
from mmbot.errors import Exit, InvariantError
from mmbot.runtime.campaign.scene import COIN, Scene
from mmbot.runtime.campaign.schedule import Finish, Pace, Schedule, one_status

OVER: Final = 1.25
"""How far beyond its limit a cause lasts that must trip the switch."""
_GAP_STEP: Final = 0.012
_GAP_STEPS: Final = 60
_CLOCK_STEP_S: Final = 7.0
_CLOCK_WAIT_S: Final = 25.0
_REFUSALS: Final = 5000
_EARLY: Final = frozenset({Finish.POSITION, Finish.UNKNOWN_ORDER, Finish.REJECTS})
"""What may trip before the end begins: a position that was there from the start, and limits so near
that a lively minute, or an order whose verdict waits for the weight of one, reaches them."""
_LASTING: Final = frozenset(
    {Finish.REJECTS, Finish.UNKNOWN_ORDER, Finish.MARGIN, Finish.DEAD_WIRING}
)
"""What these bring about keeps orders from being cancelled as well."""
_MINUTE_S: Final = 60.0
_NOTICED_S: Final = 120.0
"""Within it a term without effect is noticed."""
_REJECTS: Final = 8
"""Refusals a minute that trip where they are to: a side pauses after one, and one may be off."""
_SPENT: Final = 1000
"""Requests beyond what is granted: what fills until then earn back is less."""
_BESIDE_USD: Final = 15.0
_LOST: Final = 100_000
_LEFT_USD: Final = 45.0
"""Less than half of the capital of the shipped configuration."""
_HELD_USD: Final = 120.0
"""Position from which money can be taken out so that its margin is too much of what is left."""
_LEFT_SHARE: Final = 1.6
"""Position over what is left then: the limit of the campaign is at 1."""

TRIGGERS: Final[dict[Finish, Trip]] = {
    Finish.OPERATOR: Trip.OPERATOR,
    Finish.STALE_DATA: Trip.STALE_DATA,
    Finish.STALE_MARK: Trip.STALE_MARK,
    Finish.STALE_ACCOUNT: Trip.STALE_ACCOUNT,
    Finish.CLOCK: Trip.CLOCK,
    Finish.FOREIGN_FILL: Trip.FOREIGN_FILL,
    Finish.REQUESTS: Trip.REQUESTS,
    Finish.SETTLEMENT: Trip.LIQUIDATION,
    Finish.BALANCE: Trip.BALANCE,
    Finish.MARGIN: Trip.MARGIN,
    Finish.POSITION: Trip.POSITION,
    Finish.REJECTS: Trip.REJECTS,
    Finish.UNKNOWN_ORDER: Trip.UNKNOWN_ORDER,
    Finish.DEAD_WIRING: Trip.DEAD_WIRING,
}
"""What each must fire. A gap fires what the money of the run says, and so it is not here."""


def fitted(config: Config, schedule: Schedule) -> Config:
    """The configuration of a run with limits near enough for the trigger that it ends by."""
    changes: dict[str, object] = {}
    if schedule.finish is Finish.REJECTS:
        changes["rejects"] = _REJECTS
    elif schedule.finish is Finish.UNKNOWN_ORDER:
        changes["unknown_s"] = schedule.pace.unknown_s
    kill = config.kill.model_copy(update=changes)
    return config.model_copy(update={"kill": kill})


class Finisher:
    """
    Ends a run.

    Attributes:
        must: The trigger that must fire; None where none must.
        codes: What the program may exit with where no trigger fires.
    """

    def __init__(self, stage: Scene, finish: Finish, pace: Pace) -> None:
        self._stage = stage
        self._finish = finish
        self._pace = pace
        self._lost_ns: int | None = None
        self.must = TRIGGERS[finish] if finish in _EARLY else None
        self.codes = frozenset({Exit.OK})

    def begin(self) -> float:
        """
        Do what the run ends by; how long, s, it may take until the end begins.

        One case for every ending, each a few lines that are read beside the others.
        """
        stage = self._stage
        kill, risk = stage.config.kill, stage.config.risk
        faults = stage.exchange.faults
        stage.driver.catch_up()
        self.must = TRIGGERS.get(self._finish)
        wait_s = 0.0
        match self._finish:
            case Finish.STOP:
                stage.trader.stop("Ctrl+C")
            case Finish.OPERATOR:
                stage.trader.kill("operator: campaign")
            case Finish.GAP:
                self._gap(_GAP_STEPS)
                wait_s = _GAP_STEPS * self._pace.gap_every_s
            case Finish.STALE_DATA:
                stage.dialer.refuse = "gone"
                stage.dialer.cut()
                wait_s = OVER * risk.stale_kill_s + self._pace.slack_s
            case Finish.STALE_MARK:
                faults.update({"mute": ["activeAssetCtx"]})
                wait_s = OVER * kill.mark_s + self._pace.slack_s
            case Finish.STALE_ACCOUNT:
                faults.update({"refuse_info": [500] * _REFUSALS})
                wait_s = OVER * kill.account_s + self._pace.slack_s
            case Finish.CLOCK:
                # On from what the program reads: one that was set back before stood still.
                read_ns = stage.clock() - stage.sim.clock()
                stage.set_ns = read_ns + round(_CLOCK_STEP_S * NS_PER_S)
                wait_s = _CLOCK_WAIT_S
            case Finish.FOREIGN_FILL:
                wait_s = self._trade_beside()
            case Finish.REQUESTS:
                # The count is read with the account, which a new connection begins with. Cancels
                # have a larger one of their own.
                account = stage.venue.account(stage.user)
                account.requests_used = budgets.cap(account, stage.venue.state.params) + _SPENT
                stage.dialer.cut()
                # Which may have to wait for its turn in the weight of the address.
                wait_s = self._pace.slack_s + (_MINUTE_S if self._pace.has_minutes else 0.0)
            case Finish.SETTLEMENT:
                if not stage.position_sz():
                    # Nothing is lost: there is a market less to trade, and that is the reason.
                    self.must, self.codes = None, frozenset({Exit.CHECK})
                stage.venue.delist(self._asset_id)
                stage.exchange.settle()
                wait_s = self._pace.slack_s
            case Finish.BALANCE:
                if stage.take_out(_LEFT_USD) >= _LEFT_USD + 1.0:
                    self.must = None
                wait_s = self._pace.slack_s
            case Finish.MARGIN:
                wait_s = self._strain()
            case Finish.POSITION:
                pass
            case Finish.REJECTS:
                faults.update({"refuse_batch": one_status(_REFUSALS)})
                wait_s = OVER * _MINUTE_S + self._pace.slack_s
            case Finish.DEAD_WIRING:
                # What is decided reaches no book: the terms of a quote do nothing.
                faults.update({"refuse_batch": one_status(_REFUSALS)})
                wait_s = OVER * (_NOTICED_S + kill.unwell_s) + self._pace.slack_s
            case Finish.UNKNOWN_ORDER:
                faults.update({"lose": _LOST, "refuse_info": [500] * _REFUSALS})
                self._look_for_loss()
                wait_s = OVER * kill.unknown_s + self._pace.slack_s
        stage.driver.settle()
        return wait_s

    def relent(self) -> None:
        """The end has begun: what would keep it from being verified is over."""
        stage = self._stage
        stage.driver.catch_up()
        if not stage.latched and self._is_idle():
            self.must = None
        changes: dict[str, object] = {"refuse_info": []}
        if self._finish in _LASTING:
            changes |= {"refuse_batch": [], "lose": 0, "is_halted": False}
        stage.exchange.faults.update(changes)
        stage.driver.settle()

    def _is_idle(self) -> bool:
        """
        Whether too little was asked of the venue for what it was to answer.

        A side may be off after two sweeps and the other stand still; and who waits for the weight
        of a minute to read his account sends nothing.
        """
        stage = self._stage
        if self._finish is Finish.REJECTS:
            return _REFUSALS - len(stage.exchange.faults.refuse_batch) < _REJECTS
        if self._finish is not Finish.UNKNOWN_ORDER:
            return False
        due_s = stage.config.kill.unknown_s + self._pace.slack_s
        return self._lost_ns is None or stage.sim.clock() - self._lost_ns < due_s * NS_PER_S

    def _look_for_loss(self) -> None:
        """Remember when the first request was lost, to a second."""
        stage = self._stage
        if stage.exchange.faults.lose < _LOST:
            self._lost_ns = stage.sim.clock()
        elif not stage.endings:
            stage.sim.call_at(stage.sim.clock() + NS_PER_S, self._look_for_loss)

    @property
    def _asset_id(self) -> int:
        asset_id = self._stage.venue.asset_id(COIN)
        if asset_id is None:
            msg = f"no coin {COIN} on the emulated exchange"
            raise InvariantError(msg)
        return asset_id

    def _gap(self, left: int) -> None:
        """Move the price against the position, again and again."""
        stage = self._stage
        if stage.endings or stage.trader.closing or not left:
            return
        mid = stage.mid_px()
        if mid is not None:
            stage.driver.catch_up()
            against = -1.0 if stage.position_sz() >= 0 else 1.0
            stage.market.force_px(mid * (1.0 + against * _GAP_STEP))
            stage.driver.settle()
        next_ns = stage.sim.clock() + round(self._pace.gap_every_s * NS_PER_S)
        stage.sim.call_at(next_ns, lambda: self._gap(left - 1))

    def _strain(self) -> float:
        """Take money out until the margin of the position is too much of what is left."""
        stage = self._stage
        held_usd = stage.held_usd()
        if held_usd < _HELD_USD:
            self.must = None
            return 0.0
        # Nothing may change the position before the account is read again.
        stage.exchange.faults.update({"is_halted": True})
        if stage.take_out(held_usd / _LEFT_SHARE) * 1.1 > held_usd:
            self.must = None
        return self._pace.slack_s

    def _trade_beside(self) -> float:
        """Somebody trades the account by hand and makes the position larger."""
        stage = self._stage
        held, mid = stage.position_sz(), stage.mid_px()
        self.must = None
        if mid is None:
            return 0.0
        stage.take(Side.BUY if held >= 0 else Side.SELL, _BESIDE_USD / mid)
        if abs(stage.position_sz()) > abs(held):
            self.must = Trip.FOREIGN_FILL
        return self._pace.slack_s
