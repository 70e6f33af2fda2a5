"""
Limits, modes and the kill switch; the gate that alone can let an order out is in `gate`.

Everything here only ever takes away: limits combine by the smallest, the gate drops, a mode pulls.

Nearly half of the module is the parameters, which bound each other, and the limits they come to.
"""

from __future__ import annotations

from math import isnan

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.gate import Batch, GateView, gate, gate_close
from mmbot.core.intents import KillReason, Note
from mmbot.core.triggers import KILLS, NEXT_MODE, KillParams, Reach, Trip
from mmbot.core.types import HALTED, NS_PER_S, REDUCING, RUNNING, USD_PER_TICK_LOT, Instrument, Mode
from mmbot.errors import InvariantError

__all__ = [
    "KILLS",
    "NEXT_MODE",
    "POSITION_KILL",
    "POSITION_PER_CAPITAL",
    "POSITION_PER_CAPITAL_MAX",
    "Batch",
    "Day",
    "GateView",
    "KillParams",
    "Limits",
    "Risk",
    "RiskParams",
    "Trip",
    "gate",
    "gate_close",
]

POSITION_PER_CAPITAL_MAX = 5.0
"""Above this a 4 % move costs a fifth of the capital; the configuration is refused."""

POSITION_PER_CAPITAL = 2.0
"""Position limit over the equity where none is given: noise alone then hardly ever trips 3 %."""

POSITION_KILL = 1.25
"""Position over its limit that kills: no order of ours can have made it."""

_DAY_LOSS_FRAC = 0.05
_INVENTORY_CLEAR = 0.95
_NS_PER_DAY = 86_400 * NS_PER_S
_X_EPS = 1e-9
_USD_EPS = 1e-9


class RiskParams(BaseModel):
    """What may be lost and held. Every limit is in its own absolute unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    capital_usd: float = Field(
        ge=10, le=1e7, description="Capital at work, USD; the smaller of it and the equity counts."
    )
    leverage: int = Field(
        10, ge=1, le=50, description="Leverage set at the venue; its own maximum caps it."
    )
    max_position_usd: float | None = Field(
        None,
        ge=10,
        le=1e7,
        description="Largest position, USD; at most five times the capital. Unset: twice the "
        "smaller of capital and equity.",
    )
    side_budget_frac: float = Field(
        0.20,
        ge=0.05,
        le=0.5,
        description="Largest resting size of one side when flat, as a fraction of the position "
        "limit: what a single sweep can take.",
    )
    reduce_budget_frac: float = Field(
        1.0,
        ge=0.05,
        le=1,
        description="Largest resting size of the side that reduces the position while trading is "
        "on, as a fraction of the position limit; the side budget where that is more.",
    )
    loss_limit_frac: float = Field(
        0.03,
        gt=0,
        le=0.5,
        description="Loss since the start that kills, fraction of the equity at the start.",
    )
    loss_limit_usd: float | None = Field(
        None,
        gt=0,
        le=1e7,
        description="Loss since the start that kills, USD; the smaller of it and loss_limit_frac "
        "counts. Unset: that alone.",
    )
    day_loss_limit_frac: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="Loss since 00:00 UTC, or since the first start of the day, that kills, "
        "fraction of the equity then; earlier runs of the day count. Unset: 0.05, or "
        "loss_limit_frac where that is more.",
    )
    day_loss_limit_usd: float | None = Field(
        None,
        gt=0,
        le=1e7,
        description="The same in USD; the smaller of the two counts. Unset: the fraction alone.",
    )
    drawdown_limit_frac: float = Field(
        0.03, gt=0, le=0.5, description="Fall from the peak that kills, fraction of peak equity."
    )
    soft_limit_frac: float = Field(
        0.015,
        gt=0,
        le=0.5,
        description="Loss or drawdown from which only the position is reduced, fraction.",
    )
    soft_release_frac: float = Field(
        0.01, ge=0, le=0.5, description="Loss and drawdown at which quoting resumes, fraction."
    )
    soft_s_max: float = Field(
        1800.0, ge=1, le=86_400, description="Quoting resumes after this long in any case, s."
    )
    stale_pull_s: float = Field(
        3.0, ge=0.5, le=60, description="Age of the touch from which no order rests, s."
    )
    stale_kill_s: float = Field(300.0, ge=5, le=3600, description="Age of the touch that kills, s.")
    mark_stale_s: float = Field(
        10.0, ge=1, le=120, description="Age from which the venue's mark no longer values us, s."
    )
    noise_x_rms: float = Field(
        0.2,
        ge=0.01,
        le=1,
        description="Root mean square of the position, of its limit, in the estimate of how often "
        "noise alone trips a limit.",
    )
    warm_s: float = Field(
        30.0,
        ge=0,
        le=600,
        description="Time from the first price in which the increasing side is small, s.",
    )
    warm_frac: float = Field(
        0.5,
        ge=0.05,
        le=1,
        description="Share of the side budget in that time; one order in any case.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> RiskParams:
        limit_usd = self.position_limit_usd(self.capital_usd)
        if limit_usd > POSITION_PER_CAPITAL_MAX * self.capital_usd:
            msg = (
                f"max_position_usd = {limit_usd:g}: must be at most "
                f"{POSITION_PER_CAPITAL_MAX:g} x risk.capital_usd = "
                f"{POSITION_PER_CAPITAL_MAX * self.capital_usd:g}; lower it or raise "
                "risk.capital_usd"
            )
            raise ValueError(msg)
        if self.stale_kill_s <= self.stale_pull_s:
            msg = (
                f"stale_kill_s {self.stale_kill_s:g} must exceed stale_pull_s {self.stale_pull_s:g}"
            )
            raise ValueError(msg)
        hard_frac = min(self.loss_limit_frac, self.drawdown_limit_frac)
        if self.soft_limit_frac > hard_frac:
            msg = (
                f"soft_limit_frac = {self.soft_limit_frac:g}: must be at most {hard_frac:g}, the "
                "smaller of loss_limit_frac and drawdown_limit_frac, or the switch trips before "
                "the position is reduced; lower it"
            )
            raise ValueError(msg)
        if self.soft_release_frac >= self.soft_limit_frac:
            msg = (
                f"soft_release_frac {self.soft_release_frac:g} must be below soft_limit_frac "
                f"{self.soft_limit_frac:g}"
            )
            raise ValueError(msg)
        return self

    def loss_usd(self, start_usd: float) -> float:
        """Loss since the start that kills."""
        return _smaller(self.loss_limit_frac * start_usd, self.loss_limit_usd)

    def day_loss_usd(self, base_usd: float) -> float:
        """Loss since the day began that kills."""
        frac = self.day_loss_limit_frac
        if frac is None:
            frac = max(_DAY_LOSS_FRAC, self.loss_limit_frac)
        return _smaller(frac * base_usd, self.day_loss_limit_usd)

    def position_limit_usd(self, equity_usd: float) -> float:
        """Position limit of an account with this equity, before leverage and capital bound it."""
        if self.max_position_usd is not None:
            return self.max_position_usd
        return POSITION_PER_CAPITAL * min(self.capital_usd, max(0.0, equity_usd))


class Limits(msgspec.Struct, frozen=True):
    """The effective limits of a session: each the smallest of all that apply."""

    capital_usd: float
    """The smaller of the configured capital and the venue's equity at the start."""
    q_max_usd: float
    side_budget_frac: float
    reduce_budget_frac: float = 1.0

    @classmethod
    def of(cls, params: RiskParams, instrument: Instrument, equity_usd: float) -> Limits:
        """Limits of a session that starts with `equity_usd` at the venue."""
        capital = max(0.0, min(params.capital_usd, equity_usd))
        leverage = min(params.leverage, instrument.max_leverage)
        return cls(
            capital_usd=capital,
            q_max_usd=min(
                params.position_limit_usd(equity_usd),
                capital * leverage,
                capital * POSITION_PER_CAPITAL_MAX,
            ),
            side_budget_frac=params.side_budget_frac,
            reduce_budget_frac=params.reduce_budget_frac,
        )

    def q_max_lots(self, px_ticks: float) -> float:
        """Position limit in lots at a price, not rounded."""
        return self.q_max_usd / (px_ticks * USD_PER_TICK_LOT)

    def budgets_lots(
        self,
        position_lots: int,
        px_ticks: float,
        mode: Mode,
        *,
        share: float = 1.0,
        least_lots: int = 0,
    ) -> tuple[int, int]:
        """
        Lots that may rest on the bid side and on the ask side, everything counted.

        Increasing side B (1 - |x|) q_max, nothing outside RUNNING; reducing side max(B, |x|) q_max,
        bounded by `reduce_budget_frac`, outside RUNNING exactly the position. HALTED rests nothing.
        Of what may add to a position only `share` is used, but `least_lots` all the same where
        they fit.
        """
        if mode is HALTED:
            return 0, 0
        q_max = self.q_max_lots(px_ticks)
        held = abs(position_lots)
        if mode is REDUCING:
            increasing, reducing = 0, held
        else:
            free = int(max(0.0, self.side_budget_frac * (q_max - held)))
            increasing = max(int(free * share), min(free, least_lots))
            free = int(self.side_budget_frac * q_max)
            # Above the limit nothing may keep the position from getting out.
            most = held if held > q_max else int(self.reduce_budget_frac * q_max)
            reducing = max(int(free * share), min(free, least_lots), min(held, most))
        if position_lots > 0:
            return increasing, reducing
        if position_lots < 0:
            return reducing, increasing
        return increasing, increasing


class Day(msgspec.Struct, frozen=True):
    """
    A day's account, across the runs of it: what must survive a restart for the loss of the day.

    Deposits and withdrawals are no part of it: it counts what the runs earned.
    """

    number: int
    """Days since 1970, UTC."""
    base_usd: float
    """Capital at work when it began, or at its first start."""
    pnl_usd: float
    """Earned since, by all runs together."""


def day_number(now_ns: int) -> int:
    """Days since 1970, UTC."""
    return now_ns // _NS_PER_DAY


class Risk:
    """
    Follow equity and data age, hold the mode, remember why it was left.

    Equity is the start's plus the profit since, at the lower of the mid and the venue's mark. Loss
    is measured from the start, drawdown from peak equity, which begins at the start: a session
    that only loses has a drawdown, and no figure is ever divided by a profit.
    """

    __slots__ = (
        "_day",
        "_day_from_usd",
        "_params",
        "_soft_base_usd",
        "_soft_peak_usd",
        "_soft_since_ns",
        "_stale_kill_ns",
        "equity_usd",
        "kill",
        "limits",
        "max_drawdown_frac",
        "mode",
        "notes",
        "peak_usd",
        "start_usd",
    )

    def __init__(self, params: RiskParams) -> None:
        self._params = params
        self._stale_kill_ns = int(params.stale_kill_s * NS_PER_S)
        self.limits: Limits | None = None
        self.mode = RUNNING
        self.kill: KillReason | None = None
        self.notes: list[Note] = []
        self.start_usd = self.peak_usd = self.equity_usd = 0.0
        self.max_drawdown_frac = 0.0
        self._day: Day | None = None
        self._day_from_usd = 0.0
        """Equity of this run from which the day's profit counts, beside what `_day` has."""
        self._soft_base_usd = self._soft_peak_usd = 0.0
        self._soft_since_ns: int | None = None

    def continue_day(self, day: Day) -> None:
        """What earlier runs of the day earned; before `start`. Another day's is forgotten there."""
        self._day = day

    def start(self, limits: Limits, now_ns: int) -> None:
        """Begin the session with its limits; equity is counted from their capital."""
        self.limits = limits
        self.start_usd = self.peak_usd = self.equity_usd = limits.capital_usd
        self._soft_base_usd = self._soft_peak_usd = self._day_from_usd = limits.capital_usd
        if self._day is None or self._day.number != day_number(now_ns):
            self._day = Day(day_number(now_ns), limits.capital_usd, 0.0)
        # A day that has lost its limit is over, however the run began.
        self._judge_day(now_ns)

    @property
    def day(self) -> Day | None:
        """The account of the day so far; None before the start."""
        if self._day is None or self.limits is None:
            return self._day
        pnl_usd = self._day.pnl_usd + self.equity_usd - self._day_from_usd
        return Day(self._day.number, self._day.base_usd, pnl_usd)

    def observe(self, pnl_usd: float, now_ns: int) -> None:
        """
        Take the profit since the start, at the lower of mid and mark; trip if a limit is met.

        Raises:
            InvariantError: It is no number; every comparison with it would be silent.
        """
        if self.limits is None:
            return
        if isnan(pnl_usd):
            raise InvariantError("the profit is no number: prices or fills have gone wrong")
        equity = self.start_usd + pnl_usd
        if self._day is not None and day_number(now_ns) != self._day.number:
            # It begins at the last equity known before midnight.
            self._day = Day(day_number(now_ns), self.equity_usd, 0.0)
            self._day_from_usd = self.equity_usd
        if equity == self.equity_usd:
            return
        self.equity_usd = equity
        self.peak_usd = max(self.peak_usd, equity)
        self._soft_peak_usd = max(self._soft_peak_usd, equity)
        drawdown = self.peak_usd - equity
        if self.peak_usd > 0:
            self.max_drawdown_frac = max(self.max_drawdown_frac, drawdown / self.peak_usd)
        params = self._params
        loss = self.start_usd - equity
        limit = params.loss_usd(self.start_usd)
        if loss >= limit - _USD_EPS:
            self.trip(Trip.SESSION_LOSS, loss, limit, "USD", now_ns)
        limit = params.drawdown_limit_frac * self.peak_usd
        if drawdown >= limit - _USD_EPS:
            self.trip(Trip.DRAWDOWN, drawdown, limit, "USD", now_ns)
        self._judge_day(now_ns)

    def _judge_day(self, now_ns: int) -> None:
        day = self.day
        assert day is not None
        limit = self._params.day_loss_usd(day.base_usd)
        if -day.pnl_usd >= limit - _USD_EPS and day.pnl_usd < 0:
            self.trip(
                Trip.DAY_LOSS,
                -day.pnl_usd,
                limit,
                "USD",
                now_ns,
                f"lost {-day.pnl_usd:.4f} USD since the day began (00:00 UTC or its first start), "
                f"the limit is {limit:.4f} USD; the day counts across runs and resets",
            )

    def order_kill(self, text: str, now_ns: int, *, is_flatten: bool = False) -> None:
        """The operator trips the switch; `is_flatten`: and wants the position closed."""
        self._trip(
            Trip.OPERATOR,
            KillReason(Trip.OPERATOR.value, 1.0, 1.0, "command", text, now_ns, is_flatten),
        )

    def foreign_fill(self, before_sz: float, after_sz: float, now_ns: int) -> None:
        """A fill that no order of ours explains made the position larger, in coins, signed."""
        text = (
            f"a fill that no order of this run explains took the position from {before_sz:g} to "
            f"{after_sz:g}: somebody else trades this account and market"
        )
        self.trip(Trip.FOREIGN_FILL, abs(after_sz), abs(before_sz), "coins", now_ns, text)

    def trip(
        self,
        trip: Trip,
        value: float,
        limit: float,
        unit: str,
        now_ns: int,
        text: str | None = None,
    ) -> None:
        """Trip the switch on a figure that has reached its limit; the first trip stays."""
        if text is None:
            text = f"{trip.value} {value:.4f} {unit} reached its limit of {limit:.4f} {unit}"
        self._trip(trip, KillReason(trip.value, value, limit, unit, text, now_ns))

    def update(
        self, x: float, touch_age_ns: int | None, now_ns: int, guard: Trip | None = None
    ) -> Mode:
        """
        Mode at `now_ns`, given the position as a fraction of its limit and the touch's age.

        `guard` is the soft guard that asks to reduce, if any.
        """
        if touch_age_ns is not None and touch_age_ns >= self._stale_kill_ns:
            age_s, limit_s = touch_age_ns / NS_PER_S, self._params.stale_kill_s
            self.trip(Trip.STALE_DATA, age_s, limit_s, "s", now_ns)
        limits, held = self.limits, abs(x)
        if limits is not None and held >= POSITION_KILL - _X_EPS:
            held_usd, limit_usd = held * limits.q_max_usd, POSITION_KILL * limits.q_max_usd
            self.trip(Trip.POSITION, held_usd, limit_usd, "USD", now_ns)
        if self.mode is HALTED or limits is None:
            return self.mode
        is_soft = self._is_soft(now_ns)
        if held > 1.0 + _X_EPS:
            self._move(Trip.INVENTORY, position_frac=x)
        elif is_soft:
            self._move(Trip.SOFT_LOSS, equity_usd=self.equity_usd)
        elif guard is not None:
            self._move(guard, position_frac=x)
        elif self.mode is REDUCING and held <= _INVENTORY_CLEAR:
            self._move(Trip.CLEARED, equity_usd=self.equity_usd)
        return self.mode

    def reaches(self, x: float, touch_age_ns: int | None) -> tuple[Reach, ...]:
        """The triggers of money, position and price data beside their limits, for whoever asks."""
        params, limits, day = self._params, self.limits, self.day
        age_s = None if touch_age_ns is None else touch_age_ns / NS_PER_S
        stale = Reach(Trip.STALE_DATA.value, age_s, params.stale_kill_s, "s")
        if limits is None or day is None:
            return (stale,)
        equity, peak, held_usd = self.equity_usd, self.peak_usd, abs(x) * limits.q_max_usd
        fall_usd = params.drawdown_limit_frac * peak
        return (
            Reach(
                Trip.SESSION_LOSS.value,
                self.start_usd - equity,
                params.loss_usd(self.start_usd),
                "USD",
            ),
            Reach(Trip.DAY_LOSS.value, -day.pnl_usd, params.day_loss_usd(day.base_usd), "USD"),
            Reach(Trip.DRAWDOWN.value, peak - equity, fall_usd, "USD"),
            Reach(Trip.POSITION.value, held_usd, POSITION_KILL * limits.q_max_usd, "USD"),
            stale,
        )

    @property
    def soft_since_ns(self) -> int | None:
        """Since when a soft limit of loss has the position reduced; None if it does not."""
        return self._soft_since_ns

    def wake_at_ns(self) -> int | None:
        """When a soft stop ends by time."""
        if self._soft_since_ns is None or self.mode is HALTED:
            return None
        return self._soft_since_ns + int(self._params.soft_s_max * NS_PER_S)

    def _is_soft(self, now_ns: int) -> bool:
        params = self._params
        base, peak, equity = self._soft_base_usd, self._soft_peak_usd, self.equity_usd
        loss_frac = (base - equity) / base if base > 0 else 0.0
        fall_frac = (peak - equity) / peak if peak > 0 else 0.0
        worst = max(loss_frac, fall_frac)
        if self._soft_since_ns is None:
            if worst < params.soft_limit_frac - 1e-12:
                return False
            self._soft_since_ns = now_ns
            return True
        is_over = now_ns - self._soft_since_ns >= params.soft_s_max * NS_PER_S
        if worst > params.soft_release_frac and not is_over:
            return True
        # Released: the next soft stop counts from here, the hard limits do not.
        self._soft_base_usd = self._soft_peak_usd = equity
        self._soft_since_ns = None
        return False

    def _trip(self, trip: Trip, reason: KillReason) -> None:
        if self.mode is HALTED:
            return
        self.kill = reason
        facts: dict[str, int | float | str | bool | None] = {
            "trigger": reason.trigger,
            "value": reason.value,
            "limit": reason.limit,
            "unit": reason.unit,
            "text": reason.text,
        }
        self.notes.append(Note("killswitch.tripped", "critical", facts))
        self._move(trip)

    def _move(self, trip: Trip, **facts: float) -> None:
        before = self.mode
        self.mode = NEXT_MODE[before, trip]
        if self.mode is not before:
            self.notes.append(
                Note(
                    "mode.changed",
                    "warning",
                    {
                        "before": before.value,
                        "after": self.mode.value,
                        "cause": trip.value,
                        **facts,
                    },
                )
            )


def _smaller(limit_usd: float, other_usd: float | None) -> float:
    return limit_usd if other_usd is None else min(limit_usd, other_usd)
