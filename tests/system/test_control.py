"""
A running daemon asked from other processes: what is live is told as live, and nothing else is.

The daemon is the real one on an exchange of its own; it is asked by the commands a person types.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmbot.runtime.control import NAME
from mmbot.runtime.replay import replay
from system.harness import STILL, Daemon, Exchange, command, daemon, exchange
from system.test_start_and_stop import CONFIG, rests, sets_for

SERVICE = 'exec setsid "$@" </dev/null'
"""As a service manager starts a program: no terminal, no input."""


def asked(*arguments: str | Path) -> dict[str, Any]:
    """Its JSON."""
    done = command(*arguments, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


EXPLAINED = "report.at_end=true"


@contextmanager
def trading(tmp_path: Path, config: Path = CONFIG, *more: str) -> Iterator[tuple[Exchange, Daemon]]:
    """A service with orders resting."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=config,
            sets=[*sets_for(venue, tmp_path / "state"), *more],
            shell=SERVICE,
        ) as bot,
    ):
        rests(venue, bot)
        bot.wait_event("quote.held")
        yield venue, bot


def test_status_and_why_show_what_the_exchange_holds(tmp_path: Path) -> None:
    """Orders, budget and account by the venue's own books; the terms add up to the price."""
    with trading(tmp_path) as (venue, bot):
        seen = asked("status", bot.run_dir)
        text = command("status", bot.run_dir)
        why = asked("why", bot.run_dir)
        said = command("why", bot.run_dir)
        resting = {float(row["limitPx"]) for row in venue.resting()}
        pid = bot.records()[0] and int(seen["pid"])
        mode = stat.S_IMODE((bot.run_dir / NAME).stat().st_mode)

    assert (text.returncode, said.returncode, mode) == (0, 0, 0o600)
    assert seen["is_live"] is True
    assert seen["phase"] == "trading"
    assert not seen["is_stale"]
    assert {it["px"] for it in (*seen["bids"], *seen["asks"]) if it["live_sz"]} == resting
    assert seen["user"].lower() == venue.user.lower()
    assert seen["equity_usd"] == pytest.approx(100.0)
    assert seen["holding"]["sz"] == 0
    assert seen["requests"]["left"] > 9000
    names = {it["trigger"] for it in seen["triggers"]}
    assert {"session_loss", "day_loss", "drawdown", "position", "margin", "clock"} <= names
    assert len(names) >= 17
    streams = {it["name"]: it for it in seen["streams"]}
    assert streams["l2Book HYPE"]["age_s"] is not None
    assert streams["account"]["age_s"] is not None
    assert f"pid {pid}" in text.stdout
    assert "LIVE" not in text.stdout
    for name, side in zip(("bid", "ask"), why["sides"], strict=True):
        terms = [value for value in side["terms"].values() if value is not None]
        assert sum(terms) == pytest.approx(side["bps"], abs=1e-6)
        assert side["px"] in resting
        (line,) = [it for it in said.stdout.splitlines() if it.startswith(f"{name} ")]
        assert f"{side['px']:.6g}" in line
    assert said.stdout.count("     rule   ") == 2
    assert "reference off" in said.stdout


def test_a_daemon_that_is_stopped_is_called_hung_and_its_orders_dangerous(tmp_path: Path) -> None:
    """SIGSTOP, a debugger, a frozen container: it takes the connection and never answers."""
    with trading(tmp_path) as (_, bot):
        pid = asked("status", bot.run_dir)["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            text = command("status", bot.run_dir)
            facts = asked("status", bot.run_dir)
            stop = command("stop", bot.run_dir)
            tail = command("tail", bot.run_dir, "-n", "5")
        finally:
            os.kill(pid, signal.SIGCONT)
        after = command("status", bot.run_dir)

    assert text.returncode == 1
    assert f"NOT LIVE  HUNG: process {pid} is stopped (SIGSTOP)" in text.stdout
    assert " ago" in text.stdout
    assert "may rest" in text.stdout
    assert (facts["is_live"], facts["state"], facts["pid"]) == (False, "hung", pid)
    assert facts["age_s"] > 0
    assert stop.returncode == 1
    assert f"kill -9 {pid}" in stop.stderr
    assert tail.returncode == 0
    named, *records = tail.stdout.splitlines()
    assert str(bot.run_dir) in named
    assert len(records) == 5
    assert after.returncode == 0


def test_a_killed_daemon_is_called_dead_and_the_next_one_answers(tmp_path: Path) -> None:
    """`kill -9` leaves socket and log; the log's last line is all that is known, and how old."""
    with exchange(sets=STILL) as venue:
        sets = sets_for(venue, tmp_path / "state")
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            rests(venue, bot)
            bot.wait_event("quote.held")
            bot.process.kill()
            bot.process.wait()
            assert (bot.run_dir / NAME).is_socket()
            text = command("status", bot.run_dir)
            why = command("why", bot.run_dir)
            facts = asked("status", bot.run_dir)
            stop = command("stop", bot.run_dir)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as second:
            second.wait_for(
                "a second start", lambda rs: sum(r["event"] == "quote.held" for r in rs) >= 2
            )
            again = asked("status", second.run_dir)
            by_config = asked("status", "--config", CONFIG, *(f"--set={item}" for item in sets))
            ended = command("stop", second.run_dir)
            left = command("stop", second.run_dir)

    assert text.returncode == why.returncode == 1
    assert "NOT LIVE  DIED" in text.stdout
    assert "NOT LIVE  DIED" in why.stdout
    assert "quoted" in text.stdout
    assert facts["state"] == "died"
    assert facts["quote"]["touch_bid_px"] > 0
    assert stop.returncode == 1
    assert "mmbot kill" in stop.stderr
    assert again["is_live"]
    assert by_config["pid"] == again["pid"]
    assert ended.returncode == 0, ended.stderr
    assert "nothing rests" in ended.stdout
    assert not (tmp_path / "run" / NAME).exists()
    assert left.returncode == 0
    assert "ENDED" in left.stdout


def test_stop_ends_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    """It returns when the run is over, and says what the venue confirmed; the report follows."""
    with trading(tmp_path) as (venue, bot):
        done = asked("stop", bot.run_dir)
        code, _, err = bot.end()
        assert venue.open_orders() == []

    assert (code, err) == (0, "")
    assert done["is_verified"] is True
    assert bot.summary()["end_reason"] == "mmbot stop"
    assert replay(bot.run_dir).is_good


def test_a_run_that_has_ended_and_is_being_explained_is_called_ended(tmp_path: Path) -> None:
    """A report takes its time; whoever is told to kill what has ended well loses the report."""
    folder = tmp_path / "run"
    folder.mkdir()
    os.mkfifo(folder / "kill.json")  # the report waits for whoever writes into it
    with trading(tmp_path, CONFIG, EXPLAINED) as (venue, bot):
        first = command("stop", bot.run_dir)
        is_there = bot.process.poll() is None
        resting = venue.open_orders()
        status = command("status", bot.run_dir)
        seen = asked("status", bot.run_dir)
        second = command("stop", bot.run_dir)
        with (folder / "kill.json").open("w"):
            pass
        code, _, err = bot.end()

    assert first.returncode == 0, first.stderr
    assert "nothing rests" in first.stdout
    assert "makes its report" in first.stdout
    assert is_there
    assert resting == []
    assert (status.returncode, seen["is_live"], seen["state"]) == (1, False, "explaining")
    assert "ENDED" in status.stdout
    assert "control.unavailable" not in status.stdout
    assert (second.returncode, second.stderr) == (0, "")
    assert (code, err) == (0, "")
    assert (folder / "report.html").exists()


def test_a_service_that_is_terminated_leaves_its_report(tmp_path: Path) -> None:
    """SIGTERM is how a service manager ends a run: it is explained as after Ctrl+C."""
    with trading(tmp_path, CONFIG, EXPLAINED) as (_, bot):
        os.kill(int(asked("status", bot.run_dir)["pid"]), signal.SIGTERM)
        code, _, err = bot.end()

    found = json.loads((bot.run_dir / "report.json").read_text("utf-8"))
    assert (code, err) == (0, "")
    assert found["overview"]["ended"] == "SIGTERM"
    assert found["split"]["unexplained_usd"] == pytest.approx(0.0, abs=0.005)
    assert (bot.run_dir / "report.html").read_text("utf-8").rstrip().endswith("</html>")
    assert stat.S_IMODE(bot.run_dir.stat().st_mode) == 0o700
    for name in ("log.jsonl", "summary.json", "config.toml", "report.html", "report.json"):
        assert stat.S_IMODE((bot.run_dir / name).stat().st_mode) == 0o600, name


def test_a_run_that_was_killed_leaves_a_report_that_names_the_trip(tmp_path: Path) -> None:
    """And whatever was changed while it ran."""
    config = tmp_path / "mine.toml"
    text = CONFIG.read_text("utf-8")
    config.write_text(text)
    with trading(tmp_path, config, EXPLAINED) as (venue, bot):
        config.write_text(text + "\n[quoter]\nhalf_spread_bps_min = 20\n")
        reloaded = command("reload", bot.run_dir)
        sets = [f"--set={it}" for it in sets_for(venue, tmp_path / "state")]
        killed = command("kill", f"--config={config}", *sets)
        code, _, _ = bot.end()

    found = json.loads((bot.run_dir / "report.json").read_text("utf-8"))
    assert reloaded.returncode == 0, reloaded.stderr
    assert (killed.returncode, code) == (3, 3), killed.stderr
    assert (bot.run_dir / "report.html").exists()
    assert stat.S_IMODE((bot.run_dir / "kill.json").stat().st_mode) == 0o600
    assert found["causes"][0]["name"] == "operator"
    assert found["overview"]["exit_code"] == 3
    assert found["missing"] == []
    assert "half_spread_bps_min" in json.dumps(found["timeline"])


def test_a_hang_up_has_a_service_load_its_file_again(tmp_path: Path) -> None:
    """What changes is quoted within a moment, and the journal of it replays to the last bit."""
    config = tmp_path / "mine.toml"
    text = CONFIG.read_text("utf-8")
    config.write_text(text)
    with trading(tmp_path, config) as (venue, bot):
        before = asked("why", bot.run_dir)
        pid = asked("status", bot.run_dir)["pid"]
        config.write_text(text + "\n[quoter]\nhalf_spread_bps_min = 20\n")
        os.kill(pid, signal.SIGHUP)
        bot.wait_event("config.reloaded")
        wide = bot.wait_for(
            "wider quotes",
            lambda rs: any(r["event"] == "quote.moved" and r["half_bps"] >= 20 for r in rs),
        )
        config.write_text(text + "\n[quoter]\nhalf_spread_bps_min = -3\n")
        wrong = command("reload", bot.run_dir)
        config.write_text(text + "\n[quoter]\nhalf_spread_bps_min = 10\n[kill]\nrejects = 50\n")
        fixed = command("reload", bot.run_dir)
        config.write_text(text + "\n[quoter]\nhalf_spread_bps_min = 10\n")
        taken = command("reload", bot.run_dir)
        seen = asked("status", bot.run_dir)
        command("stop", bot.run_dir)
        assert bot.gone_within(5.0)
        assert venue.open_orders() == []

    assert before["figures"]["half_bps"] < 20
    (record, _) = [r for r in bot.records() if r["event"] == "config.reloaded"]
    assert record["changes"] == {"quoter.half_spread_bps_min": "8.0 -> 20.0"}
    assert record["by"] == "SIGHUP"
    assert wide
    assert wrong.returncode == 2
    assert "quoter.half_spread_bps_min" in wrong.stderr
    assert fixed.returncode == 2
    assert "kill.rejects" in fixed.stderr
    assert "half_spread" not in fixed.stderr
    assert taken.returncode == 0
    assert "quoter.half_spread_bps_min = 20.0 -> 10.0" in taken.stdout
    assert seen["reloads"] == 2
    assert "half_spread_bps_min = 10.0" in (bot.run_dir / "config.toml").read_text("utf-8")
    result = replay(bot.run_dir)
    assert result.is_good
    assert result.reloads == 2


def test_a_run_whose_socket_is_in_the_way_of_something_trades_without_one(tmp_path: Path) -> None:
    """For want of an observer no run ends; the log says it, and so does `status`."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / NAME).symlink_to(tmp_path / "elsewhere")
    with trading(tmp_path) as (_, bot):
        text = command("status", run_dir)
        stop = command("stop", run_dir)
        events = [r["event"] for r in bot.records()]

    assert "control.unavailable" in events
    assert not (tmp_path / "elsewhere").exists()
    assert text.returncode == 1
    assert "runs but has no control socket" in text.stdout
    assert stop.returncode == 1
    assert "stop it with kill" in stop.stderr
