"""
The figures of a running daemon as Prometheus reads them.

One source of truth: what `status` and `why` show (`runtime.observed`), and how often the log told
of what (`runtime.tally`). A value that is not known has no sample, and what is made of prices has
none while they are too old to be of now: a gap in a plot, never a zero and never yesterday's price.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any, Final, Literal

import msgspec
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from mmbot.core.margin import MARGIN_UNIT
from mmbot.core.types import NS_PER_S
from mmbot.runtime.desk import STARTING, Seen
from mmbot.runtime.ending import Phase
from mmbot.runtime.observation import Order, SideWhy, Status, Why
from mmbot.runtime.observed import DECIDED_S_MAX
from mmbot.runtime.tally import Counts
from mmbot.runtime.telling import Spans

TRIGGER_UNITS: Final = {
    "USD": "usd",
    "s": "seconds",
    MARGIN_UNIT: "ratio",
    "requests": "requests",
    "refusals a minute": "requests",
}
"""A metric has one unit, so that what adds it up adds up like with like."""
SPAN_METRIC: Final = "mmbot_decision_seconds"
_PHASES: Final = (STARTING, *(phase.value for phase in Phase))
_MODES: Final = ("running", "reducing", "halted")
_BREATH_S: Final = 2e-5
"""Between two families the thread that writes them lets go of the interpreter, for the loop."""
_FIGURES: Final = {
    "sigma_bps_rt_s": "mmbot_volatility_bps",
    "trend_bps": "mmbot_trend_bps",
    "z_t": "mmbot_trend_z",
    "drift_bps_per_s": "mmbot_drift_bps_per_second",
    "half_bps": "mmbot_half_spread_bps",
    "shift_bps": "mmbot_shift_bps",
    "a_per_s": "mmbot_fill_intensity_per_second",
    "k_per_bp": "mmbot_fill_decay_per_bps",
}


class Family(msgspec.Struct, frozen=True):
    """One metric: what it is called, and what it means."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter", "histogram"] = "gauge"


FAMILIES: Final = (
    Family("mmbot_build_info", "Always 1.", ("version", "python")),
    Family("mmbot_run_info", "Always 1.", ("coin", "mode")),
    Family("mmbot_start_time_seconds", "When the run began, seconds since the epoch."),
    Family("mmbot_uptime_seconds", "Since then."),
    Family("mmbot_phase", "1 for where the run stands, 0 for the others.", ("phase",)),
    Family("mmbot_mode", "1 for what the risk table allows, 0 for the others.", ("mode",)),
    Family("mmbot_rules", "Rules that shape or block the quotes just now."),
    Family("mmbot_rule_active", "1 for each of those rules.", ("rule", "side")),
    Family("mmbot_link_up", "Whether every stream is acknowledged."),
    Family("mmbot_market_stale", "Whether what is known of the market is too old to be of now."),
    Family("mmbot_decision_age_seconds", "Since the engine was asked last."),
    Family("mmbot_stream_age_seconds", "Since the last message of a stream.", ("stream",)),
    Family("mmbot_stream_limit_seconds", "Age from which it is silent.", ("stream",)),
    Family("mmbot_stream_stale", "Whether it is.", ("stream",)),
    Family("mmbot_journal_lag_seconds", "How far the journal is behind."),
    Family("mmbot_price_usd", "Fair, mid and mark price.", ("price",)),
    Family("mmbot_position_base", "Position in coins, long positive."),
    Family("mmbot_position_usd", "The same at mid."),
    Family("mmbot_position_ratio", "Inventory x: of the position limit, long positive."),
    Family("mmbot_position_limit_usd", "That limit."),
    Family("mmbot_entry_price_usd", "Average price of what is held."),
    Family("mmbot_equity_usd", "Capital at the start and the profit since, as the limits see it."),
    Family("mmbot_start_equity_usd", "That capital."),
    Family("mmbot_account_usd", "Value of the account at the venue, as read last."),
    Family("mmbot_profit_usd", "Profit of the run by its fills, at the mid."),
    Family("mmbot_profit_part_usd", "Its parts, which add up to it.", ("part",)),
    Family("mmbot_spread_capture_usd", "Distance of the fills from the mid of their moment."),
    Family("mmbot_day_profit_usd", "Profit of the UTC day, by all runs of it."),
    Family("mmbot_fills_total", "Fills of the run.", kind="counter"),
    Family("mmbot_quote_distance_bps", "Our nearest order from fair, away positive.", ("side",)),
    Family("mmbot_wanted_distance_bps", "The nearest that is wanted.", ("side",)),
    Family("mmbot_resting_orders", "Prices at which orders rest or are on their way.", ("side",)),
    Family("mmbot_resting_base", "Their size in coins.", ("side",)),
    Family("mmbot_side_pulled", "1 for a side that is kept empty.", ("side", "reason")),
    Family("mmbot_term_bps", "Term of the nearest wanted order, away positive.", ("side", "term")),
    Family("mmbot_floor_bps", "Least distance of an order that adds to the position."),
    Family("mmbot_volatility_bps", "Standard deviation of the price over one second."),
    Family("mmbot_trend_bps", "Trend, up positive."),
    Family("mmbot_trend_z", "The same in its standard deviations."),
    Family("mmbot_drift_bps_per_second", "Drift, up positive."),
    Family("mmbot_half_spread_bps", "Half the spread that is quoted when nothing leans."),
    Family("mmbot_shift_bps", "By how much both quotes are shifted, up positive."),
    Family("mmbot_fill_intensity_per_second", "A of the intensity of fills A exp(-k d)."),
    Family("mmbot_fill_decay_per_bps", "k of it."),
    Family("mmbot_requests_left", "Requests the venue still takes from this address."),
    Family("mmbot_requests_cap", "Requests it grants in all, as of now."),
    # No counter: each reading of the venue replaces our own count, and may be below it.
    Family("mmbot_requests_used", "Requests it has counted, of all runs; it may fall a little."),
    Family("mmbot_requests_per_second", "Churn of the last minutes, less what trades earn."),
    Family("mmbot_requests_left_seconds", "For how long they last at that; absent: for ever."),
    Family("mmbot_ip_weight", "Weight of our requests within the last minute."),
    Family("mmbot_ip_weight_limit", "What the venue takes of that."),
    Family("mmbot_killed", "Whether the kill switch has tripped."),
    *(
        Family(f"mmbot_trigger_{what}_{unit}", text, ("trigger",))
        for unit in ("usd", "seconds", "ratio", "requests")
        for what, text in (
            ("value", "What a trigger of it looks at."),
            ("limit", "The figure at which it trips."),
        )
    ),
    Family("mmbot_trigger_ratio", "Part of the way to that limit, 1 trips.", ("trigger",)),
    Family("mmbot_dead_man_armed", "Whether the venue cancels all when we fall silent."),
    Family("mmbot_reloads_total", "Configurations taken over while running.", kind="counter"),
    Family("mmbot_order_rejects_total", "Orders refused by the venue.", ("reason",), "counter"),
    Family("mmbot_vitals_violations_total", "Terms seen not to work.", ("term",), "counter"),
    Family("mmbot_log_records_total", "What the log told of.", ("event", "level"), "counter"),
    Family(
        SPAN_METRIC,
        "From the read of a frame, or a timer, to the batch it led to being sent.",
        (),
        "histogram",
    ),
)
"""Every metric of ours; docs/monitoring.md has the same list."""

_LABELS: Final = {family.name: family.labels for family in FAMILIES}


class Sheet:
    """Samples as they are found, by metric. What is not known (None) is left out."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)

    def put(self, name: str, value: float | None, **labels: str) -> None:
        """One sample."""
        if value is not None:
            self.rows[name].append((tuple(labels[key] for key in _LABELS[name]), float(value)))

    def one_of(self, name: str, label: str, names: Iterable[str], current: str | None) -> None:
        """1 for the current one and 0 for the others; nothing where none is known."""
        if current is not None:
            for each in names:
                self.put(name, each == current, **{label: each})


def fill(sheet: Sheet, seen: Seen | None, counts: Counts) -> None:
    """Put down what is known; `seen` is None before there is a trader."""
    sheet.put("mmbot_build_info", 1, version=version("mmbot"), python=sys.version.split()[0])
    sheet.one_of("mmbot_phase", "phase", _PHASES, STARTING if seen is None else seen.status.phase)
    for (event, level), count in counts.records.items():
        sheet.put("mmbot_log_records_total", count, event=event, level=level)
    for reason, count in counts.rejects.items():
        sheet.put("mmbot_order_rejects_total", count, reason=reason)
    for term, count in counts.violations.items():
        sheet.put("mmbot_vitals_violations_total", count, term=term)
    if seen is None:
        return
    status = seen.status
    _state(sheet, status)
    _account(sheet, status)
    _limits(sheet, status)
    for side, orders in (("buy", status.bids), ("sell", status.asks)):
        _resting(sheet, side, orders)
    if not status.is_stale:
        _market(sheet, status)
        if seen.why.age_s is not None and seen.why.age_s <= DECIDED_S_MAX:
            _why(sheet, seen.why)


def _state(sheet: Sheet, status: Status) -> None:
    sheet.put("mmbot_run_info", 1, coin=status.coin, mode=status.mode)
    sheet.put("mmbot_start_time_seconds", status.started_ns / NS_PER_S)
    sheet.put("mmbot_uptime_seconds", status.uptime_s)
    sheet.one_of("mmbot_mode", "mode", _MODES, status.risk_mode)
    sheet.put("mmbot_rules", len(status.rules))
    for name, side in sorted({(rule.name, rule.side) for rule in status.rules}):
        sheet.put("mmbot_rule_active", 1, rule=name, side=side)
    sheet.put("mmbot_link_up", status.is_link_up)
    sheet.put("mmbot_market_stale", status.is_stale)
    sheet.put("mmbot_decision_age_seconds", status.decided_s)
    for stream in status.streams:
        sheet.put("mmbot_stream_age_seconds", stream.age_s, stream=stream.name)
        sheet.put("mmbot_stream_limit_seconds", stream.limit_s, stream=stream.name)
        if stream.limit_s is not None:
            sheet.put("mmbot_stream_stale", stream.is_stale, stream=stream.name)
    sheet.put("mmbot_journal_lag_seconds", status.journal_lag_s)
    sheet.put("mmbot_dead_man_armed", status.dead_man)
    sheet.put("mmbot_reloads_total", status.reloads)


def _account(sheet: Sheet, status: Status) -> None:
    """What the ledger and the venue's account say, whatever the price is."""
    holding, pnl = status.holding, status.pnl
    sheet.put("mmbot_position_base", holding.sz)
    sheet.put("mmbot_position_limit_usd", holding.limit_usd)
    sheet.put("mmbot_entry_price_usd", holding.entry_px)
    sheet.put("mmbot_start_equity_usd", status.equity_start_usd)
    sheet.put("mmbot_account_usd", status.account_usd)
    sheet.put("mmbot_fills_total", status.fills)
    for part, usd in (
        ("realised", pnl.realised_usd),
        ("fees", -pnl.fees_usd),
        ("funding", pnl.funding_usd),
    ):
        sheet.put("mmbot_profit_part_usd", usd, part=part)
    requests = status.requests
    sheet.put("mmbot_requests_left", requests.left)
    sheet.put("mmbot_requests_cap", requests.cap)
    sheet.put("mmbot_requests_used", requests.used)
    sheet.put("mmbot_requests_per_second", requests.per_h and requests.per_h / 3600)
    sheet.put("mmbot_requests_left_seconds", requests.hours and requests.hours * 3600)
    sheet.put("mmbot_ip_weight", requests.ip_weight)
    sheet.put("mmbot_ip_weight_limit", requests.ip_weight_max)


def _limits(sheet: Sheet, status: Status) -> None:
    sheet.put("mmbot_killed", status.kill is not None)
    is_read = status.holding.sz is not None
    for it in status.triggers:
        unit = TRIGGER_UNITS[it.unit]
        sheet.put(f"mmbot_trigger_limit_{unit}", it.limit, trigger=it.trigger)
        if is_read:  # before the account was, there is nothing that could be near a limit
            sheet.put(f"mmbot_trigger_value_{unit}", it.value, trigger=it.trigger)
            sheet.put("mmbot_trigger_ratio", it.used, trigger=it.trigger)


def _resting(sheet: Sheet, side: str, orders: tuple[Order, ...]) -> None:
    live = [order for order in orders if order.live_sz]
    sheet.put("mmbot_resting_orders", len(live), side=side)
    sheet.put("mmbot_resting_base", sum(order.live_sz for order in live), side=side)


def _market(sheet: Sheet, status: Status) -> None:
    """What is made of prices that are of now."""
    holding, pnl = status.holding, status.pnl
    silent = {stream.name for stream in status.streams if stream.is_stale}
    sheet.put("mmbot_price_usd", status.fair_px, price="fair")
    sheet.put("mmbot_price_usd", status.mid_px, price="mid")
    if "mark" not in silent:
        sheet.put("mmbot_price_usd", status.mark_px, price="mark")
    sheet.put("mmbot_position_usd", holding.usd)
    sheet.put("mmbot_position_ratio", holding.x)
    sheet.put("mmbot_equity_usd", status.equity_usd)
    sheet.put("mmbot_spread_capture_usd", pnl.spread_capture_usd)
    sheet.put("mmbot_day_profit_usd", pnl.day_usd)
    if holding.usd is not None:  # without a price nothing held is worth anything known
        sheet.put("mmbot_profit_part_usd", pnl.unrealised_usd, part="unrealised")
        sheet.put("mmbot_profit_usd", pnl.total_usd)


def _why(sheet: Sheet, why: Why) -> None:
    for side in why.sides:
        _side(sheet, side)
    sheet.put("mmbot_floor_bps", why.floor_bps)
    for figure, name in _FIGURES.items():
        sheet.put(name, why.figures.get(figure))


def _side(sheet: Sheet, side: SideWhy) -> None:
    sheet.put("mmbot_quote_distance_bps", side.resting_bps, side=side.side)
    sheet.put("mmbot_wanted_distance_bps", side.bps, side=side.side)
    if side.pulled is not None:
        sheet.put("mmbot_side_pulled", 1, side=side.side, reason=side.pulled)
    for term, bps in side.terms.items():
        sheet.put("mmbot_term_bps", bps, side=side.side, term=term.removesuffix("_bps"))


class Figures:
    """
    The collector of a registry.

    Args:
        look: What there is to see now, and the counts; called from the thread that collects, and
            brings both from the thread of the loop.
        breathe: Called between two families.
    """

    def __init__(
        self,
        look: Callable[[], tuple[Seen | None, Counts]],
        breathe: Callable[[], None] = lambda: time.sleep(_BREATH_S),
    ) -> None:
        self._look = look
        self._breathe = breathe

    def describe(self) -> Iterator[Metric]:
        """The families without a sample, so that registering asks nobody."""
        for family in FAMILIES:
            yield _empty(family)

    def collect(self) -> Iterator[Metric]:
        """Every family, with the samples there are."""
        seen, counts = self._look()
        sheet = Sheet()
        fill(sheet, seen, counts)
        for family in FAMILIES:
            self._breathe()
            metric = _empty(family)
            if isinstance(metric, HistogramMetricFamily):
                if seen is not None:
                    metric.add_metric((), _buckets(seen.sent), seen.sent_s)
            else:
                for labels, value in sheet.rows[family.name]:
                    metric.add_metric(labels, value)
            yield metric


def _empty(family: Family) -> Any:
    match family.kind:
        case "gauge":
            return GaugeMetricFamily(family.name, family.text, labels=family.labels)
        case "counter":
            return CounterMetricFamily(family.name, family.text, labels=family.labels)
        case "histogram":
            return HistogramMetricFamily(family.name, family.text, labels=family.labels)


def _buckets(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    found: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*Spans.BOUNDS_S, float("inf")), counts, strict=True):
        below += count
        found.append(("+Inf" if bound == float("inf") else repr(bound), below))
    return found
