"""
What the daemon's event loop does in one piece: CPU time of every callback while it quotes.

    python benchmarks/stalls.py [--seconds 60] [--seed 1] [--loop uvloop|asyncio|both] [--json]

`mmbot run` trades in a process of its own against `mmbot exchange` in another (scenario `demo`).
Everything the loop calls is timed by the clock of the thread, so that other processes and the log's
own thread do not count: on uvloop, which is what the daemon runs on, each callback, timer and task
step, and each call of a protocol by a transport; on asyncio, each handle the loop runs. Counted
from the first order sent to the beginning of the stop.

Returns 1 when a callback took more than 1 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from time import monotonic, thread_time_ns
from typing import Any, Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it has no package
from benchmarks import demo

LIMIT_US: Final = 1000.0
WORST_KEPT: Final = 20
_CHANNEL: Final = re.compile(rb'"channel":"(\w+)"').finditer
PROTOCOL_CALLS: Final = ("connection_made", "data_received", "eof_received", "connection_lost")


class Probe:
    """CPU times of callbacks in ns, and the names of the long ones."""

    def __init__(self) -> None:
        self.is_on = False
        self.times_ns: list[int] = []
        self.worst: list[tuple[int, float, str]] = []
        self.began_s = 0.0
        self.collections: list[dict[str, float]] = []
        self._depth = 0
        self._collecting_ns = 0

    def around(self, run: Callable[[], Any], name: Callable[[], str]) -> Any:
        """Run and take the time; what runs inside another callback belongs to that one."""
        if self._depth:
            return run()
        self._depth = 1
        was_on = self.is_on
        began_ns = thread_time_ns()
        try:
            return run()
        finally:
            took_ns = thread_time_ns() - began_ns
            self._depth = 0
            if was_on and self.is_on:
                self._note(took_ns, name)

    def _note(self, took_ns: int, name: Callable[[], str]) -> None:
        self.times_ns.append(took_ns)
        if len(self.worst) < WORST_KEPT or took_ns > self.worst[-1][0]:
            self.worst.append((took_ns, monotonic() - self.began_s, name()))
            self.worst.sort(reverse=True)
            del self.worst[WORST_KEPT:]

    def on_gc(self, phase: str, info: dict[str, int]) -> None:
        """Time garbage collections (a callback of `gc.callbacks`)."""
        if phase == "start":
            self._collecting_ns = thread_time_ns()
        elif self.is_on:
            took_us = (thread_time_ns() - self._collecting_ns) / 1e3
            self.collections.append({"generation": info["generation"], "us": took_us})

    def report(self) -> dict[str, Any]:
        """Everything measured, for JSON."""
        times_us = [ns / 1e3 for ns in self.times_ns]
        steps = quantiles(times_us, n=1000, method="inclusive")
        return {
            "callbacks": len(times_us),
            "p50_us": steps[499],
            "p99_us": steps[989],
            "p999_us": steps[998],
            "max_us": max(times_us),
            "above": sum(us > LIMIT_US for us in times_us),
            "worst": [
                {"us": ns / 1e3, "at_s": at_s, "what": name} for ns, at_s, name in self.worst
            ],
            "collections": self.collections,
        }


def name_of(callback: Any, *args: Any) -> str:
    """What a callback is, for a person; of a read also what came."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        return f"task {getattr(coroutine, '__qualname__', coroutine)}"
    name = str(getattr(callback, "__qualname__", None) or repr(callback))
    channels = [
        match[1].decode() for data in args if isinstance(data, bytes) for match in _CHANNEL(data)
    ]
    return f"{name}: {', '.join(channels)}" if channels else name


def asyncio_loop(probe: Probe) -> asyncio.AbstractEventLoop:
    """A loop of the standard library whose handles are timed."""
    plain = asyncio.Handle._run  # the one place all callbacks pass

    def run(handle: Any) -> None:
        callback = handle._callback
        probe.around(lambda: plain(handle), lambda: name_of(callback))

    mock.patch.object(asyncio.Handle, "_run", run).start()
    return asyncio.new_event_loop()


def uvloop_loop(probe: Probe) -> asyncio.AbstractEventLoop:
    """A uvloop that wraps every callback and protocol it is given."""
    import uvloop

    def timed(callback: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            return probe.around(lambda: callback(*args), lambda: name_of(callback, *args))

        return run

    class TimedLoop(uvloop.Loop):
        """
        uvloop with a clock around whatever it calls.

        What it hands through is typed loosely: the generic signatures of the base class say nothing
        that a wrapper could keep.
        """

        def call_soon(  # type: ignore[override]
            self, callback: Any, *args: Any, **more: Any
        ) -> Any:
            return super().call_soon(timed(callback), *args, **more)

        def call_soon_threadsafe(  # type: ignore[override]
            self, callback: Any, *args: Any, **more: Any
        ) -> Any:
            return super().call_soon_threadsafe(timed(callback), *args, **more)

        def call_later(  # type: ignore[override]
            self, delay: float, callback: Any, *args: Any, **more: Any
        ) -> Any:
            return super().call_later(delay, timed(callback), *args, **more)

        def call_at(  # type: ignore[override]
            self, when: float, callback: Any, *args: Any, **more: Any
        ) -> Any:
            return super().call_at(when, timed(callback), *args, **more)

        async def create_connection(self, protocol_factory: Any, *args: Any, **more: Any) -> Any:
            def factory() -> Any:
                protocol = protocol_factory()
                for name in PROTOCOL_CALLS:
                    setattr(protocol, name, timed(getattr(protocol, name)))
                return protocol

            return await super().create_connection(factory, *args, **more)

    loop: asyncio.AbstractEventLoop = TimedLoop()
    return loop


LOOPS: Final = {"uvloop": uvloop_loop, "asyncio": asyncio_loop}


def child(report: Path, kind: str, arguments: list[str]) -> None:
    """`mmbot run` on a timed loop; the report is written when it ends."""
    import uvloop

    from mmbot.cli.app import main as mmbot
    from mmbot.core.risk import Batch
    from mmbot.hyperliquid.gateway import Gateway
    from mmbot.runtime.trader import Trader

    probe = Probe()
    send, stop = Gateway.send, Trader.stop

    def sent(gateway: Gateway, batch: Batch) -> None:
        send(gateway, batch)
        if not probe.began_s:
            probe.began_s = monotonic()
            probe.is_on = True

    def stopped(trader: Trader, reason: str) -> None:
        probe.is_on = False
        stop(trader, reason)

    def new_loop() -> asyncio.AbstractEventLoop:
        return LOOPS[kind](probe)

    gc.callbacks.append(probe.on_gc)
    sys.argv = ["mmbot", "run", *arguments]
    with (
        mock.patch.object(uvloop, "new_event_loop", new_loop),
        mock.patch.object(Gateway, "send", sent),
        mock.patch.object(Trader, "stop", stopped),
    ):
        try:
            mmbot()
        finally:
            report.write_text(json.dumps(probe.report()), "utf-8")


def measure(kind: str, seconds: float, seed: int, scratch: Path) -> dict[str, Any]:
    """One run on one kind of loop."""
    config = scratch / "stalls.toml"
    config.write_text(demo.CONFIG, "utf-8")
    report = scratch / f"{kind}.json"
    run_dir = scratch / f"run-{kind}"
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(report), kind]
    command += ["--config", str(config), "--for", f"{seconds}s", "--run-dir", str(run_dir)]
    command += ["--set", f"state_dir={scratch / 'state'}"]
    with demo.exchange(seed) as served:
        command += ["--set", f"emulator.url={served.url}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the run ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    summary = json.loads((run_dir / "summary.json").read_text("utf-8"))
    figures: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return {**figures, "fills": summary["fills"], "duration_s": summary["duration_s"]}


def show(kind: str, row: dict[str, Any]) -> None:
    """One loop, readable."""
    print(
        f"{kind}: {row['callbacks']} callbacks in {row['duration_s']:.0f} s, {row['fills']} fills;"
        f" CPU time p50 {row['p50_us']:.0f}, p99 {row['p99_us']:.0f}, p99.9 {row['p999_us']:.0f},"
        f" max {row['max_us']:.0f} us; {row['above']} above {LIMIT_US / 1e3:g} ms"
    )
    for each in row["worst"][:8]:
        print(f"  {each['us']:6.0f} us at {each['at_s']:5.1f} s  {each['what'][:110]}")
    longest = max((each["us"] for each in row["collections"]), default=0.0)
    print(f"  garbage collections: {len(row['collections'])}, the longest {longest:.0f} us")


def main() -> int:
    """Measure, print, and return 1 when a callback took too long."""
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", choices=(*LOOPS, "both"), default="uvloop")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    kinds = list(LOOPS) if args.loop == "both" else [args.loop]
    os.environ.pop("PYTHONASYNCIODEBUG", None)
    with tempfile.TemporaryDirectory() as scratch:
        rows = {kind: measure(kind, args.seconds, args.seed, Path(scratch)) for kind in kinds}
    is_missed = any(row["above"] for row in rows.values())
    if args.json:
        print(json.dumps({"loops": rows, "missed": is_missed}, indent=1))
    else:
        for kind, row in rows.items():
            show(kind, row)
        print("MISSED: callbacks above 1 ms" if is_missed else "no callback above 1 ms")
    return 1 if is_missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
