"""What `status` and `why` tell a person, of a daemon that answers and of one that is gone."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmbot.config import load
from mmbot.core.types import NS_PER_S
from mmbot.errors import ConfigError
from mmbot.runtime.asking import DIED, GONE, HUNG, Heard, find, read_files
from mmbot.runtime.heart import Beat, beat_path, write_beat
from mmbot.runtime.observed import status, why
from mmbot.runtime.rundir import describe_run, point_from_state
from mmbot.runtime.statustext import kept_lines, status_lines, trigger_text
from mmbot.runtime.topview import Seen, head, ladder, nearest, terms
from mmbot.runtime.venues import lock_path, state_path, watchdog_log
from mmbot.runtime.whytext import why_lines
from mmbot.state.lock import RunLock
from runtime.pipe_rig import CONFIG, EQUITY_USD, PipeRun

USER = "0x" + "ab" * 20
DIED_NS = 1_795_319_223 * NS_PER_S


@pytest.fixture(scope="module")
def run() -> PipeRun:
    """Half a minute of fills with a capital of 100 USD in an account of 1000."""
    found = PipeRun("demo", seed=3, sets=("risk.warm_s=0",), market={"a_per_s": 3.0})
    found.start()
    found.run(30)
    return found


def row(lines: list[str], name: str) -> str:
    """The one line of that name."""
    (found,) = [line for line in lines if line.startswith(f"{name} ")]
    return found


def shown(run: PipeRun, mode: str = "emulator") -> tuple[dict[str, Any], list[str], list[str]]:
    """Status as a client gets it, the lines of it, and those of `why`."""
    config, now_ns = load(CONFIG, [f"mode={mode}"]), run.clock()
    found = status(
        run.trader, config, now_ns=now_ns, pid=1, run_dir="r", user=USER, journal=None, reloads=0
    )
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    asked = msgspec.json.decode(msgspec.json.encode(why(run.trader, config, now_ns=now_ns)))
    return told, status_lines(told), why_lines(asked, now_ns)


def test_capital_and_account_are_told_apart(run: PipeRun) -> None:
    """100 in one place and 1000 in another were both called equity."""
    told, lines, _ = shown(run)
    assert told["equity_start_usd"] == 100
    assert told["account_usd"] == pytest.approx(EQUITY_USD, abs=5)
    assert f"{told['equity_usd']:.4f} USD = capital 100.0000 at the start" in row(lines, "equity")
    assert row(lines, "account").split()[1] == f"{told['account_usd']:.2f}"
    assert "at the venue, as read last" in row(lines, "account")
    assert row(lines, "requests").count("requests") == 1


def test_each_profit_says_since_when_and_at_which_price(run: PipeRun) -> None:
    """That of the run at the mid, that of the limits at the lower price, that of the day."""
    told, lines, _ = shown(run)
    gain = told["equity_usd"] - told["equity_start_usd"]
    assert f"{gain:+.4f} since, at the lower of mid and mark" in row(lines, "equity")
    pnl = row(lines, "pnl")
    assert pnl.split()[1] == f"{told['pnl']['total_usd']:+.4f}"
    assert "since the start of the run, at the mid" in pnl
    day = row(lines, "today")
    assert day.split()[1] == f"{told['pnl']['day_usd']:+.4f}"
    assert "all runs since 00:00 UTC" in day
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("mode", ["paper", "emulator"])
def test_status_and_why_begin_with_the_mode(run: PipeRun, mode: str) -> None:
    """In capitals, before anything that could be taken for money."""
    _, lines, reasons = shown(run, mode)
    assert lines[0].startswith(f"{mode.upper()}  HYPE")
    assert reasons[0].startswith(f"{mode.upper()}  HYPE")


def at(second: int) -> str:
    """A time of the log, that many seconds after the daemon's last word."""
    return f"{datetime.fromtimestamp(DIED_NS // NS_PER_S + second, UTC):%Y-%m-%dT%H:%M:%S}.000000Z"


def line(second: int, event: str, **facts: Any) -> str:
    """A record of a log."""
    return json.dumps({"at": at(second), "level": "info", "event": event} | facts) + "\n"


class Left:
    """The files of a daemon that was killed: its folder, and beside its safety state the dog's."""

    def __init__(self, here: Path, *sets: str, log: str = "") -> None:
        self.folder = here / "run"
        self.folder.mkdir()
        self.config = load(CONFIG, [f"state_dir={here}/state", *sets])
        describe_run(self.config, self.folder)
        begun = line(-9, "run.started", mode=self.config.mode, coin="HYPE", user=USER)
        text = log or begun + line(0, "quote.held", fair_px=26.2, touch_bid_px=26.1)
        (self.folder / "log.jsonl").write_text(text, "utf-8")
        self.state = state_path(self.config, self.folder, USER)
        self.state.parent.mkdir(parents=True, exist_ok=True)

    def dog(self, *records: str) -> None:
        """What the watchdog wrote."""
        watchdog_log(self.state).write_text("".join(records), "utf-8")

    def said(self, how: str = GONE) -> str:
        """What `status` prints a minute later."""
        return "\n".join(kept_lines(read_files(self.folder, Heard(how)), DIED_NS + 60 * NS_PER_S))


AWAY = "emulator.url=http://127.0.0.1:1"
VERIFIED = line(4, "watchdog.verified", cancelled=3, resting_orders=0)


def test_what_the_watchdog_verified_after_a_death_is_shown_with_its_age(tmp_path: Path) -> None:
    """Who is told that orders may rest, hours after they were seen to be gone, trips the switch."""
    left = Left(tmp_path, AWAY)
    assert "orders   may rest" in left.said()
    left.dog(line(-5, "watchdog.verified", cancelled=1, resting_orders=0))
    assert "orders   may rest" in left.said(), "before it died it placed again"
    left.dog(line(2, "watchdog.daemon_silent", pid=7, silent_s=2.0), VERIFIED)
    text = left.said()
    assert "may rest" not in text
    assert "orders   none rests: the watchdog cancelled 3 and the venue confirmed it" in text
    assert "56 s ago" in text


def test_a_daemon_that_hangs_may_place_again_after_a_sweep(tmp_path: Path) -> None:
    """It is not dead: what was verified holds until it comes round, and then no more."""
    left = Left(tmp_path, AWAY)
    left.dog(VERIFIED)
    text = left.said(HUNG)
    assert "none rested" in text
    assert "may place again" in text
    left.dog(VERIFIED, line(9, "watchdog.daemon_beats", pid=7))
    assert "orders   may rest" in left.said(HUNG)


def test_a_command_that_cleared_up_behind_a_death_counts_as_well(tmp_path: Path) -> None:
    """`mmbot kill` and `watchdog --once` leave a beat which says that nothing rests."""
    left = Left(tmp_path, AWAY)
    write_beat(beat_path(left.state), Beat(pid=7, may_rest=True))
    assert "orders   may rest" in left.said()
    write_beat(beat_path(left.state), Beat(pid=7, count=2, may_rest=False))
    assert "orders   none rests: verified at the venue" in left.said()


@pytest.mark.parametrize("mode", ["paper", "emulator"])
def test_orders_that_ended_with_their_exchange_may_not_rest(tmp_path: Path, mode: str) -> None:
    """On paper and with the embedded exchange there is nothing to cancel."""
    left = Left(tmp_path, f"mode={mode}")
    text = left.said()
    assert "may rest" not in text
    assert "orders   none rests: the exchange" in text
    assert ("PAPER" in text.splitlines()[1]) is (mode == "paper")


def test_a_long_log_still_says_which_mode_it_was(tmp_path: Path) -> None:
    """Only the end of a log is read; the configuration beside it is always there."""
    held = line(0, "quote.held", fair_px=26.2, touch_bid_px=26.1)
    left = Left(tmp_path, "mode=paper", log=held)
    assert "PAPER" in left.said().splitlines()[1]


@pytest.mark.parametrize("has_end", [True, False])
def test_a_folder_that_is_used_again_says_nothing_of_its_earlier_run(
    tmp_path: Path, *, has_end: bool
) -> None:
    """Its trip, its fills and its modes are over; what the newer start said is its own."""
    earlier = [
        line(-60, "run.started", mode="emulator", coin="HYPE", user=USER),
        line(-50, "snapshot.read", position_sz=7.0, equity_usd=999.0),
        line(-49, "fill.booked", side="buy", px=25.0, sz=7.0, position_sz=7.0),
        line(-48, "quote.moved", fair_px=25.0, touch_bid_px=24.9),
        line(-47, "killswitch.tripped", level="critical", text="lost too much"),
        line(-46, "mode.changed", level="warning", after="killed", cause="operator"),
    ]
    ended = [line(-45, "run.ended", end_reason="killed"), line(-44, "alert.sent", kind="trip")]
    newer = [
        line(-20, "leverage.capped", level="warning", text="less than wanted"),
        line(-19, "run.started", mode="emulator", coin="BTC", user=USER),
    ]
    log = "".join([*earlier, *(ended if has_end else []), *newer])
    left = Left(tmp_path, log=log)
    (left.folder / "kill.json").write_text('{"reason": {"text": "lost too much"}}', "utf-8")

    kept = read_files(left.folder, Heard(GONE))
    text = left.said()

    assert kept.kill is kept.mode is kept.fill is kept.account is kept.quote is kept.summary is None
    assert kept.started is not None
    assert kept.started["coin"] == "BTC"
    assert "lost too much" not in text
    assert "leverage.capped" in text, "its own start said so, before it began"
    with (left.folder / "log.jsonl").open("a") as file:
        file.write(line(-3, "killswitch.tripped", level="critical", text="again"))
    assert "TRIPPED" in left.said()


@pytest.mark.parametrize("run", [None, "latest"])
def test_a_daemon_whose_folder_was_removed_is_named(tmp_path: Path, run: str | None) -> None:
    """It trades on: who asks is told which process, and how to end it."""
    sets = (f"state_dir={tmp_path}/state", f"log.dir={tmp_path}/logs", AWAY)
    state = state_path(load(CONFIG, sets), None, USER)
    state.parent.mkdir(parents=True)
    point_from_state(state, tmp_path / "removed")
    with RunLock(lock_path(state), None, what="", remedy="") as lock:
        lock.orders_may_rest(may_rest=True)
        with pytest.raises(ConfigError, match=rf"no run at .*kill -INT {os.getpid()}.*mmbot kill"):
            find(run, CONFIG, sets)
    with pytest.raises(ConfigError) as error:
        find(run, CONFIG, sets)
    assert "kill -INT" not in str(error.value)


def test_a_market_that_is_dead_is_not_shown_as_live_while_a_run_ends() -> None:
    """A venue that is away makes an end last minutes, which is when its prices are dead."""
    run = PipeRun("demo", seed=3)
    run.start()
    run.run(5)
    _, lines, reasons = shown(run)
    assert not [line for line in lines if line.startswith("STALE")]
    run.dialer.stall(is_stalled=True)
    run.trader.stop("for the test")
    run.run(4)
    told, lines, reasons = shown(run)

    assert told["phase"] in ("cancelling", "verifying")
    assert "the market below is NOT of now: touch" in row(lines, "STALE")
    assert f"the run is {told['phase']}" in reasons[1]
    assert reasons[1].startswith("BLOCKED")
    w = msgspec.to_builtins(why(run.trader, run.config, now_ns=run.clock()))
    answer = {"status": told, "why": w, "at_ns": run.clock(), "pid": 1}
    seen = Seen(answer=answer, age_s=0.1, how="", run_dir="r")
    about = head(seen, 100)
    assert about[0].endswith("UTC  LIVE, prices STALE"), "the process is, and nothing else"
    assert about[1].startswith("*** STALE *** the market below is NOT of now")
    assert any("STALE" in line for line in ladder(seen, 60, 10))
    assert terms(seen, 40, 10)[0].startswith("LAST QUOTE, ")


def test_the_terms_of_a_quote_of_ten_minutes_ago_say_so() -> None:
    """A quote that is blocked, by the journal for instance, leaves its terms behind."""
    side = {"px": 31.9, "bps": 9.0, "terms": {"fee_bps": 1.5, "glft_bps": 7.5}, "off": []}
    w: dict[str, Any] = {"phase": "trading", "age_s": 0.2, "reasons": [], "sides": [side, side]}

    def drawn(height: int = 10, **facts: Any) -> list[str]:
        answer = {"why": {**w, **facts}, "status": None, "at_ns": 1}
        return terms(Seen(answer=answer, age_s=0.1, how="", run_dir=""), 40, height)

    assert not [line for line in drawn() if "LAST" in line]
    assert drawn(age_s=600.0, reasons=["journal late"])[0] == "LAST QUOTE, 10m00s ago"
    assert drawn(reasons=["journal late"])[0] == "LAST QUOTE, 0.2 s ago"
    assert drawn(age_s=600.0)[0] == "LAST QUOTE, 10m00s ago"
    assert drawn(4, age_s=600.0)[-1].startswith("= bps from fair"), "the sum is shown all the same"


def test_what_no_price_makes_known_is_not_shown_as_nothing(run: PipeRun) -> None:
    """Before any mid and mark: an open profit of 0 would not add up, a share of 0 is a claim."""
    told, _, _ = shown(run)
    told["pnl"] |= {"unrealised_usd": None, "total_usd": None}
    told["holding"] |= {"x": None}
    lines = status_lines(told)

    assert row(lines, "pnl").startswith("pnl      not known without a price")
    assert any("unrealised ?" in line for line in lines)
    assert "%" not in row(lines, "position")
    seen = Seen(answer={"status": told, "at_ns": 1, "pid": 1}, age_s=0.1, how="", run_dir="r")
    assert any("pnl ? since the start" in line for line in head(seen, 100))
    connecting = PipeRun("demo")
    unread = status(
        connecting.trader, connecting.config, now_ns=connecting.clock(), pid=1, run_dir="r",
        user=USER, journal=None, reloads=0,
    )  # fmt: skip
    assert unread.pnl.unrealised_usd is unread.pnl.total_usd is None


def trigger(name: str, value: float, limit: float, *, is_least: bool = False) -> dict[str, Any]:
    """One as a client gets it."""
    used = limit / value if is_least else value / limit
    unit = "USD"
    return {
        "trigger": name, "value": value, "limit": limit, "unit": unit, "is_least": is_least,
        "used": used,
    }  # fmt: skip


def test_the_nearest_limit_may_be_one_that_is_fallen_to() -> None:
    """A whole balance is far from half of it, three fifths of it are near."""
    position = trigger("position", 150.0, 500.0)
    whole = {"triggers": [position, trigger("balance", 99.9, 50.0, is_least=True)]}
    fallen = {"triggers": [position, trigger("balance", 60.0, 50.0, is_least=True)]}
    out = {"triggers": [position, trigger("requests", 10_000.0, 0.0, is_least=True)]}
    assert nearest(whole) == nearest(out) == "position 150 of 500 USD"
    assert nearest(fallen) == "balance 60 falls to 50 USD NEAR"
    assert nearest({"triggers": [trigger("session_loss", -0.8557, 3.0)]}) == (
        "session_loss 0 of 3 USD"
    ), "a gain is no loss"
    (left,) = out["triggers"][1:]
    assert trigger_text(left).startswith("requests 10000 falls to 0")
    clock = {**trigger("clock", 0.001962, 2.0), "unit": "s"}
    assert trigger_text(clock) == "clock 0.002 of 2 s"


def test_where_room_is_short_the_largest_terms_stay() -> None:
    """In the order of the sum: which of them are small is no reason to hide the others."""
    named = {"funding_bps": 0.01, "glft_bps": 7.5, "grid_bps": 0.2, "cascade_bps": -5.73}
    side = {"px": 31.9, "bps": 2.0, "terms": named, "off": []}
    w = {"phase": "trading", "age_s": 0.2, "reasons": [], "sides": [side, side]}
    answer = {"why": w, "status": None, "at_ns": 1}
    lines = terms(Seen(answer=answer, age_s=0.1, how="", run_dir=""), 40, 5)

    assert [line.split()[0] for line in lines[1:3]] == ["glft", "cascade"]
    assert lines[3] == "and 2 smaller: mmbot why"


def test_an_end_is_told_by_its_own_record_and_not_by_the_last_look(run: PipeRun) -> None:
    """Orders fill until their cancels arrive: what the daemon answered last is not the end."""
    told, _, _ = shown(run)
    record = {
        "at": at(0), "end_reason": "mmbot stop", "duration_s": 240.0, "position_sz": 0.0,
        "pnl_usd": 1.5707, "fills": 111, "resting_orders": 0, "kill": {"text": "by hand"},
    }  # fmt: skip
    answer = {"status": told, "at_ns": 1, "pid": 1}
    for answered in (answer, None):
        seen = Seen(answer=answered, age_s=9.0, how="ENDED", run_dir="r", ended=record)
        text = "\n".join(head(seen, 80))
        assert "position +0 at the end" in text
        assert "pnl +1.5707 USD at the mid, 111 fills" in text
        assert "*** KILL *** by hand" in text
        assert "equity" not in text
        assert "nearest limit" not in text
        assert "ENDED" in text


def test_an_end_whose_fields_are_of_wrong_kinds_is_none(tmp_path: Path) -> None:
    """A damaged line says nothing: the run is not known to have ended, and nothing breaks."""
    at = "2026-07-01T00:00:00.000000Z"
    lines = [
        {"at": at, "level": "info", "event": "run.started", "coin": "HYPE"},
        {"at": at, "level": "info", "event": "run.ended", "position_sz": [], "fills": "x"},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    kept = read_files(tmp_path, Heard(GONE))
    assert kept.state == DIED
    assert kept.summary is None
