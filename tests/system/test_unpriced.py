"""A market whose fees nobody can compute any more: what rests there goes all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from system.harness import PATIENCE_S, STILL, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
NEW_WORD = """
import pathlib, sys
from mmbot.emulator import market_views
flag, listed = pathlib.Path(sys.argv.pop(1)), market_views._entry
def entry(asset):
    return listed(asset) | ({"growthMode": "halved"} if flag.exists() else {})
market_views._entry = entry
from mmbot.__main__ import main
main()
"""
"""An exchange that lists a growth mode nobody knows as soon as a file is there."""
WHY = "growthMode of HYPE is 'halved', its fees cannot be computed"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("kill",), 3),
        (("kill", "--flatten"), 5),
        (("watchdog", "--once"), 0),
        (("flatten",), 5),
        (("run",), 5),
    ],
)
def test_what_a_dead_daemon_left_is_cancelled_where_fees_cannot_be_computed(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    """A cancel costs nothing; only who is to trade has to know what trading costs."""
    flag = tmp_path / "flag"
    with exchange(sets=STILL, program=("-c", NEW_WORD, str(flag))) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_for("a ladder", lambda _: len(venue.resting()) >= 4)
            bot.process.kill()
            bot.process.wait()
        flag.touch()
        assert venue.resting()
        asked = start(
            *command,
            f"--config={CONFIG}",
            *(f"--set={item}" for item in sets),
            env={"MMBOT_WATCHDOG_KEY": venue.accounts[0]["private_key"]},
        )
        out, err = asked.communicate(timeout=PATIENCE_S)
        assert venue.resting() == []
    assert asked.returncode == code, err
    if code == 5:
        assert WHY in err
    if command[0] == "kill":
        assert "latched   " in out
        assert ("the kill switch is latched, but: " in err) == (code == 5)
