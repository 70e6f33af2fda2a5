"""What `benchmarks/versus.py` gives the other engines is the recording, and its formula is ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.versus_side import quoter
from benchmarks.versus_side.facts import COLUMNS, TRADE
from benchmarks.versus_side.frames import Levels, table
from benchmarks.versus_side.ways import CannotRunError, Task, environment, timed

from mmbot.core.events import Bbo, Book, Level, Trade
from mmbot.core.glft import glft
from mmbot.core.types import Side
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import read_recording
from runtime.recorded_market import market, write

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "versus.py"


def _is_seen(frame: Book | Bbo, sides: dict[int, dict[int, int]]) -> bool:
    """Whether the levels are what the frame shows of the book."""
    bids, asks = sides[Side.BUY], sides[Side.SELL]
    if isinstance(frame, Book):
        whole = [{lv.px_ticks: lv.sz_lots for lv in levels} for levels in (frame.bids, frame.asks)]
        return [bids, asks] == whole
    bid, ask = max(bids), min(asks)
    return (frame.bid, frame.ask) == (Level(bid, bids[bid]), Level(ask, asks[ask]))


def test_the_rows_rebuild_every_book_touch_and_trade(tmp_path: Path) -> None:
    """Another engine that quoted around another book would be compared with nothing."""
    recording = read_recording(write(tmp_path, market(30)), listed_instrument("WLFI")[0])
    rows = table(recording)
    said = iter(rows[:, :4].tolist())
    levels = Levels()
    sides: dict[int, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
    for frame in recording.happened:
        for row in levels.rows(frame):
            assert list(row) == next(said)
            kind, side, px_ticks, sz_lots = row
            if kind != TRADE:
                sides[side][px_ticks] = sz_lots
            if not sz_lots:
                del sides[side][px_ticks]
        if isinstance(frame, Trade):
            assert row == (TRADE, frame.side, frame.px_ticks, frame.sz_lots)
        else:
            assert _is_seen(frame, sides)
    assert next(said, None) is None
    times = rows[:, [COLUMNS.index("venue_ns"), COLUMNS.index("recv_ns")]]
    assert (np.diff(times, axis=0) >= 0).all()
    assert (times[:, 0] <= times[:, 1]).all()


@pytest.mark.parametrize("k_per_bp", [0.05, 0.12, 0.5])
def test_the_small_quoter_has_the_terms_of_ours(k_per_bp: float) -> None:
    """ "Comparable" means the same half spread and the same skew, not a simpler formula."""
    c1_bps, c2 = quoter.terms_bps(k_per_bp)
    vol = 0.7
    ours = glft(
        vol_bps_rt_s=vol,
        gamma_per_bp=quoter.GAMMA_PER_BP,
        k_per_bp=k_per_bp,
        a_per_s=quoter.A_PER_S,
    )
    assert c1_bps + c2 * vol / 2 == pytest.approx(ours.half_spread_bps)
    assert c2 * vol == pytest.approx(ours.skew_bps)


def test_the_small_quoter_leans_against_its_position_and_ends_at_its_limit() -> None:
    """Two-sided with a skew is what is compared; an order held moves both prices away from it."""
    args = 1_000_000, 1_000_001, 0.25
    flat = quoter.wanted(*args, 0.0, 8.0, 1.0)
    long = quoter.wanted(*args, 1.0, 8.0, 1.0)
    assert long[0] < flat[0] < 1_000_000 < flat[1]
    assert 1_000_001 <= long[1] < flat[1]
    assert quoter.wanted(*args, quoter.ORDERS_MAX, 8.0, 1.0)[0] == 0
    assert quoter.wanted(*args, -quoter.ORDERS_MAX, 8.0, 1.0)[1] == 0


def test_our_ways_run_cold_and_say_what_they_did(tmp_path: Path) -> None:
    """The sides of mmbot are measured wherever the others are not installed."""
    recording, scratch = tmp_path / "recording", tmp_path / "scratch"
    recording.mkdir()
    scratch.mkdir()
    task = Task(write(recording, market(60)), "WLFI", scratch, Path(sys.executable))
    facts = task.prepare([], 0.12, 1.0)
    assert facts["frames"] > 300
    said = timed(task.command("venue"), environment(scratch)).said
    assert said["requests"] > 0
    assert said["fills"] > 0
    one = task.cold("one_play")
    assert one.said["exact_diff"] is None
    assert 0 < task.warm_s("one_play") < one.cpu_s
    assert 0 < task.warm_s("venue") < one.cpu_s
    assert task.cold("command").said["exact_diff"] is not None


def test_without_the_others_it_says_how_to_install_them(tmp_path: Path) -> None:
    """A benchmark that did nothing must not look like one that found nothing."""
    for arguments in ((), ("--python", sys.executable)):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), f"--data={tmp_path}", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "pip install hftbacktest==" in done.stderr
        assert "skipped" in done.stderr


def test_a_process_that_fails_is_no_measurement(tmp_path: Path) -> None:
    """Its time would be that of a traceback."""
    task = Task(tmp_path, "BTC", tmp_path, Path(sys.executable))
    (tmp_path / "frames.json").write_text(json.dumps({"coin": "BTC"}), "utf-8")
    with pytest.raises(CannotRunError, match="no such file"):
        task.cold("venue")
