"""How a run of the campaign ends, and which trigger of the kill switch that must fire."""

from __future__ import annotations

from typing import Final

from mmbot.core.triggers import Trip
from mmbot.core.types import NS_PER_S, Side
from mmbot.emulator import budgets
from mmbot.errors import Exit, InvariantError
from mmbot.runtime.campaign.scene import COIN, Scene
from mmbot.runtime.campaign.schedule import Finish, Pace

OVER: Final = 1.25
"""How far beyond its limit a cause lasts that must trip the switch."""
_GAP_STEP: Final = 0.012
_GAP_STEPS: Final = 60
_CLOCK_STEP_S: Final = 7.0
_CLOCK_WAIT_S: Final = 25.0
_REFUSALS: Final = 5000
_SPENT: Final = 1000
"""Requests beyond what is granted: what fills until then earn back is less."""
_BESIDE_USD: Final = 15.0

TRIGGERS: Final[dict[Finish, Trip]] = {
    Finish.OPERATOR: Trip.OPERATOR,
    Finish.STALE_DATA: Trip.STALE_DATA,
    Finish.STALE_MARK: Trip.STALE_MARK,
    Finish.STALE_ACCOUNT: Trip.STALE_ACCOUNT,
    Finish.CLOCK: Trip.CLOCK,
    Finish.FOREIGN_FILL: Trip.FOREIGN_FILL,
    Finish.REQUESTS: Trip.REQUESTS,
    Finish.SETTLEMENT: Trip.LIQUIDATION,
}
"""What each must fire. A gap fires what the money of the run says, and so it is not here."""


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
        self.must: Trip | None = None
        self.codes = frozenset({Exit.OK})

    def begin(self) -> float:
        """Do what the run ends by; how long, s, it may take until the end begins."""
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
                wait_s = self._pace.slack_s
            case Finish.SETTLEMENT:
                if not stage.position_sz():
                    # Nothing is lost: there is a market less to trade, and that is the reason.
                    self.must, self.codes = None, frozenset({Exit.CHECK})
                stage.venue.delist(self._asset_id)
                stage.exchange.settle()
                wait_s = self._pace.slack_s
        stage.driver.settle()
        return wait_s

    def relent(self) -> None:
        """The end has begun: what would keep it from being verified is over."""
        faults = self._stage.exchange.faults
        if faults.refuse_info:
            faults.update({"refuse_info": []})

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
