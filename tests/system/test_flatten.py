"""`mmbot flatten` and the last line of a run, as a person meets them."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

from system.harness import STILL, Daemon, Exchange, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def hold_something(bot: Daemon, venue: Exchange) -> float:
    """Sell into the daemon's bids until it is long."""
    bot.wait_for("bids to hit", lambda _: any(o["side"] == "B" for o in venue.resting()))
    deepest = min(float(o["limitPx"]) for o in venue.resting() if o["side"] == "B")
    venue.control("trade", coin="HYPE", side="A", px=deepest, sz=1e6)
    bot.wait_event("fill.booked")
    bot.wait_for("a position", lambda _: venue.position_sz("HYPE") > 0)
    return venue.position_sz("HYPE")


def sets_of(venue: Exchange, folder: Path) -> list[str]:
    return [f"emulator.url={venue.url}", f"state_dir={folder / 'state'}"]


def takers(venue: Exchange) -> list[dict[str, object]]:
    """Orders on the wire that could take."""
    return [
        order
        for action in venue.actions()
        if action["type"] == "order"
        for order in action["orders"]
        if order["t"] != {"limit": {"tif": "Alo"}}
    ]


def test_a_held_position_is_the_last_line_and_its_command_closes_it(tmp_path: Path) -> None:
    """Position, liquidation price by the venue's word, and a command that can be pasted."""
    with exchange("--equity-usd=30", sets=STILL) as venue:
        # More than the equity in one sweep, or there is no price that liquidates.
        large = ["risk.max_position_usd=150", "risk.side_budget_frac=0.5", "risk.warm_s=0"]
        sets = [*sets_of(venue, tmp_path), *large]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            code, out, err = bot.stop(signal.SIGINT)
        held = venue.position_sz("HYPE")
        state = venue.info(type="clearinghouseState", user=venue.user)
        liquidation = state["assetPositions"][0]["position"]["liquidationPx"]
        line = out.rstrip("\n").splitlines()[-1]
        assert (code, err) == (0, "")
        # Five times the equity: what noise would do is said before the first order.
        noise = next(line for line in out.splitlines() if line.startswith("noise "))
        assert "WARNING" in noise
        assert "set risk.max_position_usd to" in noise
        assert held > 0
        assert takers(venue) == []
        assert line.startswith(f"holding {held:+g} HYPE, liquidation price {float(liquidation):g};")
        summary = bot.summary()
        assert summary["on_exit"] == "hold"
        assert summary["closed"] is None
        assert summary["liquidation_px"] == float(liquidation)

        command = shlex.split(line.partition("closed by: ")[2])
        assert command[:4] == ["mmbot", "flatten", "--config", str(CONFIG)]
        process = start(*command[1:])
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert venue.position_sz("HYPE") == 0
        assert venue.open_orders() == []
        assert out.rstrip("\n").splitlines()[-1].startswith(f"flat     {held:+g} HYPE closed by ")
        sent = takers(venue)
        assert sent
        assert all(o["t"] == {"limit": {"tif": "Ioc"}} and o["r"] is True for o in sent)

        again = start(*command[1:], "--json")
        out, err = again.communicate(timeout=120)
        assert (again.returncode, err) == (0, "")
        assert json.loads(out)["closed"]["left_sz"] == 0
        assert len(takers(venue)) == len(sent), "nothing to close, nothing sent"


def test_on_exit_flatten_leaves_the_account_flat_and_says_so(tmp_path: Path) -> None:
    """The last line, the exit code, the summary and the venue agree."""
    with exchange(sets=STILL) as venue:
        sets = [*sets_of(venue, tmp_path), "on_exit=flatten", "flatten.pause_s=0.2"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            code, out, err = bot.stop(signal.SIGTERM)
        assert (code, err) == (0, "")
        assert venue.position_sz("HYPE") == 0
        assert out.rstrip("\n").splitlines()[-1].startswith("flat     ")
        summary = bot.summary()
        assert summary["on_exit"] == "flatten"
        assert summary["closed"]["left_sz"] == 0
        assert summary["position_sz"] == 0
        assert abs(summary["ledger_gap_usd"]) <= 1e-4


def test_flatten_cancels_what_a_killed_daemon_left_and_needs_no_reset(tmp_path: Path) -> None:
    """A latched switch keeps a run from beginning, not a position from being closed."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            bot.process.kill()
            bot.process.wait()
        assert venue.resting()
        process = start("flatten", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert "of ours cancelled" in out
        assert venue.open_orders() == []
        assert venue.position_sz("HYPE") == 0


def test_flatten_closes_though_the_state_has_no_folder_any_more(tmp_path: Path) -> None:
    """A broken disk is when a person wants out; what keeps two apart is said to be missing."""
    with exchange(sets=STILL) as venue:
        with daemon(tmp_path / "run", config=CONFIG, sets=sets_of(venue, tmp_path)) as bot:
            hold_something(bot, venue)
            bot.process.kill()
            bot.process.wait()
        (tmp_path / "none").write_text("a file stands where the folder would be")
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'none'}"]
        process = start("flatten", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "cannot lock" in err
        assert "this one goes on without" in err
        assert venue.open_orders() == []
        assert venue.position_sz("HYPE") == 0


def test_flatten_is_refused_while_a_daemon_trades_and_names_it(tmp_path: Path) -> None:
    """Two programs on one position would undo each other's work."""
    with exchange(sets=STILL) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            process = start("flatten", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
            _, err = process.communicate(timeout=120)
            assert process.returncode == 5
            assert f"process {bot.process.pid}" in err
            assert "mmbot stop with the --config" in err
            assert "on_exit=flatten" in err
            # Its own orders may reduce what it holds meanwhile; nobody took.
            assert venue.position_sz("HYPE") > 0
            assert venue.resting()
            assert takers(venue) == []


def test_with_the_embedded_exchange_there_is_nothing_left_to_close() -> None:
    """It ended with its run; the message says how to name one that runs."""
    process = start("flatten", f"--config={CONFIG}")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "emulator.url" in err


def test_what_could_not_be_closed_is_said_and_exits_1(tmp_path: Path) -> None:
    """A bound that the market does not reach: the position stays, and the words say so."""
    with exchange(sets=[*STILL, "market.touch_spread_bps=8"]) as venue:
        sets = sets_of(venue, tmp_path)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            hold_something(bot, venue)
            bot.stop()
        held = venue.position_sz("HYPE")
        few = ("--set=flatten.bound_bps=1", "--set=flatten.tries=2", "--set=flatten.pause_s=0.1")
        process = start("flatten", f"--config={CONFIG}", *(f"--set={s}" for s in sets), *few)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert f"NOT FLAT {held:+g} HYPE is left" in out
        assert "Traceback" not in err
        assert venue.position_sz("HYPE") == held
