"""
Nothing that a command prints obeys whoever chose the text: the venue, a file, another user's run.

A refusal of the venue stands in logs, states and reports. Printed raw, an escape sequence in it
clears the screen and writes "LIVE" over what the program said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build, main
from mmbot.cli.asked import say
from mmbot.cli.options import echo, show
from mmbot.logs import stderr_line
from mmbot.runtime.asking import LIVE, Heard
from mmbot.runtime.screen import Screen

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b2J\u202e\nLIVE  all is well"
CLEAN = r"\x1b]0;owned\x07\x1b[2J\r\x9b2J\u202e\nLIVE  all is well"


def harmless(text: str) -> bool:
    """Whether a terminal only shows it, and no line of it begins with what was put in."""
    is_shown = all(char.isprintable() or char == "\n" for char in text)
    return is_shown and not any(line.startswith("LIVE") for line in text.splitlines())


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run that died after the venue had refused its orders, in words of its own."""
    folder = tmp_path / "run"
    folder.mkdir()
    head = {"at": "2026-01-01T00:00:00.000000Z"}
    refused = {"reason": "other", "text": EVIL, "request": "place", "cloid": "0x1"}
    records: list[dict[str, Any]] = [
        {**head, "level": "info", "event": "run.started", "mode": "live", "coin": EVIL, "user": ""},
        *[{**head, "level": "warning", "event": "order.rejected", **refused}] * 12,
    ]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "log.jsonl").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("command", ["status", "why", "stop", "report", "tail"])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_the_venue_said_is_shown_and_not_obeyed(
    run_dir: Path, command: str, *, as_json: bool
) -> None:
    """On standard output, of every command that reads a run; JSON stays JSON."""
    options = ["--open=no"] if command == "report" else []
    options += ["--json"] if as_json else []
    arguments = [command, str(run_dir), *options]

    out = CliRunner().invoke(build(arguments), arguments).stdout

    assert harmless(out)
    if not as_json:
        assert CLEAN in out
    elif command == "report":
        assert EVIL in json.loads(out)["overview"]["market"]
    else:
        assert EVIL in [json.loads(line) for line in out.splitlines()][-1].get("text", EVIL)


def test_nor_is_what_a_daemon_answers(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The socket may be anybody's who could write into the folder; errors go another way."""
    heard = Heard(LIVE, {"ok": False, "error": EVIL})
    monkeypatch.setattr("mmbot.cli.asked.ask", lambda *_: heard)
    monkeypatch.setattr("sys.argv", ["mmbot", "status", str(run_dir)])

    with pytest.raises(SystemExit):
        main()

    err = capsys.readouterr().err
    assert "owned" in err
    assert harmless(err)


def test_the_ways_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command prints by these."""
    echo(EVIL)
    show(["a", EVIL])
    say({"text": EVIL, "far": "\U000e0001"})
    out = capsys.readouterr().out.splitlines()

    assert out[:3] == [CLEAN, "a", CLEAN]
    assert json.loads(out[3]) == {"text": EVIL, "far": "\U000e0001"}
    assert harmless(out[3])
    stderr_line(f"mmbot: {EVIL}".replace("\n", " "))
    assert capsys.readouterr().err == f"mmbot: {CLEAN}\n".replace(r"\n", " ")


@pytest.mark.parametrize("is_colour", [False, True])
def test_the_screen_of_a_run(*, is_colour: bool) -> None:
    """Colours are ours; the rest of a line is text."""
    record = {"at": "2026-01-01T00:00:00Z", "level": "warning", "event": "order.rejected"}
    line = Screen(is_colour=is_colour).render({**record, "reason": "other", "text": EVIL})

    assert line is not None
    assert CLEAN in line
    assert harmless(line.removeprefix("\x1b[33m").removesuffix("\x1b[0m"))
