"""The kill switch from outside: a falling price, the operator, the latch, and the reset."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
from pathlib import Path
from time import monotonic

import pytest

from mmbot.state.store import Store
from system.harness import PATIENCE_S, STILL, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def test_a_falling_price_trips_the_loss_limit_and_a_restart_is_refused(tmp_path: Path) -> None:
    """Exit 3, nothing resting by the venue's word, no start until a person resets."""
    with exchange(sets=STILL) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"]
        with daemon(tmp_path / "first", config=CONFIG, sets=sets) as bot:
            bot.wait_event("quote.moved")
            bot.wait_for("bids to hit", lambda _: any(o["side"] == "B" for o in venue.resting()))
            deepest = min(float(o["limitPx"]) for o in venue.resting() if o["side"] == "B")
            venue.control("trade", coin="HYPE", side="A", px=deepest, sz=1e6)
            bot.wait_event("fill.booked")
            for _ in range(30):
                if bot.process.poll() is not None:
                    break
                px = float(venue.read("book?coin=HYPE")["levels"][0][0]["px"])
                # A falling market: a gap of 1 %, and the daemon is looked at before the next one.
                venue.control("price", coin="HYPE", px=round(px * 0.99, 3))
                is_gone = bot.gone_within(0.5)
                if is_gone or any(r["event"] == "killswitch.tripped" for r in bot.records()):
                    break
            else:
                raise AssertionError("no trip after 30 falls of 1 %")
            code, _, _ = bot.end()
            assert venue.open_orders() == []
            assert venue.position_sz("HYPE") == 0, "what is held is the danger, so it is closed"
        trip = next(r for r in bot.records() if r["event"] == "killswitch.tripped")
        assert code == 3
        assert trip["trigger"] in ("session_loss", "drawdown")
        assert trip["value"] >= trip["limit"]
        assert bot.summary()["kill"]["trigger"] == trip["trigger"]
        assert bot.summary()["resting_orders"] == 0

        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as again:
            code, _, err = again.end()
        assert code == 3
        assert "mmbot reset" in err
        assert venue.open_orders() == []
        told, _ = start("status", str(tmp_path / "second")).communicate(timeout=120)
        assert "REFUSED: the run did not begin" in told
        assert "may rest" not in told, "it never had an order"

        reset = start("reset", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        out, err = reset.communicate(timeout=120)
        assert (reset.returncode, err) == (0, "")
        assert trip["trigger"] in out

        with daemon(tmp_path / "third", "--for=1s", config=CONFIG, sets=sets) as after:
            code, _, err = after.end()
        assert (code, err) == (0, "")


def test_kill_with_another_state_dir_trips_the_switch_of_the_daemon_by_sigusr1(
    tmp_path: Path,
) -> None:
    """
    The operator's own trigger: cancelled, verified, latched, exit 3, for command and daemon.

    The daemon does not look where the command latches. It is told, not fought.
    """
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        bot.wait_for("orders at the venue", lambda _: len(venue.resting()) > 0)
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'elsewhere'}"]
        killing = start("kill", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        out, err = killing.communicate(timeout=PATIENCE_S)
        code, _, _ = bot.end()
        resting = venue.open_orders()

    assert (killing.returncode, err) == (3, ""), out
    assert f"process {bot.process.pid} has another state_dir ({tmp_path / 'state'}; here " in out
    assert str(tmp_path / "elsewhere") in out
    assert "told by SIGUSR1, which latches there as well, it has ended" in out
    assert code == 3
    assert resting == []
    assert bot.summary()["kill"]["trigger"] == "operator"
    asked = start("status", str(bot.run_dir))
    out, _ = asked.communicate(timeout=120)
    assert asked.returncode == 1, "it is over"
    assert "TRIPPED: operator: SIGUSR1" in out


def test_the_embedded_exchange_keeps_its_latch_in_the_run_directory(tmp_path: Path) -> None:
    """Its account ends with it, so its state must not stop the next run elsewhere."""
    run_dir = tmp_path / "run"
    with daemon(run_dir, config=CONFIG) as bot:
        bot.wait_event("quote.moved")
        code, _, _ = bot.stop(signal.SIGUSR1)
    assert code == 3
    assert (run_dir / "state.sqlite").exists()

    with daemon(run_dir, config=CONFIG) as again:
        code, _, _ = again.end()
    assert code == 3

    reset = start("reset", f"--config={CONFIG}", f"--run-dir={run_dir}")
    out, _ = reset.communicate(timeout=120)
    assert "operator" in out
    with daemon(tmp_path / "other", "--for=1s", config=CONFIG) as other:
        code, _, _ = other.end()
    assert code == 0


def test_an_interrupt_of_the_whole_terminal_still_ends_verified(tmp_path: Path) -> None:
    """Ctrl+C goes to the daemon's process group; the embedded exchange is in another one."""
    with daemon(tmp_path / "run", config=CONFIG, new_group=True) as bot:
        bot.wait_event("quote.moved")
        os.killpg(bot.process.pid, signal.SIGINT)
        code, _, err = bot.end()

    assert (code, err) == (0, "")
    summary = bot.summary()
    assert summary["resting_orders"] == 0
    assert summary["ledger_gap_usd"] is not None, "the exchange was still there to be asked"


def test_a_kill_that_cannot_be_latched_still_ends_as_a_kill_and_says_so(tmp_path: Path) -> None:
    """A locked or full disk must not turn a tripped switch into a traceback without a summary."""
    run_dir = tmp_path / "run"
    with daemon(run_dir, config=CONFIG) as bot:
        bot.wait_event("quote.moved")
        locker = sqlite3.connect(run_dir / "state.sqlite", isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        bot.process.send_signal(signal.SIGUSR1)
        assert bot.process.stderr is not None
        said = bot.process.stderr.readline()
        locker.execute("ROLLBACK")
        locker.close()
        code, _, _ = bot.end()

    assert code == 3
    assert "NOT latched" in said
    assert bot.summary()["kill"]["trigger"] == "operator"


def test_a_kill_while_the_report_is_made_latches_and_waits_for_no_report(tmp_path: Path) -> None:
    """The trader has ended, the process has not: the next start must be refused all the same."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    os.mkfifo(run_dir / "kill.json")  # the report waits for whoever writes into it
    with daemon(run_dir, "--for=1s", config=CONFIG, sets=["report.at_end=true"]) as bot:
        assert bot.process.stdout is not None
        for line in bot.process.stdout:
            if "in a moment" in line:
                break
        code, out, err = bot.stop(signal.SIGUSR1)

    assert code == 3
    assert "the kill switch is latched: operator: SIGUSR1" in err
    assert "not waited for" in out
    with Store(run_dir / "state.sqlite") as store:
        latched = store.latched()
    assert latched is not None
    assert latched.text == "operator: SIGUSR1"


def _spoil(state: Path) -> None:
    """Put rubbish in the place of a safety state, as a dying disk or a wrong `cp` does."""
    (store,) = state.glob("*.sqlite")
    for file in state.glob("*.sqlite*"):
        if file.name.endswith((".sqlite", "-wal", "-shm")):
            file.unlink()
    store.write_bytes(b"rubbish" * 999)


def test_a_switch_that_trips_on_a_spoilt_state_ends_verified_and_summed_up(tmp_path: Path) -> None:
    """What cannot be latched is said; it must cost neither the verification nor the exit code."""
    state = tmp_path / "state"
    with exchange(sets=STILL) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={state}"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            _spoil(state)
            bot.wait_event("heart.hindered")
            code, _, err = bot.stop(signal.SIGUSR1)
        assert venue.open_orders() == []
    assert code == 3
    assert "NOT latched" in err
    assert any(record["event"] == "run.verified" for record in bot.records())
    assert bot.summary()["kill"]["trigger"] == "operator"


@pytest.mark.parametrize("is_alive", [True, False], ids=["rubbish, alive", "moved alone, dead"])
def test_kill_cancels_also_where_it_cannot_latch(tmp_path: Path, is_alive: bool) -> None:
    """Orders cost money, a missing latch only lets a next run begin: so those go in any case."""
    state = tmp_path / "state"
    with exchange(sets=STILL) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={state}"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            if not is_alive:
                bot.process.kill()
                bot.process.wait()
                (store,) = state.glob("*.sqlite")
                store.rename(tmp_path / "moved alone")
            else:
                _spoil(state)
            killing = start("kill", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
            out, err = killing.communicate(timeout=PATIENCE_S)
            assert venue.open_orders() == []
            if is_alive:
                assert bot.end()[0] == 3
    assert killing.returncode == 1
    assert "NOT latched" in err
    assert "the venue confirms that none of ours rests" in out


@pytest.mark.parametrize("command", ["kill", "flatten"])
def test_a_command_that_is_interrupted_says_that_nothing_was_verified(
    tmp_path: Path, command: str
) -> None:
    """It has begun, orders rest, and whoever pressed Ctrl+C must not think them gone."""
    with exchange(sets=STILL) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            bot.process.kill()
            bot.process.wait()
        venue.control("faults", refuse=[500] * 500)
        looked = venue.read("status")["asked"].get("openOrders", 0)
        begun = start(command, f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        until = monotonic() + PATIENCE_S
        while venue.read("status")["asked"].get("openOrders", 0) == looked:
            assert monotonic() < until, "it did not begin"
            select.select([], [], [], 0.02)
        begun.send_signal(signal.SIGINT)
        _, err = begun.communicate(timeout=PATIENCE_S)
        assert len(venue.resting()) >= 4
    assert begun.returncode in (1, 4)
    assert "interrupted" in err
    assert "look at the account" in err
