"""What a backtest found, as a record and as lines for a person."""

from __future__ import annotations

from typing import Final

import msgspec

from mmbot.core.engine import Summary
from mmbot.core.intents import KillReason

NOTES: Final = (
    "funding is left out, margin is not checked",
    "our orders do not move the recorded market",
    "nothing trades in a hole of the recording, and the engine sees stale data, not a lost link",
)


class RequestCount(msgspec.Struct, frozen=True):
    """Requests sent, an element of a batch each, and how many of them were refused, by reason."""

    places: int
    moves: int
    cancels: int
    refused: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return self.places + self.moves + self.cancels


class HoleSpan(msgspec.Struct, frozen=True):
    """A hole of the recording."""

    after_s: float
    """From the first frame."""
    length_s: float


class ExactDiff(msgspec.Struct, frozen=True):
    """
    The same run without hysteresis and without a limit on requests.

    `fills_lost` and `pnl_change_usd` are what the run itself has less than this one;
    `markout_5s_change_bps` is how much more adverse its fills were (negative: less).
    """

    requests: int
    requests_ratio: float | None
    """Requests of the run itself per request of this one; None if this one sent none."""
    fills: int
    fills_lost: int
    pnl_usd: float
    pnl_change_usd: float
    markout_5s_bps: float | None
    markout_5s_change_bps: float | None


class Timing(msgspec.Struct, frozen=True):
    """Where the time went, seconds of this process; not part of the outcome."""

    read_s: float
    parse_s: float
    apply_s: float
    decide_s: float
    venue_s: float
    shell_s: float
    exact_s: float
    """All of the second run, with reading where it ran beside the first."""
    cancel_p50_us: float | None
    """From a frame to the batch, for batches that cancel."""
    cancel_p99_us: float | None


class BacktestResult(Summary, frozen=True, kw_only=True):
    """
    What a run over a recording did: the figures of `mmbot run` and those of a recording.

    `requests_budget` is `10 000 x hours / 24` and one request per USD filled: within it a fresh
    address lasts a day. `hours_to_exhaustion` is None if fills earn what requests cost.
    `inside_floor_s` counts until the protective cancel is confirmed.
    """

    recording: str
    coin: str
    duration_s: float
    equity_usd: float
    kill: KillReason | None
    end_reason: str
    frames: int
    decisions: int
    duplicate_trades: int
    replayed_trades: int
    holes: tuple[HoleSpan, ...]
    stale_s: float
    fills_per_h: float
    filled_usd: float
    two_sided_frac: float
    requests: RequestCount
    requests_total: int
    requests_budget: float
    requests_per_h: float
    hours_to_exhaustion: float | None
    exact_diff: ExactDiff | None
    crossed_unfilled: int
    order_latency_ms: float
    reply_latency_ms: float
    feed_latency_ms: float
    queue_factor: float
    maker_fee_bps: float
    notes: tuple[str, ...] = NOTES
    timing: Timing | None = None


def render(result: BacktestResult) -> str:
    """The outcome as lines for a person; costs and adverse moves are positive."""
    rows = [*_input_rows(result), *_trading_rows(result), *_request_rows(result)]
    if result.crossed_unfilled:
        passed = f"{result.crossed_unfilled} orders that the recorded book crossed without a trade"
        rows.append(("passed unfilled", passed))
    if result.kill is not None:
        rows.append(("KILLED", result.kill.text))
    rows.append(("left out", "; ".join(result.notes)))
    if result.timing is not None:
        rows.append(("time", _spent(result.timing, result.frames)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _input_rows(result: BacktestResult) -> list[tuple[str, str]]:
    return [
        ("recording", f"{result.recording}  {result.coin}"),
        ("ended", f"{result.end_reason} after {result.duration_s:.1f} s"),
        (
            "frames",
            (
                f"{result.frames} in {result.decisions} decisions; dropped "
                f"{result.duplicate_trades} repeated and {result.replayed_trades} replayed trades"
            ),
        ),
        ("stale data", f"{result.stale_s:.1f} s in {len(result.holes)} holes"),
        (
            "model",
            (
                f"orders arrive after {result.order_latency_ms:g} ms, verdicts "
                f"{result.reply_latency_ms:g} ms later; frames are {result.feed_latency_ms:.0f} ms "
                f"old; queue x{result.queue_factor:g}; maker fee {result.maker_fee_bps:g} bps"
            ),
        ),
    ]


def _trading_rows(result: BacktestResult) -> list[tuple[str, str]]:
    return [
        (
            "fills",
            (
                f"{result.fills} ({result.fills_per_h:.1f} per h), {result.filled_usd:.2f} USD; "
                f"bought {result.bought_sz:g}, sold {result.sold_sz:g}, "
                f"holds {result.position_sz:g}"
            ),
        ),
        (
            "profit",
            (
                f"{result.pnl_usd:+.4f} USD = realised {result.realised_usd:+.4f}, "
                f"unrealised {result.unrealised_usd:+.4f}, fees {0.0 - result.fees_usd:+.4f}, "
                f"funding {result.funding_usd:+.4f}"
            ),
        ),
        ("spread captured", f"{result.spread_capture_usd:+.4f} USD"),
        (
            "adverse move",
            (
                f"1 s {_bps(result.markout_1s_bps)}, 5 s {_bps(result.markout_5s_bps)}, "
                f"30 s {_bps(result.markout_30s_bps)}"
            ),
        ),
        ("drawdown", f"{result.max_drawdown_pct:.3f} % of peak equity"),
        (
            "skew",
            (
                f"{result.skew_at_max_inventory_bps:.2f} bps at the largest position, "
                f"{result.max_inventory_sz:g}"
            ),
        ),
        ("two-sided", f"{result.two_sided_frac:.1%} of the time"),
        ("inside the floor", f"{result.inside_floor_s:.1f} s, cancels on their way included"),
    ]


def _request_rows(result: BacktestResult) -> list[tuple[str, str]]:
    requests, exact, lasts = result.requests, result.exact_diff, result.hours_to_exhaustion
    rows = [
        (
            "requests",
            f"{result.requests_total} ({requests.places} places, {requests.moves} moves, "
            f"{requests.cancels} cancels; {result.requests_per_h:.0f} per h); a fresh address "
            f"affords {result.requests_budget:.0f} and lasts "
            + ("for ever" if lasts is None else f"{lasts:.1f} h"),
        )
    ]
    if requests.refused:
        refused = ", ".join(f"{n} {reason}" for reason, n in requests.refused.items())
        rows.append(("refused", refused))
    if exact is not None:
        part = "" if exact.requests_ratio is None else f" ({exact.requests_ratio:.1%} of them sent)"
        text = (
            f"{exact.requests} requests{part}; {exact.fills} fills, so {exact.fills_lost} lost; "
            f"profit {exact.pnl_usd:+.4f} USD; adverse move at 5 s {_bps(exact.markout_5s_bps)}, "
            f"ours differs by {_bps(exact.markout_5s_change_bps)}"
        )
        rows.append(("exact-price diff", text))
    return rows


def _bps(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f} bps"


def _spent(timing: Timing, frames: int) -> str:
    parts = {
        "read": timing.read_s,
        "parse": timing.parse_s,
        "apply": timing.apply_s,
        "decide": timing.decide_s,
        "venue": timing.venue_s,
        "shell": timing.shell_s,
    }
    total = sum(parts.values())
    shares = ", ".join(f"{name} {part / total:.0%}" for name, part in parts.items())
    return (
        f"{total:.2f} s, {frames / total:.0f} frames per s ({shares}); exact {timing.exact_s:.2f} s"
    )
