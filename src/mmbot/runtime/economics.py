"""Whether real money may be traded on a market, given what each width would earn there."""

from __future__ import annotations

import msgspec

from mmbot.config import Config
from mmbot.runtime.widths import NO_WIDTH_PAYS, NOTHING_KNOWN, Widths


class EdgeVerdict(msgspec.Struct, frozen=True):
    """
    What a live start makes of a table of widths.

    `is_measurement`: it may begin although no width pays, and must call itself a measurement.
    """

    is_allowed: bool
    is_measurement: bool
    text: str


def judge_edge(config: Config, widths: Widths) -> EdgeVerdict:
    """
    Decide whether a live run may begin on the market of `widths` at its fee.

    A width pays where the whole 95 % interval of its net edge lies above zero. Where none does, a
    person has to have said that losing is the price of finding out.
    """
    if widths.best is not None:
        return EdgeVerdict(is_allowed=True, is_measurement=False, text=widths.verdict)
    why = NO_WIDTH_PAYS if widths.is_known else NOTHING_KNOWN
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
        text=f"{why}: a live start is refused; look for another market or a lower fee, "
        "or set live.accept_negative_edge = true to trade it as a measurement",
    )
