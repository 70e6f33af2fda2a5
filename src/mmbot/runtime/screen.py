"""
What a person sees of a run: the mode first, then one line per change that matters.

The lines are rendered from the records of the log, so the screen never says what the log does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mmbot.config import Config
from mmbot.logs import Record, clean
from mmbot.runtime.flatten import Closed, closed_line

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_RED: Final = "\x1b[1;97;41m"
_WARN: Final = "\x1b[33m"
_DIM: Final = "\x1b[2m"

PLAIN_LINE_EVERY_S: Final = 5
"""A venue that is away makes hundreds of records a second alike; the log has them all."""


class Screen:
    """
    Render log records as lines for a person; keeps back quote moves that come too fast.

    `tag` stands in every line, for a run that nobody may take for another. On paper no venue knows
    the account.
    """

    def __init__(self, *, is_colour: bool, tag: str = "", is_paper: bool = False) -> None:
        self._is_colour = is_colour
        self._is_paper = is_paper
        self.has_log: Callable[[], bool] = lambda: True
        """Whether what is not shown is to be found in a file."""
        self._tag = f"{tag}  " if tag else ""
        self._quoted_at = ""
        self._plain_at: dict[str, tuple[int, int]] = {}
        """Of each event that may come in masses: when shown, and how many were not since."""
        self._renderers: dict[str, Callable[[Record], str | None]] = {
            "quote.moved": self._quote,
            "fill.booked": self._fill,
            "mode.changed": lambda r: f"mode     {r['before']} -> {r['after']}: {r['cause']}",
            "link.opened": lambda _: "link     up, every stream acknowledged",
            "link.lost": lambda r: f"link     lost: {r['reason']}; quotes count as unknown",
            "snapshot.read": self._snapshot,
            "order.rejected": lambda r: f"order    refused ({r['reason']}): {r['text']}",
            "killswitch.tripped": lambda r: f"KILL     {r['text']}",
            "dead_man.armed": lambda r: (
                f"dead man the venue cancels everything {r['span_s']:g} s after we fall silent"
            ),
            "dead_man.closed": self._no_dead_man,
            "dead_man.refused": lambda r: f"dead man refused by the venue: {r['text']}",
            "venue.retried": lambda r: (
                f"venue    {r['error']}; trying again for up to {r['for_s']:.0f} s"
            ),
            "orders.awaited": lambda r: (
                f"orders   of a run that died may still arrive: waiting {r['for_s']:.1f} s"
            ),
            "orders.left_over": self._left_over,
            "sweep.refused": lambda r: self._seldom(
                r, f"orders   the venue refuses to cancel ({r['text']}): it is asked again"
            ),
            "orders.left_over_cancelled": lambda r: (
                f"orders   the venue confirms: {r['orders']} old orders cancelled"
            ),
            "config.reloaded": lambda r: (
                "config   loaded again: "
                + ", ".join(f"{key} {diff}" for key, diff in r["changes"].items())
            ),
            "config.refused": lambda r: f"config   NOT loaded again: {r['error']}",
            "config.unchanged": lambda _: "config   loaded again: the same",
            "cascade.seen": lambda r: self._seldom(
                r, f"cascade  our {r['side']}s were swept {r['depth_bps']:.1f} bps deep"
            ),
            "side.off": lambda r: self._seldom(
                r,
                f"cascade  nothing is added on the {r['side']} side for {r['off_s']:.0f} s: "
                f"{r['sweeps']} sweeps within {r['within_s']:.0f} s",
            ),
            "price.jumped": lambda r: self._seldom(
                r,
                f"jump     the price moved {r['sigmas']:+.1f} sigmas within a second: nothing is "
                f"added for {r['off_s']:.0f} s",
            ),
            "clock.stepped": lambda r: self._seldom(
                r, f"clock    that of this machine was set by {r['step_s']:+.3f} s"
            ),
            "journal.late": lambda r: self._seldom(
                r,
                f"journal  {r['lag_s']:.1f} s behind: nothing rests until it has caught up"
                + (f" ({r['text']})" if r["text"] else ""),
            ),
            "journal.caught_up": lambda _: "journal  has caught up",
            # The exit says it, after everything else.
            "run.refused": lambda _: None,
            "run.stopping": lambda r: (
                f"stop     {r['reason']}: cancelling {r['live_orders']} orders, then asking the "
                "venue what rests"
            ),
            "run.verified": lambda r: (
                f"stop     the {'paper exchange' if self._is_paper else 'venue'} confirms: "
                f"{r['resting_orders']} resting"
            ),
            "flatten.began": lambda _: "flatten  closing the position as a taker",
            "flatten.sent": lambda r: (
                f"flatten  {r['side']} {r['sz']:g} at {r['worst_px']:g} or better, "
                f"fee about {r['fee_usd']:.4f} USD"
            ),
            # The last line of the screen says it.
            "flatten.ended": lambda _: None,
            "run.unverified": lambda r: (
                f"STOP     not confirmed: {r['may_rest']} may still rest"
                if r["may_rest"]
                else "STOP     not confirmed, though every order was answered as gone"
            ),
        }

    def render(self, record: Record) -> str | None:
        """The line of a record, or None when it belongs to the log alone."""
        renderer = self._renderers.get(record["event"])
        if renderer is not None:
            body = renderer(record)
        elif record["level"] in ("warning", "error", "critical"):
            body = self._warn(record)
        else:
            body = None
        if body is None:
            return None
        line = clean(f"{record['at'][11:19]}  {self._tag}{body}")
        return self._paint(line, record["level"])

    def _left_over(self, record: Record) -> str | None:
        """Cancels are repeated several times a second at first; the number is what matters."""
        if self._more(record) is None:
            return None
        return f"orders   {record['orders']} of an earlier run still rest: cancelling them"

    def _warn(self, record: Record) -> str | None:
        """A record that has no line of its own."""
        return self._seldom(record, plain(record))

    def _seldom(self, record: Record, line: str) -> str | None:
        """Of many records alike the first, and then their number."""
        more = self._more(record)
        if more is None:
            return None
        where = ", see the log" if self.has_log() else ""
        return line + (f"  (and {more} more{where})" if more else "")

    def _more(self, record: Record) -> int | None:
        """How many of its event were not shown since the last that was; None: nor is this one."""
        event = record["event"]
        now_s = _second_of_day(record["at"])
        shown_s, more = self._plain_at.get(event, (-PLAIN_LINE_EVERY_S, 0))
        if record["level"] != "critical" and 0 <= now_s - shown_s < PLAIN_LINE_EVERY_S:
            self._plain_at[event] = shown_s, more + 1
            return None
        self._plain_at[event] = now_s, 0
        return more

    def _paint(self, line: str, level: str) -> str:
        if not self._is_colour or level in ("debug", "info"):
            return line
        return f"{_WARN if level == 'warning' else _RED}{line}{_RESET}"

    def _quote(self, r: Record) -> str | None:
        second = r["at"][:19]
        if second == self._quoted_at:
            return None
        self._quoted_at = second
        return (
            f"quote    {_px(r['touch_bid_px'])} / {_px(r['touch_ask_px'])}  "
            f"fair {r['fair_px']:.6g}  "
            f"{_bps(r['touch_bid_bps'])} / {_bps(r['touch_ask_bps'])} bps from fair  "
            f"skew {r['inventory_skew_bps']:+.2f} bps  position {r['q_frac']:+.0%} of limit"
        )

    def _fill(self, r: Record) -> str:
        verb = "bought" if r["side"] == "buy" else "sold  "
        taker = "  AS TAKER" if r["is_taker"] else ""
        return (
            f"fill     {verb} {r['sz']:g} @ {r['px']:g}  fee {r['fee_usd']:.4f}  "
            f"position {r['position_sz']:+g}{taker}"
        )

    def _no_dead_man(self, r: Record) -> str:
        if self._is_paper:
            return "dead man none is needed: no order of paper rests at a venue"
        return (
            f"dead man none at the venue below {r['needed_usd']:,} USD traded "
            f"({r['traded_usd']:,.0f} so far): mmbot watchdog is the other way"
        )

    def _snapshot(self, r: Record) -> str:
        left = r["requests_cap"] - r["requests_used"]
        where = "on paper" if self._is_paper else "at the venue"
        return (
            f"account  value {r['equity_usd']:.2f} USD {where}  "
            f"position {r['position_sz']:+g}  maker fee {r['maker_fee_bps']:.2f} bps  "
            f"{left} requests left"
        )


def _second_of_day(at: str) -> int:
    return int(at[11:13]) * 3600 + int(at[14:16]) * 60 + int(at[17:19])


def banner(config: Config, *, is_colour: bool, account: str = "") -> list[str]:
    """
    The first lines, before anything is reached: mode, unmistakable for money, coin, limits.

    `account` is the address traded; it is shown where money is real.
    """
    coin = config.instrument.wire_coin
    match config.mode:
        case "emulator":
            title = f" EMULATOR  {coin} on an emulated exchange: no key, no network, no money "
            if config.emulator.scenario == "demo" and not config.emulator.url:
                title = f" EMULATOR  {coin}, scenario demo (livelier than HYPE): no money at risk "
        case "paper":
            title = (
                f" PAPER  {coin} of {config.paper.source}: real prices, orders answered by this "
                "program alone, no money "
            )
        case "testnet":
            title = f" TESTNET  {coin}: test money "
        case "live":
            title = f" LIVE  REAL MONEY  {coin} on Hyperliquid mainnet, account {account} "
    title = clean(title)
    rule = ("PAPER " if config.is_paper else "=") * len(title)
    rule = rule[: len(title)]
    if is_colour:
        style = _RED if config.mode == "live" else _BOLD
        title = f"{style}{title}{_RESET}"
    risk = config.risk
    limits = (
        f"capital {risk.capital_usd:g} USD  "
        f"position limit {risk.position_limit_usd(risk.capital_usd):g} USD"
    )
    stops = f"Ctrl+C stops; kill -USR1 {os.getpid()} trips the kill switch"
    return [rule, title, rule, f"limits   {limits}", f"process  {stops}"]


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The run summary as a person reads it; `summary.json` holds the same figures."""

    def bps(key: str) -> str:
        value = summary[key]
        return "no fill that old" if value is None else f"{value:+.2f} bps"

    def depth(key: str) -> str:
        value = summary[key]
        return "none" if value is None else f"{value:+.2f} bps from fair"

    def usd(key: str) -> str:
        return f"{summary[key] + 0.0:+.4f} USD"

    paper = "PAPER, " if summary.get("mode") == "paper" else ""
    rows = [
        ("run", f"{paper}{summary['duration_s']:.1f} s, ended by {summary['end_reason']}"),
        (
            "fills",
            f"{summary['fills']}: bought {summary['bought_sz']:g}, sold {summary['sold_sz']:g}",
        ),
        ("position", _position(summary["position_sz"])),
        ("realised", usd("realised_usd")),
        ("unrealised", usd("unrealised_usd")),
        ("fees", f"{0.0 - summary['fees_usd']:+.4f} USD"),
        ("funding", usd("funding_usd")),
        ("total", usd("pnl_usd") + (", what is held at the mid" if summary["position_sz"] else "")),
        ("spread capture", usd("spread_capture_usd")),
        (
            "markout",
            ", ".join(f"{span} s {bps(f'markout_{span}s_bps')}" for span in (1, 5, 30)),
        ),
        ("max drawdown", f"{summary['max_drawdown_pct']:.3f} % of peak equity"),
        ("skew at max inventory", f"{summary['skew_at_max_inventory_bps']:+.2f} bps"),
        (
            "touch at max inventory",
            (
                f"bid {depth('touch_bid_at_max_inventory_bps')}, "
                f"ask {depth('touch_ask_at_max_inventory_bps')}"
            ),
        ),
        ("requests", _requests(summary)),
        ("resting orders", str(summary["resting_orders"])),
        ("kill switch", summary["kill"]["text"] if summary["kill"] else "not tripped"),
    ]
    width = max(len(name) for name, _ in rows)
    return ["", *(f"  {name:<{width}}  {clean(text)}" for name, text in rows)]


def last_line(
    summary: dict[str, Any],
    closed: Closed | None,
    *,
    coin: str,
    command: str,
    is_embedded: bool,
    is_paper: bool = False,
) -> str | None:
    """
    What a person must know of the position when the run is over; None where nothing is held.

    `command` closes it. With the embedded exchange there is nothing left to close it on, on paper
    there never was anything.
    """
    said = None if closed is None else closed_line(closed, coin)
    held_sz = summary["position_sz"]
    if held_sz is None:
        return f"what is held of {coin} is NOT known, the account was never read: look at it"
    if closed is not None and (closed.is_flat or not held_sz):
        return said
    if not held_sz:
        return None
    px = summary["liquidation_px"]
    known = f"liquidation price {px:g}" if px is not None else "liquidation price unknown"
    if px is None and summary["equity_usd"] is not None:
        known = "no liquidation price"
    text = f"holding {held_sz:+g} {coin}, {known}; it is closed by: {command}"
    if is_embedded:
        text = (
            f"held {held_sz:+g} {coin}, which ended with the embedded exchange, and needs no "
            "closing"
        )
    if is_paper:
        text = f"holding {held_sz:+g} {coin} on PAPER; the account has ended with its run"
    return text if said is None else f"{said}; {text}"


def _position(held_sz: float | None) -> str:
    if held_sz is None:
        return "not known"
    return f"{held_sz:+g}{', still open' if held_sz else ''}"


def _requests(summary: dict[str, Any]) -> str:
    """What is left of the address budget, and for how long at the churn of the last minutes."""
    left, per_h = summary["requests_left"], summary["requests_per_h"]
    hours = summary["requests_hours_left"]
    if per_h is None:
        return f"{left} left"
    if hours is None:
        return f"{left} left, trades earn what changes cost"
    return f"{left} left, {hours:.1f} h at {per_h:.0f} an hour"


def plain(record: Record) -> str:
    facts = "  ".join(
        f"{key}={_fact(value)}"
        for key, value in record.items()
        if key not in ("at", "level", "event", "exception")
    )
    return f"{record['event']}  {facts}".rstrip()


def _fact(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()


def _px(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _bps(value: float | None) -> str:
    """A distance from fair: positive away from it on either side, as everywhere."""
    return "none" if value is None else f"{value:+.1f}"
