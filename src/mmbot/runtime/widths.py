"""
What each width would earn on a market: fills, the price's answer to them, the fee, the requests.

Fills and adverse moves are those of virtual quotes on the public tape, on which no choice of ours
had a part; requests are those of the engine itself, run once at every width that it may quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from statistics import NormalDist
from typing import Final

import msgspec

from mmbot.core.book import BookParams, BookState
from mmbot.core.engine import EngineParams
from mmbot.core.estimators.aggressors import Aggressor, Aggressors
from mmbot.core.estimators.virtual import DEPTHS_BPS, DepthRow, VirtualQuotes
from mmbot.core.events import Bbo, Book, Trades
from mmbot.core.ladder import Ladder
from mmbot.core.quoter import HALF_BPS_LEAST
from mmbot.core.risk import Limits
from mmbot.core.types import NS_PER_S, Fees, Instrument
from mmbot.emulator.recordings import Message, read_recording
from mmbot.runtime.backtest import BacktestParams, resolve, run_backtest

_FOR_EVER_S: Final = 1e9
"""Nothing is forgotten: a recording is one sample."""
_MOVE_BPS_MAX: Final = 1000.0
_Z95: Final = 1.96
_TAIL: Final = 0.025
_BPS: Final = 1e-4
NO_WIDTH_PAYS: Final = "no width pays on this market at this fee"
NOTHING_KNOWN: Final = (
    "too few trades for an interval at any width: whether one pays here is not known"
)


class WidthRow(msgspec.Struct, frozen=True):
    """One quote on each side at `depth_bps`; None where the tape says nothing."""

    depth_bps: float
    fills_per_h: float | None
    events: float
    adverse_5s_bps: float | None
    adverse_30s_bps: float | None
    net_edge_bps: float | None
    """Depth less the fee less the adverse move at 30 s."""
    net_low_bps: float | None
    net_high_bps: float | None
    """Ends of its 95 % interval, clustered by event and by time."""
    usd_per_day: float | None
    earned_per_h: float | None
    """Requests that the fills pay for."""
    requests_per_h: float | None
    """Requests of the engine at this half spread; None where its floor keeps it farther out, or
    where they were not counted."""


class Widths(msgspec.Struct, frozen=True):
    """
    The table of one market.

    `quoted` is the row of the half spread that the engine would quote: chosen before the tape is
    read, so that its interval is what it says. It is none of the others, unless it is as deep.
    """

    source: str
    coin: str
    hours: float
    maker_fee_bps: float
    order_usd: float
    rows: tuple[WidthRow, ...]
    quoted: WidthRow | None = None

    @property
    def best(self) -> WidthRow | None:
        """
        The width that earns most among those that pay, as surely as one of so many can.

        The best of several looks better than it is: the 95 % are those of all of them together
        (Bonferroni's inequality), so that the interval of each is wider than the one shown.
        """
        looked = sum(row.net_low_bps is not None for row in self.rows)
        wider = max(1.0, NormalDist().inv_cdf(1 - _TAIL / max(1, looked)) / _Z95)
        paying = [row for row in self.rows if _low_bps(row, wider) > 0]
        return max(paying, key=lambda row: row.usd_per_day or 0.0, default=None)

    @property
    def is_known(self) -> bool:
        """Whether trades enough came for an interval of any width."""
        return any(row.net_low_bps is not None for row in self.rows)

    @property
    def verdict(self) -> str:
        """What a person must know before anything else."""
        best = self.best
        if not self.is_known:
            return NOTHING_KNOWN
        if best is None:
            return NO_WIDTH_PAYS
        return (
            f"{best.depth_bps:g} bps earns most: {best.net_edge_bps:+.2f} bps a fill, "
            f"{best.usd_per_day:+.2f} USD a day at {self.order_usd:.2f} USD an order"
        )


def _low_bps(row: WidthRow, wider: float) -> float:
    """Lower end of its interval, made wider; -inf where there is none."""
    if row.net_edge_bps is None or row.net_low_bps is None:
        return -inf
    return row.net_edge_bps - (row.net_edge_bps - row.net_low_bps) * wider


def virtual_table(
    frames: Iterable[Message],
    instrument: Instrument,
    book_params: BookParams,
    depths_bps: tuple[float, ...] = DEPTHS_BPS,
) -> tuple[DepthRow, ...]:
    """What virtual quotes at fixed depths would have met on these frames."""
    book = BookState(instrument, book_params)
    aggressors = Aggressors()
    quotes = VirtualQuotes(
        half_life_s=_FOR_EVER_S,
        own_half_life_events=500.0,
        move_bps_max=_MOVE_BPS_MAX,
        depths_bps=depths_bps,
    )

    def count(events: list[Aggressor]) -> None:
        for each in events:
            mid = book.mid_before(each.venue_ms)
            if mid is not None:
                reach_bps = each.side * (each.px_ticks - mid) / mid / _BPS
                quotes.on_trades(each.recv_ns, each.side, reach_bps, mid)

    for frame in frames:
        match frame:
            case Trades():
                count(aggressors.take(frame))
            case Bbo() | Book():
                count(aggressors.settle(frame.recv_ns))
                if book.apply(frame) and book.mid_ticks is not None:
                    quotes.on_mid(frame.recv_ns, book.mid_ticks)
    return quotes.rows()


def width_row(
    row: DepthRow, *, fee_bps: float, order_usd: float, credit: float, requests_per_h: float | None
) -> WidthRow:
    """
    The economics of one depth.

    Args:
        row: What the tape says.
        fee_bps: Of the maker, positive is a cost.
        order_usd: Value of one order.
        credit: Requests earned per USD filled.
        requests_per_h: Of the engine at this width.
    """
    net = low = high = per_day = None
    if row.adverse_30s_bps is not None:
        net = row.depth_bps - fee_bps - row.adverse_30s_bps
        if row.adverse_30s_se is not None:
            margin = _Z95 * row.adverse_30s_se
            low, high = net - margin, net + margin
        if row.fills_per_h is not None:
            per_day = net * _BPS * order_usd * row.fills_per_h * 24
    return WidthRow(
        depth_bps=row.depth_bps,
        fills_per_h=row.fills_per_h,
        events=row.events,
        adverse_5s_bps=row.adverse_5s_bps,
        adverse_30s_bps=row.adverse_30s_bps,
        net_edge_bps=net,
        net_low_bps=low,
        net_high_bps=high,
        usd_per_day=per_day,
        earned_per_h=None if row.fills_per_h is None else row.fills_per_h * order_usd * credit,
        requests_per_h=requests_per_h,
    )


def measure_widths(
    recording: Path,
    coin: str,
    engine: EngineParams,
    *,
    params: BacktestParams | None = None,
    instrument: Instrument | None = None,
    fees: Fees | None = None,
    quoted_bps: float | None = None,
    has_requests: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> Widths:
    """
    The table of a recording.

    Args:
        recording: Folder of the recording.
        coin: Which of its coins.
        engine: As in the configuration; only the half spread differs between the runs.
        params: As of a backtest.
        instrument: Replaces the listed one, such as what the venue says of it.
        fees: Replace the listed ones, such as those of the account.
        quoted_bps: Half spread that would be quoted; it is measured beside the others.
        has_requests: Whether the engine is run once at every width to count its requests. What a
            width earns does not depend on it, and a long recording takes minutes.
        on_progress: Told which width is being run.

    Raises:
        ConfigError: The recording or the instrument cannot be used.
    """
    params = params or BacktestParams()
    instrument, fees = resolve(coin, params, instrument, fees)
    read = read_recording(recording, instrument)
    limits = Limits.of(engine.risk, instrument, engine.risk.capital_usd)
    budget_usd = limits.q_max_usd * limits.side_budget_frac
    ladder = Ladder(engine.ladder, instrument)
    order_usd = ladder.order_fraction(limits.q_max_usd, budget_usd) * limits.q_max_usd
    floor_bps = (fees.maker_bps + engine.adverse.a0_bps) / (1 - engine.adverse.a1)
    depths_bps: tuple[float, ...] = DEPTHS_BPS
    if quoted_bps is not None:
        depths_bps = tuple(sorted({*DEPTHS_BPS, quoted_bps}))
    rows = []
    for row in virtual_table(read.frames, instrument, engine.book, depths_bps):
        requests = None
        if has_requests and row.depth_bps >= max(floor_bps, HALF_BPS_LEAST):
            if on_progress is not None:
                on_progress(f"{recording.name} {coin} at {row.depth_bps:g} bps")
            quoter = engine.quoter.model_copy(update={"half_spread_bps_min": row.depth_bps})
            run = run_backtest(
                recording,
                coin,
                engine.model_copy(update={"quoter": quoter}),
                params=params.model_copy(update={"exact_diff": False}),
                instrument=instrument,
                fees=fees,
            )
            requests = run.requests_per_h
        rows.append(
            width_row(
                row,
                fee_bps=fees.maker_bps,
                order_usd=order_usd,
                credit=instrument.request_credit,
                requests_per_h=requests,
            )
        )
    return Widths(
        source=recording.name,
        coin=coin,
        hours=(read.end_ns - read.start_ns) / NS_PER_S / 3600,
        maker_fee_bps=fees.maker_bps,
        order_usd=order_usd,
        rows=tuple(row for row in rows if row.depth_bps in DEPTHS_BPS),
        quoted=next((row for row in rows if row.depth_bps == quoted_bps), None),
    )


def lines(widths: Widths) -> list[str]:
    """The table for a person."""
    head = (
        f"{'bps':>5}{'fills/h':>9}{'events':>8}{'adv 5s':>8}{'adv 30s':>9}{'net edge':>10}"
        f"{'95 % interval':>18}{'USD/day':>10}{'earned/h':>10}{'sent/h':>8}"
    )
    out = [
        (
            f"{widths.source} {widths.coin}: {widths.hours:.2f} h, maker fee "
            f"{widths.maker_fee_bps:g} bps, {widths.order_usd:.2f} USD an order, one on each side"
        ),
        head,
    ]
    quoted = widths.quoted
    shown = widths.rows
    if quoted is not None and quoted not in shown:
        shown = tuple(sorted((*shown, quoted), key=lambda row: row.depth_bps))
    for row in shown:
        interval = (
            "-"
            if row.net_low_bps is None or row.net_high_bps is None
            else f"[{row.net_low_bps:+.2f}, {row.net_high_bps:+.2f}]"
        )
        out.append(
            f"{row.depth_bps:>5.3g}{_figure(row.fills_per_h, '.1f'):>9}{row.events:>8.0f}"
            f"{_figure(row.adverse_5s_bps, '+.2f'):>8}{_figure(row.adverse_30s_bps, '+.2f'):>9}"
            f"{_figure(row.net_edge_bps, '+.2f'):>10}{interval:>18}"
            f"{_figure(row.usd_per_day, '+.3f'):>10}{_figure(row.earned_per_h, '.0f'):>10}"
            f"{_figure(row.requests_per_h, '.0f'):>8}{'  quoted' if row == quoted else ''}"
        )
    if widths.best is None and widths.is_known:
        out.append("no interval of a net edge lies above zero:")
    out.append(widths.verdict)
    return out


def _figure(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
