"""
The rows of the self-test: which input is changed how, and what the quotes must do.

One table of every term and input that is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.types import Side
from mmbot.runtime.selftest.bench import FRESH
from mmbot.runtime.selftest.session import Session, Skip

UNCHANGED: Final = "none: a quiet market"
"""Perturbation of a row that changes nothing."""
_X: Final = 0.18
"""Below the share that a side may hold, so that sizes stay as they are and prices alone answer."""
_WIDE_X: Final = 0.25
_SMALL_X: Final = 0.04
_ORDER_USD_LEAST: Final = 10.8
_LARGE_X: Final = 0.6
_BOTH: Final = (Side.BUY, Side.SELL)
_RAMP_BPS_PER_S: Final = 0.5
_AGAINST_BPS_PER_S: Final = 0.75
_FEE_UP_BPS: Final = 6.0
_REACH_BPS: Final = 12.5
"""Beyond the deepest virtual quote."""
_DEPTH_USE: Final = 0.95


class Gauge(Enum):
    """What is read off the nearest order of a side."""

    DEPTH = "depth"
    """Distance from fair, bps, positive away from the market."""
    PRICE = "price"
    """Price, bps of the start."""


class Row(msgspec.Struct, frozen=True):
    """
    One perturbation.

    Attributes:
        name: Unique; what `rows=` takes and a failure is named by.
        term: The term of the quote that must answer.
        perturbation: What is changed, for a person.
        play: Changes it.
        side: The side whose change is printed.
        sides: The sides that are compared with the formulas before and after.
        prepare: What is set before the start.
        off: Why the term is switched off by the configuration, or None.
        points: Fair prices at which a quote is measured.
        gauge: What of a side is printed.
        open_bps: What minutes of estimates by the plain rules leave open.
    """

    name: str
    term: str
    perturbation: str
    play: Callable[[Session], None]
    side: Side
    sides: tuple[Side, ...] = _BOTH
    prepare: Callable[[Session], None] | None = None
    off: Callable[[Config], str | None] | None = None
    points: int = 4
    gauge: Gauge = Gauge.DEPTH
    open_bps: float = 0.0


# -- when a term is off -------------------------------------------------------------------------


def _drift_off(config: Config) -> str | None:
    return "quoter.drift_x_max = 0" if config.quoter.drift_x_max == 0 else None


def _funding_off(config: Config) -> str | None:
    return "quoter.funding_bps_max = 0" if config.quoter.funding_bps_max == 0 else None


def _reference_off(config: Config) -> str | None:
    if not config.reference.coin:
        return "reference.coin is not set"
    return "quoter.reference_bps_max = 0" if config.quoter.reference_bps_max == 0 else None


def _widening_off(config: Config) -> str | None:
    quoter = config.quoter
    if quoter.widening_gain == 0:
        return "quoter.widening_gain = 0"
    return "quoter.widening_bps_max = 0" if quoter.widening_bps_max == 0 else None


def _guard_off(config: Config) -> str | None:
    return "quoter.guard_bps = 0" if config.quoter.guard_bps == 0 else None


def _opposed_off(config: Config) -> str | None:
    return "stance.response_bps_max = 0" if config.stance.response_bps_max == 0 else None


def _cascade_off(config: Config) -> str | None:
    return "cascade.gain = 0" if config.cascade.gain == 0 else None


def _hold_off(config: Config) -> str | None:
    if config.cascade.sustain_s == 0:
        return "cascade.sustain_s = 0"
    return _cascade_off(config)


def _cap_off(config: Config) -> str | None:
    """The bound of all shifts can bind only if the shifts together can exceed it."""
    quoter = config.quoter
    widest = max(quoter.skew_bps_min, config.quoter.half_spread_bps_min / quoter.skew_x_touch)
    reach = quoter.drift_x_max * widest + quoter.funding_bps_max
    if config.reference.coin:
        reach += quoter.reference_bps_max
    if quoter.shift_bps_max < reach - 1.0:
        return None
    return f"quoter.shift_bps_max = {quoter.shift_bps_max:g} is above all shifts together"


TERMS_OFF: Final[dict[str, Callable[[Config], str | None]]] = {
    "drift": _drift_off,
    "funding": _funding_off,
    "reference": _reference_off,
    "shift_cap": _cap_off,
    "opposed": _opposed_off,
    "widening": _widening_off,
    "guard": _guard_off,
    "cascade": _cascade_off,
    "hold": _hold_off,
}
"""Terms that a configuration can switch off, and how it is told."""


def switched_off(config: Config) -> dict[str, str]:
    """Terms that this configuration switches off or leaves without data, each with the key."""
    found = {term: why(config) for term, why in TERMS_OFF.items()}
    return {term: why for term, why in found.items() if why is not None}


# -- what is changed ----------------------------------------------------------------------------


def _position(x: float) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        session.bench.hold(x)
        session.bench.seconds(1)

    return play


def _nothing(session: Session) -> None:
    session.bench.seconds(1)


def _moved(session: Session) -> None:
    session.ramp(0.75, 8)


def _leaning(session: Session) -> None:
    if not session.config.book.micro_bps_max:
        raise Skip("book.micro_bps_max = 0: the mid is the fair price")
    stage = session.stage
    stage.half_bps, stage.lean = 4.0, 0.7
    # The other market agrees, or its lead would take back what the lean gives.
    stage.lead_bps = (session.bench.fair_ticks / stage.mid_ticks - 1) * 1e4
    session.bench.seconds(2)


def _fee(session: Session, up_bps: float = _FEE_UP_BPS) -> None:
    session.stage.set_fee(session.stage.fee_bps + up_bps)
    session.relink()


def _informed(session: Session) -> None:
    """Trades that reach far and are right; ours must rest farther out, or they would be taken."""
    _fee(session, 8.0)
    near = min(wanted.laid_bps for _, wanted in session.model.sides(session.facts))
    if near < _REACH_BPS + 2.0:
        raise Skip("quotes so near would be taken by the trades that teach the law")
    session.informed(8, _REACH_BPS, 20.0)


def _drifting(sign: int) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        session.ramp(sign * _RAMP_BPS_PER_S, 25)

    return play


def _against(sign: int) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        session.ramp(-sign * _AGAINST_BPS_PER_S, 36)

    return play


def _holding(x: float) -> Callable[[Session], None]:
    def prepare(session: Session) -> None:
        session.bench.hold(x)

    return prepare


def _funding(sign: int) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        bound = session.config.quoter.funding_bps_max
        relax_s = min(3600.0, session.model.half(session.facts).relax_s)
        # Half of its bound, so that a rate or a horizon that is too large shows as well.
        per_h_bps = min(300.0, 0.5 * bound * 3600 / relax_s)
        session.stage.funding_per_h = sign * per_h_bps * 1e-4
        session.bench.seconds(3)

    return play


def _lead(sign: int) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        stale_s = session.config.quoter.reference_stale_s
        if session.config.reference.coin and session.stage.step_ms > FRESH * stale_s * 1000:
            raise Skip(f"quoter.reference_stale_s = {stale_s:g}: blocks take longer than that")
        session.stage.lead_bps = sign * 0.8 * session.config.quoter.reference_bps_max
        session.bench.seconds(2)

    return play


def _volatile(sign: int) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        # Less in a second than our quotes are away, or they would be taken.
        half_bps = session.model.half(session.facts).half_bps
        session.bench.seconds(1)
        session.shake(min(6.0, 0.7 * half_bps), 56)
        x = min(_WIDE_X, session.growing_x_max())
        if x < 0.1:
            raise Skip("risk: the side that adds to a position has no order at this size")
        session.bench.hold(sign * x)
        session.bench.seconds(1)

    return play


def _deepest(session: Session) -> float:
    return session.config.ladder.depth_bps_max


def _growing_bps(session: Session, x: float) -> float:
    """Depth at which the side that adds to a position of `x` limits would rest."""
    facts = session.facts._replace(x=x)
    return max(wanted.depth_bps for _, wanted in session.model.sides(facts))


def _far(sign: int) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        x = min(0.85, session.growing_x_max())
        least = session.config.quoter.guard_x + 0.1
        while x >= least and _growing_bps(session, sign * x) > _DEPTH_USE * _deepest(session):
            x -= 0.02
        if x < least:
            raise Skip("so far out the side that adds has no order at this size and width")
        session.bench.hold(sign * x)
        session.bench.seconds(1)

    return play


def _swept(side: Side) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        if session.sweep(side) is None:
            raise Skip("ladder, cascade: so few orders taken are no sweep by its rule")
        session.bench.seconds(3)

    return play


def _back(side: Side) -> Callable[[Session], None]:
    """Swept, and fair moves on away from the price that was taken."""

    def play(session: Session) -> None:
        _swept(side)(session)
        session.ramp(side * 1.5, 9)
        session.bench.seconds(2)

    return play


def _capped(session: Session) -> None:
    """Every shift upwards at once."""
    _lead(1)(session)
    _funding(-1)(session)
    session.ramp(_RAMP_BPS_PER_S, 20)


def _dear_and_drifting(session: Session) -> None:
    """A fee that dwarfs the rest, and shifts that ask for a bid inside break-even."""
    _fee(session)
    if not _funding_off(session.config):
        _funding(-1)(session)
    session.ramp(0.6, 22)


def _small_and_against(sign: int) -> Callable[[Session], None]:
    """A position worth little, to be reduced, at a fee that is worth more."""

    def play(session: Session) -> None:
        _reduce_small(session, sign)

    return play


def _reduce_small(session: Session, sign: int) -> None:
    _fee(session)
    limit_usd = session.bench.q_max_lots() * session.stage.mid_ticks * 1e-6
    # Small, but not so small that the nearest order would turn it round.
    x = max(_SMALL_X, _ORDER_USD_LEAST / limit_usd, 0.55 * session.model.delta)
    if x > 0.1:
        raise Skip("risk: the least order that the venue takes is a large position")
    session.bench.hold(sign * x)
    session.ramp(-0.6 * sign, 42)


ROWS: Final[tuple[Row, ...]] = (
    Row("half_min", "half_min", UNCHANGED, _nothing, Side.BUY),
    Row("book/moved", "book", "mid 6 bps up over 8 s", _moved, Side.BUY, gauge=Gauge.PRICE),
    Row(
        "book/leaning", "book", "sizes of the touch lean 2.8 bps up", _leaning, Side.BUY,
        gauge=Gauge.PRICE,
    ),
    Row("fee/up", "fee", f"maker fee {_FEE_UP_BPS:g} bps up", _fee, Side.BUY),
    Row(
        "adverse/informed", "adverse", "fee 8 bps up, 8 min of trades that the price follows",
        _informed, Side.BUY, open_bps=0.4,
    ),
    Row("inventory_skew/long", "inventory_skew", f"x to +{_X}", _position(_X), Side.BUY),
    Row("inventory_skew/short", "inventory_skew", f"x to -{_X}", _position(-_X), Side.BUY),
    Row(
        "drift/up", "drift", "mid up 0.5 bps/s for 25 s, flat", _drifting(1), Side.BUY,
        off=_drift_off,
    ),
    Row(
        "drift/down", "drift", "mid down 0.5 bps/s for 25 s, flat", _drifting(-1), Side.BUY,
        off=_drift_off,
    ),
    Row(
        "funding/paid", "funding", "funding that a long pays", _funding(1), Side.BUY,
        off=_funding_off, points=6,
    ),
    Row(
        "funding/earned", "funding", "funding that a long earns", _funding(-1), Side.BUY,
        off=_funding_off, points=6,
    ),
    Row(
        "reference/above", "reference", "the other market leads up", _lead(1), Side.BUY,
        off=_reference_off,
    ),
    Row(
        "reference/below", "reference", "the other market leads down", _lead(-1), Side.BUY,
        off=_reference_off,
    ),
    Row(
        "shift_cap", "shift_cap", "drift, funding and reference up", _capped, Side.BUY,
        off=_cap_off,
    ),
    Row(
        "opposed/long", "opposed", f"x +{_X}, mid down 0.75 bps/s for 36 s", _against(1), Side.BUY,
        sides=(Side.BUY,), prepare=_holding(_X), off=_opposed_off,
    ),
    Row(
        "opposed/short", "opposed", f"x -{_X}, mid up 0.75 bps/s for 36 s", _against(-1),
        Side.SELL, sides=(Side.SELL,), prepare=_holding(-_X), off=_opposed_off,
    ),
    Row(
        "widening/long", "widening", "a volatile minute, then x to +0.25", _volatile(1),
        Side.BUY, sides=(Side.BUY,), off=_widening_off, points=6,
    ),
    Row(
        "widening/short", "widening", "a volatile minute, then x to -0.25", _volatile(-1),
        Side.SELL, sides=(Side.SELL,), off=_widening_off, points=6,
    ),
    Row(
        "guard/long", "guard", "x far beyond the start of the barrier", _far(1), Side.BUY,
        sides=(Side.BUY,), off=_guard_off, points=6,
    ),
    Row(
        "guard/short", "guard", "x far beyond it, short", _far(-1), Side.SELL,
        sides=(Side.SELL,), off=_guard_off, points=6,
    ),
    Row(
        "touch/long", "touch", f"x to +{_LARGE_X}: to be reduced", _position(_LARGE_X),
        Side.SELL, sides=(Side.SELL,),
    ),
    Row(
        "touch/short", "touch", f"x to -{_LARGE_X}: to be reduced", _position(-_LARGE_X),
        Side.BUY, sides=(Side.BUY,),
    ),
    Row(
        "cascade/bids", "cascade", "all bids taken in one message", _swept(Side.BUY), Side.BUY,
        sides=(Side.BUY,), off=_cascade_off,
    ),
    Row(
        "cascade/asks", "cascade", "all asks taken in one message", _swept(Side.SELL),
        Side.SELL, sides=(Side.SELL,), off=_cascade_off,
    ),
    Row(
        "hold/bids", "hold", "bids swept, then fair 13 bps up", _back(Side.BUY), Side.BUY,
        sides=(Side.BUY,), off=_hold_off,
    ),
    Row(
        "hold/asks", "hold", "asks swept, then fair 13 bps down", _back(Side.SELL), Side.SELL,
        sides=(Side.SELL,), off=_hold_off,
    ),
    Row(
        "floor", "floor", "fee 6 bps up, drift and funding towards the bid", _dear_and_drifting,
        Side.BUY, sides=(Side.BUY,),
    ),
    Row(
        "reducing_floor/long", "reducing_floor", "fee 6 bps up, a small long to be reduced",
        _small_and_against(1), Side.SELL, sides=(Side.SELL,),
    ),
    Row(
        "reducing_floor/short", "reducing_floor", "fee 6 bps up, a small short to be reduced",
        _small_and_against(-1), Side.BUY, sides=(Side.BUY,),
    ),
)  # fmt: skip
