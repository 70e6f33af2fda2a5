"""A log with a wrong field in it: the line is left out and counted, the others are explained."""

from __future__ import annotations

import errno
import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbot.cli.report import _lines
from mmbot.errors import MmbotError
from mmbot.runtime.report.write import write_report
from runtime.report_rig import loaded, play

NO_FIGURE = re.compile(r"\b(nan|inf)\b", re.IGNORECASE)
FAR = "9999-12-31T23:59:59.000000Z"


@pytest.fixture(scope="module")
def unjournaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which the log alone is left, with an order that was rejected."""
    folder = tmp_path_factory.mktemp("unjournaled")
    play(folder, span_s=60)
    (folder / "journal-0001.mmj").unlink()
    with (folder / "log.jsonl").open("r+") as file:
        lines = file.readlines()
        at = json.loads(lines[len(lines) // 2])["at"]
        rejected = {
            "at": at, "level": "warning", "event": "order.rejected", "request": "place",
            "reason": "tick", "text": "no", "cloid": "0x1", "side": "buy", "px": 1.0,
        }  # fmt: skip
        start = {
            "at": at, "level": "info", "event": "session.started", "equity_usd": 1000.0,
            "capital_usd": 1000.0, "q_max_usd": 100.0, "position_sz": 0.0, "maker_bps": 1.5,
        }  # fmt: skip
        lines[len(lines) // 2 : len(lines) // 2] = [json.dumps(rejected) + "\n"]
        begun = {"at": json.loads(lines[0])["at"], "level": "info", "event": "run.started"}
        if not any('"event":"session.started"' in line for line in lines):
            lines[1:1] = [json.dumps(start) + "\n"]
        lines.insert(0, json.dumps(begun) + "\n")
        file.seek(0)
        file.writelines(lines)
    return folder


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], bool]) -> int:
    """A copy of a run with some lines changed; how many."""
    shutil.copytree(folder, target)
    count, lines = 0, []
    for line in (folder / "log.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        count += change(record)
        lines.append(json.dumps(record, separators=(",", ":")) + "\n")
    (target / "log.jsonl").write_text("".join(lines), "utf-8")
    return count


def explained(folder: Path) -> tuple[str, dict[str, Any]]:
    """What `mmbot report` prints, and what it writes; a warning of numpy fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = write_report(folder)
    return "\n".join(_lines(folder, found)), loaded(folder)


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        ("run.ended", "at", FAR),
        ("run.started", "at", FAR),
        ("fill.booked", "at", FAR),
        ("session.started", "capital_usd", "x"),
        ("run.ended", "equity_usd", "x"),
        ("run.ended", "mark_px", []),
        ("run.ended", "venue_position_sz", "x"),
        ("run.ended", "max_drawdown_pct", "x"),
        ("order.rejected", "reason", []),
        ("fill.booked", "edge_bps", 1e4),
        ("fill.booked", "sz", True),
        ("snapshot.read", "equity_usd", 1e308),
        ("quote.moved", "at_ns", 2**62),
        ("quote.held", "mid_px", 1e308),
        ("quote.held", "event", ["quote."]),
        ("snapshot.read", "level", {}),
    ],
)
def test_a_line_with_a_wrong_field_is_left_out_and_counted(
    tmp_path: Path, unjournaled: Path, event: str, field: str, value: object
) -> None:
    """Whatever the field is, there is a report of what the other lines say."""
    is_done = False

    def change(record: dict[str, Any]) -> bool:
        nonlocal is_done
        if is_done or record["event"] != event:
            return False
        record[field] = value
        if event == "fill.booked" and field == "edge_bps":
            record["side"] = "buy"
        is_done = True
        return True

    assert changed(unjournaled, tmp_path / "run", change) == 1, "the run has such a line"
    text, found = explained(tmp_path / "run")
    assert any("1 lines cannot be read and are left out" in it for it in found["missing"])
    assert "1 lines cannot be read" in text
    assert not NO_FIGURE.search(text)


def test_numbers_beyond_all_bounds_are_no_figures(tmp_path: Path, unjournaled: Path) -> None:
    """Each is a number, and no sum of them is one."""

    def change(record: dict[str, Any]) -> bool:
        floats = [name for name, it in record.items() if isinstance(it, float)]
        for name in floats:
            record[name] = 1e308
        return bool(floats)

    count = changed(unjournaled, tmp_path / "run", change)
    text, found = explained(tmp_path / "run")
    assert any(f"{count} lines cannot be read" in it for it in found["missing"])
    assert not NO_FIGURE.search(text)
    assert ">nan" not in (tmp_path / "run" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("text", ['{"equity_usd": "x"}', '{"equity_usd": 1e308}', "[]"])
def test_a_summary_that_is_none_is_left_out(tmp_path: Path, unjournaled: Path, text: str) -> None:
    """It is taken where the log has no end, and is held against the same kinds."""
    folder = tmp_path / "run"
    shutil.copytree(unjournaled, folder)
    (folder / "log.jsonl").unlink()
    play(folder, span_s=5)
    (folder / "log.jsonl").unlink()
    (folder / "summary.json").write_text(text, "utf-8")
    _, found = explained(folder)
    assert any(it.startswith("summary.json: not readable") for it in found["missing"])


def test_page_and_numbers_are_replaced_together(
    tmp_path: Path, unjournaled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk has room for one of them, both of the report before stay."""
    folder = tmp_path / "run"
    shutil.copytree(unjournaled, folder)
    for name in ("report.html", "report.json"):
        (folder / name).write_text("before", "utf-8")
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith("report.html"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MmbotError, match="No space left"):
        write_report(folder)
    assert {path.name for path in folder.iterdir() if path.name.startswith("report")} == {
        "report.html",
        "report.json",
    }
    assert (folder / "report.json").read_text("utf-8") == "before"
