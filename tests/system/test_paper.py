"""
`mode = "paper"`: the real program as a process, an emulated exchange in the place of the real one.

What the exchange got is asked of the exchange; what the run made of it, of its files and its words.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmbot.config import PAPER_ADDRESS
from system import mainnet
from system.harness import STILL, Daemon, Exchange, daemon, end, exchange, start

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "configs" / "paper.toml"
WATCHED = str(Path(mainnet.__file__))
KEY = "0x" + "5a" * 32


@pytest.fixture
def venue() -> Iterator[Exchange]:
    """An exchange whose market trades all the time."""
    with exchange("--coin=HYPE", "--scenario=demo") as it:
        yield it


@pytest.fixture
def still() -> Iterator[Exchange]:
    """An exchange in which nothing moves unless a test makes it."""
    with exchange("--coin=HYPE", sets=STILL) as it:
        yield it


def sets(venue: Exchange, here: Path, *more: str) -> list[str]:
    """The shipped configuration on this exchange, with its state and logs here."""
    return [
        f"paper.source={venue.url}",
        f"state_dir={here / 'state'}",
        f"log.dir={here / 'logs'}",
        "gateway.expires_after_s=2",
        "kill.clock_s=1.5",
        *more,
    ]


@contextmanager
def paper(venue: Exchange, here: Path, name: str, *more: str) -> Iterator[Daemon]:
    """A paper run that has a quote on both sides."""
    # A key lies about; a paper run that read it would say so in its log.
    with daemon(
        here / name, config=CONFIG, sets=sets(venue, here, *more), env={"MMBOT_KEY": "not a key"}
    ) as bot:
        bot.wait_for("both sides", lambda rs: any(_is_two_sided(r) for r in rs))
        yield bot


def _is_two_sided(record: dict[str, Any]) -> bool:
    return (
        record["event"] == "quote.moved"
        and record["touch_bid_px"] is not None
        and record["touch_ask_px"] is not None
    )


def does(venue: Exchange, here: Path, *command: str, more: Sequence[str] = ()) -> tuple[int, str]:
    """A command to its end: exit code, and all it said."""
    process = start(
        *command,
        f"--config={CONFIG}",
        *(f"--set={item}" for item in sets(venue, here, *more)),
    )
    out, err = process.communicate(timeout=120)
    code = process.returncode
    end(process)
    return code, out + err


def got_nothing(venue: Exchange) -> None:
    """No signed request, no order, no account beyond those it was begun with."""
    assert venue.read("requests")["seen"] == 0
    assert venue.open_orders() == []
    assert venue.info(type="userRole", user=PAPER_ADDRESS)["role"] == "missing"


def test_a_paper_run_fills_ends_cleanly_and_sends_the_exchange_nothing(
    venue: Exchange, tmp_path: Path
) -> None:
    """The whole way, read at its end: exit, books, journal, and what the exchange got."""
    with paper(venue, tmp_path, "run", "risk.loss_limit_frac=0.5", "report.at_end=true") as bot:
        bot.wait_event("fill.booked", 5)
        code, out, err = bot.stop(signal.SIGINT)
    summary = bot.summary()

    assert code == 0, err
    got_nothing(venue)
    assert summary["mode"] == "paper"
    assert summary["fills"] >= 5
    assert abs(summary["ledger_gap_usd"]) < 0.005
    parts = ("realised_usd", "unrealised_usd", "funding_usd")
    split = sum(summary[part] for part in parts) - summary["fees_usd"]
    assert summary["pnl_usd"] == pytest.approx(split, abs=0.005)
    assert summary["resting_orders"] == 0

    replayed = start("replay", str(bot.run_dir))
    said, wrong = replayed.communicate(timeout=120)
    assert replayed.returncode == 0, wrong
    assert "IDENTICAL" in said
    end(replayed)

    lines = out.splitlines()
    assert "PAPER" in lines[0]
    clocked = [line for line in lines if line[2:3] == ":" and line[5:6] == ":"]
    assert len(clocked) > 5
    assert all(line[8:].startswith("  PAPER  ") for line in clocked)
    (began,) = [r for r in bot.records() if r["event"] == "run.started"]
    assert (began["mode"], began["user"]) == ("paper", PAPER_ADDRESS)
    page = (bot.run_dir / "report.html").read_text("utf-8")
    assert "<title>PAPER HYPE" in page
    assert "PAPER: no order left the program" in page
    assert (
        json.loads((bot.run_dir / "report.json").read_text("utf-8"))["overview"]["mode"] == "paper"
    )


def test_a_running_one_says_that_it_is_paper_and_stops_on_request(
    still: Exchange, tmp_path: Path
) -> None:
    """By the control socket, found by the configuration alone, without a key."""
    with paper(still, tmp_path, "run", "report.at_end=false") as bot:
        code, said = does(still, tmp_path, "status")
        assert (code, said.split()[0]) == (0, "PAPER")
        code, said = does(still, tmp_path, "status", "--json")
        assert '"mode":"paper"' in said.replace(" ", "")
        code, said = does(still, tmp_path, "why")
        assert (code, said.split()[0]) == (0, "PAPER")
        code, said = does(still, tmp_path, "tail")
        assert code == 0
        named, *lines = said.splitlines()
        assert "PAPER" in named
        assert lines
        assert all(line[8:].startswith("  PAPER  ") for line in lines)
        code, said = does(still, tmp_path, "stop")
        assert code == 0, said
        assert "nothing rests" in said
        assert bot.end()[0] == 0
    got_nothing(still)


def test_a_lost_stream_pulls_the_paper_quotes_and_they_come_back(
    still: Exchange, tmp_path: Path
) -> None:
    """As with money; the exchange is what breaks the line."""
    with paper(still, tmp_path, "run", "report.at_end=false") as bot:
        still.control("disconnect")
        bot.wait_event("link.lost")
        records = bot.wait_event("link.opened", 2)
        lost = next(n for n, r in enumerate(records) if r["event"] == "link.lost")
        bot.wait_for("quoting again", lambda rs: any(_is_two_sided(r) for r in rs[lost:]))
        code, _, err = bot.stop()
    assert code == 0, err
    assert bot.summary()["resting_orders"] == 0
    got_nothing(still)


def test_a_killed_run_is_followed_by_one_that_begins_flat(venue: Exchange, tmp_path: Path) -> None:
    """Its orders died with it, so nothing is swept; the account of the day goes on."""
    with paper(venue, tmp_path, "first", "risk.loss_limit_frac=0.5") as bot:
        bot.wait_event("fill.booked", 3)
        bot.process.kill()
        bot.process.wait()
    with paper(venue, tmp_path, "second", "risk.loss_limit_frac=0.5") as bot:
        read = bot.wait_event("snapshot.read")
        first = next(r for r in read if r["event"] == "snapshot.read")
        assert (first["position_sz"], first["equity_usd"]) == (0.0, 100.0)
        assert not [r for r in read if r["event"] == "orders.left_over"]
        code, _, err = bot.stop(signal.SIGTERM)
    assert code == 0, err
    got_nothing(venue)


def test_a_paper_latch_is_of_paper_alone(still: Exchange, tmp_path: Path) -> None:
    """A kill on paper stops paper until it is reset, and touches no other state."""
    with paper(still, tmp_path, "run", "report.at_end=false") as bot:
        code, said = does(still, tmp_path, "kill")
        assert code == 3, said
        assert bot.end()[0] == 3
    states = [path.name for path in (tmp_path / "state").glob("*.sqlite")]
    assert len(states) == 1
    assert states[0].startswith("paper-")

    code, said = does(still, tmp_path, "run", "--for=1s")
    assert code == 3
    assert "latched" in said

    # The same folder, market and exchange with money of the exchange: it knows of no latch.
    process = start(
        "run",
        f"--config={CONFIG}",
        "--for=1s",
        f"--run-dir={tmp_path / 'other'}",
        *(
            f"--set={item}"
            for item in (
                "mode=emulator",
                f"emulator.url={still.url}",
                f"state_dir={tmp_path / 'state'}",
                "report.at_end=false",
            )
        ),
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    end(process)

    code, said = does(still, tmp_path, "reset")
    assert code == 0
    assert "cleared" in said
    code, said = does(still, tmp_path, "run", "--for=2s", more=("report.at_end=false",))
    assert code == 0, said
    folders = [p.name for p in (tmp_path / "logs").iterdir() if not p.is_symlink()]
    assert folders
    assert all(name.startswith("HYPE-paper-") for name in folders)


def test_check_needs_no_key_says_paper_and_warns_of_the_edge(
    still: Exchange, tmp_path: Path
) -> None:
    """The same economics that a live start needs are told, and refuse nothing."""
    code, said = does(still, tmp_path, "check")

    assert code == 0, said
    assert said.startswith("PAPER")
    assert "WARNING: " in next(line for line in said.splitlines() if line[6:].startswith("edge"))
    assert "ladder at fair" in said
    got_nothing(still)


@pytest.mark.parametrize(
    ("command", "more", "expected"),
    [
        (("flatten",), (), 'mode = "paper": the account ended with its run'),
        (("watchdog",), (), "orders on paper die with their daemon"),
        (("run",), ("emulator.url=http://127.0.0.1:1",), 'is not read with mode = "paper"'),
        (("run",), ("paper.source=http://example.com",), "paper.source"),
        (("check",), ("paper.order_latency_ms=-1",), "paper.order_latency_ms"),
    ],
)
def test_what_makes_no_sense_on_paper_is_refused_with_the_reason(
    still: Exchange, tmp_path: Path, command: tuple[str, ...], more: tuple[str, ...], expected: str
) -> None:
    """Exit 2, the key and what to do; nothing is left behind."""
    code, said = does(still, tmp_path, *command, more=more)

    assert code == 2, said
    assert expected in said
    assert not (tmp_path / "state").exists()
    got_nothing(still)


def test_the_shipped_configuration_asks_mainnet_for_public_data_alone(tmp_path: Path) -> None:
    """Our exchange is where mainnet is, and whatever would leave the machine ends the process."""
    with exchange("--coin=HYPE", sets=STILL, program=(WATCHED,)) as real:
        process = start(
            "run",
            f"--config={CONFIG}",
            "--for=5s",
            f"--set=state_dir={tmp_path / 'state'}",
            f"--set=log.dir={tmp_path / 'logs'}",
            "--set=report.at_end=false",
            env={"MMBOT_KEY": KEY},
            program=(WATCHED, f"--venue={real.url}"),
        )
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        end(process)
        got_nothing(real)
    (state,) = (tmp_path / "state").glob("*.sqlite")
    assert state.name.startswith("paper-mainnet-")
