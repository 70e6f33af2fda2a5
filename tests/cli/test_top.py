"""
`mmbot top` on a terminal of 80 columns and 24 lines, against a real control socket.

What is claimed is what is drawn: the characters of the screen, line by line.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from textual.pilot import Pilot

from mmbot.cli.topscreen import Top
from mmbot.logs import LogWriter, Threshold, make_logger
from mmbot.runtime.control import NAME, Control
from mmbot.runtime.desk import Desk
from mmbot.runtime.observed import status, why
from mmbot.runtime.piped import Records
from mmbot.runtime.tailing import LOG, line_of
from mmbot.runtime.topview import Seen, head, ladder, rules, terms
from runtime.pipe_rig import PipeRun

SIZE = (80, 24)
CALM = ("risk.loss_limit_frac=0.5", "risk.drawdown_limit_frac=0.5")
PATIENCE = 400
LIVE = "UTC  LIVE"


class Stage:
    """A run on the pipe behind a control socket, with a log beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = PipeRun("demo", seed=5, sets=CALM)
        self.run.start()
        self.control: Control | None = None
        self.step(20)
        self.open()

    def open(self) -> None:
        """Serve."""
        log = make_logger(cast("LogWriter", Records()), self.run.clock)
        desk = Desk(
            self.folder,
            self.run.config,
            load=None,
            on_stop=lambda _: None,
            on_config=lambda _: None,
            log=log,
            threshold=Threshold("info"),
            clock=self.run.clock,
        )
        desk.begin(self.run.trader, self.run.user, None)
        self.control = Control(self.folder / NAME, desk.answer, log)
        self.control.open()

    def step(self, span_s: float) -> None:
        """Trade, and write what was logged."""
        before = len(self.run.log.all)
        self.run.run(span_s)
        with (self.folder / LOG).open("a") as file:
            for record in self.run.log.all[before:]:
                file.write(json.dumps(record, default=str) + "\n")

    def close(self) -> None:
        """End as a killed daemon: the socket answers nobody any more."""
        if self.control is not None:
            self.control.close()
            self.control = None


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """One that serves."""
    found = Stage(tmp_path)
    yield found
    found.close()


def drawn(app: Top) -> list[str]:
    """The screen as a person sees it."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


async def until(pilot: Pilot[None], app: Top, seen: Callable[[str], bool]) -> list[str]:
    """The screen once it shows that; fails with what it shows instead."""
    for _ in range(PATIENCE):
        lines = drawn(app)
        if seen("\n".join(lines)):
            return lines
        await pilot.pause(0.05)
    raise AssertionError("\n".join(drawn(app)))


async def test_a_screen_of_80_by_24_shows_ladder_inventory_terms_fills_and_log(
    stage: Stage,
) -> None:
    """All of it at once, by the exchange's own books, and nothing beyond the edge."""
    app = Top(lambda: stage.folder)
    async with app.run_test(size=SIZE) as pilot:
        lines = await until(pilot, app, lambda text: LIVE in text and "quote  " in text)
        text = "\n".join(lines)
        resting = {f"{float(row['limitPx']):.6g}" for row in stage.run.resting()}

    assert len(lines) == 24
    assert {len(line) for line in lines} == {80}
    assert "*** " not in text
    assert lines[0].startswith("EMULATOR HYPE pid ")
    assert "LIVE" in lines[0]
    assert "RUNNING trading link up" in lines[1]
    assert "% of" in lines[2]
    assert "entry" in lines[2] or "+0 HYPE" in lines[2]
    assert "equity" in lines[3]
    assert "pnl" in lines[3]
    assert not [line for line in lines if line.rstrip().endswith("~")], "a line was cut"
    flat = " ".join(text.split())
    p = stage.run.trader.engine.position
    assert f"funding {p.funding_usd:+.4f}" in flat
    assert "nearest limit:" in flat
    assert re.search(r"requests \d+ left", flat)
    assert "a minute" in flat
    told = [it for it in stage.run.log.all if it["event"] not in ("quote.held", "fill.booked")]
    assert " ".join(line_of(dict(told[-1])).split()) in flat, "the newest line of the log is whole"
    shown = {line.split()[2] for line in lines if line.startswith(("ask *", "bid *"))}
    assert shown
    assert shown == resting
    asks = [float(it.split()[2]) for it in lines if it.startswith("ask *")]
    bids = [float(it.split()[2]) for it in lines if it.startswith("bid *")]
    assert asks == sorted(asks, reverse=True)
    assert bids == sorted(bids, reverse=True)
    assert any("fee" in line and "+1.50" in line for line in lines)
    assert any("= bps from fair" in line for line in lines)
    assert sum(line.startswith(("bid: ", "ask: ")) for line in lines) == 2
    assert any(" fill     " in line for line in lines)
    assert "q quit" in lines[-1]


def test_long_names_and_numbers_take_another_line_and_lose_nothing(stage: Stage) -> None:
    """Cut off is what a person looks for: the limit that is near, the end of an error."""
    engine = stage.run.trader.engine
    now_ns = stage.run.clock()
    config = stage.run.config
    said = status(
        stage.run.trader, config, now_ns=now_ns, pid=4194304, run_dir="r", user="", journal=None,
        reloads=0,
    )  # fmt: skip
    s: dict[str, Any] = msgspec.to_builtins(said)
    s |= {"coin": "longdexes:KILOBONKINU", "uptime_s": 1e7, "equity_usd": 12345678.9}
    s["holding"] |= {"sz": -123456.78, "usd": -1234567.89, "limit_usd": 9876543.0, "x": -0.125}
    s["holding"]["entry_px"] = 0.0123456
    s["pnl"] = dict.fromkeys(s["pnl"], -123456.7891)
    s["requests"] |= {"left": 123456789, "hours": 12345.6, "per_h": 65432.0}
    s["reasons"] = ["the book is stale", "bid: position limit", "ask: budget below one order"]
    for order in (*s["asks"], *s["bids"]):
        order |= {"px": 0.0123456, "live_sz": 1234567.0, "bps": 1234.5, "state": "cancelling"}
    w: dict[str, Any] = msgspec.to_builtins(why(stage.run.trader, config, now_ns=now_ns))
    w["reasons"] = ["a reason that is long enough to go far beyond the edge of the screen, twice"]
    seen = Seen(
        answer={"status": s, "why": w, "at_ns": now_ns, "pid": 1}, age_s=0.1, how="", run_dir="r"
    )
    shown = [head(seen, 80), rules(seen, 80), ladder(seen, 46, 10), terms(seen, 34, 10)]

    assert engine.limits is not None
    for lines, width in zip(shown, (80, 80, 46, 34), strict=True):
        assert max(len(line) for line in lines) <= width
        assert not [line for line in lines if line.endswith("~")]
    flat = " ".join(" ".join(shown[0]).split())
    for part in (
        "longdexes:KILOBONKINU pid 4194304 up 115d17h", "LIVE", "ask: budget below one order",
        "-123456.8 KILOBONKINU", "-1234567.89 USD", "entry 0.0123456", "equity 12345678.9000",
        "funding -123456.7891", "requests 123456789 left", "12345.6 h at 65432 an hour", "a minute",
        "nearest limit:",
    ):  # fmt: skip
        assert part in flat, part
    assert " ".join(" ".join(shown[1]).split()).count("of the screen, twice") == 2
    assert all("cancelling" in line for line in shown[2] if "*" in line)
    assert len(shown[0]) + len(shown[1]) <= 24 - 9, "ladder, a fill, the log and the foot remain"


async def test_it_follows_the_run(stage: Stage) -> None:
    """Another moment of the market is another screen, without a key being pressed."""
    app = Top(lambda: stage.folder)
    async with app.run_test(size=SIZE) as pilot:
        first = await until(pilot, app, lambda text: LIVE in text)
        stage.step(15)
        held = stage.run.trader.engine.position.lots
        sz = f"{stage.run.instrument.sz(held):+g} HYPE"
        second = await until(
            pilot, app, lambda text: sz in text and first[5:15] != text.split("\n")[5:15]
        )

    assert first[0] != second[0]


async def test_it_outlives_the_daemon_and_says_how_old_it_is(stage: Stage) -> None:
    """The last quotes stay on the screen, and must never look like present ones."""
    app = Top(lambda: stage.folder)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, app, lambda text: LIVE in text)
        stage.close()
        lines = await until(pilot, app, lambda text: "*** STALE" in text)
        assert "DIED" in lines[0]
        assert "as of " in lines[0]
        assert lines[0].startswith("EMULATOR HYPE  ***"), "the mode is said of a dead one as well"
        assert " LIVE" not in lines[0]
        assert "*** NOT LIVE ***" in lines[-1]
        ended = {"position_sz": -7.0, "pnl_usd": 1.5, "fills": 3, "resting_orders": 0}
        with (stage.folder / LOG).open("a") as file:
            at = "2026-11-22T05:23:40.000000Z"
            file.write(
                json.dumps({"at": at, "level": "info", "event": "run.ended", **ended}) + "\n"
            )
        lines = await until(pilot, app, lambda text: "position -7 at the end" in text)
        assert any(line.startswith("pnl +1.5000 USD at the mid, 3 fills") for line in lines)
        assert any(" fill     " in line for line in lines)
        with (stage.folder / LOG).open("a") as file:
            file.write(json.dumps({"at": at, "level": "info", "event": "run.started"}) + "\n")
        await until(pilot, app, lambda text: "no fill in the log yet" in text)
        stage.open()
        again = await until(pilot, app, lambda text: "*** " not in text)
        assert "LIVE" in again[0]
        await pilot.press("q")
    assert app.return_code == 0


async def test_a_daemon_that_hangs_is_told_from_one_that_answers(stage: Stage) -> None:
    """The screen is drawn on: it must not hang with the daemon it watches."""
    app = Top(lambda: stage.folder)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, app, lambda text: LIVE in text)
        control = stage.control
        assert control is not None
        assert control._listener is not None
        # As a process that is stopped: the kernel takes the connection, and nobody else does.
        asyncio.get_running_loop().remove_reader(control._listener)
        lines = await until(pilot, app, lambda text: "*** STALE" in text and "HUNG" in text)

    assert "*** NOT LIVE ***" in lines[-1]


async def test_a_market_that_fell_silent_is_loud_on_a_daemon_that_answers(stage: Stage) -> None:
    """The daemon lives; its prices do not."""
    stage.run.dialer.stall(is_stalled=True)
    stage.step(4)
    app = Top(lambda: stage.folder)
    async with app.run_test(size=SIZE) as pilot:
        lines = await until(pilot, app, lambda text: "*** STALE" in text)

    assert "NOT of now" in lines[1]
    assert "touch" in lines[1]


async def test_without_a_daemon_there_is_a_screen_all_the_same(tmp_path: Path) -> None:
    """And keys work on it."""
    app = Top(lambda: tmp_path)
    async with app.run_test(size=SIZE) as pilot:
        lines = await until(pilot, app, lambda text: "NO DAEMON" in text and "DIED" in text)
        await pilot.press("q")

    assert "*** NOT LIVE ***" in lines[-1]
    assert app.return_code == 0


async def test_a_look_that_fails_is_told_and_not_the_last(stage: Stage) -> None:
    """Whatever goes wrong in a look, the next one finds the daemon; no text moves the cursor."""
    fails = [True]

    def find() -> Path:
        if fails[0]:
            raise ValueError("a bug \x1b[2J\x1b]0;owned\x07 LIVE")
        return stage.folder

    app = Top(find)
    async with app.run_test(size=SIZE) as pilot:
        lines = await until(pilot, app, lambda text: "a bug" in text)
        assert r"ValueError: a bug \x1b[2J\x1b]0;owned\x07 LIVE" in lines[0]
        assert [line for line in lines if not line.isprintable()] == []
        fails[0] = False
        await until(pilot, app, lambda text: "LIVE" in text and "a bug" not in text)


@pytest.mark.parametrize("size", [(40, 24), (80, 24), (200, 60)])
async def test_no_width_tears_the_screen(stage: Stage, size: tuple[int, int]) -> None:
    """A narrow window loses the ends of lines, never the lines."""
    app = Top(lambda: stage.folder)
    async with app.run_test(size=size) as pilot:
        lines: list[Any] = await until(pilot, app, lambda text: "RUNNING" in text)

    assert len(lines) == size[1]
    assert {len(line) for line in lines} == {size[0]}
    assert "q quit" in lines[-1]
