"""Whether real money may be traded on a market, given what each width would earn there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from mmbot.config import Config
from mmbot.core.types import Fees, Instrument
from mmbot.errors import CheckError, ConfigError
from mmbot.runtime.widths import NO_WIDTH_PAYS, NOTHING_KNOWN, WidthRow, Widths, measure_widths


class EdgeVerdict(msgspec.Struct, frozen=True):
    """
    What a live start makes of a table of widths.

    `is_measurement`: it may begin although no width pays, and must call itself a measurement.
    """

    is_allowed: bool
    is_measurement: bool
    text: str


def judge_edge(config: Config, widths: Widths | None) -> EdgeVerdict:
    """
    Decide whether a live run may begin on the market of `widths` at its fee.

    It may where the half spread that would be quoted pays: the whole 95 % interval of its net edge
    lies above zero. What another width would earn is none of its money. Where it does not pay, a
    person has to have said that losing is the price of finding out. Without a table (None: no
    recording was named) nothing is known, which is the same.
    """
    quoted = None if widths is None else widths.quoted
    if widths is None:
        why = (
            "no recording is configured (live.recording is not set), so whether a width pays here "
            "is not known"
        )
        remedy = "name a recording of this market in live.recording (docs/recordings.md)"
    elif quoted is not None and quoted.net_low_bps is not None and quoted.net_low_bps > 0:
        text = (
            f"the {quoted.depth_bps:.3g} bps that would be quoted pay "
            f"[{quoted.net_low_bps:+.2f}, {quoted.net_high_bps:+.2f}] bps a fill"
        )
        if widths.best is not None:
            text += f"; {widths.verdict}"
        return EdgeVerdict(is_allowed=True, is_measurement=False, text=text)
    elif not widths.is_known:
        why, remedy = NOTHING_KNOWN, "name a longer recording"
    elif widths.best is None:
        why, remedy = NO_WIDTH_PAYS, "look for another market or a lower fee"
    elif quoted is None or quoted.net_low_bps is None or quoted.net_high_bps is None:
        at = "width" if quoted is None else f"{quoted.depth_bps:.3g} bps"
        why = f"too few trades reach the {at} that would be quoted: whether it pays is not known"
        remedy = f"name a longer recording, or {_wider(widths.best)}"
    else:
        why = (
            f"the {quoted.depth_bps:.3g} bps that would be quoted do not pay: "
            f"[{quoted.net_low_bps:+.2f}, {quoted.net_high_bps:+.2f}] bps a fill"
        )
        remedy = f"look for another market or a lower fee, or {_wider(widths.best)}"
    if config.live.accept_negative_edge:
        return EdgeVerdict(
            is_allowed=True,
            is_measurement=True,
            text=f"{why}: a live run is a MEASUREMENT, and expected to lose "
            "(live.accept_negative_edge = true)",
        )
    return EdgeVerdict(
        is_allowed=False,
        is_measurement=False,
        text=f"{why}: a live start is refused (live.accept_negative_edge = false); {remedy}, "
        "or set live.accept_negative_edge = true to trade it as a measurement",
    )


def _wider(best: WidthRow) -> str:
    return (
        f"quote the {best.depth_bps:g} bps that would pay: quoter.half_spread_bps_min = "
        f"{best.depth_bps:g}"
    )


def edge_line(config: Config, instrument: Instrument, fees: Fees, quoted_bps: float | None) -> str:
    """
    What `judge_edge` says, for a run that needs no permission: a warning where live needs one.

    Raises:
        ConfigError: The recording cannot be used; the key is named.
    """
    verdict = judge_edge(
        config,
        measure_own(config, instrument, fees, quoted_bps=quoted_bps, has_requests=False),
    )
    is_fine = verdict.is_allowed and not verdict.is_measurement
    warning = "WARNING: " + ("(of a live start; paper goes on) " if config.is_paper else "")
    return f"edge     {'' if is_fine else warning}{verdict.text}"


def measure_at_account(
    config: Config,
    recording: Path,
    instrument: Instrument | str,
    fees: Fees,
    *,
    quoted_bps: float | None,
    has_requests: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> Widths:
    """
    The table of a recording for the account that would trade it.

    Args:
        config: The configuration.
        recording: Folder of the recording.
        instrument: What the venue says of the traded one, or the name of another listed coin.
        fees: Of the account. A fee that [backtest] supposes is no fee that is paid.
        quoted_bps: Half spread that would be quoted; None where nothing would be.
        has_requests: As of `measure_widths`.
        on_progress: As of `measure_widths`.

    Raises:
        ConfigError: The recording cannot be used.
    """
    coin = instrument if isinstance(instrument, str) else instrument.coin
    return measure_widths(
        recording.expanduser(),
        coin,
        config.engine,
        params=config.backtest.model_copy(update={"maker_fee_bps": None}),
        instrument=None if isinstance(instrument, str) else instrument,
        fees=fees,
        quoted_bps=quoted_bps,
        has_requests=has_requests,
        on_progress=on_progress,
    )


def measure_own(
    config: Config,
    instrument: Instrument,
    fees: Fees,
    *,
    quoted_bps: float | None,
    has_requests: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> Widths | None:
    """
    The table of `live.recording`; None where it is not set.

    Raises:
        ConfigError: The recording cannot be used; the key is named.
    """
    recording = config.live.recording
    if recording is None:
        return None
    try:
        return measure_at_account(
            config,
            recording,
            instrument,
            fees,
            quoted_bps=quoted_bps,
            has_requests=has_requests,
            on_progress=on_progress,
        )
    except ConfigError as error:
        raise ConfigError(f"live.recording = {str(recording)!r}: {error}") from None


def refuse_without_edge(config: Config, verdict: EdgeVerdict) -> None:
    """
    Where money is real, begin only where a width pays or losing was accepted.

    Raises:
        CheckError: Neither; key, value and remedy are in it.
    """
    if verdict.is_allowed:
        return
    recording = config.live.recording
    named = "" if recording is None else f"live.recording = {str(recording)!r}: "
    raise CheckError(f"edge: {named}{verdict.text}")
