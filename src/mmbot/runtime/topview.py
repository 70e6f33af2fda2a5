"""What `mmbot top` draws, as plain lines: a function of what was heard, and of how long ago."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.runtime.statustext import (
    ago,
    pnl_text,
    position_text,
    requests_text,
    stale_text,
    trigger_text,
    utc_text,
)
from mmbot.runtime.whytext import blocked_by, shaped_by

LATE_S = 1.5
"""Silence of the daemon after which what is on the screen is called stale."""
_ZERO_BPS = 0.005


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is known of the daemon.

    Attributes:
        answer: Its last answer; None before the first.
        age_s: Since that answer.
        how: What became of the last question, for a person; empty while it is answered.
        run_dir: Folder of the run.
    """

    answer: dict[str, Any] | None
    age_s: float | None
    how: str
    run_dir: str

    @property
    def is_live(self) -> bool:
        """Whether what is shown is of now."""
        return self.answer is not None and self.age_s is not None and self.age_s <= LATE_S


def head(seen: Seen, width: int) -> list[str]:
    """Five lines: who, whether it is live, position, profit, budget and the nearest limit."""
    answer = seen.answer
    if answer is None:
        first = f"*** NO DAEMON *** {seen.how or 'asking'}"
        return _fit([first, seen.run_dir, "", "", ""], width)
    s = answer.get("status")
    if s is None:
        first = f"STARTING  process {answer['pid']}" if seen.is_live else _stale(seen)
        return _fit([first, seen.run_dir, "", "", ""], width)
    who = f"{s['mode'].upper()} {s['coin']} pid {s['pid']} up {ago(s['uptime_s'])}"
    live = f"{who}  {utc_text(s['at_ns'])[11:]}  LIVE" if seen.is_live else _stale(seen)
    mode = (s["risk_mode"] or "undecided").upper()
    link = "link up" if s["is_link_up"] else "LINK DOWN"
    why = f"  {', '.join(s['reasons'])}" if s["reasons"] else ""
    state = f"{mode} {s['phase']} {link}{why}"
    if seen.is_live and s["is_stale"] and s["phase"] == "trading":
        state = f"*** STALE *** {stale_text(s)}; {state}"
    if s["kill"] is not None:
        state = f"*** KILL *** {s['kill']}"
    equity = "equity ?" if s["equity_usd"] is None else f"equity {s['equity_usd']:.2f}"
    return _fit(
        [
            live,
            state,
            f"{position_text(s)}",
            f"{equity}  pnl {pnl_text(s['pnl'])}",
            f"{requests_text(s['requests'])}; nearest {nearest(s)}",
        ],
        width,
    )


def _stale(seen: Seen) -> str:
    answer = seen.answer
    assert answer is not None
    at = utc_text(answer["at_ns"])[11:19]
    return f"*** STALE {ago(seen.age_s)} *** as of {at}: {seen.how or 'no answer'}"


def nearest(s: dict[str, Any]) -> str:
    """The trigger of the kill switch that is the most part of its way to the limit."""
    rows = [it for it in s["triggers"] if it["used"] is not None and not it["is_least"]]
    return trigger_text(max(rows, key=lambda it: it["used"])) if rows else "unknown"


def ladder(seen: Seen, width: int, height: int) -> list[str]:
    """Asks, fair, bids: a star where an order of ours rests, as many rungs as there is room for."""
    s = seen.answer.get("status") if seen.answer is not None else None
    if s is None:
        return _fit(["no quotes known"], width)
    room = max(1, (height - 1) // 2)
    asks = [_rung(it) for it in s["asks"][:room]]
    bids = [_rung(it) for it in s["bids"][:room]]
    fair = "fair none" if s["fair_px"] is None else f"---- fair {s['fair_px']:.6g} ----"
    lines = [*(f"ask {it}" for it in reversed(asks or ["none"])), fair]
    lines += [f"bid {it}" for it in bids or ["none"]]
    return _fit(lines, width)


def _rung(it: dict[str, Any]) -> str:
    far = "" if it["bps"] is None else f" {it['bps']:+6.1f}"
    if not it["live_sz"]:
        return f"  {it['px']:>9.6g} {it['wanted_sz']:>7g}{far} wanted"
    state = "" if it["state"] == "working" else f" {it['state']}"
    return f"* {it['px']:>9.6g} {it['live_sz']:>7g}{far}{state}"


def terms(seen: Seen, width: int, height: int) -> list[str]:
    """Terms of both sides that are not zero, in the order of the sum; then those left out."""
    w = seen.answer.get("why") if seen.answer is not None else None
    if w is None or not w["sides"]:
        return _fit(["no quote decided yet"], width)
    bid, ask = w["sides"]
    names = list(bid["terms"] or ask["terms"])
    rows: list[str] = []
    silent: list[str] = []
    for name in names:
        both = [side["terms"].get(name) for side in (bid, ask)]
        said = name.removesuffix("_bps")
        if name in (*bid["off"], *ask["off"]):
            silent.append(f"{said} off")
        elif all(it is None for it in both):
            silent.append(f"{said} absent")
        elif any(it is not None and abs(it) >= _ZERO_BPS for it in both):
            rows.append(f"{said[:18]:<18}{_bps(both[0])}{_bps(both[1])}")
    total = f"{'= bps from fair':<18}{_bps(bid['bps'])}{_bps(ask['bps'])}"
    room = max(1, height - 2)
    if len(rows) > room:
        rows = [*rows[: room - 1], f"and {len(rows) - room + 1} more: mmbot why"]
    lines = [f"{'term':<18}{'bid':>8}{'ask':>8}", *rows, total]
    if len(lines) < height and silent:
        lines.append(", ".join(silent))
    return _fit(lines[:height], width)


def _bps(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value + 0.0:>+8.2f}"


def rules(seen: Seen, width: int) -> list[str]:
    """One line per side: what shapes it, or keeps it empty."""
    answer = seen.answer
    w = answer.get("why") if answer is not None else None
    if answer is None or w is None or not w["sides"]:
        said = blocked_by(w) if w is not None else ""
        return _fit([f"rule {said}", ""], width)
    bid, ask = w["sides"]
    at_ns = answer["at_ns"]
    return _fit(
        [f"bid: {shaped_by(bid, w, at_ns)}", f"ask: {shaped_by(ask, w, at_ns)}"],
        width,
    )


def _fit(lines: list[str], width: int) -> list[str]:
    """Lines cut to the width, with a mark where something is missing."""
    return [line if len(line) <= width else line[: max(0, width - 1)] + "~" for line in lines]
