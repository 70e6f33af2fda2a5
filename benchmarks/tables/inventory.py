"""Where the first orders rest at 45, 80 and 90 % of the limit, in every configuration allowed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from math import exp, log
from random import Random
from statistics import median
from typing import Any, Final

import annotated_types
import msgspec
from benchmarks.tables.driven import free, rig_of
from benchmarks.tables.kept import REPO, Json, Kept, number, table
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mmbot.config import load
from mmbot.core.engine import EngineParams
from mmbot.core.types import Side
from mmbot.runtime.workers import Workers

TITLE: Final = "Inventory on the wire"
SHIPPED: Final = ("emulator.toml", "hip3.toml", "hype.toml", "hyna-hype.toml")
SAMPLE: Final = 400
SEED: Final = 1
PX: Final = 26.2
WARM_S: Final = 15
_SECTIONS: Final = ("quoter", "ladder", "stance", "cascade", "adverse", "intensity", "trend")
_KEPT: Final = 0.6
"""Share of the keys that stay as they are shipped."""
FEES: Final = {"hyna-hype.toml": 2.88}


class Seen(msgspec.Struct, frozen=True):
    """What rested, in one configuration."""

    name: str
    reducing_at_touch: bool
    """First reducing order at the market's touch or inside it, long and short, at 0.45."""
    reducing_bps: float | None
    """Its distance from fair, the farther of the two sides."""
    grows_045: float | None
    """First increasing order at 0.45, in base half spreads; None where there is none."""
    grows_080: float | None
    guard_090: float
    """Widening and barrier at 0.9, in base half spreads."""
    changed: tuple[str, ...] = ()


def configurations() -> Iterator[tuple[str, EngineParams, float, tuple[str, ...]]]:
    """Those that ship, and a random sample of those that are valid: name, parameters, fee, keys."""
    for name in SHIPPED:
        yield name, load(REPO / "configs" / name, []).engine, FEES.get(name, 1.5), ()
    rng = Random(SEED)
    for n in range(SAMPLE):
        params, changed = draw(rng)
        yield f"random {n}", params, 1.5, changed


def draw(rng: Random) -> tuple[EngineParams, tuple[str, ...]]:
    """A valid configuration with two keys in five drawn from what they may be."""
    while True:
        capital = exp(rng.uniform(log(60.0), log(5000.0)))
        tree: dict[str, dict[str, Any]] = {
            "risk": {
                "capital_usd": capital,
                "max_position_usd": capital * rng.uniform(1.0, 5.0),
                "side_budget_frac": rng.uniform(0.15, 0.5),
            }
        }
        for section in _SECTIONS:
            model = EngineParams.model_fields[section].annotation
            assert isinstance(model, type)
            assert issubclass(model, BaseModel)
            tree[section] = {
                key: value
                for key, field in model.model_fields.items()
                if rng.random() > _KEPT and (value := _value(field, rng)) is not None
            }
        try:
            params = EngineParams.model_validate(tree)
        except ValidationError:
            continue
        risk = params.risk
        limit_usd = risk.position_limit_usd(risk.capital_usd)
        if risk.side_budget_frac * limit_usd < params.ladder.order_usd_min / 0.97:
            continue  # the program refuses a side without one order
        changed = (f"{section}.{key}" for section in _SECTIONS for key in tree[section])
        return params, tuple(changed)


def _value(field: FieldInfo, rng: Random) -> Any:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return rng.choice(list(kind))
    if kind is bool:
        return rng.random() < 0.5
    low = high = None
    for item in field.metadata:
        match item:
            case annotated_types.Ge(ge=bound) | annotated_types.Gt(gt=bound):
                low = bound
            case annotated_types.Le(le=bound) | annotated_types.Lt(lt=bound):
                high = bound
    if low is None or high is None or kind not in (int, float):
        return None
    if kind is int:
        return rng.randint(int(low), int(high))  # type: ignore[call-overload]
    low, high = float(low), float(high)  # type: ignore[arg-type]
    if low > 0 and high / low > 100:
        return exp(rng.uniform(log(low), log(high)))
    return rng.uniform(low, high)


def look(given: tuple[str, EngineParams, float, tuple[str, ...]]) -> Seen:
    """Start an engine with each position and read what it lets rest."""
    name, params, fee_bps, changed = given
    params = free(params)
    at_touch, depths = True, []
    grows: dict[float, list[float]] = {0.45: [], 0.8: []}
    guards: list[float] = []
    for x in (0.45, -0.45, 0.8, -0.8, 0.9, -0.9):
        rig = rig_of(params, PX, x=x, fee_bps=fee_bps)
        rig.start()
        half = 0.0
        for _ in range(WARM_S):
            rig.wait(1.0)
            rig.tell_book()
            decision = rig.decide()
            rig.settle()
            if decision.capture is not None:
                quote = decision.capture.view.quote
                half = quote.half_bps
                widened = quote.widening_bid_bps + quote.widening_ask_bps
                barrier = quote.guard_bid_bps + quote.guard_ask_bps
        reducing, growing = (Side.SELL, Side.BUY) if x > 0 else (Side.BUY, Side.SELL)
        if abs(x) == 0.45:
            orders = rig.side(reducing)
            touch = rig.ask_ticks if reducing is Side.SELL else rig.bid_ticks
            at_touch &= bool(orders) and reducing * (orders[0].px_ticks - touch) >= 0
            if orders:
                depths.append(rig.depth_bps(reducing))
        if abs(x) == 0.9:
            guards.append((widened + barrier) / half)
        elif rig.side(growing):
            grows[abs(x)].append(rig.depth_bps(growing) / half)
    return Seen(
        name,
        reducing_at_touch=at_touch,
        reducing_bps=max(depths, default=None),
        grows_045=min(grows[0.45], default=None),
        grows_080=min(grows[0.8], default=None),
        guard_090=min(guards),
        changed=changed,
    )


GROWS_045, GROWS_080, GUARD_090 = 1.5, 2.5, 1.0


def faults(seen: Json) -> list[str]:
    """Which of the demands a configuration misses."""
    found = []
    if not seen["reducing_at_touch"]:
        found.append("reducing rung at 0.45")
    if seen["grows_045"] is not None and seen["grows_045"] < GROWS_045:
        found.append("increasing rung at 0.45")
    if seen["grows_080"] is not None and seen["grows_080"] < GROWS_080:
        found.append("increasing rung at 0.8")
    if seen["guard_090"] <= GUARD_090:
        found.append("W and barrier at 0.9")
    return found


def measure(pool: Workers, kept: Kept, *, sample: int = SAMPLE) -> bool:
    """Look at all of them, unless this commit has it; true when the shipped ones miss nothing."""
    told = kept.load("inventory")
    if told is None:
        chosen = list(configurations())[: len(SHIPPED) + sample]
        found = [msgspec.to_builtins(seen) for seen in pool.each(look, chosen)]
        told = {"seed": SEED, "configurations": found}
        kept.save("inventory", told, indent=None)
    found = told["configurations"]
    kept.page("inventory", TITLE, lines(found))
    return not any(faults(one) for one in found[: len(SHIPPED)])


def lines(found: list[Json]) -> list[str]:
    """The page."""
    sample = found[len(SHIPPED) :]
    missed: dict[str, list[Json]] = {}
    for one in sample:
        for fault in faults(one):
            missed.setdefault(fault, []).append(one)
    demands = ("reducing rung at 0.45", "increasing rung at 0.45", "increasing rung at 0.8",
               "W and barrier at 0.9")  # fmt: skip
    return [
        "The engine starts with the position, long and short, on a market that stands still; its",
        "orders are read at the venue after 15 s. Asked: at 0.45 of the limit the first reducing",
        f"order at the touch; the first increasing one {GROWS_045:g} base half spreads away at",
        f"0.45 and {GROWS_080:g} (or none) at 0.8; widening and barrier above one at 0.9.",
        "",
        "## As shipped",
        "",
        *table(
            ("file", "reducing at touch", "its bps", "increasing, 0.45", "increasing, 0.8",
             "W + barrier, 0.9", ""),
            (
                [
                    one["name"],
                    "yes" if one["reducing_at_touch"] else "NO",
                    number(one["reducing_bps"], ".2f"),
                    number(one["grows_045"], ".2f"),
                    number(one["grows_080"], ".2f"),
                    number(one["guard_090"], ".2f"),
                    "met" if not faults(one) else f"MISSED: {', '.join(faults(one))}",
                ]
                for one in found[: len(SHIPPED)]
            ),
        ),
        "",
        "## Valid configurations at random",
        "",
        f"{len(sample)} of them, each with two keys in five drawn from all that they may be:",
        f"{', '.join(_SECTIONS)}.",
        "",
        *table(
            ("asked", "met", "missed", "keys that the misses share most"),
            (
                [
                    demand,
                    str(len(sample) - len(missed.get(demand, ()))),
                    str(len(missed.get(demand, ()))),
                    _shared(missed.get(demand, []), sample),
                ]
                for demand in demands
            ),
        ),
        "",
        "Medians of the sample: "
        + "; ".join(
            f"{key} {number(_median(sample, key), '.2f')}"
            for key in ("reducing_bps", "grows_045", "grows_080", "guard_090")
        )
        + ".",
    ]  # fmt: skip


def _median(sample: list[Json], key: str) -> float | None:
    values = [one[key] for one in sample if one[key] is not None]
    return median(values) if values else None


def _shared(missed: list[Json], sample: list[Json]) -> str:
    """Keys that were changed more often where the demand was missed than elsewhere."""
    if not missed:
        return ""
    keys = {key for one in missed for key in one["changed"]}

    def share(rows: list[Json], key: str) -> float:
        return sum(key in one["changed"] for one in rows) / len(rows)

    lift = sorted(keys, key=lambda key: share(sample, key) - share(missed, key))
    return ", ".join(f"{key} ({share(missed, key):.0%})" for key in lift[:3])
