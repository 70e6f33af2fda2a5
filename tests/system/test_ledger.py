"""What outlives a run besides the latch: every fill once, and nonces that only rise."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from system.harness import PATIENCE_S, STILL, Daemon, daemon, exchange, start
from system.killing import CONFIG, EAGER, LOAD, sets_of


def stored(here: Path) -> tuple[set[tuple[int, int, int]], int]:
    """Keys of the ledger, and the highest nonce kept."""
    (path,) = (here / "state").glob("*.sqlite")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = db.execute("SELECT tid, oid, venue_ms FROM fills").fetchall()
    (nonce_ms,) = db.execute("SELECT nonce_ms FROM nonce_mark").fetchone()
    db.close()
    assert len(set(rows)) == len(rows)
    return set(rows), nonce_ms


def until_filled(bot: Daemon, times: int) -> None:
    """Wait for so many fills of a run, then stop it."""
    bot.wait_for("fills", lambda seen: sum(r["event"] == "fill.booked" for r in seen) >= times)
    code, _, _ = bot.stop()
    assert code == 0


def test_two_runs_leave_a_ledger_of_the_venues_fills_and_nonces_that_rise(tmp_path: Path) -> None:
    """By the exchange's own books; and the second run begins above whatever the first gave out."""
    with exchange("--seed=5", "--scenario=demo", sets=LOAD) as venue:
        sets = [*sets_of(venue, tmp_path), *EAGER]
        with daemon(tmp_path / "first", config=CONFIG, sets=sets) as bot:
            until_filled(bot, 3)
        first, mark_ms = stored(tmp_path)
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as bot:
            until_filled(bot, 2)
            second, later_ms = stored(tmp_path)
        ledger = venue.read(f"ledger?user={venue.user}")
        made = {(row["tid"], row["oid"], row["time"]) for row in ledger["fills"]}
        check = start("check", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        said, _ = check.communicate(timeout=PATIENCE_S)

    assert len(first) >= 3
    assert first < second == made
    assert later_ms > mark_ms + 10_000
    assert f"{len(made)} fills for" in said


AHEAD = """
import time
real = time.time_ns
time.time_ns = lambda: real() + 1_500_000_000
from mmbot.__main__ import main
main()
"""
"""The program on a machine whose clock is a second and a half ahead."""


def test_a_ledger_begins_by_the_venues_clock_and_not_by_ours(tmp_path: Path) -> None:
    """It is held against the times of fills: the first ones would never be stored."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets, program=("-c", AHEAD)) as bot:
            bot.wait_event("leverage.set")
            bot.stop()
        first_ms = min(row["time"] for row in venue.read("requests")["requests"])
    (path,) = (tmp_path / "state").glob("*.sqlite")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    (began_ms,) = db.execute("SELECT began_ms FROM ledger_began").fetchone()
    db.close()
    assert began_ms <= first_ms
