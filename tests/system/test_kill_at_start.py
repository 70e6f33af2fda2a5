"""The kill switch while a run is starting: it holds the market and has placed nothing yet."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from system.harness import PATIENCE_S, STILL, Daemon, Exchange, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


@contextmanager
def starting(venue: Exchange, here: Path, sets: list[str]) -> Iterator[Daemon]:
    """A start that goes on for as long as the venue is too busy to set the leverage."""
    venue.control("faults", refuse=[429] * 100)
    with daemon(here / "run", config=CONFIG, sets=sets) as bot:
        bot.wait_event("leverage.retried")
        yield bot


def sets_of(venue: Exchange, here: Path) -> list[str]:
    return [f"emulator.url={venue.url}", f"state_dir={here / 'state'}"]


def shown(sets: list[str]) -> str:
    """Why the switch is latched, as a person asks."""
    asked = start("reset", "--show", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
    return asked.communicate(timeout=PATIENCE_S)[0]


def placed(venue: Exchange) -> bool:
    return any(action["type"] == "order" for action in venue.actions())


def test_kill_names_the_process_that_is_starting_and_that_one_places_nothing(
    tmp_path: Path,
) -> None:
    """It has no heart yet, so nobody answers; `kill -9 0` would end the shell of whoever types."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with starting(venue, tmp_path, sets) as bot:
            killing = start("kill", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
            out, err = killing.communicate(timeout=PATIENCE_S)
            venue.control("faults", refuse=[])
            code, _, said = bot.end()
        assert not placed(venue)
    assert (killing.returncode, err) == (3, ""), out
    assert f"process {bot.process.pid} is starting" in out
    assert "kill -9" not in out
    assert code == 3
    assert "the kill switch is latched: operator: mmbot kill" in said


def test_kill_does_not_name_the_number_of_a_process_that_died(tmp_path: Path) -> None:
    """The old beat lies there still, and its number may be anybody's by now."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "dead", config=CONFIG, sets=sets) as dead:
            dead.wait_for("orders", lambda _: bool(venue.resting()))
            dead.process.kill()
            dead.process.wait()
        cleared = start("flatten", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        cleared.communicate(timeout=PATIENCE_S)
        with starting(venue, tmp_path, sets) as bot:
            killing = start("kill", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
            out, _ = killing.communicate(timeout=PATIENCE_S)
    assert f"process {bot.process.pid} is starting" in out
    assert str(dead.process.pid) not in out.replace(str(tmp_path), "")


@pytest.mark.parametrize("then", [(), (signal.SIGINT,)], ids=["alone", "and Ctrl+C"])
def test_sigusr1_during_a_start_latches_whatever_ends_it(
    tmp_path: Path, then: tuple[signal.Signals, ...]
) -> None:
    """The operator wants no trading: the next start must know of it."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with starting(venue, tmp_path, sets) as bot:
            for number in (signal.SIGUSR1, *then):
                bot.process.send_signal(number)
            code, _, err = bot.end()
        assert not placed(venue)
        assert "operator: SIGUSR1" in shown(sets)
    assert code == 3
    assert "the kill switch is latched: operator: SIGUSR1" in err


def test_sigusr1_to_a_start_that_never_learns_its_market_is_told_as_unlatched(
    tmp_path: Path,
) -> None:
    """The venue is away, so nobody knows whose switch to latch: the operator must hear of it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sets = [f"emulator.url=http://127.0.0.1:{closed.getsockname()[1]}", "start.retry_s=600"]
        sets.append(f"state_dir={tmp_path / 'state'}")
        bot = start("run", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        assert bot.stdout is not None
        for line in bot.stdout:
            if "trying again" in line:
                break
        bot.send_signal(signal.SIGUSR1)
        bot.send_signal(signal.SIGINT)
        _, err = bot.communicate(timeout=PATIENCE_S)
    assert bot.returncode == 3
    assert "Ctrl+C before the first order; nothing was sent" in err
    assert "SIGUSR1 was given, but the kill switch is NOT latched" in err


def test_sigusr1_while_a_start_clears_up_ends_it_when_nothing_rests(tmp_path: Path) -> None:
    """A kill is no reason to leave the orders of the last run where they are."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "dead", config=CONFIG, sets=sets) as dead:
            dead.wait_for("orders", lambda _: len(venue.resting()) >= 4)
            dead.process.kill()
            dead.process.wait()
        looked = venue.read("status")["asked"]["openOrders"]
        with daemon(tmp_path / "next", config=CONFIG, sets=sets) as bot:
            until = monotonic() + PATIENCE_S
            while venue.read("status")["asked"]["openOrders"] == looked:
                assert monotonic() < until
                select.select([], [], [], 0.02)
            bot.process.send_signal(signal.SIGUSR1)
            code, _, err = bot.end()
        assert venue.resting() == []
        assert "operator: SIGUSR1" in shown(sets)
    assert code == 3
    assert "Traceback" not in err
