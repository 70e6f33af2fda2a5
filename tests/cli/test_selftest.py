"""`mmbot selftest` and what `check` says of terms that are off."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmbot.cli import app

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mmbot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mmbot", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


def test_a_row_that_passes_ends_with_0_and_its_figures(mmbot: Run) -> None:
    """Term, perturbation, expected and observed."""
    code, out, err = mmbot("selftest", f"--config={CONFIG}", "--row=inventory_skew/long")

    assert (code, err) == (0, "")
    assert "inventory_skew  x to +0.18" in out
    assert "1 rows, 0 failed" in out


def test_a_row_that_fails_ends_with_5_and_is_named(
    mmbot: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same code as a failed check: scripts stop there."""
    monkeypatch.setattr("mmbot.core.quoter._GUARD_HALVES", 4.0)
    code, out, _ = mmbot("selftest", f"--config={CONFIG}", "--row=guard/long", "--json")

    assert code == 5
    told = json.loads(out)
    assert told["failed"] == ["guard/long"]
    assert told["is_well"] is False
    assert told["rows"][0]["status"] == "FAILED"


def test_a_term_plays_all_rows_of_it(mmbot: Run) -> None:
    """The table shows terms, so they are what a person types after it."""
    code, out, _ = mmbot("selftest", f"--config={CONFIG}", "--row=fee", "--row=funding", "--json")

    assert code == 0
    rows = [row["name"] for row in json.loads(out)["rows"]]
    assert rows == ["fee/up", "funding/paid", "funding/earned"]


def test_rows_that_are_all_off_condemn_nothing(mmbot: Run) -> None:
    """Exit 5, for nothing is known; but no row found anything wrong."""
    code, out, _ = mmbot("selftest", f"--config={CONFIG}", "--row=reference/above")

    assert code == 5
    assert "nothing was shown" in out
    assert "must not trade" not in out


def test_check_names_the_terms_that_are_off(mmbot: Run) -> None:
    """A protection that was switched off and forgotten is a protection that is missed."""
    off = ("--offline", "--set", "cascade.gain=0")
    code, out, _ = mmbot("check", f"--config={CONFIG}", *off)

    assert code == 0
    assert "# off: cascade: cascade.gain = 0" in out
    assert "# off: reference: reference.coin is not set" in out
    assert "# off: funding" not in out
    _, out, _ = mmbot("check", f"--config={CONFIG}", *off, "--json")
    assert json.loads(out)["off"]["cascade"] == "cascade.gain = 0"
