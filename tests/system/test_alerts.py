"""
A person is told: by the daemon when its kill switch trips, by the watchdog when the daemon is dead.

The processes are the real ones, the service is a server on loopback; its address has a token in it
that is searched for in all that they leave behind.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from mmbot.journal.reader import Journal
from mmbot.runtime.asking import ask
from receiver import receiving
from system.harness import STILL, Daemon, Exchange, daemon, exchange, start
from system.killing import WATCHDOG_KEY, approve, watchdog
from system.test_start_and_stop import CONFIG, rests

TOKEN = "c4nary-t0ken-of-a-service"
ALERTS = 'alerts.url_env=["MMBOT_TEST_ALERTS"]'


def sets_of(venue: Exchange, here: Path) -> list[str]:
    """What joins the processes of a test to each other and to the service."""
    return [f"emulator.url={venue.url}", f"state_dir={here / 'state'}", ALERTS]


def fall(venue: Exchange, bot: Daemon) -> dict[str, Any]:
    """Have a bid filled and the price fall until the switch trips; the record of it."""
    rests(venue, bot)
    deepest = min(float(o["limitPx"]) for o in venue.resting() if o["side"] == "B")
    venue.control("trade", coin="HYPE", side="A", px=deepest, sz=1e6)
    bot.wait_event("fill.booked")
    for _ in range(30):
        px = float(venue.read("book?coin=HYPE")["levels"][0][0]["px"])
        venue.control("price", coin="HYPE", px=round(px * 0.99, 3))
        is_gone = bot.gone_within(0.5)
        trips = [r for r in bot.records() if r["event"] == "killswitch.tripped"]
        if trips:
            return trips[0]
        assert not is_gone
    raise AssertionError("no trip after 30 falls of 1 %")


def test_a_trip_reaches_a_person_and_the_address_reaches_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trigger, value, limit and unit in one message, the sum of the run in the last one."""
    with receiving() as receiver, exchange(sets=STILL) as venue:
        monkeypatch.setenv("MMBOT_TEST_ALERTS", receiver.url(TOKEN))
        # A service that is down beside it: what the library says of it holds its address.
        monkeypatch.setenv("MMBOT_TEST_DOWN", f"json://127.0.0.1:9/{TOKEN}")
        sets = sets_of(venue, tmp_path)
        sets[-1] = 'alerts.url_env=["MMBOT_TEST_ALERTS","MMBOT_TEST_DOWN"]'
        sets = [*sets, "report.at_end=true"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            rests(venue, bot)
            answers = [str(ask(bot.run_dir, what)) for what in ("status", "why", "all")]
            trip = fall(venue, bot)
            code, out, err = bot.end()
        messages = receiver.wait(2)

    assert code == 3
    kill, summary = (next(m for m in messages if m["title"].endswith(it)) for it in _LAST)
    assert kill["title"] == "mmbot HYPE emulator: kill"
    for part in (
        trip["trigger"],
        f"{trip['value']:g} {trip['unit']}",
        f"limit {trip['limit']:g} {trip['unit']}",
    ):
        assert part in kill["message"]
    assert trip["text"] in summary["message"]
    assert TOKEN in kill["path"]
    said = [r for r in bot.records() if r["event"].startswith("alert.")]
    assert {r["service"] for r in said if r["event"] == "alert.sent"} == {
        "MMBOT_TEST_ALERTS (JSON)"
    }
    failed = [r for r in said if r["event"] == "alert.failed"]
    assert {r["service"] for r in failed} == {"MMBOT_TEST_DOWN (JSON)"}
    # Everything that was left behind, the journal as it is read and the report included.
    journal = b"".join(entry.payload for entry in Journal.of(bot.run_dir).entries())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"log.jsonl", "kill.json", "summary.json", "report.html"} <= {it.name for it in files}
    left = [out, err, *answers, journal.decode("latin-1")]
    left += [path.read_bytes().decode("latin-1") for path in files]
    assert [text[:80] for text in left if TOKEN in text] == []


_LAST = (": kill", ": summary")


def test_the_watchdog_tells_that_it_cancelled_for_a_dead_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon itself can tell nobody any more."""
    with receiving() as receiver, exchange(sets=STILL) as venue:
        approve(venue, WATCHDOG_KEY)
        monkeypatch.setenv("MMBOT_TEST_ALERTS", receiver.url(TOKEN))
        sets = [*sets_of(venue, tmp_path), f"account.address={venue.user}"]
        with watchdog(sets, WATCHDOG_KEY) as guard:
            with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
                rests(venue, bot)
                resting = len(venue.resting())
                bot.process.send_signal(signal.SIGKILL)
                silent, verified = receiver.wait(2)[:2]
                assert venue.resting() == []
                pid = bot.process.pid
            guard.send_signal(signal.SIGINT)
            assert guard.stdout is not None
            said = guard.stdout.read()

    assert silent["title"] == verified["title"] == "mmbot HYPE emulator watchdog: watchdog"
    assert silent["type"] == "failure"
    assert f"process {pid}" in silent["message"]
    assert f"Cancelled {resting} orders" in verified["message"]
    assert TOKEN not in said


def test_a_run_that_does_not_begin_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager that starts it at night shows its screen to nobody."""
    with receiving() as receiver, exchange(sets=STILL) as venue:
        monkeypatch.setenv("MMBOT_TEST_ALERTS", receiver.url(TOKEN))
        sets = sets_of(venue, tmp_path)
        options = [f"--config={CONFIG}", *(f"--set={item}" for item in sets)]
        killed = start("kill", *options)
        killed.communicate(timeout=120)
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            code, _, err = bot.end()
        (message,) = receiver.messages

    assert code == 3
    assert message["title"].endswith(": halt")
    assert "latched" in message["message"]
    assert "latched" in err


def test_an_address_that_is_none_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    """Exit 2, naming the variable; alerts that are silently off are found out on the worst day."""
    env = {"MMBOT_TEST_ALERTS": TOKEN}
    with daemon(tmp_path / "run", config=CONFIG, sets=[ALERTS], env=env) as bot:
        code, out, err = bot.end()

    assert code == 2
    assert "MMBOT_TEST_ALERTS" in err
    assert TOKEN not in out + err
    assert not (tmp_path / "run").exists()
