"""
What a position means in the market it is held in: opposed or not, how urgent, hold or reduce.

    U   = |x| |rate| tau_hold / h0            adverse move while unwinding, in base half spreads
    phi = phi0 + (phi1 - phi0)(1 - e^(-U/U0))
    D   = sign(T) min(phi |T|, cap)           only against an opposed position, faded in and out

Market data alone decide; being filled never raises the belief that the position is right.
"""

from __future__ import annotations

from enum import Enum
from math import exp
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.estimators.drift import DriftView
from mmbot.core.estimators.trend import TrendView, continuation_p
from mmbot.core.types import NS_PER_S


class Action(Enum):
    """What is to be done with the position."""

    HOLD = "hold"
    REDUCE = "reduce"


class ResponseMode(Enum):
    """Which quotes answer an opposed trend."""

    RETREAT = "retreat"
    """The side that would add to the position moves away."""
    BOTH = "both"
    """The reducing side comes in as well, as far as its floor lets it."""


_HOLD, _REDUCE, _BOTH = Action.HOLD, Action.REDUCE, ResponseMode.BOTH


class StanceParams(BaseModel):
    """When a position is opposed, and how strongly the quotes answer."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "reloadable": [
                "mode",
                "response_calm",
                "response_urgent",
                "urgency_scale",
                "response_bps_max",
                "fade_s",
                "reduce_urgency",
                "reduce_urgency_leave",
                "reduce_x",
                "reduce_x_leave",
                "reduce_p",
                "reduce_p_leave",
            ]
        },
    )

    mode: ResponseMode = Field(
        ResponseMode.RETREAT, description="Quotes that answer while the position is held."
    )
    opposed_x_min: float = Field(
        0.05, ge=0.01, le=0.5, description="Least position that can be opposed, of the limit."
    )
    opposed_z: float = Field(0.7, ge=0, le=5, description="Significance that makes it opposed.")
    opposed_z_leave: float = Field(
        0.4, ge=0, le=5, description="Significance under which it no longer is."
    )
    response_calm: float = Field(
        0.04, ge=0, le=0.5, description="Share of the trend answered without urgency (phi0)."
    )
    response_urgent: float = Field(
        0.5, ge=0.04, le=0.5, description="Share answered in the limit of urgency (phi1)."
    )
    urgency_scale: float = Field(
        2.0, gt=0, le=20, description="Urgency over which the share rises (U0)."
    )
    response_bps_max: float = Field(
        12.0, ge=0, le=25, description="Bound of the answer to a trend, bps; 0 switches it off."
    )
    fade_s: float = Field(10.0, ge=0.1, le=120, description="Time of fading in and out, s.")
    reduce_urgency: float = Field(1.0, gt=0, le=20, description="Urgency that calls for reducing.")
    reduce_urgency_leave: float = Field(0.7, ge=0, le=20, description="Urgency that ends it.")
    reduce_x: float = Field(
        0.45,
        ge=0.1,
        le=0.45,
        description="Position that calls for reducing, of the limit: at 0.45 the first reducing "
        "order rests at the touch whatever else is set.",
    )
    reduce_x_leave: float = Field(0.40, ge=0.05, le=1, description="Position that ends it.")
    reduce_p: float = Field(
        0.60, ge=0.5, le=1, description="Probability of a move against us that calls for reducing."
    )
    reduce_p_leave: float = Field(0.55, ge=0.5, le=1, description="Probability that ends it.")
    hold_s_min: float = Field(
        60.0, ge=1, le=3600, description="Least time an unwinding is thought to take, s."
    )
    hold_s_max: float = Field(
        900.0, ge=1, le=14_400, description="Longest time an unwinding is thought to take, s."
    )

    @model_validator(mode="after")
    def _hysteresis(self) -> StanceParams:
        for enter, leave in (
            ("opposed_z", "opposed_z_leave"),
            ("reduce_urgency", "reduce_urgency_leave"),
            ("reduce_x", "reduce_x_leave"),
            ("reduce_p", "reduce_p_leave"),
            ("hold_s_max", "hold_s_min"),
            ("response_urgent", "response_calm"),
        ):
            if getattr(self, leave) > getattr(self, enter):
                msg = (
                    f"{leave} = {getattr(self, leave):g}: must be at most {enter} = "
                    f"{getattr(self, enter):g}; lower it"
                )
                raise ValueError(msg)
        return self


class StanceView(NamedTuple):
    """
    The position in its market; None marks what an absent estimate could not tell.

    `urgency` is 0 unless opposed. `against_p` is the probability that the price stands against the
    position when it is unwound.
    `response_bps` is positive up, like a shift; `response_ratio` its size to the plain return of
    the long window.
    """

    is_opposed: bool
    urgency: float
    against_p: float | None
    action: Action
    response_bps: float | None
    response_ratio: float | None
    is_capped: bool
    mode: ResponseMode
    fade: float
    """How far the answer has faded in, 0 to 1."""


def share(urgency: float, *, calm: float = 0.04, urgent: float = 0.5, scale: float = 2.0) -> float:
    """Share of the trend that is answered: rises from `calm` to `urgent`, never beyond."""
    return calm + (urgent - calm) * (1.0 - exp(-urgency / scale))


class Stance:
    """Hold the hysteresis of the answers; mirror images of each other for long and short."""

    __slots__ = ("_fade", "_is_opposed", "_is_reducing", "_params", "_updated_ns")

    def __init__(self, params: StanceParams) -> None:
        self._params = params
        self._is_opposed = False
        self._is_reducing = (False, False, False)
        self._fade = 0.0
        self._updated_ns: int | None = None

    def retune(self, params: StanceParams) -> None:
        """Go on with other parameters, from the stance and the fade as they are."""
        self._params = params

    def hold_s(self, position_lots: float, flatten_lots_per_s: float) -> float:
        """Time in which fills of the reducing side would flatten the position, within bounds."""
        params = self._params
        if flatten_lots_per_s <= 0:
            return params.hold_s_max
        wanted = abs(position_lots) / flatten_lots_per_s
        return min(params.hold_s_max, max(params.hold_s_min, wanted))

    def update(
        self,
        now_ns: int,
        x: float,
        *,
        trend: TrendView | None,
        drift: DriftView | None,
        vol_bps_rt_s: float,
        hold_s: float,
        half_bps: float,
    ) -> StanceView:
        """
        The stance at `now_ns` for a position of `x` limits.

        Args:
            now_ns: Our clock; a time before the last call's counts as that.
            x: Position as a fraction of its limit, long positive.
            trend: None when there are no data for one.
            drift: Posterior of the drift; None when there is none.
            vol_bps_rt_s: Volatility without jumps.
            hold_s: Time an unwinding would take.
            half_bps: Base half spread, above 0.
        """
        params = self._params
        last_ns = now_ns if self._updated_ns is None else self._updated_ns
        self._updated_ns = max(last_ns, now_ns)
        # The time since the last call belongs to what was held then, not to what is found now.
        step = (self._updated_ns - last_ns) / NS_PER_S / params.fade_s
        self._fade = (
            min(1.0, self._fade + step) if self._is_opposed else max(0.0, self._fade - step)
        )
        against = trend is not None and trend.rate_bps_per_s * x < 0
        urgency = (
            # A rate is not carried further than it has been watched: the noise of a few seconds,
            # held for a quarter of an hour, would call every young position urgent.
            abs(x) * abs(trend.rate_bps_per_s) * min(hold_s, trend.age_s) / half_bps
            if trend is not None and against
            else 0.0
        )
        self._is_opposed = self._opposed(x, trend, is_against=against)
        against_p: float | None = None
        if drift is not None and x != 0:
            sign = 1.0 if x < 0 else -1.0
            against_p = continuation_p(
                sign * drift.mean_bps_per_s, drift.sd_bps_per_s, vol_bps_rt_s, hold_s
            )
        action = self._act(x, urgency, against_p)
        response, ratio, is_capped = self._answer(trend, urgency, is_against=against)
        mode = _BOTH if action is _REDUCE else params.mode
        return StanceView(
            self._is_opposed,
            urgency if self._is_opposed else 0.0,
            against_p,
            action,
            response,
            ratio,
            is_capped,
            mode,
            self._fade,
        )

    def _opposed(self, x: float, trend: TrendView | None, *, is_against: bool) -> bool:
        params = self._params
        if trend is None or not is_against or abs(x) < params.opposed_x_min:
            return False
        bound = params.opposed_z_leave if self._is_opposed else params.opposed_z
        return abs(trend.z) >= bound

    def _act(self, x: float, urgency: float, against_p: float | None) -> Action:
        params = self._params
        was_urgent, was_large, was_likely = self._is_reducing
        is_urgent = self._is_opposed and urgency >= (
            params.reduce_urgency_leave if was_urgent else params.reduce_urgency
        )
        is_large = abs(x) >= (params.reduce_x_leave if was_large else params.reduce_x)
        is_likely = against_p is not None and against_p >= (
            params.reduce_p_leave if was_likely else params.reduce_p
        )
        self._is_reducing = (is_urgent, is_large, is_likely)
        return _REDUCE if is_urgent or is_large or is_likely else _HOLD

    def _answer(
        self, trend: TrendView | None, urgency: float, *, is_against: bool
    ) -> tuple[float | None, float | None, bool]:
        """Shift in bps (positive up), its share of the long return, whether the cap binds."""
        params = self._params
        if trend is None:
            return None, None, False
        if not is_against or self._fade <= 0:
            return 0.0, None, False
        phi = share(
            urgency,
            calm=params.response_calm,
            urgent=params.response_urgent,
            scale=params.urgency_scale,
        )
        size = phi * abs(trend.trend_bps)
        is_capped = size > params.response_bps_max
        size = min(size, params.response_bps_max) * self._fade
        ratio = size / abs(trend.long_bps) if trend.long_bps else None
        return (size if trend.rate_bps_per_s > 0 else -size), ratio, is_capped
