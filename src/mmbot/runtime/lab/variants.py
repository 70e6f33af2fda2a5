"""
The variants of a comparison: what of the engine each leaves out, and what each world is worth.

A world sets base half spread and adverse prior to its own true law through ordinary configuration
keys, so that the floor rule stays on (model notes, decision 14). What a variant leaves out is an
argument of the engine that no configuration can express.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.quoter import TERMS, MarketView, Quote
from mmbot.core.risk import Limits
from mmbot.core.types import Instrument
from mmbot.emulator.scenarios import SCENARIOS

_CLOID_PREFIX: Final = 0x6D6D_1AB0_0000_0001
PREDECESSOR_DRIFT: Final = -0.04
"""What the predecessor made of a trend: 4 % of it, with the wrong sign."""
CAPITAL_USD: Final = 100.0
POSITION_USD: Final = 500.0


class Law(msgspec.Struct, frozen=True):
    """What is true in a world, as far as a quoter is told."""

    half_bps: float = 6.5
    a0_bps: float = 1.8
    a1: float = 0.3
    maker_bps: float = 1.5


LAWS: Final[Mapping[str, Law]] = {
    "two-sided": Law(half_bps=3.5, a0_bps=0.0, a1=0.0),
    "false-sweeps": Law(half_bps=3.5, a0_bps=0.0, a1=0.0),
    "too-tight": Law(half_bps=3.0),
    "feb24": Law(maker_bps=2.0),
    "p38": Law(maker_bps=2.0),
    "p77": Law(maker_bps=2.0),
}
"""Of the worlds that differ from the informed ones (model notes, section 8.2)."""

_OFF: Final = TERMS
_ONE: Final[Mapping[str, frozenset[str]]] = {
    "skew": frozenset({"skew", "reduce"}),
    "widening": frozenset({"widening"}),
    "cascade": frozenset({"cascade", "guards"}),
    "opposed": frozenset({"opposed", "drift"}),
}
"""The four fixes of the post-mortem, each with what belongs to it."""


class Variant(msgspec.Struct, frozen=True):
    """One way to build the engine."""

    name: str
    ablate: frozenset[str] = frozenset()
    is_predecessor: bool = False
    is_shipped: bool = False
    """The configuration as it is, the world's law apart."""
    extra_half_bps: float = 0.0


def _named() -> dict[str, Variant]:
    found = {
        "predecessor": Variant("predecessor", _OFF, is_predecessor=True),
        "base": Variant("base", _OFF),
        "all": Variant("all"),
        "shipped": Variant("shipped", is_shipped=True),
    }
    for name, terms in _ONE.items():
        found[f"base+{name}"] = Variant(f"base+{name}", _OFF - terms)
        found[f"all-{name}"] = Variant(f"all-{name}", terms)
    return found


VARIANTS: Final[Mapping[str, Variant]] = _named()
CONTROL: Final = "control"
"""A uniformly wider `base` with as many fills as `all`; its width is found on pilot seeds."""
USUAL: Final = ("predecessor", "base", "all", "shipped")
ABLATION: Final = (
    "base",
    *(f"base+{name}" for name in _ONE),
    "all",
    *(f"all-{name}" for name in _ONE),
)


class _Predecessor(Engine):
    """`base` with the drift of the predecessor, for comparison and for nothing else."""

    def _quote(
        self, limits: Limits, fair: float, step: int, x: float, now_ns: int
    ) -> tuple[Quote, MarketView]:
        quote, market = super()._quote(limits, fair, step, x, now_ns)
        trend = market.trend
        if trend is None:
            return quote, market
        drift_bps = PREDECESSOR_DRIFT * trend.long_bps
        return msgspec.structs.replace(quote, drift_bps=drift_bps), market


def law_of(scenario: str) -> Law:
    """What is true in a scenario."""
    return LAWS.get(scenario, Law())


def lab_params(
    params: EngineParams, scenario: str, variant: Variant, *, ends_on_kill: bool = False
) -> EngineParams:
    """
    The engine's parameters in a world.

    Loss, drawdown and soft loss are out of reach, so that variants run to the end and compare; the
    session counts where they would have tripped. Soft guards belong to `all`.
    """
    law = law_of(scenario)
    tree: dict[str, Any] = params.model_dump()
    risk = tree["risk"]
    if not ends_on_kill:
        risk |= {"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5, "soft_limit_frac": 0.499}
    if not variant.is_shipped:
        risk |= {"capital_usd": CAPITAL_USD, "max_position_usd": POSITION_USD}
        tree["quoter"]["half_spread_bps_min"] = law.half_bps + variant.extra_half_bps
        tree["adverse"] |= {"a0_bps": law.a0_bps, "a1": law.a1}
        market = SCENARIOS[scenario].params
        tree["intensity"] |= {"a_per_s": market.a_per_s, "k_per_bp": market.k_per_bp}
    return EngineParams.model_validate(tree)


def build(params: EngineParams, variant: Variant, instrument: Instrument) -> Engine:
    """The engine of a variant."""
    kind = _Predecessor if variant.is_predecessor else Engine
    return kind(params, instrument, cloid_prefix=_CLOID_PREFIX, ablate=variant.ablate)
