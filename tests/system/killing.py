"""A daemon killed under load beside a watchdog: what rests after it, what the next start books."""

from __future__ import annotations

import json
import random
import select
import signal
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from eth_account import Account
from hyperliquid.utils.signing import sign_agent

from system.harness import (
    PATIENCE_S,
    Daemon,
    Exchange,
    daemon,
    end,
    exchange,
    start,
    wait_until,
)

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
WATCHDOG_KEY = "0x" + "5a" * 32
WATCHDOG = Account.from_key(WATCHDOG_KEY).address.lower()
NOTHING_RESTS_S = 5.0
LOAD = ("market.a_per_s=4", "market.sweeps_per_s=0.3", "market.sigma_bps_rt_s=3")
"""Fills several times a second, sweeps, and a price that makes every order move."""
EAGER = (
    "risk.loss_limit_frac=0.5",
    "risk.drawdown_limit_frac=0.5",
    "risk.soft_limit_frac=0.45",
    "guards.jump_sigmas=100",
    "guards.jump_off_s=0.5",
    "reconcile.requests_burst=2000",
    "reconcile.requests_last_h=0.05",
)
"""Requests are no concern, no limit ends the run, no jump empties it: something is in flight."""
GAP_USD_MAX = 1e-3
_SETTLED_S = 1.0
_SECOND_RUN_S = 3.0


def sets_of(venue: Exchange, here: Path) -> list[str]:
    """What joins daemon, watchdog and commands to one exchange and one safety state."""
    return [f"emulator.url={venue.url}", f"state_dir={here / 'state'}"]


def approve(venue: Exchange, key: str) -> None:
    """Approve an API wallet for the daemon's account, as the account's owner does."""
    nonce = venue.read("status")["now_ms"]
    action = {
        "type": "approveAgent",
        "agentAddress": Account.from_key(key).address,
        "agentName": "watchdog",
        "nonce": nonce,
    }
    owner = Account.from_key(venue.accounts[0]["private_key"])
    signature = sign_agent(owner, action, False)
    body = {"action": action, "nonce": nonce, "signature": signature}
    request = urllib.request.Request(
        f"{venue.url}/exchange",
        data=json.dumps(body | {"vaultAddress": None, "expiresAfter": None}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer = json.load(response)
    assert answer["status"] == "ok", answer


@contextmanager
def watchdog(sets: Sequence[str], key: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running watchdog that watches already."""
    process = start(
        "watchdog",
        f"--config={CONFIG}",
        *(f"--set={item}" for item in sets),
        *arguments,
        env={"MMBOT_WATCHDOG_KEY": key},
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "watchdog.watching" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield process
    finally:
        end(process)


def gone_after_s(venue: Exchange) -> float:
    """Seconds until nothing of ours rests, and nothing comes to rest in the second after."""
    began = monotonic()
    clean_since: float | None = None
    while monotonic() - began < PATIENCE_S:
        if venue.resting():
            clean_since = None
        elif clean_since is None:
            clean_since = monotonic()
        elif monotonic() - clean_since > _SETTLED_S:
            return clean_since - began
        select.select([], [], [], 0.02)
    raise AssertionError(f"still resting: {venue.resting()}")


class Round(NamedTuple):
    """One daemon killed, and the next one started."""

    number: str
    """The signal."""
    lived_s: float
    """From its first resting order to the signal."""
    rested: int
    """Orders that rested when it came."""
    gone_s: float
    fills: int
    """Of both runs, by the venue's word."""
    twice: int
    """Fills that more than one run, or one run more than once, booked."""
    unbooked: int
    """Fills of the second run's time that it did not book."""
    position_gap_sz: float
    """Its position less the venue's, at its end."""
    ledger_gap_usd: float
    unledgered: int
    """Fills of either run that are not in the stored ledger, and rows of it that are no fill."""
    second_exit: int
    early: int
    """Times that the watchdog took the daemon for silent before the signal."""

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        wrong = {
            f"orders rested for {self.gone_s:.2f} s": self.gone_s >= NOTHING_RESTS_S,
            f"{self.twice} fills booked twice": self.twice > 0,
            f"{self.unbooked} fills not booked": self.unbooked > 0,
            f"position off by {self.position_gap_sz:g}": abs(self.position_gap_sz) > 1e-9,
            f"ledger off by {self.ledger_gap_usd:g} USD": abs(self.ledger_gap_usd) > GAP_USD_MAX,
            f"{self.unledgered} fills stored wrongly": self.unledgered > 0,
            f"the next run ended with exit {self.second_exit}": self.second_exit != 0,
        }
        return [text for text, is_so in wrong.items() if is_so]


def _booked(bot: Daemon) -> list[int]:
    return [int(r["tid"]) for r in bot.records() if r["event"] == "fill.booked"]


def kill_once(here: Path, number: signal.Signals, chance: random.Random) -> Round:
    """Exchange, watchdog and daemon; the signal at a random moment; then the next daemon."""
    seed = chance.randrange(2**31)
    with exchange(f"--seed={seed}", "--scenario=demo", sets=LOAD) as venue:
        approve(venue, WATCHDOG_KEY)
        sets = [*sets_of(venue, here), *EAGER]
        with watchdog(sets, WATCHDOG_KEY):
            with daemon(here / "first", config=CONFIG, sets=sets) as bot:
                bot.wait_for("orders", lambda _: bool(venue.resting()))
                began = monotonic()
                select.select([], [], [], chance.uniform(0.0, 5.0))
                # A moment after a sweep nothing may rest, and there would be nothing to clear up.
                wait_until("orders to leave behind", venue.resting)
                rested = len(venue.resting())
                lived_s = monotonic() - began
                signalled_at = datetime.now(UTC)
                bot.process.send_signal(number)
                gone_s = gone_after_s(venue)
                bot.process.kill()
                bot.process.wait()
                first = _booked(bot)
                early = _alarms_before(here, signalled_at)
            with daemon(here / "second", config=CONFIG, sets=sets) as bot:
                bot.wait_for("orders again", lambda _: bool(venue.resting()))
                select.select([], [], [], _SECOND_RUN_S)
                code, _, _ = bot.stop()
                second = _booked(bot)
                summary = bot.summary()
                began_ms = _began_ms(bot)
        ledger = venue.read(f"ledger?user={venue.user}")
        fills: list[dict[str, Any]] = ledger["fills"]
        held = venue.position_sz("HYPE")
    # What the first one may have booked at the moment of its death is not in its log; what counts
    # is that the second books each of its own once and none of the other's.
    twice = len(second) - len(set(second)) + len(set(second) & set(first))
    later = {int(row["tid"]) for row in fills if row["time"] > began_ms}
    gap = summary["ledger_gap_usd"]
    told = {(row["tid"], row["oid"], row["time"]) for row in fills}
    return Round(
        number.name,
        lived_s,
        rested,
        gone_s,
        len(fills),
        twice,
        len(later - set(second)),
        summary["position_sz"] - held,
        float("inf") if gap is None else gap,
        len(told ^ _stored(here)),
        code,
        early,
    )


def _stored(here: Path) -> set[tuple[int, int, int]]:
    (path,) = (here / "state").glob("*.sqlite")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = db.execute("SELECT tid, oid, venue_ms FROM fills").fetchall()
    db.close()
    return set(rows)


def _alarms_before(here: Path, at: datetime) -> int:
    (log,) = (here / "state").glob("*.watchdog.jsonl")
    records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return sum(
        record["event"] == "watchdog.daemon_silent" and datetime.fromisoformat(record["at"]) < at
        for record in records
    )


def _began_ms(bot: Daemon) -> int:
    """When the run's first order may have left: nothing of its own fills before."""
    first = next(r for r in bot.records() if r["event"] == "quote.moved")
    return int(datetime.fromisoformat(first["at"]).timestamp() * 1000)
