"""`mmbot exchange` and `mmbot check` against it: what programs and people read of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmbot.cli import app
from mmbot.core.intents import KillReason
from mmbot.hyperliquid.signing import Signer
from mmbot.state.store import Store
from system.harness import PATIENCE_S, STILL, Exchange, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def test_json_names_the_address_and_funded_accounts_with_their_keys() -> None:
    """Everything a client of another program needs, on one line."""
    with exchange("--equity-usd=250", "--seed=9", sets=STILL) as venue:
        assert len(venue.accounts) == 3
        for account in venue.accounts:
            key = bytes.fromhex(account["private_key"].removeprefix("0x"))
            assert Signer(key, is_mainnet=False).address == account["address"]
            state = venue.info(type="clearinghouseState", user=account["address"])
            assert float(state["marginSummary"]["accountValue"]) == 250.0


def test_a_person_reads_the_same_and_ctrl_c_stops_it() -> None:
    """Lines instead of JSON, and a clean end."""
    process = start("exchange", *(f"--set={item}" for item in STILL))
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (0, "")
    assert lines[0].startswith("url        http://127.0.0.1:")
    assert [line.split()[0] for line in lines[1:4]] == ["account"] * 3
    assert "worth nothing" in lines[4]


def test_a_taken_port_is_named() -> None:
    """Exit 4 and the remedy, no traceback."""
    with exchange(sets=STILL) as venue:
        port = venue.url.rpartition(":")[2]
        process = start("exchange", f"--port={port}")
        out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out) == (4, "")
    assert f"cannot listen on 127.0.0.1:{port}" in err
    assert "choose another port" in err
    assert "Traceback" not in err


Check = Callable[..., tuple[int, str, str]]


def check_alone(*arguments: str) -> tuple[int, str, str]:
    """`mmbot check` to its end, in a process of its own."""
    process = start("check", f"--config={CONFIG}", *arguments)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """`mmbot check` to its end, in this process: a start costs as much as what it does."""
    monkeypatch.setenv("MMBOT_KEY", "")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mmbot", "check", f"--config={CONFIG}", *arguments])
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(SystemExit) as ended:
                app.main()
        finally:
            signal.signal(signal.SIGINT, interrupt)
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


def test_check_shows_every_row_and_the_ladder_it_would_place(check: Check) -> None:
    """In words and in JSON, the same figures; nothing is sent."""
    with exchange(sets=STILL) as venue:
        url = f"--set=emulator.url={venue.url}"
        code, out, err = check_alone(url)
        assert (code, err) == (0, "")
        assert "FAIL" not in out
        rows = [line.split()[1] for line in out.splitlines() if line.startswith("ok ")]
        assert {"instrument", "key", "fees", "equity", "leverage", "clock"} <= set(rows)
        assert "ladder at fair" in out

        code, out, err = check(url, "--json")
        shown = json.loads(out)
        assert venue.actions() == []

    assert (code, err) == (0, "")
    assert all(row["is_ok"] for row in shown["facts"]["rows"])
    assert shown["facts"]["equity_usd"] == 1000.0
    rungs = shown["ladder"]["rungs"]
    assert {rung["side"] for rung in rungs} == {"buy", "sell"}
    fair_px = shown["ladder"]["fair_px"]
    for rung in rungs:
        assert (rung["px"] < fair_px) == (rung["side"] == "buy")
        assert rung["usd"] >= 10
        assert rung["depth_bps"] > 0
    terms = shown["ladder"]["terms"]
    assert terms["fee"] == pytest.approx(1.5)
    assert terms["half spread"] >= terms["least half spread"] > 0
    assert terms["reference"] is None
    assert "private_key" not in out


def test_check_ends_with_code_5_when_a_run_would_not_begin(check: Check) -> None:
    """The row that fails is marked, and all the others are shown too."""
    with exchange("--equity-usd=60", sets=STILL) as venue:
        code, out, err = check(f"--set=emulator.url={venue.url}")

    assert (code, err) == (5, "")
    failed = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 1
    assert "equity" in failed[0]
    assert "ladder at fair" in out


def test_check_says_what_would_keep_a_run_from_beginning_here(check: Check, tmp_path: Path) -> None:
    """A latch and another daemon are of this machine, and a run looks at them as well."""
    with exchange(sets=STILL) as venue:
        sets = [f"--set=emulator.url={venue.url}", f"--set=state_dir={tmp_path}"]
        code, out, _ = check(*sets)
        assert code == 0
        assert "none trades this account" in out
        (state,) = tmp_path.glob("*.lock")
        reason = KillReason("drawdown", 4.0, 3.0, "USD", "drawdown 4.00 USD at 3.00", 1)
        with Store(state.with_suffix("")) as store:
            store.latch(reason)
        with daemon_lock(venue, state):
            code, out, err = check(*sets)

    assert (code, err) == (5, "")
    failed = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "is held by another mmbot" in failed[0]
    assert "latched: drawdown 4.00 USD" in failed[1]
    assert "mmbot reset" in failed[1]
    assert "ladder at fair" in out


@contextmanager
def daemon_lock(venue: Exchange, state: Path) -> Iterator[None]:
    """Another process holds the market's lock file."""
    script = (
        "import sys; from pathlib import Path; from mmbot.state.lock import RunLock\n"
        "with RunLock(Path(sys.argv[1]), None, what='it', remedy='stop it'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(state)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("")


def test_check_of_an_empty_account_shows_its_rows(check: Check) -> None:
    """What a new user of testnet meets first; the ladder is what has to wait."""
    with exchange("--equity-usd=0", sets=STILL) as venue:
        code, out, err = check(f"--set=emulator.url={venue.url}")

    assert (code, err) == (5, "")
    assert any(line.startswith("FAIL  equity") for line in out.splitlines())
    assert "no ladder" in out


def test_check_starts_an_exchange_of_its_own() -> None:
    """The shipped configuration is checked without anything running."""
    code, out, err = check_alone("--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["facts"]["equity_usd"] == 100.0
