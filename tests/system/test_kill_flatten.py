"""`mmbot kill --flatten` and what a trip leaves on disk, in processes of their own."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from system.harness import PATIENCE_S, STILL, daemon, exchange, start
from system.test_flatten import CONFIG, hold_something, sets_of, takers


@pytest.mark.parametrize("how", ["alive", "dead", "hung", "never"])
def test_kill_flatten_leaves_neither_orders_nor_position_whoever_lives(
    tmp_path: Path, how: str
) -> None:
    """The daemon closes the position itself; where it is gone or hangs the command does."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        chosen = ["--flatten", f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            if how == "never":
                bot.stop(signal.SIGINT)
            elif how == "dead":
                bot.process.send_signal(signal.SIGKILL)
                bot.process.wait()
            elif how == "hung":
                bot.process.send_signal(signal.SIGSTOP)
            assert venue.position_sz("HYPE") > 0
            killing = start("kill", *chosen)
            out, err = killing.communicate(timeout=2 * PATIENCE_S)
            assert venue.open_orders() == []
            assert venue.position_sz("HYPE") == 0
            if how == "alive":
                assert bot.end()[0] == 3
                summary = bot.summary()
                assert summary["closed"]["left_sz"] == 0
                assert summary["kill"]["is_flatten"] is True
            elif how == "hung":
                bot.process.send_signal(signal.SIGCONT)
                assert bot.end()[0] == 3
        assert (killing.returncode, err) == (3, ""), out
        assert "position  flat" in out
        sent = takers(venue)
        assert sent
        assert all(o["t"] == {"limit": {"tif": "Ioc"}} and o["r"] is True for o in sent)
        assert venue.position_sz("HYPE") == 0


def test_a_kill_that_closes_nothing_says_what_is_still_held(tmp_path: Path) -> None:
    """Whoever stops everything in a hurry takes the position for gone."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            bot.process.send_signal(signal.SIGKILL)
            bot.process.wait()
            chosen = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
            killing = start("kill", *chosen)
            out, err = killing.communicate(timeout=2 * PATIENCE_S)
        held = venue.position_sz("HYPE")
    assert (killing.returncode, err) == (3, ""), out
    assert held > 0
    assert f"position  {held:+g} HYPE is still held; mmbot flatten closes it" in out


def test_a_position_that_cannot_be_closed_is_exit_1_and_still_latched(tmp_path: Path) -> None:
    """A script must not take it for done."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            bot.stop(signal.SIGINT)
        held = venue.position_sz("HYPE")
        chosen = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        dear = start("kill", "--flatten", *chosen, "--set=flatten.fee_bps_max=1")
        out, _ = dear.communicate(timeout=PATIENCE_S)
        assert dear.returncode == 1
        assert "NOT FLAT" in out
        assert "flatten.fee_bps_max" in out
        assert venue.position_sz("HYPE") == held
        shown = start("reset", "--show", "--json", *chosen)
        out, _ = shown.communicate(timeout=PATIENCE_S)
        assert json.loads(out)["latched"]["trigger"] == "operator"


def test_a_trip_leaves_a_report_with_reason_orders_position_and_end(tmp_path: Path) -> None:
    """What a person reads before the reset: by the time of the trip, and by the end."""
    with exchange(sets=STILL) as venue:
        sets = [*sets_of(venue, tmp_path), "risk.loss_limit_usd=0.0001"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            px = float(venue.read("book?coin=HYPE")["levels"][0][0]["px"])
            venue.control("price", coin="HYPE", px=round(px * 0.999, 3))
            code, out, _ = bot.end()
        report = json.loads((bot.run_dir / "kill.json").read_text("utf-8"))
        assert report["latched"] is True
        assert code == 3
        assert report["state"] == "ended"
        assert report["reason"]["trigger"] == "session_loss"
        assert report["reason"]["limit"] == 0.0001
        assert report["reason"]["value"] >= 0.0001
        assert report["position_sz"] > 0
        assert report["verified"] is True
        assert report["closed"]["left_sz"] == 0
        assert report["exit_code"] == 3
        assert report["summary"]["kill"]["trigger"] == "session_loss"
        assert report["day"]["pnl_usd"] < 0
        assert str(bot.run_dir / "kill.json") in out
        assert "mmbot reset" in out
        assert venue.position_sz("HYPE") == 0


def test_the_day_is_lost_for_every_run_of_it_and_a_reset_does_not_bring_it_back(
    tmp_path: Path,
) -> None:
    """The latch can be cleared; what was lost today stays lost until midnight."""
    with exchange(sets=STILL) as venue:
        sets = [*sets_of(venue, tmp_path), "risk.day_loss_limit_usd=0.0001"]
        chosen = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        with daemon(tmp_path / "first", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            px = float(venue.read("book?coin=HYPE")["levels"][0][0]["px"])
            venue.control("price", coin="HYPE", px=round(px * 0.999, 3))
            assert bot.end()[0] == 3
        assert bot.summary()["kill"]["trigger"] == "day_loss"
        reset = start("reset", *chosen)
        out, _ = reset.communicate(timeout=PATIENCE_S)
        assert reset.returncode == 0
        assert "since the day began" in out
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as again:
            assert again.end()[0] == 3
        assert again.summary()["kill"]["trigger"] == "day_loss"
        assert again.summary()["fills"] == 0
