"""A daemon that dies, hangs or is killed by its operator leaves nothing resting."""

from __future__ import annotations

import json
import random
import signal
import socket
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
    # What was on its way from the daemon may land for some seconds yet: nothing is verified.
    assert dog.returncode == ("watchdog.interrupted" in said)
    assert ("watchdog.interrupted" in said) is not ("watchdog.verified" in said)
    assert "watchdog.daemon_silent" in said
    assert "beats again" not in said


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
        assert f"process {bot.process.pid} has ended" in out
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
        assert "position  none" in out


def test_the_service_manager_clears_up_behind_a_dead_daemon_and_never_under_a_live_one(
    tmp_path: Path,
) -> None:
    """`ExecStopPost`: nothing to do after a clean end, everything after a kill, with one key."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        chosen = ["--once", f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            early = start("watchdog", *chosen)
            _, err = early.communicate(timeout=PATIENCE_S)
            assert early.returncode == 5
            assert "lives" in err
            assert len(venue.resting()) >= 4
            bot.process.kill()
            bot.process.wait()
        assert venue.resting()
        after = start("watchdog", *chosen)
        _, err = after.communicate(timeout=PATIENCE_S)
        assert (after.returncode, err) == (0, "")
        assert venue.resting() == []
        seen = venue.read("status")["requests_seen"]
        again = start("watchdog", *chosen)
        out, _ = again.communicate(timeout=PATIENCE_S)
        assert again.returncode == 0
        assert "left nothing resting" in out
        assert venue.read("status")["requests_seen"] == seen


@pytest.mark.parametrize("is_once", [True, False])
def test_a_heartbeat_that_cannot_be_read_counts_as_orders_that_may_rest(
    tmp_path: Path, is_once: bool
) -> None:
    """A machine that lost its power leaves rubbish there, and the orders at the venue."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            bot.process.kill()
            bot.process.wait()
        (beat,) = (tmp_path / "state").glob("*.beat")
        beat.write_bytes(bytes(1024))
        chosen = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        if is_once:
            once = start("watchdog", *chosen, "--once")
            out, err = once.communicate(timeout=PATIENCE_S)
            assert (once.returncode, err) == (0, "")
            assert "beat_unreadable" in out
        else:
            with killing.watchdog(sets, "") as dog:
                assert dog.stdout is not None
                assert any("watchdog.verified" in line for line in dog.stdout)
        assert venue.open_orders() == []


def test_the_service_manager_hears_of_the_whole_life_of_a_daemon(tmp_path: Path) -> None:
    """sd_notify(3): ready when it trades, alive as long as its loop turns, stopping at the end."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"}
        with daemon(tmp_path / "run", config=CONFIG, env=env) as bot:
            while heard.count("WATCHDOG=1") < 4:
                heard.append(manager.recv(100).decode())
            bot.wait_event("quote.moved")
            code, _, _ = bot.stop()
        while heard[-1] != "STOPPING=1":
            heard.append(manager.recv(100).decode())

    assert code == 0
    assert heard[0] == "READY=1"
    assert set(heard) == {"READY=1", "WATCHDOG=1", "STOPPING=1"}


def test_a_second_watchdog_is_refused_and_check_tells_of_the_first(tmp_path: Path) -> None:
    """
    Two would cancel twice and argue about nothing.

    The first one watches although the address of its alerts is not there: it protects, they tell.
    """
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        chosen = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        alone, _ = start("check", *chosen).communicate(timeout=PATIENCE_S)
        mute = 'alerts.url_env=["MMBOT_UNSET_URL"]'
        with killing.watchdog([*sets, mute], "") as dog:
            second = start("watchdog", *chosen)
            _, err = second.communicate(timeout=PATIENCE_S)
            guarded, _ = start("check", *chosen).communicate(timeout=PATIENCE_S)
            untold = start("check", *chosen, f"--set={mute}")
            _, missing = untold.communicate(timeout=PATIENCE_S)
        assert dog.stdout is not None
        (log,) = (tmp_path / "state").glob("*.watchdog.jsonl")
        (off,) = [
            record
            for record in map(json.loads, log.read_text("utf-8").splitlines())
            if record["event"] == "alerts.unavailable"
        ]

    assert off["level"] == "error"
    assert "environment variable MMBOT_UNSET_URL is not set" in off["error"]
    assert "environment variable MMBOT_UNSET_URL is not set" in missing
    assert untold.returncode == 2
    assert second.returncode == 5
    assert "another watchdog" in err
    assert "none runs here" in alone
    assert "it cancels when the daemon falls silent" in guarded


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_killed_under_load_it_leaves_nothing_and_the_next_start_books_every_fill_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    """`benchmarks/killed.py` does this 200 times; here it is done once for each signal."""
    seen = killing.kill_once(tmp_path, number, random.Random(number))

    assert seen.rested > 0
    assert seen.faults == [], seen
