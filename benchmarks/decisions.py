"""
A fingerprint of everything the engine decides, to show that a change of its code changed nothing.

    PYTHONPATH=<tree>/src python benchmarks/decisions.py [--minutes 10] [--seeds 1] [--data DIR]

Prints one line a session: how many decisions, how many of them sent something, and a SHA-256 over
every batch, note, query, status, kill reason, wake-up time and record of diagnostics, floats to the
last bit. Two trees decide the same when they print the same lines: run it on both and compare them
with `diff`. Sessions are recorded markets (`mmbot backtest`), every synthetic scenario (`mmbot
lab`), the same with longer ways and the vitals judging each record, every reading of theirs counted
too, and the whole daemon on an emulated exchange, with every byte it sends and every line it logs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mmbot.config import load
from mmbot.core.engine import Decision, Engine
from mmbot.core.vitals.expectation import Expectation, Kind, Reading
from mmbot.core.vitals.track import Track
from mmbot.emulator.scenarios import SCENARIOS, scenario_params
from mmbot.emulator.tape import BacktestParams
from mmbot.hyperliquid.link import Link
from mmbot.runtime.backtest import run_backtest
from mmbot.runtime.lab.session import Plan, Times, run_session

REPO: Final = Path(__file__).resolve().parent.parent
CONFIG: Final = REPO / "configs" / "emulator.toml"
RECORDED: Final = "hl-l2-20250904"
COINS: Final = ("BTC", "ETH", "SOL", "WLFI")


class Fingerprint:
    """Follows every decision of every engine while it is being taken."""

    def __init__(self, *, is_judged: bool) -> None:
        self._sum = hashlib.sha256()
        self._is_judged = is_judged
        self.decisions = self.sent = 0

    def take(self, engine: Engine, decision: Decision, now_ns: int) -> None:
        """Count one decision, and its record."""
        self.decisions += 1
        self.sent += decision.batch is not None
        self.add(
            now_ns,
            decision.batch,
            decision.notes,
            decision.queries,
            decision.status,
            decision.kill,
            decision.relink,
            decision.diagnostics,
        )
        if self._is_judged:
            engine.judge(decision)

    def add(self, *what: object) -> None:
        """Count anything whose `repr` says all of it."""
        self._sum.update(repr(what).encode())

    def line(self, name: str) -> str:
        """What is printed."""
        digest = self._sum.hexdigest()[:32]
        return f"{name:32s} {self.decisions:7d} {self.sent:6d} {digest}"


@contextmanager
def followed(*, is_judged: bool = False) -> Iterator[Fingerprint]:
    """Fingerprint of the decisions taken inside."""
    fingerprint = Fingerprint(is_judged=is_judged)
    decide, send, weigh = Engine.decide, Link.send, Track.take

    def told(engine: Engine, now_ns: int) -> Decision:
        # What is asked for late must be as of the decision, whatever has been folded since.
        fingerprint.add(engine.wake_at_ns())
        decision = decide(engine, now_ns)
        fingerprint.take(engine, decision, now_ns)
        return decision

    def sent(link: Link, text: bytes) -> bool:
        fingerprint.add(bytes(text))
        return send(link, text)

    def weighed(track: Track, now_ns: int, reading: Reading, band: Expectation) -> Kind | None:
        kind = weigh(track, now_ns, reading, band)
        fingerprint.add(tuple(reading), kind)
        return kind

    Engine.decide, Link.send = told, sent  # type: ignore[method-assign, assignment]
    Track.take = weighed  # type: ignore[method-assign, assignment]
    try:
        yield fingerprint
    finally:
        Engine.decide, Link.send = decide, send  # type: ignore[method-assign]
        Track.take = weigh  # type: ignore[method-assign]


def recorded(data: Path) -> Iterator[str]:
    """Backtests, with the comparison to the exact-price diff."""
    config = load(REPO / "configs" / "hype.toml", [])
    for coin in COINS:
        with followed() as fingerprint:
            params = BacktestParams(exact_diff=coin == "SOL")
            run_backtest(data / RECORDED, coin, config.engine, params=params)
        yield fingerprint.line(f"backtest {coin}")


def synthetic(seeds: int, minutes: float) -> Iterator[str]:
    """Sessions of the lab; every other scenario upside down."""
    for number, scenario in enumerate(sorted(SCENARIOS)):
        config = load(CONFIG, [f"emulator.scenario={scenario}"])
        for seed in range(1, seeds + 1):
            for is_judged in (False, True):
                plan = Plan(
                    coin=config.instrument.wire_coin,
                    market=scenario_params(scenario, {}),
                    engine=config.engine,
                    seed=seed,
                    minutes=minutes,
                    is_mirrored=number % 2 == 1,
                    times=Times(80.0, 30.0, 20.0) if is_judged else Times(),
                )
                with followed(is_judged=is_judged) as fingerprint:
                    outcome = run_session(plan)
                    fingerprint.add(outcome)
                name = f"lab {scenario} {seed}{' judged' if is_judged else ''}"
                yield fingerprint.line(name)


def piped(seconds: int) -> Iterator[str]:
    """The daemon on an emulated exchange in simulated time, with all that it sends."""
    sys.path.insert(0, str(REPO))
    rig: Any = importlib.import_module("tests.runtime.pipe_rig")
    for scenario, sets in (
        ("demo", ()),
        ("whipsaw", ()),
        ("trend", ("ladder.rungs=12", "risk.capital_usd=1000")),
    ):
        with followed() as fingerprint:
            run = rig.PipeRun(scenario, sets=sets)
            run.start()
            run.run(seconds)
            run.stop()
            for record in run.log.all:
                fingerprint.add(sorted((key, record[key]) for key in record))
        yield fingerprint.line(f"pipe {scenario}")


def main() -> None:
    """Print every line as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--minutes", type=float, default=10.0, help="length of a lab session")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each scenario")
    parser.add_argument("--seconds", type=int, default=240, help="length of a piped run")
    default = os.environ.get("MMBOT_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    args = parser.parse_args()
    for lines in (
        recorded(args.data) if (args.data / RECORDED).is_dir() else iter(()),
        synthetic(args.seeds, args.minutes),
        piped(args.seconds),
    ):
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    main()
