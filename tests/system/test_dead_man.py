"""A daemon that dies, hangs or is killed by its operator leaves nothing resting."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from system import killing
from system.harness import PATIENCE_S, STILL, daemon, exchange, start
from system.killing import NOTHING_RESTS_S, WATCHDOG, WATCHDOG_KEY, approve, gone_after_s, sets_of

CONFIG = killing.CONFIG


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_nothing_rests_five_seconds_after_the_daemon_fell_silent(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Killed without a word or stopped in its tracks: a second process with its own key cancels."""
    with exchange(sets=STILL) as venue:
        approve(venue, WATCHDOG_KEY)
        sets = sets_of(venue, tmp_path)
        with (
            killing.watchdog(sets, WATCHDOG_KEY) as dog,
            daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot,
        ):
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            seen = venue.read("status")["requests_seen"]
            bot.process.send_signal(number)
            assert gone_after_s(venue) < NOTHING_RESTS_S
            cancels = venue.read(f"requests?since={seen}")["requests"]
            bot.process.kill()
            dog.terminate()
            said, _ = dog.communicate(timeout=PATIENCE_S)
    cancelled_by = {row["signer"] for row in cancels if "cancel" in row["body"]["action"]["type"]}
    assert cancelled_by == {WATCHDOG}
    assert dog.returncode == 0
    assert "watchdog.daemon_silent" in said


def test_kill_trips_a_running_daemon_at_once_and_reset_shows_who_did(tmp_path: Path) -> None:
    """Exit 3 on both sides, the daemon's own record of it, and no next start."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        chosen = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            killing = start("kill", *chosen)
            out, err = killing.communicate(timeout=PATIENCE_S)
            code, _, _ = bot.end()
            assert venue.open_orders() == []
        assert (killing.returncode, err, code) == (3, "", 3), out
        assert "confirms" in out
        trip = next(r for r in bot.records() if r["event"] == "killswitch.tripped")
        assert trip["trigger"] == "operator"
        assert "mmbot kill" in trip["text"]

        with daemon(tmp_path / "again", config=CONFIG, sets=sets) as again:
            refused, _, _ = again.end()
        assert refused == 3
        reset = start("reset", *chosen)
        out, _ = reset.communicate(timeout=PATIENCE_S)
        assert "mmbot kill" in out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_kill_without_a_daemon_that_answers_cancels_by_itself(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The switch does not depend on the process it is to stop."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            bot.process.send_signal(number)
            if number == signal.SIGKILL:
                bot.process.wait()
            killing = start("kill", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
            out, err = killing.communicate(timeout=PATIENCE_S)
            assert venue.open_orders() == []
            if number == signal.SIGSTOP:
                # It finds the latch when it comes round, and trips for itself.
                bot.process.send_signal(signal.SIGCONT)
                code, _, _ = bot.end()
                assert code == 3
                assert venue.open_orders() == []
        assert (killing.returncode, err) == (3, ""), out
        assert ("does not answer" in out) is (number == signal.SIGSTOP)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_killed_under_load_it_leaves_nothing_and_the_next_start_books_every_fill_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    """`benchmarks/killed.py` does this 200 times; here it is done once for each signal."""
    seen = killing.kill_once(tmp_path, number, random.Random(number))

    assert seen.rested > 0
    assert seen.faults == [], seen
