"""`mmbot why` for a person: one line per thing, for each side."""

from __future__ import annotations

from typing import Any, Final

from mmbot.runtime.statustext import ago, rule_text, utc_text

_SHAPES: Final = {
    "half_min_bps": "the least half spread (quoter.half_spread_bps_min)",
    "inventory_skew_bps": "the inventory skew",
    "drift_bps": "the drift",
    "funding_bps": "funding",
    "reference_bps": "the other market's price",
    "shift_cap_bps": "the bound of all shifts (quoter.shift_bps_max)",
    "opposed_bps": "the answer to a trend against the position",
    "widening_bps": "the widening with the position",
    "guard_bps": "the barrier near the position limit",
    "cascade_bps": "the memory of a sweep",
    "hold_bps": "the price hold after a sweep",
    "touch_bps": "reducing: the side comes to the touch",
    "floor_bps": "the floor: fee and adverse selection must be earned",
    "post_only_bps": "post-only: nearer it would execute",
    "grid_bps": "the grid of prices, and the hold on a line",
    "glft_bps": "the GLFT half spread",
    "adverse_selection_bps": "adverse selection",
    "fee_bps": "the fee",
}
"""What a term is to a person, in the order in which the first of equals is named."""
_BASE: Final = ("fee_bps", "adverse_selection_bps", "glft_bps", "grid_bps", "rung_bps")
"""Terms that are in every quote: they shape a side only where nothing else does."""
_WORTH_BPS: Final = 0.05
_TRADING: Final = "trading"
_PULLS: Final = {
    "reducing": "the position is only to be reduced",
    "position limit": "the position is at its limit",
    "price jump": "the price has just jumped (guards.jump_sigmas)",
    "swept again": "this side was swept again and again (guards.sweeps)",
    "danger": "another sweep is too likely (cascade.danger_pull)",
    "too deep": "it would rest deeper than ladder.depth_bps_max",
    "budget below one order": "what the side may still hold is less than one order",
}


def why_lines(w: dict[str, Any], at_ns: int) -> list[str]:
    """The answer of a live daemon."""
    mode = f"{w['mode'].upper()}  {w['coin']}  {(w['risk_mode'] or 'not decided yet').upper()}"
    if w["at_ns"] is None:
        reasons = ", ".join(w["reasons"]) or "no decision yet"
        return [f"{mode}  nothing was quoted yet: {reasons}", *_rules(w, at_ns)]
    old = "  STALE" if is_old(w) else ""
    about = f"fair {w['fair_px']:.6g}  floor {w['floor_bps']:.2f}  hold {w['hold_bps']:.2f} bps"
    lines = [f"{mode}  decided {utc_text(w['at_ns'])}, {w['age_s']:.1f} s ago{old}  {about}"]
    blocked = blocked_by(w)
    if blocked:
        lines.append(f"BLOCKED  nothing new is quoted: {blocked}; what follows is the last quote")
    for side in w["sides"]:
        lines += _side(side, w, at_ns)
    return lines + _rules(w, at_ns)


def last_quote(w: dict[str, Any]) -> str | None:
    """How long ago the record was made, where it is not what is quoted now; None where it is."""
    is_of_now = not blocked_by(w) and not is_old(w)
    return None if is_of_now else f"LAST QUOTE, {ago(w['age_s'])} ago"


def is_old(w: dict[str, Any]) -> bool:
    """Whether the record is older than any that a quoting engine leaves."""
    return w["age_s"] is not None and w["age_s"] > 5.0


def blocked_by(w: dict[str, Any]) -> str:
    """What keeps both sides out of the market; empty where nothing does."""
    of_all = [
        reason
        for reason in w["reasons"]
        if not reason.startswith(("bid: ", "ask: ")) and reason != "requests spent"
    ]
    if w["phase"] != _TRADING:
        of_all.insert(0, f"the run is {w['phase']}")
    return ", ".join(of_all)


def _side(side: dict[str, Any], w: dict[str, Any], at_ns: int) -> list[str]:
    name = "bid" if side["side"] == "buy" else "ask"
    rests = "nothing rests"
    if side["resting_px"] is not None:
        far = "" if side["resting_bps"] is None else f" ({side['resting_bps']:+.1f} bps)"
        rests = f"nearest of ours {side['resting_px']:.6g}{far}"
    budget = f"{side['exposure_sz']:g} of {side['budget_sz']:g} out"
    if side["px"] is None:
        head = f"{name}  EMPTY: {side['pulled'] or 'nothing wanted'}; {rests}, {budget}"
        return [head, f"     rule   {shaped_by(side, w, at_ns)}"]
    head = f"{name}  {side['px']:.6g} x {side['sz']:g} at {side['bps']:+.2f} bps; {rests}, {budget}"
    return [
        head,
        f"     bps    {terms_text(side)}",
        f"     rule   {shaped_by(side, w, at_ns)}",
    ]


def terms_text(side: dict[str, Any]) -> str:
    """Every term of the waterfall; they add up to the distance."""
    parts: list[str] = []
    for name, value in side["terms"].items():
        said = name.removesuffix("_bps")
        if name in side["off"]:
            parts.append(f"{said} off")
        elif value is None:
            parts.append(f"{said} absent")
        else:
            capped = " capped" if name in side["capped"] and name != "shift_cap_bps" else ""
            parts.append(f"{said} {value + 0.0:+.2f}{capped}")
    return "  ".join(parts)


def shaped_by(side: dict[str, Any], w: dict[str, Any], at_ns: int) -> str:
    """The rule that shapes a side most, or keeps it empty."""
    blocked = blocked_by(w)
    if blocked:
        return f"nothing new is quoted: {blocked}"
    own = [rule_text(it, at_ns) for it in w["rules"] if it["side"] in (side["side"], "")]
    if side["px"] is None:
        pulled = side["pulled"] or "nothing wanted"
        what = _PULLS.get(pulled, pulled)
        return "; ".join([what, *own])
    shaping = {
        name: value
        for name, value in side["terms"].items()
        if value is not None and abs(value) >= _WORTH_BPS and name not in _BASE
    }
    if not shaping:
        return "fee, adverse selection and the GLFT half spread alone"
    # The first in the order of the table, where two are as large.
    name = max(
        (it for it in _SHAPES if it in shaping),
        key=lambda it: abs(shaping[it]),
        default=next(iter(shaping)),
    )
    way = "out" if shaping[name] > 0 else "in"
    return f"{_SHAPES.get(name, name)}: {abs(shaping[name]):.2f} bps {way}"


def _rules(w: dict[str, Any], at_ns: int) -> list[str]:
    lines = [f"rule {rule_text(it, at_ns)}" for it in w["rules"]]
    if "requests spent" in w["reasons"] and not any("requests" in line for line in lines):
        lines.append("rule requests spent")
    return lines
