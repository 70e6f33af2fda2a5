"""
What is wrong around the program, from outside: the right exit code and a sentence to act on.

Each case is a process of its own, so that what a person would see is what is looked at; none of it
may be a traceback.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest

from mmbot.core.intents import KillReason
from mmbot.state.store import Store, store_path
from system.harness import PATIENCE_S, STILL, daemon, exchange, start
from system.harness import command as ended

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
ADDRESS = "0x" + "ab" * 20


def mmbot(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command to its end: exit code, standard output, standard error without tracebacks."""
    done = ended(*arguments, env=dict(env or {}))
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def run(*sets: str, config: Path = CONFIG, command: str = "run") -> tuple[int, str, str]:
    """`mmbot run` with these overrides, to its end."""
    return mmbot(command, f"--config={config}", *(f"--set={item}" for item in sets))


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    """Something that answers every request in the same way; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - the name http.server looks for

        def log_message(self, *_: object) -> None:
            """Keep standard error for the program under test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}"
        finally:
            httpd.shutdown()
            thread.join()


def wait(what: str, is_seen: Callable[[], object]) -> None:
    """Wait until `is_seen()` holds."""
    until = monotonic() + PATIENCE_S
    while not is_seen():
        assert monotonic() < until, what
        select.select([], [], [], 0.02)


# -- before anything is reached ------------------------------------------------------------------


def test_a_broken_file_ends_with_code_2_and_its_line(tmp_path: Path) -> None:
    """TOML's own position in the file reaches the person."""
    broken = tmp_path / "broken.toml"
    broken.write_text('mode = "emulator"\n[risk\ncapital_usd = 100\n')

    code, out, err = run(config=broken)

    assert (code, out) == (2, "")
    assert f"{broken}: not valid TOML" in err
    assert "line 2" in err


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """What was looked for, and where templates are."""
    code, _, err = run(config=tmp_path / "nowhere.toml")
    assert code == 2
    assert "no such file; see configs/" in err

    code, _, err = run(config=tmp_path)
    assert code == 2
    assert "is a directory" in err


@pytest.mark.parametrize(
    ("sets", "env", "said"),
    [
        ((), {}, "no signing key: set the environment variable MMBOT_KEY"),
        ((), {"MMBOT_KEY": "0x" + "5e" * 31}, "holds 62 characters; a key is 64 hex digits"),
        (("account.key_file={folder}",), {}, "is a directory; name the key file itself"),
    ],
    ids=["no key", "short key", "folder"],
)
def test_a_key_that_is_none_ends_with_code_2_and_is_not_shown(
    tmp_path: Path, sets: Sequence[str], env: dict[str, str], said: str
) -> None:
    """The message names the place to mend, never what was found there."""
    filled = [item.format(folder=tmp_path) for item in ("mode=testnet", *sets)]
    options = [f"--set={item}" for item in filled]

    code, out, err = mmbot("run", f"--config={CONFIG}", *options, env=env)

    assert (code, out) == (2, "")
    assert said in err
    assert "5e5e" not in err


@pytest.mark.parametrize("command", ["run", "check", "kill", "flatten", "reset", "watchdog"])
def test_live_mode_wants_a_key_before_anything_is_reached(command: str) -> None:
    """It is not lent one, as by an emulated exchange."""
    code, out, err = mmbot(command, f"--config={CONFIG}", "--set=mode=live")

    assert (code, out) == (2, "")
    assert "key" in err
    assert "MMBOT_" in err


def test_a_filter_that_no_record_can_pass_is_refused_with_those_that_could() -> None:
    """The screen says fill, the log fill.booked: nothing was shown, for ever."""
    code, out, err = mmbot("tail", "--event=fill")

    assert (code, out) == (2, "")
    assert "--event fill: no record of the log is called so; try fill.booked" in err


def test_help_lists_exactly_the_commands_there_are() -> None:
    """What is not finished is absent, not stubbed."""
    code, out, err = mmbot("--help")

    assert (code, err) == (0, "")
    listed = out[out.index("Commands:") :].splitlines()[1:]
    names = [line.split()[0] for line in listed if line[:2] == "  " and line[2:3] != " "]
    assert sorted(names) == [
        "backtest",
        "check",
        "exchange",
        "flatten",
        "kill",
        "lab",
        "reload",
        "replay",
        "report",
        "reset",
        "run",
        "selftest",
        "status",
        "stop",
        "tail",
        "top",
        "watchdog",
        "why",
    ]


# -- the exchange is not there, or is not one ----------------------------------------------------


def test_an_unreachable_exchange_ends_with_code_4() -> None:
    """The address is in the message."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = run(f"emulator.url={url}")

    assert code == 4
    assert url in err
    assert "cannot connect" in err
    assert "check the network and the address" in err


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, b"null", "HTTP 429, too many requests"),
        (500, b"null", "the venue is down or does not know the dex or coin"),
        (200, b"<html>It works!</html>", "instead of JSON"),
        (200, b'{"hello": "world"}', "not an emulated exchange"),
    ],
    ids=["429", "500", "text", "another service"],
)
def test_an_address_that_answers_wrongly_ends_with_code_4(
    status: int, body: bytes, said: str
) -> None:
    """A busy one is waited for as long as is configured, nonsense not at all."""
    with server(status, body) as url:
        code, out, err = run(f"emulator.url={url}", "start.retry_s=1.5")

    assert code == 4
    assert ("trying again" in out) == (status != 200)
    assert said in err
    assert url in err


def test_an_exchange_that_refuses_its_reads_ends_with_code_4(tmp_path: Path) -> None:
    """The control routes answer, the venue's own do not."""
    with exchange(sets=STILL) as venue:
        for status, said in ((429, "HTTP 429"), (500, "HTTP 500")):
            venue.control("faults", refuse_info=[status] * 50)
            code, _, err = run(
                f"emulator.url={venue.url}", f"state_dir={tmp_path}", "start.retry_s=1.5"
            )
            assert code == 4
            assert said in err
        assert venue.actions() == []


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("instrument.coin=HYPR",), "HYPE"),
        (("instrument.coin=HYPE", "instrument.dex=hyna"), "delisted"),
    ],
    ids=["unknown", "delisted"],
)
def test_a_coin_that_cannot_be_traded_ends_with_code_2(
    tmp_path: Path, sets: Sequence[str], said: str
) -> None:
    """Refused by name before a socket is opened."""
    with exchange(sets=STILL) as venue:
        code, _, err = run(f"emulator.url={venue.url}", f"state_dir={tmp_path}", *sets)
        assert venue.read("status")["sessions"] == 0

    assert code == 2
    assert said in err


def test_a_halted_market_ends_with_code_5_and_the_reason(tmp_path: Path) -> None:
    """Nothing is sent to a market in which nothing can be traded."""
    with exchange(sets=STILL) as venue:
        venue.control("halt", coin="HYPE")
        code, _, err = run(f"emulator.url={venue.url}", f"state_dir={tmp_path}")
        assert venue.actions() == []

    assert code == 5
    assert "market: HYPE has no mid at the venue: trading is halted" in err


def test_a_market_delisted_under_a_run_ends_it_with_code_5_and_the_reason(tmp_path: Path) -> None:
    """Nothing rests, nothing is latched, and the next start is refused as by any delisted perp."""
    with exchange(sets=STILL) as venue:
        sets = (f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}")
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as first:
            first.wait_for("orders rest", lambda _: len(venue.resting()) >= 4)
            venue.control("delist", coin="HYPE")
            code, out, err = first.end()
        assert venue.resting() == []
        again = run(*sets)

    assert code == 5
    assert "HYPE was delisted by the venue: nothing can be traded there any more" in out + err
    assert "Traceback" not in err
    assert again[0] == 2
    assert "HYPE is delisted" in again[2]


def test_an_embedded_exchange_that_does_not_start_says_why() -> None:
    """The child's own sentence is the one a person can act on."""
    code, _, err = run("instrument.coin=NOPE")

    assert code in (2, 4)
    assert "NOPE" in err


def test_an_unknown_reference_ends_with_code_2_and_the_name_that_was_meant(tmp_path: Path) -> None:
    """The venue would hang up on its stream without a word, so it is looked up before."""
    with exchange(sets=STILL) as venue:
        code, _, err = run(
            f"emulator.url={venue.url}", f"state_dir={tmp_path}", "reference.coin=hype"
        )
        assert venue.actions() == []

    assert code == 2
    assert "reference.coin = 'hype'" in err
    assert "did you mean HYPE" in err


# -- checks at the start ---------------------------------------------------------------------------


def test_too_little_equity_for_the_limit_ends_with_code_5(tmp_path: Path) -> None:
    """The smaller of capital and equity counts."""
    with exchange("--equity-usd=60", sets=STILL) as venue:
        code, out, err = run(f"emulator.url={venue.url}", f"state_dir={tmp_path}")
        assert venue.actions() == []

    assert code == 5
    assert "quote" not in out
    assert "risk.max_position_usd = 400" in err
    assert "= 300" in err


def test_a_latched_switch_ends_with_code_3_before_anything_is_sent(tmp_path: Path) -> None:
    """Only a person clears it."""
    reason = KillReason("drawdown", 4.0, 3.0, "USD", "drawdown 4.00 USD at 3.00", 1)
    with exchange(sets=STILL) as venue:
        with Store(
            store_path(tmp_path, f"emulator-{urlsplit(venue.url).netloc}", venue.user, "HYPE")
        ) as store:
            store.latch(reason)
        code, _, err = run(f"emulator.url={venue.url}", f"state_dir={tmp_path}")
        assert venue.actions() == []

    assert code == 3
    assert reason.text in err
    assert "mmbot reset" in err


@pytest.mark.parametrize("damage", ["a page", "the header", "cut short"])
def test_a_damaged_safety_state_is_left_alone(tmp_path: Path, damage: str) -> None:
    """It may hold a latch: neither taken for "not latched" nor written over, by any command."""
    with exchange(sets=STILL) as venue:
        path = store_path(tmp_path, f"emulator-{urlsplit(venue.url).netloc}", venue.user, "HYPE")
        with Store(path) as store:
            store.latch(KillReason("operator", 1.0, 1.0, "command", "by hand", 1))
        content = bytearray(path.read_bytes())
        if damage == "a page":
            content[4096:8192] = b"\xff" * 4096
        elif damage == "the header":
            content[:16] = b"not sqlite at all"[:16]
        else:
            del content[len(content) // 2 :]
        path.write_bytes(content)
        sets = (f"emulator.url={venue.url}", f"state_dir={tmp_path}")
        told = [run(*sets), run(*sets, command="reset")]
        assert venue.actions() == []

    for code, _, err in told:
        assert code == 1
        assert f"cannot use the safety state {path}" in err
        assert "Traceback" not in err
    assert path.read_bytes() == content


def test_a_foreign_safety_state_is_left_alone(tmp_path: Path) -> None:
    """Somebody else's database where ours should be: an error, and not a byte of it changed."""
    with exchange(sets=STILL) as venue:
        path = store_path(tmp_path, f"emulator-{urlsplit(venue.url).netloc}", venue.user, "HYPE")
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE photos (name TEXT)")
        db.close()
        before = path.read_bytes()
        code, _, err = run(f"emulator.url={venue.url}", f"state_dir={tmp_path}")
        assert venue.actions() == []

    assert code == 1
    assert "it was not made by mmbot" in err
    assert str(path) in err
    assert path.read_bytes() == before


def test_a_run_directory_that_cannot_be_made_ends_with_code_2(tmp_path: Path) -> None:
    """Named, before the first order."""
    (tmp_path / "file").write_text("")
    with exchange(sets=STILL) as venue:
        code, _, err = mmbot(
            "run",
            f"--config={CONFIG}",
            f"--run-dir={tmp_path / 'file' / 'run'}",
            f"--set=emulator.url={venue.url}",
            f"--set=state_dir={tmp_path}",
        )
        assert venue.actions() == []

    assert code == 2
    assert "cannot write the run directory" in err


def test_an_interrupt_before_the_exchange_is_up_ends_with_code_0() -> None:
    """Nothing was begun, so nothing went wrong; the child goes with its parent."""
    process = start("run", f"--config={CONFIG}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait("an embedded exchange", lambda: children.read_text().strip())
    child = int(children.read_text().split()[0])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Ctrl+C before the first order; nothing was sent" in err
    wait("the end of the exchange", lambda: not Path(f"/proc/{child}").exists())


# -- while trading -------------------------------------------------------------------------------


def quotes(records: Sequence[Mapping[str, object]], after: str) -> bool:
    """Whether a quote moved after the last record of this event."""
    events = [record["event"] for record in records]
    return after in events and "quote.moved" in events[len(events) - events[::-1].index(after) :]


def test_frames_that_cannot_be_read_cost_a_connection_and_nothing_else(tmp_path: Path) -> None:
    """Not JSON: a new connection. A stranger's coin: noticed once. The orders stay owned."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        bot.wait_for("orders at the venue", lambda _: len(venue.resting()) > 0)
        level = [{"px": "1", "sz": "1", "n": 1}]
        stranger = {"coin": "WIF", "time": 1, "levels": [level, level]}
        text = json.dumps({"channel": "l2Book", "data": stranger}, separators=(",", ":"))
        for _ in range(20):
            venue.control("inject", text=text)
        bot.wait_event("frame.unknown")
        venue.control("inject", text="<html>502 Bad Gateway</html>")
        records = bot.wait_for("a new connection", lambda rs: quotes(rs, "link.lost"))
        code, out, err = bot.stop()
        assert venue.open_orders() == []

    assert (code, err) == (0, "")
    assert "Traceback" not in out
    assert sum(r["event"] == "frame.malformed" for r in records) == 1
    assert sum(r["event"] == "link.lost" for r in records) == 1
    unknown = [r["what"] for r in records if r["event"] == "frame.unknown"]
    assert len(unknown) == 1
    assert "WIF" in unknown[0]


def test_an_exchange_that_dies_and_comes_back_is_found_again(tmp_path: Path) -> None:
    """Killed without a word: the link is lost and tried again until an exchange is there."""
    sets = [f"--set={item}" for item in STILL]
    first = start("exchange", "--json", "--port=0", *sets)
    assert first.stdout is not None
    url = json.loads(first.stdout.readline())["url"]
    again: subprocess.Popen[str] | None = None
    with daemon(
        tmp_path / "run",
        config=CONFIG,
        sets=[f"emulator.url={url}", f"state_dir={tmp_path / 'state'}", "link.backoff_max_s=0.5"],
    ) as bot:
        try:
            bot.wait_event("quote.moved")
            first.kill()
            first.communicate()
            bot.wait_event("link.lost")
            again = start("exchange", "--json", f"--port={url.rpartition(':')[2]}", *sets)
            assert again.stdout is not None
            again.stdout.readline()
            bot.wait_for("quotes at the new exchange", lambda rs: quotes(rs, "snapshot.read"))
            code, out, err = bot.stop()
        finally:
            first.kill()
            if again is not None:
                again.terminate()
                again.communicate(timeout=PATIENCE_S)

    assert (code, err) == (0, "")
    assert "Traceback" not in out
    assert bot.summary()["resting_orders"] == 0


def test_a_reader_that_goes_away_does_not_stop_the_run(tmp_path: Path) -> None:
    """`mmbot run | head -1`: the log has everything, the end is clean."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        assert bot.process.stdout is not None
        first = bot.process.stdout.readline()
        bot.process.stdout.close()
        bot.wait_event("quote.moved")
        bot.process.send_signal(signal.SIGINT)
        code = bot.process.wait(PATIENCE_S)
        assert bot.process.stderr is not None
        err = bot.process.stderr.read()
        assert venue.open_orders() == []

    assert first.startswith("====")
    assert (code, err) == (0, "")
    assert bot.summary()["end_reason"] == "Ctrl+C"


@pytest.mark.parametrize("command", ["check", "exchange", "help"])
def test_a_closed_pipe_is_no_traceback(command: str) -> None:
    """`mmbot check --schema | head -1` and the like end without a complaint."""
    arguments = {
        "check": ["check", "--schema"],
        "exchange": ["exchange", "--until-stdin-closes"],
        "help": ["run", "--help"],
    }[command]
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen(
        [sys.executable, "-m", "mmbot", *arguments],
        stdin=subprocess.PIPE,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    _, err = process.communicate(timeout=PATIENCE_S)

    assert err == ""
    assert process.returncode in (0, 1)
