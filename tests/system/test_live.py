"""
`mode = "live"`: the real program as a process, against our own exchange in the place of mainnet.

The exchange recovers and checks every signature as mainnet's and takes no other. What left the
program is looked at there, and with the venue's own client library.
"""

from __future__ import annotations

import json
import select
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest
from eth_account import Account
from hyperliquid.utils.signing import recover_agent_or_user_from_l1_action, sign_agent

from runtime.recorded_market import informed, write
from support import IS_THOROUGH
from system import mainnet
from system.harness import PATIENCE_S, STILL, Daemon, Exchange, daemon, end, exchange, start

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "configs" / "hype.toml"
SCRIPT: Final = str(Path(mainnet.__file__))
COIN: Final = "WLFI"
WATCHDOG_KEY: Final = "0x" + "5a" * 32
ACCEPTED: Final = "live.accept_negative_edge=true"
START_S: Final = 400.0
"""How long a test waits for a start: it plays the self-test, slowly on a machine that is busy."""
CANCELS: Final = {"cancel", "cancelByCloid"}


class Mainnet:
    """An exchange in the place of mainnet, and a folder for what a person has on his machine."""

    def __init__(self, venue: Exchange, here: Path) -> None:
        self.venue, self.here = venue, here
        self.program = (SCRIPT, f"--venue={venue.url}", "--row=fee/up")
        rows = () if IS_THOROUGH else ("--row=inventory_skew",)
        self._broken = (*self.program[:2], "--bug", *rows)
        self.key = venue.accounts[0]["private_key"]
        self.env = {"MMBOT_KEY": self.key}
        self.sets = [
            "mode=live",
            f"instrument.coin={COIN}",
            f"state_dir={here / 'state'}",
            f"log.dir={here / 'logs'}",
            "gateway.expires_after_s=2",
            "kill.clock_s=1.5",
        ]

    def does(
        self, *command: str, sets: tuple[str, ...] = (), bug: bool = False
    ) -> tuple[int, str, str]:
        """A command to its end: exit code, standard output, standard error."""
        process = start(
            *command,
            f"--config={CONFIG}",
            *(f"--set={item}" for item in (*self.sets, *sets)),
            env=self.env,
            program=self._broken if bug else self.program,
        )
        out, err = process.communicate(timeout=START_S)
        (self.here / f"said-{command[0]}-{process.pid}").write_text(out + err, "utf-8")
        return process.returncode, out, err

    @contextmanager
    def runs(self, name: str, *sets: str) -> Iterator[Daemon]:
        """A live run that has orders resting on both sides."""
        with daemon(
            self.here / name,
            config=CONFIG,
            sets=[*self.sets, *sets],
            env=self.env,
            program=self.program,
        ) as bot:
            bot.wait_for(
                "both sides",
                lambda _: {o["side"] for o in self.venue.resting()} == set("AB"),
                patience_s=START_S,
            )
            yield bot

    def dies(self, name: str) -> None:
        """A live run that is killed while its orders rest."""
        with self.runs(name, ACCEPTED) as bot:
            bot.process.kill()
            bot.process.wait()
        assert self.venue.resting()

    def bodies(self, since: int = 0) -> list[dict[str, Any]]:
        """Every signed request after the first `since` of them, as it was sent."""
        told = self.venue.read(f"requests?since={since}")
        assert told["seen"] == since + len(told["requests"])
        return [row["body"] for row in told["requests"]]

    def seen(self) -> int:
        """How many signed requests have come."""
        count: int = self.venue.read("requests")["seen"]
        return count


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Mainnet]:
    """An exchange that takes mainnet's signatures and no other, in a still market."""
    with exchange(f"--coin={COIN}", "--equity-usd=1000", sets=STILL, program=(SCRIPT,)) as venue:
        yield Mainnet(venue, tmp_path)


def recording(here: Path, *, share: float) -> Path:
    """A market in which every width pays (0), or none does (1.3)."""
    return write(here / f"recording-{share:g}", informed(300, share=share), COIN)


def signer(body: dict[str, Any], *, is_mainnet: bool) -> str:
    """Who signed it, if it is meant for this network."""
    recovered: str = recover_agent_or_user_from_l1_action(
        body["action"],
        body["signature"],
        body.get("vaultAddress"),
        body["nonce"],
        body.get("expiresAfter"),
        is_mainnet,
    )
    return recovered.lower()


def signers(bodies: list[dict[str, Any]]) -> set[str]:
    """Who signed them for mainnet; none of them is good for the testnet."""
    of_mainnet = {signer(body, is_mainnet=True) for body in bodies}
    assert not of_mainnet & {signer(body, is_mainnet=False) for body in bodies}
    return of_mainnet


def post(venue: Exchange, body: dict[str, Any]) -> Any:
    """Send a signed request as it is."""
    request = urllib.request.Request(
        f"{venue.url}/exchange",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def event(bot: Daemon, name: str) -> dict[str, Any]:
    """The one record of an event."""
    (found,) = [record for record in bot.records() if record["event"] == name]
    return found


def test_a_live_run_signs_for_mainnet_rests_and_leaves_nothing(real: Mainnet) -> None:
    """From the banner to the end, on a market whose widths pay: what left, and what was said."""
    folder = recording(real.here, share=0.0)
    with real.runs("run", f"live.recording={folder}") as bot:
        code, out, err = bot.stop(signal.SIGINT)
    (real.here / "said-run").write_text(out + err, "utf-8")

    assert (code, err) == (0, "")
    assert real.venue.open_orders() == []
    bodies = real.bodies()
    kinds = {body["action"]["type"] for body in bodies}
    assert {"updateLeverage", "order"} < kinds
    assert kinds & CANCELS
    assert signers(bodies) == {real.venue.user}

    with exchange(
        f"--coin={COIN}", sets=STILL, program=(SCRIPT, "--network=b")
    ) as testnet:  # of the same seed, so the same account has the same deposit
        assert testnet.user == real.venue.user
        for body in bodies:
            answer = post(testnet, body)
            assert answer["status"] == "err"
            assert answer["response"].endswith("does not exist.")
        assert testnet.open_orders() == []

    title = out.splitlines()[1]
    for word in ("LIVE", "REAL MONEY", COIN, "mainnet", real.venue.user):
        assert word in title
    assert "edge     " in out
    assert "earns most" in out
    assert "MEASUREMENT" not in out
    order = [r["event"] for r in bot.records()]
    steps = ["selftest.passed", "edge.measuring", "edge.judged", "run.started", "quote.moved"]
    assert [order.index(step) for step in steps] == sorted(order.index(step) for step in steps)
    assert event(bot, "run.started")["mode"] == "live"
    assert event(bot, "run.started")["is_measurement"] is False
    assert bot.summary()["is_measurement"] is False
    assert leaks(real) == []


def test_an_accepted_loss_is_a_measurement_from_the_first_line_to_the_last(real: Mainnet) -> None:
    """Nobody can take it for a run that is expected to earn."""
    folder = recording(real.here, share=1.3)
    with real.runs("run", ACCEPTED, f"live.recording={folder}") as bot:
        code, out, err = bot.stop(signal.SIGTERM)

    assert (code, err) == (0, "")
    lines = out.rstrip("\n").splitlines()
    first = lines[: next(i for i, line in enumerate(lines) if "  link  " in line)]
    (said,) = [line for line in first if "MEASUREMENT" in line]
    assert "no width pays on this market at this fee" in said
    assert "MEASUREMENT" in lines[-1]
    assert "no width pays on this market at this fee" in lines[-1]
    started = event(bot, "run.started")
    assert started["is_measurement"] is True
    assert "MEASUREMENT" in started["edge"]
    assert bot.summary()["is_measurement"] is True
    assert event(bot, "run.ended")["is_measurement"] is True
    assert signers(real.bodies()) == {real.venue.user}


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "no recording is configured (live.recording is not set)"),
        (1.3, "no width pays on this market at this fee"),
    ],
    ids=["no recording", "losing"],
)
def test_a_live_run_without_edge_is_refused_and_sends_nothing(
    real: Mainnet, share: float | None, said: str
) -> None:
    """Not even the leverage: a market that is not known to pay is no place for money."""
    sets = () if share is None else (f"live.recording={recording(real.here, share=share)}",)
    code, out, err = real.does("run", "--for=1s", sets=sets)

    assert code == 5
    assert said in err
    assert "live.recording" in err
    assert "live.accept_negative_edge = false" in err
    assert "set live.accept_negative_edge = true" in err
    assert "REAL MONEY" in out
    assert real.seen() == 0
    assert leaks(real) == []


def test_a_refused_start_cancels_what_an_earlier_run_left_and_nothing_else(real: Mainnet) -> None:
    """A crash and then a market that no longer pays: what rests is gone all the same."""
    real.dies("first")
    sent = real.seen()
    code, _, err = real.does("run", "--for=1s")

    assert code == 5
    assert "live.accept_negative_edge" in err
    later = real.bodies(sent)
    assert later
    assert {body["action"]["type"] for body in later} <= CANCELS
    assert signers(later) == {real.venue.user}
    assert real.venue.open_orders() == []


@pytest.mark.parametrize(
    ("named", "text", "said"),
    [
        ("missing", None, "no such folder"),
        ("broken", "this is no recording", "column"),
    ],
)
def test_a_recording_that_cannot_be_used_is_named_by_its_key(
    real: Mainnet, named: str, text: str | None, said: str
) -> None:
    """A person asked for it to be read; nothing is taken in its place, whatever he accepted."""
    folder = real.here / named
    if text is not None:
        write(folder, informed(10, share=0.0), COIN)
        for path in folder.glob("orderbooks_*"):
            path.unlink()
        (folder / f"orderbooks_{COIN}.csv").write_text(text)
    code, _, err = real.does("run", "--for=1s", sets=(ACCEPTED, f"live.recording={folder}"))

    assert code == 2
    assert "live.recording" in err
    assert str(folder) in err
    assert said in err
    assert "Traceback" not in err
    assert real.seen() == 0


def test_a_live_run_is_refused_where_a_row_of_the_self_test_fails(real: Mainnet) -> None:
    """A program whose skew reaches no order trades nobody's money, whatever the market pays."""
    code, _, err = real.does("run", "--for=1s", sets=(ACCEPTED,), bug=True)

    assert code == 5
    assert "self-test" in err
    assert "skew" in err
    assert real.seen() == 0


def test_a_live_run_is_refused_where_noise_alone_trips_too_often(real: Mainnet) -> None:
    """The limit that fits is named; what was accepted of the edge does not matter."""
    code, _, err = real.does("run", "--for=1s", sets=(ACCEPTED, "risk.max_position_usd=450"))

    assert code == 5
    assert "noise: " in err
    assert "set risk.max_position_usd to" in err
    assert real.seen() == 0


def test_check_judges_the_edge_in_live_mode_with_or_without_a_recording(real: Mainnet) -> None:
    """What it says is what a start would do, and it sends nothing."""

    def edge(out: str) -> str:
        (line,) = [line for line in out.splitlines() if "  edge  " in line]
        return line

    code, out, _ = real.does("check")
    assert code == 5
    assert edge(out).startswith("FAIL")
    assert "live.recording is not set" in edge(out)
    code, out, err = real.does("check", sets=(f"live.recording={recording(real.here, share=0.0)}",))
    assert (code, err) == (0, "")
    assert edge(out).startswith("ok")
    assert "95 % interval" in out
    assert f"the account's own, {real.venue.user}" in out
    code, out, _ = real.does("check", "--json", sets=(ACCEPTED,))
    assert code == 0
    assert json.loads(out)["edge"]["is_measurement"] is True
    assert real.seen() == 0
    assert leaks(real) == []


def test_kill_and_reset_in_live_mode(real: Mainnet) -> None:
    """Behind a daemon that died: cancelled with mainnet's signatures, latched, refused, cleared."""
    real.dies("first")
    sent = real.seen()
    code, _, err = real.does("kill")

    assert (code, err) == (3, "")
    assert real.venue.open_orders() == []
    assert {body["action"]["type"] for body in real.bodies(sent)} <= CANCELS
    assert signers(real.bodies(sent)) == {real.venue.user}
    code, _, err = real.does("run", "--for=1s", sets=(ACCEPTED,))
    assert code == 3
    assert "latched" in err
    assert "testnet" not in str(sorted((real.here / "state").iterdir()))
    code, out, _ = real.does("reset")
    assert code == 0
    assert "operator" in out
    code, out, _ = real.does("check", sets=(ACCEPTED,))
    assert code == 0
    assert "not latched" in out
    assert leaks(real) == []


def test_flatten_in_live_mode_cancels_and_closes(real: Mainnet) -> None:
    """The one command that takes, signed for mainnet as well."""
    with real.runs("first", ACCEPTED) as bot:
        deepest = min(float(o["limitPx"]) for o in real.venue.resting() if o["side"] == "B")
        real.venue.control("trade", coin=COIN, side="A", px=deepest, sz=1e6)
        bot.wait_event("fill.booked")
        bot.process.kill()
        bot.process.wait()
    assert real.venue.position_sz(COIN) > 0
    sent = real.seen()
    code, out, err = real.does("flatten")

    assert (code, err) == (0, "")
    assert "flat  " in out
    assert real.venue.position_sz(COIN) == 0
    assert real.venue.open_orders() == []
    later = real.bodies(sent)
    assert "order" in {body["action"]["type"] for body in later}
    assert signers(later) == {real.venue.user}


def test_the_watchdog_of_a_live_run_cancels_with_its_own_key(real: Mainnet) -> None:
    """An API wallet of its own, a daemon killed beside it, and once more by hand with --once."""
    approve(real)
    real.env["MMBOT_WATCHDOG_KEY"] = WATCHDOG_KEY
    options = [f"--config={CONFIG}", *(f"--set={item}" for item in real.sets)]
    guard = start("watchdog", *options, env=real.env, program=real.program)
    try:
        assert guard.stdout is not None
        while "watchdog.watching" not in (line := guard.stdout.readline()):
            assert line
        real.dies("first")
        sent = real.seen()
        until = monotonic() + PATIENCE_S
        while real.venue.resting():
            assert monotonic() < until, "the watchdog left orders resting"
            select.select([], [], [], 0.05)
        guard.send_signal(signal.SIGINT)
        said, _ = guard.communicate(timeout=120)
    finally:
        end(guard)
    (real.here / "said-watchdog").write_text(said, "utf-8")
    own = Account.from_key(WATCHDOG_KEY).address.lower()
    later = real.bodies(sent)
    assert later
    assert {body["action"]["type"] for body in later} <= CANCELS
    assert signers(later) == {own}

    real.dies("second")
    sent = real.seen()
    code, _, err = real.does("watchdog", "--once")
    assert (code, err) == (0, "")
    assert real.venue.open_orders() == []
    assert signers(real.bodies(sent)) == {own}
    assert leaks(real) == []


def test_nothing_configures_another_venue_and_the_tests_stay_on_this_machine(
    tmp_path: Path,
) -> None:
    """Were the address not replaced, every test here would end as this one does."""
    for sets in ((), ("--set=emulator.url=http://127.0.0.1:1",)):
        process = start(
            "check",
            f"--config={CONFIG}",
            "--set=mode=live",
            f"--set=state_dir={tmp_path}",
            *sets,
            env={"MMBOT_KEY": "11" * 32},
            program=(SCRIPT,),
        )
        _, err = process.communicate(timeout=120)
        assert process.returncode == mainnet.STRAYED
        assert err.endswith("to reach api.hyperliquid.xyz\n")


def approve(real: Mainnet) -> None:
    """Approve the watchdog's API wallet, as the account's owner does."""
    nonce = real.venue.read("status")["now_ms"]
    action = {
        "type": "approveAgent",
        "agentAddress": Account.from_key(WATCHDOG_KEY).address,
        "agentName": "watchdog",
        "nonce": nonce,
    }
    signature = sign_agent(Account.from_key(real.key), action, True)
    body = {"action": action, "nonce": nonce, "signature": signature}
    answer = post(real.venue, body | {"vaultAddress": None, "expiresAfter": None})
    assert answer["status"] == "ok", answer


def leaks(real: Mainnet) -> list[str]:
    """Files (logs, summaries, configurations, journals, state, screens) that hold a key."""
    texts = [key.removeprefix("0x") for key in (real.key, WATCHDOG_KEY)]
    parts = [part for key in texts for part in (key.encode(), key.upper().encode())]
    parts += [bytes.fromhex(key) for key in texts]
    paths = [path for path in real.here.rglob("*") if path.is_file()]
    assert any(path.name.startswith("said-") for path in paths)
    return [str(path) for path in paths if any(part in path.read_bytes() for part in parts)]
