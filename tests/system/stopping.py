"""Ctrl+C of a daemon in a process of its own, with twenty orders resting on a slow exchange."""

from __future__ import annotations

import select
import signal
from pathlib import Path
from time import monotonic

from runtime.stopping import RESTING, SETS, Round
from system.harness import PATIENCE_S, daemon, exchange

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def stop_process(here: Path, seed: int, reply_s: float) -> Round:
    """Trade until twenty orders rest, send SIGINT, wait for the process; times on the wall."""
    with exchange(f"--seed={seed}", "--scenario=demo") as venue:
        sets = (f"emulator.url={venue.url}", f"state_dir={here / 'state'}", *SETS)
        with daemon(here / "run", config=CONFIG, sets=sets) as bot:
            whole_ms = round(reply_s * 1000)
            bot.wait_event("quote.moved")
            venue.control(
                "faults", delay_ms=whole_ms, info_delay_ms=whole_ms, event_lag_ms=whole_ms
            )
            until = monotonic() + PATIENCE_S
            while (rested := len(venue.resting())) < RESTING:
                assert monotonic() < until, f"{rested} orders rest, never {RESTING}"
                select.select([], [], [], 0.05)
            began = monotonic()
            bot.process.send_signal(signal.SIGINT)
            gone_s: float | None = None
            while bot.process.poll() is None and monotonic() < began + PATIENCE_S:
                if venue.resting():
                    gone_s = None
                elif gone_s is None:
                    gone_s = monotonic() - began
                select.select([], [], [], 0.01)
            ended_s = monotonic() - began
            code, _, err = bot.end()
            faults = [] if code == 0 else [f"exit {code}: {err}"]
            if venue.resting():
                faults.append(f"{len(venue.resting())} orders rest after the end")
            summary = bot.summary()
            if summary["resting_orders"]:
                faults.append(f"its summary says that {summary['resting_orders']} may rest")
    return Round(
        seed=seed,
        way="process",
        reply_s=reply_s,
        rested=rested,
        is_moving=None,
        gone_s=ended_s if gone_s is None else gone_s,
        verified_s=ended_s,
        faults=tuple(faults),
    )
