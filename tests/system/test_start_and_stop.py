"""
Starting and stopping under bad conditions: two daemons, old orders, lost terminals, paused pagers.

All of it from outside: exit codes, what stands in the files, what rests at the exchange.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from system.harness import PATIENCE_S, STILL, Daemon, Exchange, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def sets_for(venue: Exchange, state: Path, *more: str) -> list[str]:
    """Overrides for a daemon on this exchange."""
    return [f"emulator.url={venue.url}", f"state_dir={state}", *more]


def rests(venue: Exchange, bot: Daemon) -> None:
    """Wait until orders rest."""
    bot.wait_for("orders at the venue", lambda _: len(venue.resting()) > 0)


@contextmanager
def resting(tmp_path: Path, *, shell: str = "") -> Iterator[tuple[Exchange, Daemon]]:
    """A daemon whose orders rest at an exchange of its own, in a market that stands still."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=sets_for(venue, tmp_path / "state"),
            shell=shell,
        ) as bot,
    ):
        rests(venue, bot)
        yield venue, bot


@contextmanager
def abandoned(tmp_path: Path) -> Iterator[tuple[Exchange, list[str]]]:
    """An exchange with the orders of a daemon that was killed, and overrides to start again."""
    with exchange(sets=STILL) as venue:
        sets = sets_for(venue, tmp_path / "state")
        with daemon(tmp_path / "first", config=CONFIG, sets=sets) as first:
            rests(venue, first)
            first.process.kill()
            first.process.wait()
        assert venue.resting()
        yield venue, sets


# -- two daemons -----------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_account_and_market_is_refused(tmp_path: Path) -> None:
    """Two would cancel each other's orders and each hold the limits alone; state_dir is no key."""
    with resting(tmp_path) as (venue, first):
        before = len(venue.actions())
        for state in ("state", "elsewhere"):
            with daemon(
                tmp_path / "second", config=CONFIG, sets=sets_for(venue, tmp_path / state)
            ) as second:
                code, _, err = second.end()
            assert code == 5, err
            assert f"process {first.process.pid}" in err
            assert "mmbot stop with the --config and --set it was started with" in err
            assert "HYPE" in err
        sent = {action["type"] for action in venue.actions()[before:]}
        assert not sent & {"cancelByCloid", "updateLeverage"}, "the second one sent nothing"
        assert first.process.poll() is None
        code, _, err = first.stop()

    assert (code, err) == (0, "")


def test_the_name_of_the_exchange_does_not_hide_a_second_daemon(tmp_path: Path) -> None:
    """localhost and 127.0.0.1 are one exchange."""
    with resting(tmp_path) as (venue, first):
        port = venue.url.rpartition(":")[2]
        sets = [f"emulator.url=http://localhost:{port}/", f"state_dir={tmp_path / 'other'}"]
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as second:
            code, _, err = second.end()

    assert code == 5
    assert f"process {first.process.pid}" in err


def test_another_market_of_the_account_is_not_refused(tmp_path: Path) -> None:
    """The key is account and instrument, not the account alone."""
    with resting(tmp_path) as (venue, _first):
        sets = sets_for(venue, tmp_path / "state", "instrument.coin=BTC")
        with daemon(tmp_path / "second", "--for=0.1s", config=CONFIG, sets=sets) as second:
            code, _, err = second.end()

    assert (code, err) == (0, "")


def test_a_killed_daemon_leaves_no_lock_and_its_orders_are_cancelled_first(tmp_path: Path) -> None:
    """A crash must not need a person with rm; what it left resting goes before anything else."""
    with abandoned(tmp_path) as (venue, sets):
        left = {order["cloid"] for order in venue.resting()}
        before = len(venue.actions())
        with daemon(tmp_path / "second", "--for=1s", config=CONFIG, sets=sets) as second:
            code, _, err = second.end()
        sent = venue.actions()[before:]
        assert venue.open_orders() == []

    assert (code, err) == (0, "")
    assert sent[0]["type"] == "cancelByCloid"
    assert {cancel["cloid"] for cancel in sent[0]["cancels"]} == left


def test_reset_is_refused_while_a_daemon_runs(tmp_path: Path) -> None:
    """A latch cleared under a run that is about to trip it would be no latch."""
    with resting(tmp_path) as (venue, bot):
        venue.control("faults", refuse_info=[500] * 100)
        bot.process.send_signal(signal.SIGUSR1)
        bot.wait_event("killswitch.tripped")
        reset = start(
            "reset",
            f"--config={CONFIG}",
            *(f"--set={item}" for item in sets_for(venue, tmp_path / "state")),
        )
        _, err = reset.communicate(timeout=PATIENCE_S)
        venue.control("faults", refuse_info=[])
        code, _, _ = bot.end()

    assert reset.returncode == 5
    assert f"process {bot.process.pid}" in err
    assert code == 3
    store = next((tmp_path / "state").glob("*.sqlite"))
    with sqlite3.connect(store) as db:
        assert db.execute("SELECT count(*) FROM kill_latch").fetchone() == (1,)
    db.close()


# -- old orders and a venue that is busy -----------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500])
def test_a_busy_venue_at_the_start_is_waited_for(tmp_path: Path, status: int) -> None:
    """Orders of a crash rest meanwhile: refusing to start would leave them there."""
    with abandoned(tmp_path) as (venue, sets):
        venue.control("faults", refuse_info=[status] * 3)
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as second:
            second.wait_event("quote.moved")
            code, out, err = second.stop()
        assert venue.open_orders() == []

    assert (code, err) == (0, "")
    assert f"HTTP {status}" in out
    assert any(r["event"] == "venue.retried" for r in second.records())


def test_cancels_that_are_refused_are_sent_again_until_nothing_old_rests(tmp_path: Path) -> None:
    """An address over its limit: the old orders go first all the same, then the leverage."""
    with abandoned(tmp_path) as (venue, sets):
        old = {order["oid"] for order in venue.resting()}
        venue.control("faults", refuse=[429, 429])
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as second:
            records = second.wait_event("quote.moved")
            code, _, err = second.stop()
        ids = {order["oid"] for order in venue.open_orders()}

    assert (code, err) == (0, "")
    assert not old & ids
    events = [record["event"] for record in records]
    assert events.count("orders.left_over") >= 2
    assert events.index("orders.left_over_cancelled") < events.index("leverage.set")


def test_a_venue_that_is_away_is_waited_for_longer_when_orders_may_rest(tmp_path: Path) -> None:
    """After a crash the whole patience; on a first start a wrong address is said soon."""
    with abandoned(tmp_path) as (venue, _sets):
        env = {"MMBOT_KEY": venue.accounts[0]["private_key"]}
        venue.process.kill()
        venue.process.wait()
        for state, patience_s in (("state", 6), ("unused", 5)):
            next_sets = sets_for(venue, tmp_path / state, "start.retry_s=6")
            with daemon(tmp_path / "next", config=CONFIG, sets=next_sets, env=env) as bot:
                code, out, err = bot.end()
            assert code == 4
            assert "cannot connect" in err
            assert f"trying again for up to {patience_s} s" in out


def test_old_orders_go_even_when_the_start_is_refused(tmp_path: Path) -> None:
    """A latched switch, too little equity: the run is refused, the orders are still ours."""
    with abandoned(tmp_path) as (venue, sets):
        sets += ["risk.capital_usd=100000", "risk.max_position_usd=100000"]
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as second:
            code, _, err = second.end()
        assert venue.open_orders() == []

    assert code == 5
    assert "risk.max_position_usd" in err


# -- the screen ------------------------------------------------------------------------------------


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing any more, as that of a pager nobody scrolls."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"\n" * 4096)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    return read_end, write_end


def test_a_paused_screen_stops_neither_the_log_nor_the_end(tmp_path: Path) -> None:
    """`| less` and Ctrl+S: the record of a run must not depend on somebody scrolling."""
    read_end, write_end = full_pipe()
    with (
        exchange("--scenario=demo", "--seed=3") as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=sets_for(venue, tmp_path / "state"),
            stdout=write_end,
        ) as bot,
    ):
        os.close(write_end)
        bot.wait_event("quote.moved", 20)
        code, _, err = bot.stop()
        resting = venue.open_orders()
    os.close(read_end)

    assert (code, err, resting) == (0, "", [])
    assert bot.summary()["end_reason"] == "Ctrl+C"
    assert bot.records()[-1]["event"] == "run.ended"


# -- terminals and descriptors ---------------------------------------------------------------------


def test_the_quit_key_stops_the_run_cleanly(tmp_path: Path) -> None:
    """Ctrl+backslash: unhandled, it leaves every order."""
    with resting(tmp_path) as (venue, bot):
        code, _, _ = bot.stop(signal.SIGQUIT)
        assert venue.open_orders() == []

    assert code == 0
    assert "SIGQUIT" in bot.summary()["end_reason"]


def test_a_hang_up_of_a_run_in_a_terminal_stops_it_cleanly(tmp_path: Path) -> None:
    """
    A closed window or a dropped ssh, whatever stands at standard input.

    What a hang-up is for a service, which has no terminal, is in test_control.
    """
    with exchange(sets=STILL) as venue:
        ours, theirs = os.openpty()
        with daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=sets_for(venue, tmp_path / "state"),
            stdout=theirs,
            shell='exec setsid --ctty sh -c \'exec "$@" </dev/null\' sh "$@" <&1',
        ) as bot:
            os.close(theirs)
            rests(venue, bot)
            bot.process.send_signal(signal.SIGHUP)
            assert bot.gone_within(PATIENCE_S)
        os.close(ours)
        assert venue.open_orders() == []

    assert bot.process.returncode == 0
    assert "terminal" in bot.summary()["end_reason"]


def test_a_terminal_that_is_gone_altogether_does_not_keep_a_daemon_alive(tmp_path: Path) -> None:
    """The window is closed: hang-up, input and output at an end, all at once."""
    with exchange(sets=STILL) as venue:
        ours, theirs = os.openpty()
        with daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=sets_for(venue, tmp_path / "state"),
            stdout=theirs,
            shell='exec setsid --ctty "$@" <&1 2>&1',
        ) as bot:
            os.close(theirs)
            rests(venue, bot)
            os.close(ours)  # the kernel tells it, as when a window is closed
            assert bot.gone_within(PATIENCE_S)
        assert venue.open_orders() == []

    assert bot.summary()["resting_orders"] == 0


def test_a_run_that_was_told_to_survive_its_terminal_does(tmp_path: Path) -> None:
    """`nohup mmbot run` ignores the hang-up, as everything under nohup does."""
    with resting(tmp_path, shell="trap '' HUP; exec \"$@\"") as (_venue, bot):
        bot.process.send_signal(signal.SIGHUP)
        assert not bot.gone_within(1.0)
        code, _, _ = bot.stop()

    assert code == 0
    assert bot.summary()["end_reason"] == "Ctrl+C"


def test_ctrl_z_does_not_leave_the_orders_alone(tmp_path: Path) -> None:
    """A suspended market maker is a free option for everyone else."""
    with resting(tmp_path) as (_venue, bot):
        bot.process.send_signal(signal.SIGTSTP)
        bot.wait_event("run.not_suspended")
        code, _, _ = bot.stop()

    assert code == 0


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_descriptors_do_not_matter(tmp_path: Path, closed: str) -> None:
    """Some service managers start a program like this; a socket must not become its stderr."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            "--for=1s",
            config=CONFIG,
            sets=sets_for(venue, tmp_path / "state"),
            shell=f'exec "$@" {closed}',
        ) as bot,
    ):
        code, _, _ = bot.end()
        assert venue.open_orders() == []

    assert code == 0
    assert bot.summary()["end_reason"] == "--for elapsed"


# -- interrupts at the wrong moment ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "sign", "said"),
    [
        ({"refuse": [429] * 500}, "of an earlier run still rest", "orders of an earlier run may"),
        ({"refuse_info": [500] * 500}, "HTTP 500", "nothing was sent; orders of an earlier run"),
    ],
)
def test_an_interrupt_before_old_orders_are_gone_is_no_clean_end(
    tmp_path: Path, fault: dict[str, list[int]], sign: str, said: str
) -> None:
    """Whoever reads 0 believes that nothing rests; these do, and nobody watches them."""
    with abandoned(tmp_path) as (venue, sets):
        venue.control("faults", **fault)
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as second:
            assert second.process.stdout is not None
            assert any(sign in line for line in second.process.stdout)
            code, _, err = second.stop()
        assert len(venue.resting()) > 0
    assert code == 1
    assert said in err


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
def test_an_interrupt_while_the_program_loads_is_no_traceback(
    tmp_path: Path, after_s: float
) -> None:
    """Somebody changes their mind: nothing was begun, so nothing went wrong."""
    process = start("run", f"--config={CONFIG}", f"--run-dir={tmp_path / 'run'}", is_fresh=True)
    # Not before our own code is reached: until then the interpreter is on its own.
    until = monotonic() + PATIENCE_S
    while not _has_loaded(process.pid, "msgspec") and monotonic() < until:
        select.select([], [], [], 0.001)
    select.select([], [], [], after_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert "Traceback" not in err
    assert "Error" not in err
    assert process.returncode == 0
    sent = ("nothing was sent", "only the leverage went out")
    assert err in ("", *(f"mmbot: Ctrl+C before the first order; {what}\n" for what in sent))


def _has_loaded(pid: int, library: str) -> bool:
    """Whether a process has mapped a library of the program."""
    try:
        return library in Path(f"/proc/{pid}/maps").read_text("utf-8")
    except OSError:
        return False


def test_interrupts_after_the_end_change_nothing(tmp_path: Path) -> None:
    """An impatient thumb on Ctrl+C: the summary is whole, the exit code is the run's."""
    with resting(tmp_path) as (_venue, bot):
        bot.process.send_signal(signal.SIGUSR1)
        bot.wait_event("run.ended")
        while bot.process.poll() is None:
            bot.process.send_signal(signal.SIGINT)
            select.select([], [], [], 0.001)
        code, out, err = bot.end()

    assert (code, err) == (3, "")
    assert "summary: " in out


# -- the latch -------------------------------------------------------------------------------------


def test_a_latch_survives_the_removal_of_the_state_folder(tmp_path: Path) -> None:
    """Somebody cleans up while it runs: the next start must be refused all the same."""
    state = tmp_path / "state"
    with exchange(sets=STILL) as venue:
        with daemon(tmp_path / "run", config=CONFIG, sets=sets_for(venue, state)) as bot:
            rests(venue, bot)
            shutil.rmtree(state)
            code, _, err = bot.stop(signal.SIGUSR1)
        assert (code, err) == (3, "")
        with daemon(tmp_path / "again", config=CONFIG, sets=sets_for(venue, state)) as again:
            code, _, err = again.end()

    assert code == 3
    assert "mmbot reset" in err


def test_a_latch_that_cannot_be_stored_is_said_and_the_exit_code_stays(tmp_path: Path) -> None:
    """Exit 3 and a sentence: whoever restarts it has been told."""
    state = tmp_path / "state"
    with resting(tmp_path) as (_venue, bot):
        shutil.rmtree(state)
        state.write_text("no folder")
        code, out, err = bot.stop(signal.SIGUSR1)

    assert code == 3
    assert "NOT latched" in err
    last = out.splitlines()[-1]
    assert last.startswith("the kill switch is NOT latched, the next start would trade: ")
    assert "mmbot kill latches it" in last
    assert "mmbot reset" not in out
    report = json.loads((bot.run_dir / "kill.json").read_text("utf-8"))
    assert (report["state"], report["latched"]) == ("ended", False)
    assert bot.summary()["is_latched"] is False
