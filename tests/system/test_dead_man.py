"""A daemon that dies, hangs or is killed by its operator leaves nothing resting."""

from __future__ import annotations

import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from eth_account import Account
from hyperliquid.utils.signing import sign_agent

from system.harness import PATIENCE_S, STILL, Exchange, daemon, end, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
WATCHDOG_KEY = "0x" + "5a" * 32
NOTHING_RESTS_S = 5.0


def sets_of(venue: Exchange, here: Path) -> list[str]:
    """What joins daemon, watchdog and commands to one exchange and one safety state."""
    return [f"emulator.url={venue.url}", f"state_dir={here / 'state'}"]


def approve(venue: Exchange, key: str) -> None:
    """Approve an API wallet for the daemon's account, as the account's owner does."""
    owner = Account.from_key(venue.accounts[0]["private_key"])
    action = {
        "type": "approveAgent",
        "agentAddress": Account.from_key(key).address,
        "agentName": "watchdog",
    }
    action["nonce"] = venue.read("status")["now_ms"]
    signature = sign_agent(owner, action, False)
    from system.harness import _call

    reply = _call(
        f"{venue.url}/exchange",
        {
            "action": action,
            "nonce": action["nonce"],
            "signature": signature,
            "vaultAddress": None,
            "expiresAfter": None,
        },
    )
    assert reply["status"] == "ok", reply


@contextmanager
def watchdog(
    *arguments: str, sets: list[str], key: str = "", config: Path = CONFIG
) -> Iterator[subprocess.Popen[str]]:
    """A running watchdog that watches already."""
    process = start(
        "watchdog",
        f"--config={config}",
        *(f"--set={item}" for item in sets),
        *arguments,
        env={"MMBOT_WATCHDOG_KEY": key},
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "watchdog.watching" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield process
    finally:
        end(process)


def gone_after_s(venue: Exchange) -> float:
    """Seconds until nothing of ours rests, and nothing comes to rest in the second after."""
    began = monotonic()
    clean_since: float | None = None
    while monotonic() - began < PATIENCE_S:
        if venue.resting():
            clean_since = None
        elif clean_since is None:
            clean_since = monotonic()
        elif monotonic() - clean_since > 1.0:
            return clean_since - began
        select.select([], [], [], 0.02)
    raise AssertionError(f"still resting: {venue.resting()}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_nothing_rests_five_seconds_after_the_daemon_fell_silent(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Killed without a word or stopped in its tracks: a second process with its own key cancels."""
    with exchange(sets=STILL) as venue:
        approve(venue, WATCHDOG_KEY)
        sets = sets_of(venue, tmp_path)
        with (
            watchdog(sets=sets, key=WATCHDOG_KEY) as dog,
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
    agent = Account.from_key(WATCHDOG_KEY).address.lower()
    assert {row["signer"] for row in cancels if "cancel" in row["body"]["action"]["type"]} == {
        agent
    }
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
