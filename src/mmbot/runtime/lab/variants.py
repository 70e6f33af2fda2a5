"""
Who quotes: the engine with some of its terms left out, at the width its world calls for.

Every variant is the engine itself, a change of parameters and a set of ablated terms. They share
ladder, budgets, floors and the size that shrinks with the position, so that a difference has one
cause. What is set here are ordinary parameters; the ablation is a constructor's argument that no
configuration can express.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal

import msgspec

from mmbot.core.engine import EngineParams
from mmbot.core.quoter import HALF_BPS_LEAST, TERMS
from mmbot.errors import ConfigError
from mmbot.runtime.lab.predecessor import DRIFT_SHARE, Recorded

FIXES: Final[dict[str, frozenset[str]]] = {
    "skew": frozenset({"skew"}),
    "widening": frozenset({"widening"}),
    "cascade": frozenset({"cascade"}),
    "opposed": frozenset({"opposed", "reduce"}),
}
"""The four mechanisms, each with the terms it consists of. Reducing at the touch is the opposed
trend's other half; drift, funding, reference and guards belong to `all` alone."""

PLAIN: Final = ("base", "all", "predecessor")
ADDED: Final = tuple(f"base+{fix}" for fix in FIXES)
LEFT_OUT: Final = tuple(f"all-{fix}" for fix in FIXES)
ABLATION: Final = (*PLAIN, *ADDED, *LEFT_OUT)
"""What `--ablate` runs."""
CONTROL: Final = "control"
SHIPPED: Final = "shipped"
NAMES: Final = ("predecessor", "base", "all", *ADDED, *LEFT_OUT, CONTROL, SHIPPED)

_NEVER_FRAC: Final = 0.5
_NEVER: Final = 10**9
"""Beyond what a configuration may set: a figure that no session reaches."""
"""The largest limits that can be configured: half of the capital."""
_UNGUARDED_FRAC: Final = 0.5
"""A soft limit that a session never meets: soft guards are part of `all`."""
_GLFT_LEAST_BPS: Final = 0.5
_PRIOR_EVENTS: Final = 1000.0
"""The heaviest prior that can be configured."""


class Law(msgspec.Struct, frozen=True):
    """
    What a quoter that knew its world would be set to.

    Source: the project's model notes, 8.1 and 0.5.14.
    """

    half_bps: float
    """Base half spread."""
    a0_bps: float
    a1: float
    """Adverse move a0 + a1 d of a fill at depth d."""
    maker_bps: float | None = None
    """Maker fee of the recorded session, where the world is one; None for the venue's."""
    floor_bps: float | None = None
    """Nearest that `base` and `predecessor` quote on either side; None for what the law says."""


LawName = Literal["world", "prototype"]
"""`lab.law` in the configuration."""


_NULL: Final = Law(3.5, 0.0, 0.0)
_INFORMED: Final = Law(6.5, 1.8, 0.3)
_RECORDED: Final = Law(3.0, 1.8, 0.3, maker_bps=2.0)
LAWS: Final[Mapping[str, Law]] = {
    "two-sided": _NULL,
    "false-sweeps": _NULL,
    # Its point is a maker who thinks that 3 bps are enough: who knew the law could not quote there.
    "too-tight": Law(3.0, 0.0, 0.0),
    "feb24": _RECORDED,
    "p38": _RECORDED,
    "p77": _RECORDED,
}
"""By scenario; every other one is informed flow."""


_P_NULL: Final = Law(3.5, 0.0, 0.0, maker_bps=1.5, floor_bps=1.5)
_P_INFORMED: Final = Law(6.5, 0.0, 0.0, maker_bps=1.5, floor_bps=3.3)
_P_RECORDED: Final = Law(3.0, 0.0, 0.0, maker_bps=2.0, floor_bps=1.5)
PROTOTYPE_LAWS: Final[Mapping[str, Law]] = {
    "two-sided": _P_NULL,
    "false-sweeps": _P_NULL,
    "too-tight": Law(3.0, 0.0, 0.0, maker_bps=1.5, floor_bps=1.5),
    "feb24": _P_RECORDED,
    "p38": _P_RECORDED,
    "p77": _P_RECORDED,
}
"""What the model notes' vectorised market was run with (8.2): nobody believes in adverse moves
there, and floors are figures of their own, below the fee on 24 February."""


def law_of(scenario: str, name: LawName = "world") -> Law:
    """The law of a scenario."""
    if name == "prototype":
        return PROTOTYPE_LAWS.get(scenario, _P_INFORMED)
    return LAWS.get(scenario, _INFORMED)


class Variant(msgspec.Struct, frozen=True):
    """One quoter: parameters, terms left out, and what it does as the recorded one did."""

    name: str
    engine: EngineParams
    ablate: frozenset[str] = frozenset()
    recorded: Recorded | None = None


def select(names: str | None, *, is_ablation: bool) -> tuple[str, ...]:
    """
    The variants to run, `base` always among them and first: differences are taken to it.

    Args:
        names: Comma-separated names; None for the usual ones.
        is_ablation: Add every mechanism alone and left out.

    Raises:
        ConfigError: An unknown name; the message gives the choices.
    """
    wanted = [name.strip() for name in names.split(",")] if names is not None else list(PLAIN)
    if is_ablation:
        wanted.extend(ABLATION)
    for name in wanted:
        if name not in NAMES:
            msg = f"--variants {name!r}: is not a variant; use some of {', '.join(NAMES)}"
            raise ConfigError(msg)
    return tuple(dict.fromkeys(("base", *wanted)))


def at_law(
    params: EngineParams, law: Law, fee_bps: float, keep: Collection[str] = ()
) -> EngineParams:
    """
    Parameters at the width and adverse law of a world.

    The prior of the law gets its full weight, or the learning of each variant, from its own fills,
    would set it a width of its own. `keep` names dotted keys that were given by hand.
    """
    wanted: dict[str, dict[str, float]] = {
        "quoter": {"half_spread_bps_min": law.half_bps},
        "adverse": {"a0_bps": law.a0_bps, "a1": law.a1, "prior_events": _PRIOR_EVENTS},
    }
    changes = {
        section: {name: it for name, it in values.items() if f"{section}.{name}" not in keep}
        for section, values in wanted.items()
    }
    world = params.model_copy(
        update={
            "quoter": params.quoter.model_copy(update=changes["quoter"]),
            "adverse": params.adverse.model_copy(update=changes["adverse"]),
        }
    )
    if "quoter.glft_bps_max" in keep:
        return world
    return at_width(world, world.quoter.half_spread_bps_min, fee_bps)


def at_width(params: EngineParams, half_bps: float, fee_bps: float) -> EngineParams:
    """
    Parameters whose half spread is `half_bps`, or the least that the floor rule allows.

    The GLFT term is bounded to what the width leaves for it, so that the half spread is the one
    asked for and not a sum of estimates.
    """
    adverse = params.adverse
    break_even = (fee_bps + adverse.a0_bps) / (1.0 - adverse.a1)
    update = {
        "half_spread_bps_min": max(HALF_BPS_LEAST, half_bps),
        "glft_bps_max": max(_GLFT_LEAST_BPS, half_bps - break_even),
    }
    return params.model_copy(update={"quoter": params.quoter.model_copy(update=update)})


def build(
    name: str, shipped: EngineParams, world: EngineParams, floor_bps: float | None = None
) -> Variant:
    """
    A variant by name.

    Args:
        name: One of `NAMES` but the control, whose width has to be found (`control`).
        shipped: The configuration as it is.
        world: The same at the law of the world.
        floor_bps: Floor of the recorded quoter where the law gives one.
    """
    if name == SHIPPED:
        return Variant(name, shipped)
    if name == "all":
        return Variant(name, world)
    start, sign, fix = name.partition("+")
    if name == "predecessor":
        recorded = Recorded(drift_share=DRIFT_SHARE, floor_bps=floor_bps)
        return Variant(name, _unguarded(world), TERMS, recorded)
    if start == "base":
        terms = FIXES[fix] if sign else frozenset()
        # Our answer to a sweep takes the place of the old one.
        recorded = Recorded(has_pullback=fix != "cascade", floor_bps=floor_bps)
        return Variant(name, _unguarded(world), TERMS - terms, recorded)
    _, _, fix = name.partition("-")
    return Variant(name, world, FIXES[fix])


def control(world: EngineParams, half_bps: float, fee_bps: float) -> Variant:
    """`base` at another width: as passive as `all`, and nothing else."""
    return Variant(CONTROL, at_width(_unguarded(world), half_bps, fee_bps), TERMS)


def endless(params: EngineParams) -> EngineParams:
    """
    The same without an end by loss, drawdown, a stuck position or the last request.

    So variants stay comparable.
    """
    free = {
        "loss_limit_frac": _NEVER_FRAC,
        "loss_limit_usd": None,
        "day_loss_limit_frac": None,
        "day_loss_limit_usd": None,
        "drawdown_limit_frac": _NEVER_FRAC,
    }
    patient = {"stuck_s": _NEVER, "margin_frac": _NEVER, "requests_left": -_NEVER}
    return params.model_copy(
        update={
            "risk": params.risk.model_copy(update=free),
            "kill": params.kill.model_copy(update=patient),
        }
    )


def _unguarded(params: EngineParams) -> EngineParams:
    risk = params.risk
    free = {
        "soft_limit_frac": _UNGUARDED_FRAC,
        "soft_release_frac": min(risk.soft_release_frac, _UNGUARDED_FRAC / 2),
    }
    return params.model_copy(update={"risk": risk.model_copy(update=free)})
