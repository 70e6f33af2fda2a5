"""
The engine over a recorded market: the shell that stands where the sockets and the venue would.

The engine sees every frame when the recorder received it, and its orders meet the market in the
venue's own time, `order_latency_ms` later (see `emulator.tape` for how they queue and fill).
Equity begins at the configured capital. Funding is left out: a recording has none, and at the usual
0.01 % in eight hours it is 0.1 bps of the position in an hour.

A second run tells what the quietness of the reconciler saves and costs: the same engine without
hysteresis (`runtime.exactdiff`). Its requests, fills and markouts stand beside those of the run.
Where there is a core for it, it goes on beside the first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec
import numpy as np

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import Recording, read_recording
from mmbot.emulator.tape import BacktestParams
from mmbot.runtime.exactdiff import UNLIMITED_REQUESTS, ExactEngine
from mmbot.runtime.outcome import (
    BacktestResult,
    ExactDiff,
    HoleSpan,
    RequestCount,
    Timing,
    render,
)
from mmbot.runtime.playback import REQUESTS_GRANTED, EngineAdapter, Playback

__all__ = ["BacktestParams", "BacktestResult", "render", "run_backtest"]

_CLOID_PREFIX: Final = 0x6D6D_0000_BAC1_0001


def run_backtest(
    recording: Path,
    coin: str,
    engine_params: EngineParams,
    *,
    params: BacktestParams | None = None,
    instrument: Instrument | None = None,
    fees: Fees | None = None,
    on_progress: Callable[[str], None] | None = None,
    processes: int = 1,
) -> BacktestResult:
    """
    Trade a recorded market with the engine that trades live.

    Args:
        recording: Folder of the recording.
        coin: Which of its coins.
        engine_params: As in the configuration.
        params: Latency, queue, and overrides of the listed instrument.
        instrument: Replaces the listed one altogether.
        fees: Replace the listed ones; rates set in `params` go before them.
        on_progress: Told how far it is, in words, about a hundred times.
        processes: With two, the second run goes on beside the first, in a process of its own. The
            result is the same.

    Raises:
        ConfigError: The recording or the instrument cannot be used; the message says why.
        MmbotError: The process beside this one died.
    """
    params = params or BacktestParams()
    instrument, fees = resolve(coin, params, instrument, fees)
    plan = _Plan(recording, coin, engine_params, params, instrument, fees)

    def report(what: str) -> Callable[[float], None] | None:
        if on_progress is None:
            return None
        return lambda frac: on_progress(f"{recording.name} {coin}{what}: {frac:.0%}")

    def first() -> Playback:
        read = read_recording(recording, instrument)
        engine = Engine(engine_params, instrument, cloid_prefix=_CLOID_PREFIX, own_in_book=False)
        played = plan.playback(read, engine, REQUESTS_GRANTED)
        played.play(report(""))
        return played

    exact: _Exact | None = None
    if not params.exact_diff:
        run = first()
    elif processes > 1:
        from mmbot.runtime.beside import beside  # noqa: PLC0415 - a short one does without

        with beside(_play_exact, plan) as result:
            run = first()
            exact = result()
    else:
        run = first()
        exact = _play_exact(plan, run.recording, report(", exact-price diff"))
    return _result(
        run,
        exact,
        fees=fees,
        params=params,
        folder=recording.name,
        stale_s=engine_params.risk.stale_pull_s,
    )


class _Plan(msgspec.Struct, frozen=True):
    """What both runs share."""

    folder: Path
    coin: str
    engine_params: EngineParams
    params: BacktestParams
    instrument: Instrument
    fees: Fees

    def playback(self, recording: Recording, engine: Engine, requests_cap: int) -> Playback:
        return Playback(
            EngineAdapter(engine),
            recording,
            instrument=self.instrument,
            fees=self.fees,
            params=self.params,
            capital_usd=self.engine_params.risk.capital_usd,
            requests_cap=requests_cap,
        )


class _Exact(msgspec.Struct, frozen=True):
    """What the run without hysteresis did."""

    requests: int
    fills: int
    pnl_usd: float
    markout_5s_bps: float | None
    took_s: float


def _play_exact(
    plan: _Plan,
    recording: Recording | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> _Exact:
    """Play it without hysteresis; the recording is read where it is not given."""
    began = perf_counter()
    recording = recording or read_recording(plan.folder, plan.instrument)
    engine = ExactEngine(plan.engine_params, plan.instrument, cloid_prefix=_CLOID_PREFIX)
    run = plan.playback(recording, engine, UNLIMITED_REQUESTS)
    run.play(on_progress)
    summary = run.engine.summary()
    return _Exact(
        requests=sum(run.sent.values()),
        fills=summary.fills,
        pnl_usd=summary.pnl_usd,
        markout_5s_bps=summary.markout_5s_bps,
        took_s=perf_counter() - began,
    )


def resolve(
    coin: str, params: BacktestParams, instrument: Instrument | None, fees: Fees | None
) -> tuple[Instrument, Fees]:
    """
    The instrument and the rates that apply after every override.

    Raises:
        ConfigError: The coin is not listed.
    """
    if instrument is None or fees is None:
        listed, listed_fees = listed_instrument(
            coin, sz_decimals=params.sz_decimals, max_leverage=params.max_leverage
        )
        instrument, fees = instrument or listed, fees or listed_fees
    maker_bps = fees.maker_bps if params.maker_fee_bps is None else params.maker_fee_bps
    return instrument, Fees(maker_bps=maker_bps, taker_bps=fees.taker_bps)


def _feed_latency_ms(recording: Recording) -> float:
    """Median age of a frame when it was received."""
    ages = [frame.recv_ns / NS_PER_MS - frame.venue_ms for frame in recording.frames]
    return float(np.median(ages))


def _result(
    run: Playback,
    exact: _Exact | None,
    *,
    fees: Fees,
    params: BacktestParams,
    folder: str,
    stale_s: float,
) -> BacktestResult:
    recording, summary = run.recording, run.engine.summary()
    start_ns = recording.start_ns
    duration_s = (run.ended_ns - start_ns) / NS_PER_S
    hours = max(duration_s, 1e-9) / 3600
    total = sum(run.sent.values())
    filled_usd = run.venue.filled_usd
    net_per_h = (total - filled_usd) / hours
    holes = [
        HoleSpan((hole.start_ns - start_ns) / NS_PER_S, hole.length_s)
        for hole in recording.holes(stale_s)
        if hole.start_ns < run.ended_ns
    ]
    cancels_us = np.array(run.cancel_s) * 1e6
    has_cancels = len(cancels_us) > 0
    return BacktestResult(
        **msgspec.structs.asdict(summary),
        recording=folder,
        coin=recording.coin,
        duration_s=duration_s,
        equity_usd=run.capital_usd + summary.pnl_usd,
        kill=run.kill,
        end_reason=run.end_reason,
        frames=run.frames,
        decisions=run.decisions,
        duplicate_trades=recording.duplicate_trades,
        replayed_trades=recording.replayed_trades,
        holes=tuple(holes),
        stale_s=sum(hole.length_s for hole in holes),
        fills_per_h=summary.fills / hours,
        filled_usd=filled_usd,
        two_sided_frac=run.two_sided_ns / max(1, run.ended_ns - start_ns),
        requests=RequestCount(**run.sent, refused=dict(run.refused)),
        requests_total=total,
        requests_budget=REQUESTS_GRANTED * hours / 24 + filled_usd,
        requests_per_h=total / hours,
        hours_to_exhaustion=REQUESTS_GRANTED / net_per_h if net_per_h > 0 else None,
        exact_diff=_compare(run, exact) if exact else None,
        crossed_unfilled=run.venue.crossed_unfilled,
        order_latency_ms=params.order_latency_ms,
        reply_latency_ms=params.reply_latency_ms,
        feed_latency_ms=_feed_latency_ms(recording),
        queue_factor=params.queue_factor,
        maker_fee_bps=fees.maker_bps,
        timing=Timing(
            read_s=recording.read_s,
            parse_s=recording.parse_s,
            apply_s=run.apply_s,
            decide_s=run.decide_s,
            venue_s=run.venue_s,
            shell_s=run.total_s - run.apply_s - run.decide_s - run.venue_s,
            exact_s=exact.took_s if exact else 0.0,
            cancel_p50_us=float(np.percentile(cancels_us, 50)) if has_cancels else None,
            cancel_p99_us=float(np.percentile(cancels_us, 99)) if has_cancels else None,
        ),
    )


def _compare(run: Playback, exact: _Exact) -> ExactDiff:
    summary, total = run.engine.summary(), sum(run.sent.values())
    ours, theirs = summary.markout_5s_bps, exact.markout_5s_bps
    return ExactDiff(
        requests=exact.requests,
        requests_ratio=total / exact.requests if exact.requests else None,
        fills=exact.fills,
        fills_lost=exact.fills - summary.fills,
        pnl_usd=exact.pnl_usd,
        pnl_change_usd=summary.pnl_usd - exact.pnl_usd,
        markout_5s_bps=theirs,
        markout_5s_change_bps=None if ours is None or theirs is None else ours - theirs,
    )
