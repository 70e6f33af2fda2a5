"""
What it costs a daemon to be watched: its decisions with `status` and `top` attached, and without.

    python benchmarks/observed.py [--blocks 20] [--cycles 15] [--scraped] [--json]

One daemon, `mmbot run` in a process of its own, on the exchange of `reaction.py`: a tick is one
20-level `l2Book`, the reaction ends when the last byte of its ten signed orders is read, and both
ends are stamped by the exchange. Within one run, blocks of such cycles come in threes: alone,
watched, alone. While it is watched another process asks for `status` ten times a second, and for
what `top` shows twice, each over a connection of its own, as the commands do. With `--scraped` it
reads the figures for Prometheus instead, three times a second: more often than anybody does.

The ratio is that of the medians of a watched block and of the two beside it, the median of all
blocks; its interval is a bootstrap over the blocks (95 %). "Alone twice" is the same for the two
unwatched blocks of each three: what the machine alone makes of nothing.

Also shown: for how long one answer holds the loop, from a run with a full ladder.

Returns 1 when the whole interval lies above one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it has no package
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks import reaction
from prometheus_client import CollectorRegistry, generate_latest

from mmbot.emulator.limits import NO_LIMITS
from mmbot.emulator.listings import dexes
from mmbot.emulator.server import wall_clock_ms
from mmbot.emulator.specs import VenueParams
from mmbot.emulator.venue import Venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import Threshold
from mmbot.runtime.asking import LIVE, ask
from mmbot.runtime.control import Request
from mmbot.runtime.desk import Desk
from mmbot.runtime.metrics import Figures
from mmbot.runtime.tally import Tally
from runtime.pipe_rig import PipeRun

STATUS_EVERY_S: Final = 0.1
TOP_EVERY_S: Final = 0.5
SCRAPE_EVERY_S: Final = 0.33
STREAM: Final = "l2Book"
PARTS: Final = ("before", "watched", "after")
_BOOTSTRAPS: Final = 2000
_TRIES: Final = 8

Block = dict[str, list[float]]
"""Reactions of one block of each of `PARTS`, us."""


# -- the watcher, a process of its own ------------------------------------------------------------


def watch(run_dir: Path, port: int) -> None:
    """
    Ask between a line `on` and a line `off` of standard input; then say how often.

    With a `port` the figures there are read, and nothing else is asked.
    """
    is_on = threading.Event()
    counts = [0, 0]

    def scrape() -> None:
        while True:
            is_on.wait()
            began = time.monotonic()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
                counts[b"mmbot_link_up 1.0" not in page.read()] += 1
            time.sleep(max(0.0, began + SCRAPE_EVERY_S - time.monotonic()))

    def poll() -> None:
        status_at = top_at = 0.0
        while True:
            is_on.wait()
            now = time.monotonic()
            if now >= status_at:
                status_at = now + STATUS_EVERY_S
                counts[ask(run_dir, "status").how != LIVE] += 1
            if now >= top_at:
                top_at = now + TOP_EVERY_S
                counts[ask(run_dir, "all").how != LIVE] += 1
            time.sleep(max(0.0, min(status_at, top_at) - time.monotonic()))

    threading.Thread(target=scrape if port else poll, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "on":
            is_on.set()
        else:
            is_on.clear()
            print(json.dumps({"answered": counts[0], "failed": counts[1]}), flush=True)


class Watcher:
    """That process, from here."""

    def __init__(self, run_dir: Path, port: int) -> None:
        script = str(Path(__file__).resolve())
        command = [sys.executable, script, "--watch", str(run_dir), str(port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.told: dict[str, int] = {"answered": 0, "failed": 0}

    def set(self, *, is_on: bool) -> None:
        """Watch from now on, or no more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("on\n" if is_on else "off\n")
        self._process.stdin.flush()
        if not is_on:
            self.told = json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


# -- the daemon ----------------------------------------------------------------------------------


async def measure(
    blocks: int, cycles: int, scratch: Path, port: int = 0
) -> tuple[list[Block], dict[str, int]]:
    """Reactions of one daemon, block by block, and how often the watcher was answered."""
    key = bytes([1]) * 32
    user = Signer(key, is_mainnet=False).address
    now_ms = wall_clock_ms()
    venue = Venue(VenueParams(), dexes(is_hyna_alive=False), now_ms)
    venue.open_account(user, usd=10_000.0)
    venue.grant_volume(user, 1e9)
    reaction.open_market(venue)
    exchange = Exchange(venue, None, ExchangeParams(block_ms=1, limits=NO_LIMITS), now_ms)
    exchange.test_accounts = [{"address": user, "private_key": "0x" + key.hex()}]
    running = reaction.Stamped(exchange)
    with running.stamping():
        await running.listen("127.0.0.1", 0)
        bench = reaction.Bench(running, STREAM)
        watcher: Watcher | None = None
        try:
            process = start(running.url, scratch, port)
            await bench.admit(reaction.OURS, process, user)
            for _ in range(reaction.WARM_UP):
                await _one(bench)
            watcher = await asyncio.to_thread(Watcher, scratch / "run", port)
            gc.collect()
            gc.disable()
            found = [await _block(bench, watcher, cycles) for _ in range(blocks)]
            return found, watcher.told
        finally:
            gc.enable()
            if watcher is not None:
                watcher.end()
            await reaction._end(bench, running.stop)


def start(url: str, scratch: Path, port: int) -> subprocess.Popen[bytes]:
    """The daemon. Ticks follow each other so fast that their sum would be a jump of the price."""
    config = scratch / "observed.toml"
    config.write_text(f"{reaction.CONFIG}\n[guards]\njump_sigmas = 100\n", "utf-8")
    sets = (f"emulator.url={url}", f"state_dir={scratch / 'state'}", f"metrics.port={port}")
    command = [sys.executable, "-m", "mmbot", "run", "--config", str(config)]
    command += [f"--set={item}" for item in sets]
    command += ["--run-dir", str(scratch / "run")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def _one(bench: reaction.Bench) -> float:
    """
    One reaction, us.

    A daemon that is late to a tick on a busy machine answers in two batches: that is no reaction to
    one tick, and another one is made.
    """
    (client,) = bench.clients
    for _ in range(_TRIES):
        try:
            found = await bench.react(client)
        except AssertionError:
            found = None
        if found is not None:
            await bench.clear(client)
            return (found[1] - found[0]) / 1e3
        await bench.withdraw(client)
    raise AssertionError(f"{client.name}: no whole ladder in {_TRIES} tries")


async def _block(bench: reaction.Bench, watcher: Watcher, cycles: int) -> Block:
    block: Block = {}
    for part in PARTS:
        if part == "watched":
            watcher.set(is_on=True)
        block[part] = [await _one(bench) for _ in range(cycles)]
        if part == "watched":
            await asyncio.to_thread(watcher.set, is_on=False)
    return block


# -- what is made of it --------------------------------------------------------------------------


def ratios(blocks: list[Block]) -> dict[str, Any]:
    """Medians, ratios and their intervals."""
    watched = [
        median(block["watched"]) / median([*block["before"], *block["after"]]) for block in blocks
    ]
    alone = [median(block["after"]) / median(block["before"]) for block in blocks]
    every = {part: [us for block in blocks for us in block[part]] for part in PARTS}
    plain = [*every["before"], *every["after"]]
    return {
        "alone_p50_us": median(plain),
        "alone_p90_us": _p90(plain),
        "watched_p50_us": median(every["watched"]),
        "watched_p90_us": _p90(every["watched"]),
        "ratio": median(watched),
        "ratio_interval": _interval(watched),
        "alone_twice": median(alone),
        "alone_twice_interval": _interval(alone),
    }


def _p90(values: list[float]) -> float:
    return quantiles(values, n=10)[8] if len(values) > 1 else values[0]


def _interval(values: list[float]) -> tuple[float, float]:
    """95 % of the medians of samples drawn with replacement."""
    chance = random.Random(1)
    drawn = sorted(median(chance.choices(values, k=len(values))) for _ in range(_BOOTSTRAPS))
    return drawn[int(0.025 * _BOOTSTRAPS)], drawn[int(0.975 * _BOOTSTRAPS)]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def held(count: int, scratch: Path) -> dict[str, dict[str, float]]:
    """For how long one answer of each kind holds the loop, us of CPU, and its size."""

    async def measured() -> dict[str, dict[str, float]]:
        run = PipeRun("demo", seed=3, sets=("ladder.rungs=5",))
        run.start()
        run.run(20)
        desk = Desk(
            scratch,
            run.config,
            load=None,
            on_stop=lambda _: None,
            on_config=lambda _: None,
            log=run.trader.log,
            threshold=Threshold("info"),
            clock=run.clock,
        )
        desk.begin(run.trader, run.user, None)
        figures: dict[str, dict[str, float]] = {}
        for cmd in ("status", "why", "all"):
            times: list[float] = []
            size = 0
            for _ in range(count):
                desk._kept.clear()
                began = time.thread_time_ns()
                answer = desk.answer(Request(cmd))
                times.append((time.thread_time_ns() - began) / 1e3)
                assert isinstance(answer, bytes)
                size = len(answer)
            figures[cmd] = {"p50_us": median(times), "p90_us": _p90(times), "bytes": size}
        times = []
        for _ in range(count):
            began = time.thread_time_ns()
            desk.seen()
            times.append((time.thread_time_ns() - began) / 1e3)
        page = CollectorRegistry()
        page.register(Figures(lambda: (desk.seen(), Tally().counts())))
        size = len(generate_latest(page))
        figures["scrape"] = {"p50_us": median(times), "p90_us": _p90(times), "bytes": size}
        return figures

    return asyncio.run(measured())


def main() -> int:
    """Measure, print, and return 1 when being watched can be told from the noise."""
    if sys.argv[1:2] == ["--watch"]:
        watch(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--cycles", type=int, default=15)
    parser.add_argument("--scraped", action="store_true", help="by Prometheus, not by a person")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        blocks, told = asyncio.run(
            measure(args.blocks, args.cycles, Path(scratch), free_port() if args.scraped else 0)
        )
        answers = held(300, Path(scratch))
    row = ratios(blocks)
    is_missed = row["ratio_interval"][0] > 1.0 or told["failed"] > 0 or told["answered"] == 0
    if args.json:
        facts = {**row, "asked": told, "answers": answers, "is_missed": is_missed}
        print(json.dumps(facts, indent=1))
        return int(is_missed)
    print(
        f"tick to ten signed orders, {args.blocks} blocks of 3 x {args.cycles} cycles, "
        f"{told['answered']} questions answered, {told['failed']} not"
    )
    for name in ("alone", "watched"):
        print(
            f"  {name:12s} p50 {row[f'{name}_p50_us']:8.1f} us  p90 {row[f'{name}_p90_us']:8.1f} us"
        )
    for name, key in (("watched / alone", "ratio"), ("alone twice", "alone_twice")):
        low, high = row[f"{key}_interval"]
        print(f"  {name:16s} {row[key]:.3f}  95 % [{low:.3f}, {high:.3f}]")
    for name, each in answers.items():
        print(
            f"  one answer to {name:7s} holds the loop for {each['p50_us']:6.0f} us"
            f"  (p90 {each['p90_us']:.0f}), {each['bytes']:.0f} bytes"
        )
    print("MISSED: watched is slower than alone" if is_missed else "every target met")
    return int(is_missed)


if __name__ == "__main__":
    raise SystemExit(main())
