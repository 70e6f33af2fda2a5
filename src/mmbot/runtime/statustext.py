"""`mmbot status` for a person: a live daemon, or loudly what is left of one."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import Any, Final

from mmbot.core.types import NS_PER_S
from mmbot.runtime import asking
from mmbot.runtime.asking import DIED, HUNG, Kept, process_state
from mmbot.runtime.swept import WATCHDOG

WIDTH: Final = 100
_HEAD: Final = 9
_IN_FULL: Final = 1000
_NEAR: Final = 0.5
"""Part of the way to its limit from which a trigger is near."""


def ago(span_s: float | None) -> str:
    """A span as a person says it: 0.4 s, 38 s, 12m, 3h05m, 2d01h."""
    if span_s is None:
        return "never"
    span_s = max(0.0, span_s)
    if span_s < 10:
        return f"{span_s:.1f} s"
    if span_s < 100:
        return f"{span_s:.0f} s"
    minutes, hours, days = int(span_s // 60), int(span_s // 3600), int(span_s // 86_400)
    if minutes < 60:
        return f"{minutes}m{int(span_s) % 60:02d}s"
    if hours < 48:
        return f"{hours}h{minutes % 60:02d}m"
    return f"{days}d{hours % 24:02d}h"


def utc_text(at_ns: int) -> str:
    """Second of an instant."""
    return f"{datetime.fromtimestamp(at_ns // NS_PER_S, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def status_lines(s: dict[str, Any]) -> list[str]:
    """The status of a daemon that answers."""
    lines = [
        _title(s),
        _row("run", s["run_dir"]),
        _row("state", _state(s)),
    ]
    if s["is_stale"]:
        lines.append(_row("STALE", stale_text(s)))
    lines += _wrapped("rule", [rule_text(rule, s["at_ns"]) for rule in s["rules"]], "; ")
    lines += [
        _row("position", "  ".join(position_parts(s))),
        *_money(s),
    ]
    lines += _wrapped("asks", [_order(it) for it in s["asks"]] or ["none"])
    lines += _wrapped("bids", [_order(it) for it in s["bids"]] or ["none"])
    lines.append(_row("requests", "; ".join(requests_parts(s["requests"]))))
    lines += _wrapped("streams", [_stream(it) for it in s["streams"]])
    lag = s["journal_lag_s"]
    lines.append(_row("journal", "none is kept" if lag is None else f"written {ago(lag)} ago"))
    tripped = s["kill"]
    lines.append(_row("kill", "not tripped" if tripped is None else f"TRIPPED: {tripped}"))
    lines += _wrapped("limits", [trigger_text(it) for it in s["triggers"]])
    then = "the position is closed" if s["on_exit"] == "flatten" else "the position stays"
    dead = "armed at the venue" if s["dead_man"] else "none at the venue"
    lines.append(_row("on exit", f"{s['on_exit']}: {then}; dead man {dead}"))
    if s["reloads"]:
        lines.append(_row("config", f"loaded again {s['reloads']} times since the start"))
    return lines


def _title(s: dict[str, Any]) -> str:
    about = f"{s['mode'].upper()}  {s['coin']}  pid {s['pid']}"
    return f"{about}  up {ago(s['uptime_s'])}  {utc_text(s['at_ns'])}"


def stale_text(s: dict[str, Any]) -> str:
    """Why what is shown is not of now."""
    old = [f"{it['name']} {ago(it['age_s'])}" for it in s["streams"] if it["is_stale"]]
    said = ", ".join(old) if old else f"no decision for {ago(s['decided_s'])}"
    return f"the market below is NOT of now: {said}"


def _state(s: dict[str, Any]) -> str:
    mode = (s["risk_mode"] or "not decided yet").upper()
    link = "link up" if s["is_link_up"] else "LINK DOWN"
    why = f"; {', '.join(s['reasons'])}" if s["reasons"] else ""
    return f"{mode}  {s['phase']}  {link}{why}"


def rule_text(rule: dict[str, Any], at_ns: int) -> str:
    """One rule in force."""
    side = f"{rule['side']}: " if rule["side"] else ""
    until = rule["until_ns"]
    left = "" if until is None else f" (for {ago((until - at_ns) / NS_PER_S)} more)"
    return f"{side}{rule['text']}{left}"


def position_parts(s: dict[str, Any]) -> list[str]:
    """What is held, against which limit, and the prices it is seen by."""
    h = s["holding"]
    if h["sz"] is None:
        return ["not known yet"]
    coin = s["coin"].rpartition(":")[2]
    # Hundreds of thousands of a cheap coin are a number as well.
    parts = [f"{h['sz']:+.7g} {coin}"]
    if h["usd"] is not None and h["limit_usd"] is not None:
        part = "" if h["x"] is None else f", {h['x']:+.1%}"
        parts.append(f"{h['usd']:+.2f} USD{part} of {h['limit_usd']:.8g}")
    if h["entry_px"] is not None:
        parts.append(f"entry {h['entry_px']:.6g}")
    parts.append(f"fair {_px(s['fair_px'])}")
    parts.append(f"mark {_px(s['mark_px'])}")
    return parts


def _money(s: dict[str, Any]) -> list[str]:
    """Equity, account and profit, each with its basis: since when, and at which price."""
    p = s["pnl"]
    rows = [("equity", equity_text(s))]
    if s["account_usd"] is not None:
        rows.append(("account", f"{s['account_usd']:.2f} USD at the venue, as read last"))
    known = "not known without a price" if p["total_usd"] is None else f"{p['total_usd']:+.4f} USD"
    total = f"{known} since the start of the run, at the mid; {s['fills']} fills"
    *parts, capture = profit_parts(p)
    rows += [("pnl", total), ("", f"= {' '.join(parts)}; {capture}")]
    if p["day_usd"] is not None:
        rows.append(("today", f"{p['day_usd']:+.4f} USD by all runs since 00:00 UTC"))
    return [_row(name, text) for name, text in rows]


def equity_text(s: dict[str, Any]) -> str:
    """What the limits of money look at."""
    if s["equity_usd"] is None:
        return "not known yet"
    gain = s["equity_usd"] - s["equity_start_usd"]
    return (
        f"{s['equity_usd']:.4f} USD = capital {s['equity_start_usd']:.4f} at the start "
        f"{gain:+.4f} since, at the lower of mid and mark"
    )


def profit_parts(p: dict[str, Any]) -> list[str]:
    """The split of the profit: the first four add up to it, the last is part of the first two."""
    open_usd = p["unrealised_usd"]
    return [
        f"realised {p['realised_usd']:+.4f}",
        "unrealised ?" if open_usd is None else f"unrealised {open_usd:+.4f}",
        f"fees {0.0 - p['fees_usd']:+.4f}",
        f"funding {p['funding_usd']:+.4f}",
        f"spread capture {p['spread_capture_usd']:+.4f}",
    ]


def _order(it: dict[str, Any]) -> str:
    at = "" if it["bps"] is None else f" ({it['bps']:+.1f})"
    if not it["live_sz"]:
        return f"{it['px']:.6g} x {it['wanted_sz']:g}{at} WANTED"
    state = "" if it["state"] == "working" else f" {it['state']}"
    return f"{it['px']:.6g} x {it['live_sz']:g}{at}{state}"


def requests_parts(r: dict[str, Any]) -> list[str]:
    """What may still be asked, and for how long."""
    ip = f"IP weight {r['ip_weight']} of {r['ip_weight_max']} a minute"
    if r["left"] is None:
        return ["not known yet", ip]
    left = f"{r['left']} left"
    if r["per_h"] is None:
        return [left, ip]
    if r["hours"] is None:
        return [left, "trades earn what changes cost", ip]
    return [left, f"{r['hours']:.1f} h at {r['per_h']:.0f} an hour", ip]


def _stream(it: dict[str, Any]) -> str:
    age = "nothing yet" if it["age_s"] is None else ago(it["age_s"])
    return f"{it['name']} {age}{' STALE' if it['is_stale'] else ''}"


def trigger_text(it: dict[str, Any]) -> str:
    """One trigger beside its limit; loud where it is near."""
    unit = f" {it['unit']}" if it["unit"] in ("s", "USD") else ""
    value = "?" if it["value"] is None else _figure(it)
    way = way_gone(it)
    near = way is not None and way >= _NEAR
    of = "falls to" if it["is_least"] else "of"
    mark = " NEAR" if near else ""
    return f"{it['trigger']} {value} {of} {it['limit']:.4g}{unit}{mark}"


def _figure(it: dict[str, Any]) -> str:
    """A value of a trigger as a person reads it: thousands in full, and a gain as no loss."""
    value = float(it["value"])
    if not it["is_least"]:
        value = max(0.0, value)
    if abs(value) >= _IN_FULL:
        return f"{value:.0f}"
    return f"{round(value, 3) + 0.0:.4g}" if it["unit"] == "s" else f"{value + 0.0:.4g}"


def way_gone(it: dict[str, Any]) -> float | None:
    """
    Part of the way to its limit that a trigger has gone; None where that is not known.

    One that falls to its limit sets out from twice the limit: a balance that is whole is as far
    from it as a position of nothing.
    """
    used: float | None = it["used"]
    if used is None or not it["is_least"]:
        return used
    if it["limit"] <= 0:
        return 1.0 if it["value"] <= it["limit"] else 0.0
    return max(0.0, 2.0 - float(it["value"]) / float(it["limit"]))


# -- what is left of a run ----------------------------------------------------------------------


def kept_lines(kept: Kept, now_ns: int) -> list[str]:
    """What the files say, under a head that nobody takes for a live daemon."""
    age_s = None if kept.as_of_ns is None else (now_ns - kept.as_of_ns) / NS_PER_S
    paper = "PAPER  " if kept.venue_mode == "paper" else ""
    lines = ["!" * 64, f"NOT LIVE  {paper}{verdict(kept)}"]
    if kept.as_of_ns is None:
        lines.append("          there is no line in its log")
    else:
        lines.append(f"          what follows is as of {utc_text(kept.as_of_ns)}, {ago(age_s)} ago")
    lines += ["!" * 64, _row("run", kept.run_dir)]
    if kept.started is not None:
        it = kept.started
        lines.append(_row("was", f"{it['mode'].upper()} {it['coin']} of {it['user']}"))
    if kept.mode is not None:
        it = kept.mode
        lines.append(_row("mode", f"{it['after']} since {_clock(it)} ({it['cause']})"))
    if kept.summary is not None:
        lines += [_row(name, text) for name, text in ended_rows(kept.summary)]
    else:
        lines += _last_words(kept)
    if kept.kill is not None:
        lines.append(_row("kill", f"TRIPPED: {kept.kill['reason']['text']}"))
    if kept.trouble is not None:
        it = kept.trouble
        said = it.get("text") or it.get("error") or it.get("reason") or ""
        lines.append(_row("last", f"{it['level']} at {_clock(it)}: {it['event']} {said}".rstrip()))
    if kept.state in (DIED, HUNG):
        lines.append(_row("orders", _resting(kept, now_ns)))
    return lines


def _resting(kept: Kept, now_ns: int) -> str:
    """Whether orders of a daemon that hangs or has died may rest."""
    is_dead = kept.state == DIED
    if is_dead and (kept.is_embedded or kept.venue_mode == "paper"):
        return "none rests: the exchange of this run ended with it"
    it = kept.swept
    if it is None:
        return "may rest: mmbot kill, or the watchdog, cancels them"
    if it.by == WATCHDOG:
        how = f"the watchdog cancelled {it.cancelled} and the venue confirmed it"
    else:
        how = "verified at the venue by mmbot kill, the watchdog or a later run"
    said = f"{how}, {utc_text(it.at_ns)}, {ago((now_ns - it.at_ns) / NS_PER_S)} ago"
    return f"none rests: {said}" if is_dead else f"none rested: {said}; it may place again"


def verdict(kept: Kept) -> str:
    """What became of a daemon that does not answer."""
    pid = "" if kept.pid is None else f" {kept.pid}"
    match kept.state:
        case asking.HUNG:
            state = process_state(kept.pid)
            how = "is stopped (SIGSTOP)" if state in ("T", "t") else "hangs"
            return f"HUNG: process{pid} {how}, it does not answer"
        case asking.MUTE:
            return f"process{pid} runs but has no control socket (control.unavailable in its log)"
        case asking.EXPLAINING:
            return f"ENDED: the run is over; process{pid} makes its report"
        case asking.REFUSED:
            return "REFUSED: the run did not begin"
        case asking.ENDED:
            return "ENDED: the run is over"
        case _:
            return "DIED: no process is there, and it did not say that it ended"


def ended_rows(it: dict[str, Any]) -> list[tuple[str, str]]:
    """The end of a run by its own record of it: names and texts."""
    held = it.get("position_sz")
    return [
        ("ended", f"{_clock(it)} by {it.get('end_reason')} after {ago(it.get('duration_s'))}"),
        ("position", "not known" if held is None else f"{held:+g} at the end"),
        ("pnl", f"{it.get('pnl_usd', 0.0):+.4f} USD at the mid, {it.get('fills')} fills"),
        ("resting", f"{it.get('resting_orders')} orders at the end"),
    ]


def _last_words(kept: Kept) -> list[str]:
    lines: list[str] = []
    quote, account, fill = kept.quote, kept.account, kept.fill
    if quote is not None:
        lines.append(
            _row(
                "quoted",
                f"{_px(quote.get('touch_bid_px'))} / {_px(quote.get('touch_ask_px'))} at "
                f"{_clock(quote)}, fair {_px(quote.get('fair_px'))}, position "
                f"{quote.get('position_sz', 0.0):+g} then, equity {quote.get('equity_usd', 0):.4f}",
            )
        )
    if fill is not None:
        lines.append(
            _row(
                "filled",
                f"{fill.get('side')} {fill.get('sz'):g} @ {fill.get('px'):g} at {_clock(fill)}, "
                f"position {fill.get('position_sz', 0.0):+g} then",
            )
        )
    if account is not None and quote is None:
        lines.append(
            _row(
                "account",
                f"value {account.get('equity_usd', 0.0):.2f} USD at the venue, position "
                f"{account.get('position_sz', 0.0):+g} at {_clock(account)}",
            )
        )
    return lines


def _clock(record: dict[str, Any]) -> str:
    return str(record.get("at", ""))[:19].replace("T", " ")


def _px(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _row(name: str, text: str) -> str:
    return f"{name:<{_HEAD}}{text}"


def _wrapped(name: str, parts: list[str], joint: str = "  ") -> list[str]:
    """Parts on as many lines as they take; no part is torn."""
    return flow(parts, WIDTH, joint, head=f"{name:<{_HEAD}}", indent=_HEAD) if parts else []


def flow(
    parts: list[str], width: int, joint: str = "  ", *, head: str = "", indent: int = 1
) -> list[str]:
    """
    Parts on as many lines of a width as they take.

    A part is torn only where it alone is longer than a line: at a space, else anywhere.
    """
    lines: list[str] = []
    line, is_begun = head, False
    for part in parts:
        longer = f"{line}{joint if is_begun else ''}{part}"
        if is_begun and len(longer) > width:
            lines.append(f"{line}{joint}".rstrip())
            longer = " " * indent + part
        *whole, line = textwrap.wrap(
            longer, width, subsequent_indent=" " * indent, break_on_hyphens=False,
            drop_whitespace=True,
        ) or [longer]  # fmt: skip
        lines += whole
        is_begun = True
    return [*lines, line]
