"""The last lines of a run: they name the files that were written, and no others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mmbot.runtime.concluding import Conclusion
from runtime.report_rig import play


async def nothing(*_: Any) -> None:
    """There is nothing to store."""


def ignored(*_: object, **__: object) -> None:
    """What goes to the log."""


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_last_lines_name_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_there: bool
) -> None:
    """A folder that was removed, or a full disk, has no summary and gets no page."""
    run = play(tmp_path / "played", span_s=5)
    folder = tmp_path / "run"
    if is_there:
        folder.mkdir()
    said: list[str] = []
    conclusion = Conclusion(
        cast("Any", SimpleNamespace(latched=nothing, keep_last_day=nothing, report=None)),
        None,
        folder,
        writer=cast("Any", SimpleNamespace(say=said.append)),
        log=cast("Any", SimpleNamespace(info=ignored, error=ignored)),
        edge=None,
        flatten_command="mmbot flatten",
    )
    lock = SimpleNamespace(orders_may_rest=lambda may_rest: None)

    await conclusion.conclude(run.config, run.trader, run.endings[0], cast("Any", lock))

    text, wrong = "\n".join(said), capsys.readouterr().err
    assert ("summary.json" in text) is ("report.html" in text) is is_there
    assert ("summary.json could not be written" in wrong) is not is_there
