"""What is shown of the program and of the market before the first order where money is real."""

from __future__ import annotations

import functools

import msgspec

from mmbot.config import Config
from mmbot.core.types import Instrument
from mmbot.logs import LogWriter
from mmbot.runtime.aio import aside
from mmbot.runtime.economics import (
    EdgeVerdict,
    edge_line,
    judge_edge,
    measure_own,
    refuse_without_edge,
)
from mmbot.runtime.preflight import Facts
from mmbot.runtime.preview import quoted_half_bps
from mmbot.runtime.selftest import refuse_unless_well, run_selftest
from mmbot.runtime.telling import Log


def prove(config: Config, instrument: Instrument) -> None:
    """
    Where money is real, begin only with a program whose every term reaches the wire.

    Raises:
        CheckError: The self-test failed; every row that did is named.
    """
    if config.mode == "live":
        refuse_unless_well(run_selftest(config, instrument=instrument))


async def prove_market(config: Config, facts: Facts, writer: LogWriter, log: Log) -> EdgeVerdict:
    """
    Where money is real: what must be shown of program and market before the first order.

    Raises:
        CheckError: A row of the self-test failed, or the width that is quoted does not pay and
            nobody accepted that.
        ConfigError: The recording cannot be used.
    """
    recording = config.live.recording
    writer.say("selftest does every term of the quote reach the orders? some seconds")
    await aside(functools.partial(prove, config, facts.instrument))
    log.info("selftest.passed")
    if recording is not None:
        fee_bps = facts.fees.maker_bps
        writer.say(
            f"edge     what would each width earn on {recording} at the maker fee of "
            f"{fee_bps:.2f} bps? seconds, and longer for a long recording"
        )
        log.info("edge.measuring", recording=str(recording), maker_fee_bps=fee_bps)
    widths = await aside(
        functools.partial(
            measure_own,
            config,
            facts.instrument,
            facts.fees,
            quoted_bps=quoted_half_bps(config, facts),
            has_requests=False,
        )
    )
    verdict = judge_edge(config, widths)
    log.info("edge.judged", **msgspec.structs.asdict(verdict), widths=widths)
    refuse_without_edge(config, verdict)
    writer.say(f"edge     {verdict.text}")
    return verdict


async def say_edge(config: Config, facts: Facts, writer: LogWriter) -> None:
    """On paper: say what the width that is quoted would earn, and refuse nothing."""
    half_bps = quoted_half_bps(config, facts)
    writer.say(
        await aside(functools.partial(edge_line, config, facts.instrument, facts.fees, half_bps))
    )
