"""What `mmbot top` draws, as plain lines: a function of what was heard, and of how long ago."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.runtime.statustext import (
    ago,
    ended_rows,
    flow,
    position_parts,
    profit_parts,
    requests_parts,
    stale_text,
    trigger_text,
    utc_text,
    way_gone,
)
from mmbot.runtime.whytext import blocked_by, last_quote, shaped_by

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
        ended: Its own record of its end; None while it has none, or answers.
    """

    answer: dict[str, Any] | None
    age_s: float | None
    how: str
    run_dir: str
    ended: dict[str, Any] | None = None

    @property
    def is_live(self) -> bool:
        """Whether what is shown is of now."""
        return self.answer is not None and self.age_s is not None and self.age_s <= LATE_S


def head(seen: Seen, width: int) -> list[str]:
    """
    Who, whether it is live, position, profit, budget and the nearest limit.

    Each begins a line of its own and takes as many as it needs. Of a run that has ended they are
    what its end says: orders fill until the venue has cancelled them, after the last answer.
    """
    answer = seen.answer
    if answer is None:
        gone = flow([f"*** NO DAEMON *** {seen.how or 'asking'}"], width)
        return [*gone, seen.run_dir, *_ended(seen, width)]
    s = answer.get("status")
    if s is None:
        first = f"STARTING  process {answer['pid']}" if seen.is_live else _stale(seen)
        return [*flow([first], width), seen.run_dir]
    who = f"{s['mode'].upper()} {s['coin']}"
    said = "LIVE, prices STALE" if s["is_stale"] else "LIVE"
    live = [f"{who} pid {s['pid']} up {ago(s['uptime_s'])}", f"{utc_text(s['at_ns'])[11:]}  {said}"]
    groups = [live if seen.is_live else [f"{who}  {_stale(seen)}"]]
    if seen.ended is not None:
        return [*flow(groups[0], width), *_ended(seen, width)]
    groups.append(_state(s, is_live=seen.is_live))
    left, *more = requests_parts(s["requests"])
    groups += [position_parts(s), _money(s), ["requests " + left, *more]]
    return [line for group in groups for line in flow(group, width)]


def _ended(seen: Seen, width: int) -> list[str]:
    """How the run ended, and with what."""
    it = seen.ended
    if it is None:
        return []
    parts = [f"{name} {text}" for name, text in ended_rows(it)]
    if it.get("kill") is not None:
        parts.insert(0, f"*** KILL *** {it['kill'].get('text')}")
    return [line for part in parts for line in flow([part], width)]


def _state(s: dict[str, Any], *, is_live: bool) -> list[str]:
    mode = (s["risk_mode"] or "undecided").upper()
    link = "link up" if s["is_link_up"] else "LINK DOWN"
    parts = [f"{mode} {s['phase']} {link}", *s["reasons"], f"nearest limit: {nearest(s)}"]
    if is_live and s["is_stale"]:
        parts.insert(0, f"*** STALE *** {stale_text(s)};")
    if s["kill"] is not None:
        parts.insert(0, f"*** KILL *** {s['kill']}")
    return parts


def _money(s: dict[str, Any]) -> list[str]:
    p = s["pnl"]
    equity = "equity ?" if s["equity_usd"] is None else f"equity {s['equity_usd']:.4f}"
    total = "pnl ?" if p["total_usd"] is None else f"pnl {p['total_usd']:+.4f}"
    day = [] if p["day_usd"] is None else [f"UTC day {p['day_usd']:+.4f}"]
    return [equity, f"{total} since the start", *day, *profit_parts(p)]


def _stale(seen: Seen) -> str:
    answer = seen.answer
    assert answer is not None
    at = utc_text(answer["at_ns"])[11:19]
    return f"*** STALE {ago(seen.age_s)} *** as of {at}: {seen.how or 'no answer'}"


def nearest(s: dict[str, Any]) -> str:
    """The trigger of the kill switch that is the most part of its way to the limit."""
    rows = [(way, it) for it in s["triggers"] if (way := way_gone(it)) is not None]
    return trigger_text(max(rows, key=lambda row: row[0])[1]) if rows else "unknown"


def ladder(seen: Seen, width: int, height: int) -> list[str]:
    """Asks, fair, bids: a star where an order of ours rests, as many rungs as there is room for."""
    s = seen.answer.get("status") if seen.answer is not None else None
    if s is None:
        return _fit(["no quotes known"], width)
    room = max(1, (height - 1) // 2)
    shown = [("ask", it) for it in reversed(s["asks"][:room])]
    shown += [("bid", it) for it in s["bids"][:room]]
    cells = [_rung(it) for _, it in shown]
    # As wide as the widest, so that columns stand below each other and no more is taken.
    wide = [max((len(row[n]) for row in cells), default=0) for n in range(3)]
    rows = [
        f"{side} {'*' if it['live_sz'] else ' '} {px:>{wide[0]}} {sz:>{wide[1]}} {far:>{wide[2]}}"
        f" {state}".rstrip()
        for (side, it), (px, sz, far, state) in zip(shown, cells, strict=True)
    ]
    asks = rows[: len(s["asks"][:room])] or ["ask none"]
    bids = rows[len(s["asks"][:room]) :] or ["bid none"]
    stale = " STALE" if s["is_stale"] else ""
    fair = "fair none" if s["fair_px"] is None else f"---- fair {s['fair_px']:.6g}{stale} ----"
    return _fit([*asks, fair, *bids], width)


def _rung(it: dict[str, Any]) -> tuple[str, str, str, str]:
    """Price, size, distance and state of an order as they are written."""
    far = "" if it["bps"] is None else f"{it['bps']:+.1f}"
    px = f"{it['px']:.6g}"
    if not it["live_sz"]:
        return px, f"{it['wanted_sz']:g}", far, "wanted"
    return px, f"{it['live_sz']:g}", far, "" if it["state"] == "working" else it["state"]


def terms(seen: Seen, width: int, height: int) -> list[str]:
    """
    Terms of both sides that are not zero, in the order of the sum; then those left out.

    Where there is no room for all of them, the largest stay.
    """
    w = seen.answer.get("why") if seen.answer is not None else None
    if w is None or not w["sides"]:
        return _fit(["no quote decided yet"], width)
    bid, ask = w["sides"]
    names = list(bid["terms"] or ask["terms"])
    rows: list[tuple[float, str]] = []
    silent: list[str] = []
    for name in names:
        both = [side["terms"].get(name) for side in (bid, ask)]
        said = name.removesuffix("_bps")
        if name in (*bid["off"], *ask["off"]):
            silent.append(f"{said} off")
        elif all(it is None for it in both):
            silent.append(f"{said} absent")
        elif (most := max(abs(it) for it in both if it is not None)) >= _ZERO_BPS:
            rows.append((most, f"{said[:18]:<18}{_bps(both[0])}{_bps(both[1])}"))
    total = f"{'= bps from fair':<18}{_bps(bid['bps'])}{_bps(ask['bps'])}"
    last = last_quote(w)
    heads = [f"{'term':<18}{'bid':>8}{'ask':>8}"]
    heads = heads if last is None else [last, *heads]
    room = max(1, height - len(heads) - 1)
    shown = [text for _, text in rows]
    if len(rows) > room:
        by_size = sorted(range(len(rows)), key=lambda n: rows[n][0], reverse=True)
        kept = sorted(by_size[: room - 1])
        shown = [*(rows[n][1] for n in kept), f"and {len(rows) - room + 1} smaller: mmbot why"]
    lines = [*heads, *shown, total]
    if silent:
        unsaid = flow([", ".join(silent)], width)
        room = height - len(lines)
        if len(unsaid) > room:
            unsaid = [f"{len(silent)} off or absent: mmbot why"]
        lines += unsaid
    return _fit(lines[:height], width)


def _bps(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value + 0.0:>+8.2f}"


def rules(seen: Seen, width: int) -> list[str]:
    """For each side what shapes it, or keeps it empty."""
    answer = seen.answer
    w = answer.get("why") if answer is not None else None
    if answer is None or w is None or not w["sides"]:
        return flow([f"rule {blocked_by(w) if w is not None else ''}"], width)
    bid, ask = w["sides"]
    at_ns = answer["at_ns"]
    said = [f"bid: {shaped_by(bid, w, at_ns)}", f"ask: {shaped_by(ask, w, at_ns)}"]
    return [line for text in said for line in flow([text], width, indent=5)]


def newest(records: list[str], width: int, room: int) -> list[str]:
    """As many of the last lines of a log as there is room for, each whole."""
    lines: list[str] = []
    for record in reversed(records):
        found = flow([record], width, indent=10)
        if lines and len(lines) + len(found) > room:
            break
        lines = [*found, *lines]
    return lines[:room]


def _fit(lines: list[str], width: int) -> list[str]:
    """Lines cut to the width, with a mark where something is missing."""
    return [line if len(line) <= width else line[: max(0, width - 1)] + "~" for line in lines]
