"""`mmbot replay` as it is typed: which run, what it prints, how it exits."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.errors import ConfigError
from mmbot.journal.blocks import Packer, file_head, row_bytes
from mmbot.journal.reader import Journal
from mmbot.journal.records import Ended, JournalError, Kind
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.replay import replay
from mmbot.runtime.rundir import find_run, point_latest
from runtime.pipe_rig import PipeRun

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten seconds in a folder `logs`."""
    folder = tmp_path_factory.mktemp("here") / "logs" / "HYPE-20261008T185731Z"
    folder.mkdir(parents=True)
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun("demo", seed=1, journal=writer)
    run.start()
    run.run(10)
    run.stop()
    writer.close(Ended(at_ns=run.sim.clock(), reason="Ctrl+C", exit_code=0))
    point_latest(folder)
    return folder


def test_an_identical_replay_says_so_and_how_fast(run_dir: Path) -> None:
    """The counts, the build that wrote it, and how many times as fast as the market."""
    done = RUNNER.invoke(build(["replay"]), ["replay", str(run_dir)])
    assert done.exit_code == 0, done.output
    assert "IDENTICAL" in done.output
    (speed,) = [line for line in done.output.splitlines() if line.startswith("speed")]
    assert re.search(r"10 s of market in [0-9.]+ s: [0-9,]+x market time", speed), speed
    assert "written   mmbot" in done.output
    assert "mode      emulator\n" in done.output


def test_latest_is_the_newest_run_below_logs(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `run` leaves it in the current folder; JSON has the same for a program."""
    monkeypatch.chdir(run_dir.parent.parent)
    done = RUNNER.invoke(build(["replay"]), ["replay", "latest", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["is_identical"]
    assert told["is_good"]
    assert told["difference"] is None
    assert told["decisions"] > 20
    assert told["state"] == "whole"
    assert told["mode"] == "emulator"


def test_a_damaged_journal_exits_1(run_dir: Path, tmp_path: Path) -> None:
    """With the place of the damage in words."""
    data = bytearray((run_dir / "journal-0001.mmj").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "journal-0001.mmj").write_bytes(data)
    done = RUNNER.invoke(build(["replay"]), ["replay", str(tmp_path)])
    assert done.exit_code == 1
    assert "damaged in the block at byte" in done.output


def test_a_run_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With where it was looked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="logs/latest"):
        find_run("latest")
    with pytest.raises(ConfigError, match="no run at absent"):
        find_run("absent")


def test_a_journal_without_a_decision_proves_nothing(tmp_path: Path) -> None:
    """An empty file is what a full disk leaves; it must not read as a perfect replay."""
    (tmp_path / "journal-0001.mmj").touch()
    done = RUNNER.invoke(build(["replay"]), ["replay", str(tmp_path)])
    assert done.exit_code == 1
    assert "IDENTICAL" not in done.output
    assert "no decision in it" in done.output


@pytest.mark.parametrize("what", ["folder", "nowhere", "pipe"])
def test_what_only_has_the_name_of_a_journal_is_none(tmp_path: Path, what: str) -> None:
    """A wrong copy of a folder is an error in words, and no pipe is waited for."""
    path = tmp_path / "journal-0001.mmj"
    if what == "folder":
        path.mkdir()
    elif what == "nowhere":
        path.symlink_to(tmp_path / "gone")
    else:
        os.mkfifo(path)
    with pytest.raises(JournalError, match="no journal"):
        replay(tmp_path)


@pytest.mark.parametrize(
    ("drop", "change", "said"),
    [
        (None, {"loss_limits": 1}, "risk.loss_limits: Extra inputs are not permitted"),
        (None, {"capital_usd": -3}, "risk.capital_usd: Input should be greater"),
        (Kind.STARTED, {}, "does not begin with the record of a start"),
        (Kind.DECIDE, {}, "an output without its decision"),
    ],
)
def test_a_journal_of_another_build_is_refused_in_words(
    run_dir: Path, tmp_path: Path, drop: Kind | None, change: dict[str, int], said: str
) -> None:
    """Parameters come and go between versions; that is no bug of this one."""
    rows = [(entry.kind, entry.payload) for entry in Journal.of(run_dir).entries()]
    raw, count = b"", 0
    for kind, payload in rows:
        if kind == drop:
            continue
        if kind == Kind.STARTED:
            tree = msgspec.msgpack.decode(payload)
            tree["params"]["risk"] |= change
            raw += row_bytes(kind, msgspec.msgpack.encode(tree))
        else:
            raw += row_bytes(kind, payload)
        count += 1
    head = file_head(0, bytes(8), 0)
    (tmp_path / "journal-0001.mmj").write_bytes(head + Packer().block(raw, 0, count))
    with pytest.raises(JournalError, match=said):
        replay(tmp_path)
