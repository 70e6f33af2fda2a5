"""The journal of the real program, in processes of its own: killed, replayed, searched for keys."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from mmbot.journal.reader import Journal, State
from system.harness import daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
SECRET = "5ec2e7" * 10 + "abcd"


def replayed(run_dir: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and result of `mmbot replay`."""
    process = start("replay", str(run_dir), "--json")
    out, err = process.communicate(timeout=120)
    assert err == ""
    return process.returncode, json.loads(out)


def test_a_run_that_was_killed_leaves_a_journal_that_replays(tmp_path: Path) -> None:
    """`kill -9` in the middle of trading: nothing was closed, and everything flushed is exact."""
    with (
        exchange() as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        bot.wait_event("quote.moved", 12)
        bot.process.kill()
        bot.process.wait()
        last = bot.records()[-1]
    code, result = replayed(tmp_path / "run")
    assert code == 0
    assert result["is_identical"]
    assert result["state"] == State.CUT.value
    assert "not closed" in result["why"] or "cut" in result["why"]
    assert result["decisions"] > 12
    assert result["batches"] >= 5
    assert result["ended"] is None
    assert last["event"] != "run.ended"


def test_a_run_to_its_end_replays_whole_and_no_key_is_in_its_journal(tmp_path: Path) -> None:
    """The key in the environment, the key of the account traded: not in any byte of it."""
    with exchange() as venue:
        keys = [SECRET, *(account["private_key"].removeprefix("0x") for account in venue.accounts)]
        with daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[
                f"emulator.url={venue.url}",
                f"state_dir={tmp_path / 'state'}",
                "journal.rotate_mb=0.01",
            ],
            env={"MMBOT_KEY": keys[1], "OTHER_KEY": SECRET},
        ) as bot:
            bot.wait_event("quote.moved", 12)
            bot.process.send_signal(signal.SIGUSR1)
            code, _, _ = bot.end()
    assert code == 3
    (closed,) = [record for record in bot.records() if record["event"] == "journal.closed"]
    files = sorted((tmp_path / "run").glob("journal-*.mmj"))
    assert len(files) > 1, "this run was to be rotated"
    assert closed["bytes"] == sum(path.stat().st_size for path in files)

    code, result = replayed(tmp_path / "run")
    assert (code, result["state"], result["ended"]) == (0, "whole", "kill: operator")
    assert result["records"] == closed["records"]

    journal = Journal.of(tmp_path / "run")
    held = b"\n".join(
        [entry.payload for entry in journal.entries()] + [path.read_bytes() for path in files]
    )
    assert venue.user.lower().removeprefix("0x").encode() in held.lower()
    for key in keys:
        assert len(key) == 64
        assert key.lower().encode() not in held.lower()
        assert bytes.fromhex(key) not in held


def test_a_journal_can_be_switched_off(tmp_path: Path) -> None:
    """Then `replay` says what is missing, and how it would come about."""
    with daemon(tmp_path / "run", "--for=1s", config=CONFIG, sets=["journal.enabled=false"]) as bot:
        code, _, _ = bot.end()
    assert code == 0
    assert list((tmp_path / "run").glob("*.mmj")) == []
    process = start("replay", str(tmp_path / "run"))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert "journal.enabled" in err
