"""What `mmbot kill` says, and that saying it holds up nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mmbot.cli import app
from mmbot.cli import kill as command
from mmbot.state.store import Store

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def test_a_reader_that_left_holds_up_no_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mmbot kill | head -1` must do all that `mmbot kill` does."""
    state = tmp_path / "state.sqlite"
    Store(state).close()
    said: list[str] = []

    def echo(line: str) -> None:
        said.append(line)
        raise BrokenPipeError

    monkeypatch.setattr(command, "echo", echo)
    monkeypatch.setattr(
        sys, "argv", ["mmbot", "kill", f"--config={CONFIG}", f"--run-dir={tmp_path}"]
    )
    with pytest.raises(SystemExit):
        app.main()

    assert said[0] == f"latched   {state}"
    assert said[-1].startswith("orders ")
    with Store(state) as store:
        assert store.latched() is not None
