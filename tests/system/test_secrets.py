"""
Everything is run at level debug with keys that are searched for in all that it leaves behind.

The keys are those of API wallets, approved at the exchange by the account: nobody but the program
ever has them. Searched are standard output and error of every command, every file that any of them
wrote (logs, journals, their decoded records, reports, the store and its write-ahead log) and the
arguments of every process, sampled while they ran.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from eth_account import Account
from hyperliquid.utils.signing import sign_agent

from mmbot.journal.reader import Journal
from runtime.recorded_market import market, write
from system import harness
from system.harness import Daemon, Exchange, daemon, exchange, start
from system.killing import watchdog

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
CANARY = "c0ffee5ec2e7d00dfeedface0badcafe1a2b3c4d5e6f90aabbccddee5ca1ab1e"
WATCHDOG_CANARY = "deadbea7f00dfacade5eedb01dfaceb00c91827364554637281908f7e6d5c4b3"
_WINDOW: Final = 12
"""So many hex digits or bytes of a key in a row are a part of it, and no chance."""
_LIVELY = ("market.a_per_s=4", "market.sweeps_per_s=0.3")

_CRASH = """
import sys
from mmbot.hyperliquid import signing
whole, count = signing.Signer.sign, [0]
def sign(self, *rest):
    count[0] += 1
    if count[0] > {after}:
        raise {error}
    return whole(self, *rest)
signing.Signer.sign = sign
sys.argv = ["mmbot", *sys.argv[1:]]
from mmbot.cli.app import main
main()
"""
"""The program with a bug, in the one place whose frame has the key."""


def spellings(key: str) -> dict[str, list[bytes]]:
    """What a key looks like wherever it might have got to, in parts that no chance makes."""
    raw = bytes.fromhex(key)
    parts = [key[i : i + _WINDOW] for i in range(len(key) - _WINDOW + 1)]
    # Base64 of the bytes at each of the three places they may begin in, without its ends.
    whole = [base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3)]
    coded = [text[i : i + _WINDOW] for text in whole for i in range(len(text) - _WINDOW + 1)]
    of_text = [
        base64.b64encode(b"\0" * shift + text.encode())[4:-4]
        for shift in range(3)
        for text in (key, key.upper(), f"0x{key}")
    ]
    return {
        "hex": [part.encode() for part in parts] + [part.upper().encode() for part in parts],
        "raw bytes": [raw[i : i + _WINDOW] for i in range(len(raw) - _WINDOW + 1)],
        "reversed bytes": [raw[::-1]],
        "escaped bytes": [repr(raw[:8])[2:-1].encode(), repr(raw[8:16])[2:-1].encode()],
        "base64": coded + [text.replace(b"+", b"-").replace(b"/", b"_") for text in coded],
        "base64 of the hex": [text[: 2 * _WINDOW] for text in of_text],
        "a number": [str(int(key, 16)).encode()[:24]],
        "a list of numbers": [", ".join(map(str, raw[:8])).encode()],
    }


KEYS = {name: spellings(key) for name, key in (("run", CANARY), ("watchdog", WATCHDOG_CANARY))}


def found_in(content: bytes) -> list[str]:
    """How a key is in there; nothing, it is to be hoped."""
    return [
        f"{whose} key as {how}"
        for whose, ways in KEYS.items()
        for how, parts in ways.items()
        if any(part in content for part in parts)
    ]


class Watched:
    """What has been said and done so far."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.said: dict[str, bytes] = {}
        self.arguments: set[bytes] = set()

    def keep(self, what: str, *texts: str | bytes) -> None:
        """Remember what a process said."""
        joined = b"\n".join(t if isinstance(t, bytes) else t.encode() for t in texts)
        self.said[what] = self.said.get(what, b"") + joined

    def sample(self) -> None:
        """Look at the arguments of every process of the program."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if b"mmbot" in line:
                self.arguments.add(line)

    def leaks(self) -> list[str]:
        """Every place a key is in."""
        found = [f"{what}: {how}" for what, text in self.said.items() for how in found_in(text)]
        found += [f"arguments: {how}" for line in self.arguments for how in found_in(line)]
        for path in sorted(self.here.rglob("*")):
            if path.is_file() and path.name != "key":
                found += [f"{path.name}: {how}" for how in found_in(path.read_bytes())]
                found += [f"a name: {how}" for how in found_in(str(path).encode())]
        for folder in {path.parent for path in self.here.rglob("journal-*.mmj")}:
            held = b"\n".join(entry.payload for entry in Journal.of(folder).entries())
            found += [f"records of {folder.name}: {how}" for how in found_in(held)]
        return found


@contextmanager
def watching(here: Path) -> Iterator[Watched]:
    """Sample arguments while everything runs."""
    watched, is_over = Watched(here), threading.Event()

    def sample() -> None:
        while not is_over.wait(0.05):
            watched.sample()

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield watched
    finally:
        is_over.set()
        thread.join()


def approve(venue: Exchange, key: str, name: str) -> None:
    """Approve an API wallet for the account, as its owner does."""
    nonce = venue.read("status")["now_ms"]
    action = {
        "type": "approveAgent",
        "agentAddress": Account.from_key(key).address,
        "agentName": name,
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
        assert json.load(response)["status"] == "ok"


def stir(venue: Exchange, bot: Daemon) -> None:
    """Whatever a venue does to provoke a message: frames, refusals, errors, a lost socket."""
    venue.control("inject", text="this is no frame")
    bot.wait_event("frame.malformed")
    bot.wait_event("link.opened", 2)
    venue.control("inject", text='{"channel":"bbo","data":{"coin":"HYPE","time":1,"bbo":[0,0]}}')
    bot.wait_event("frame.malformed", 2)
    bot.wait_event("link.opened", 3)
    venue.control("faults", refuse=[429, 500], answer=[500], refuse_info=[500, 500], drop=1)
    venue.control("disconnect")
    bot.wait_event("link.opened", 4)
    venue.control("faults", refuse=[], answer=[], refuse_info=[], drop=0)


class Room:
    """An exchange with an account, its two API wallets, and how commands are told of them."""

    def __init__(self, watched: Watched, venue: Exchange, here: Path, source: str) -> None:
        self.watched, self.venue, self.here = watched, venue, here
        approve(venue, CANARY, "run")
        approve(venue, WATCHDOG_CANARY, "watchdog")
        (here / "key").write_text(f"0x{CANARY}\n")
        (here / "key").chmod(0o600)
        self.sets = [
            f"emulator.url={venue.url}",
            f"state_dir={here / 'state'}",
            f"log.dir={here / 'logs'}",
            "log.level=debug",
            f"account.address={venue.user}",
            "risk.loss_limit_frac=0.5",
            "risk.drawdown_limit_frac=0.5",
            "risk.soft_limit_frac=0.45",
            "guards.sweeps=10",
            "guards.jump_sigmas=100",
        ]
        if source == "file":
            self.sets.append(f"account.key_file={here / 'key'}")
        self.env = {
            **os.environ,
            "MMBOT_KEY": CANARY.upper() if source == "environment" else "",
            "MMBOT_WATCHDOG_KEY": f"0x{WATCHDOG_CANARY}",
            "MMBOT_TRACEBACK": "1",
        }
        self.options = [f"--config={CONFIG}", *(f"--set={item}" for item in self.sets)]

    def does(self, code: int, *command: str, **env: str) -> None:
        """A command to its end, which is to have this exit code."""
        process = start(*command, *self.options, env={**self.env, **env})
        out, err = process.communicate(timeout=120)
        self.watched.keep(command[0], out, err)
        assert process.returncode == code, f"{command}: {process.returncode}: {out[-600:]}{err}"
        assert out + err, f"{command[0]} said nothing: there is nothing to search"

    def asks(self, *command: str, code: int = 0) -> str:
        """What a command says of a run that is there, by its folder."""
        process = start(*command, env=self.env)
        out, err = process.communicate(timeout=120)
        self.watched.keep(command[0], out, err)
        assert process.returncode == code, f"{command}: {process.returncode}: {out[-600:]}{err}"
        assert out, f"{command[0]} said nothing: there is nothing to search"
        return out

    def crashes(self, after: int, error: str, folder: str) -> str:
        """A run with a bug that raises while it signs; what it said."""
        command = ["run", *self.options, f"--run-dir={self.here / folder}", "--for=60s"]
        process = subprocess.run(
            [sys.executable, "-c", _CRASH.format(after=after, error=error), *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = process.stdout + process.stderr
        self.watched.keep("crash", said)
        assert process.returncode != 0, said[-1000:]
        return said


@contextmanager
def room(here: Path, source: str) -> Iterator[Room]:
    """Everything that is needed, and the arguments of all processes watched meanwhile."""
    with watching(here) as watched, exchange("--scenario=demo", sets=_LIVELY) as venue:
        yield Room(watched, venue, here, source)


def test_no_key_is_in_what_a_run_and_its_end_leave_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, journal, report, store, screens, arguments: in no spelling, whatever went wrong."""
    monkeypatch.setattr(harness, "IS_FRESH", True)  # a fork has the arguments of where it is from
    with room(tmp_path, "environment") as it:
        it.does(0, "check", "--kill")
        it.does(0, "check", "--offline")
        it.venue.control("faults", refuse=[500], refuse_batch=["Insufficient margin for it."])
        with watchdog(it.sets, f"0x{WATCHDOG_CANARY}") as guard:
            with daemon(tmp_path / "one", config=CONFIG, sets=it.sets, env=it.env) as bot:
                bot.wait_event("order.rejected")
                bot.wait_event("quote.moved", 3)
                signed = it.venue.read("requests")["requests"][-1]["body"]["signature"]
                stir(it.venue, bot)
                one = str(tmp_path / "one")
                assert json.loads(it.asks("status", one, "--json"))["is_live"] is True
                it.asks("why", one, "--json")
                it.asks("reload", one)
                it.does(3, "kill")
                code, out, err = bot.end()
                it.watched.keep("run", out, err)
                assert code == 3, err
            guard.send_signal(signal.SIGINT)
            assert guard.stdout is not None
            it.watched.keep("watchdog", guard.stdout.read())
        it.does(3, "run", f"--run-dir={tmp_path / 'refused'}")
        it.does(0, "reset", "--show")
        it.does(0, "reset")
        for asked in ("replay", "tail", "report"):
            it.asks(asked, one)
        assert "no run" not in it.asks("status", one, code=1), "1 says that it is not live"
    # What is searched is there: the search has not looked at empty rooms.
    assert re.fullmatch(r"0x[0-9a-f]+", signed["r"])
    names = {path.name for path in tmp_path.rglob("*")}
    assert names >= {"log.jsonl", "kill.json", "summary.json", "config.toml", "journal-0001.mmj"}
    assert names >= {"report.html", "report.json"}
    assert any(b"SQLite format 3" in path.read_bytes()[:16] for path in _files(tmp_path / "state"))
    for command in (b"run", b"check", b"kill", b"watchdog", b"replay", b"why", b"report"):
        assert any(b"\0" + command + b"\0" in line for line in it.watched.arguments), command
    assert it.watched.leaks() == []


def test_no_key_is_in_what_breaks_or_stands_alone(tmp_path: Path) -> None:
    """A bug beside the key with its traceback, a stranger's key, and the commands without a run."""
    with room(tmp_path, "file") as it:
        it.crashes(1, "ValueError(self)", "crash")
        broken = (tmp_path / "crash" / "log.jsonl").read_text("utf-8")
        assert "Traceback" in broken
        assert "Signer(address=" in broken, "the object that holds the key, by its repr"
        it.does(0, "reset")
        assert "RuntimeError: at once" in it.crashes(0, "RuntimeError('at once')", "start")
        it.does(0, "flatten")
        it.does(0, "watchdog", "--once")
        # Not approved: the venue names whom it takes the signer for.
        it.does(5, "check", MMBOT_KEY=CANARY[::-1])
        # Too short, and a file that others can read.
        it.does(2, "check", MMBOT_KEY=CANARY[:-2])
        (tmp_path / "key").chmod(0o644)
        it.does(2, "check")
        (tmp_path / "key").chmod(0o600)
        write(tmp_path / "recording", market(30.0))
        it.does(0, "backtest", str(tmp_path / "recording"), "--coin=WLFI")
        it.does(0, "selftest", "--row=fee/up")
    assert it.watched.leaks() == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_key_is_found_in_every_spelling(tmp_path: Path) -> None:
    """The search itself; a key that got out must not hide behind its spelling."""
    raw = bytes.fromhex(CANARY)
    for content in (
        CANARY,
        CANARY.upper(),
        f'{{"key": "0x{CANARY[10:30]}"}}',
        base64.b64encode(b"x" + raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(f"0x{CANARY}".encode()).decode(),
        repr(raw),
        str(int(CANARY, 16)),
        str(list(raw)),
    ):
        assert found_in(b"before " + content.encode() + b" after"), content
    assert found_in(b"\x00" + raw + b"\x01")
    assert found_in(raw[::-1])
    assert not found_in(b"0x" + b"ab" * 32)
    watched = Watched(tmp_path)
    (tmp_path / "log.jsonl").write_text(CANARY)
    assert watched.leaks() == ["log.jsonl: run key as hex"]
