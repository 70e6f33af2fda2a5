"""
What a command line may be given by accident: each case is a process, and none ends in a traceback.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from system.harness import PATIENCE_S, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
RUN = ("run", f"--config={CONFIG}")
CHECK = ("check", "--offline", f"--config={CONFIG}")
TESTNET = (*CHECK, "--set=mode=testnet")


def said_by(*arguments: str, shell: str = "", stdin: int = subprocess.PIPE) -> tuple[int, str]:
    """Exit code and standard error of a command; neither output may hold a traceback."""
    process = start(*arguments, shell=shell, stdin=stdin)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + err
    assert "internal error" not in err
    assert "Exception ignored" not in err
    return process.returncode, err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RUN, "--run-dir="), "--run-dir: is empty"),
        ((*RUN, "--run-dir=a\nb"), "--run-dir 'a\\nb': holds a line break"),
        (("reset", f"--config={CONFIG}", "--run-dir="), "--run-dir: is empty"),
        (("run", "--config="), "is a directory"),
        ((*RUN, "--for=" + "9" * 400 + "h"), "of a year at most"),
        ((*CHECK, "--set=risk.leverage=5\nrisk.capital_usd=1"), "holds a line break"),
        ((*CHECK, "--set=gateway.query_delays_s=[nan]"), "query_delays_s"),
        ((*CHECK, "--set=emulator.url=http://" + "x" * 300), "is not the address of a host"),
        ((*CHECK, '--set=log.dir="a\\u0000b"'), "NUL"),
        ((*CHECK, b"--set=log.dir=\xff".decode("utf-8", "surrogateescape")), "is not valid text"),
        (("check", b"--config=\xff".decode("utf-8", "surrogateescape")), "no such file"),
        (("exchange", "--equity-usd=inf"), "--equity-usd inf: is not an amount"),
        (("exchange", "--equity-usd=nan"), "--equity-usd"),
        (("exchange", "--set=market.sigma_bps_rt_s=inf"), "is not a finite number"),
        (("backtest", "nowhere", f"--config={CONFIG}"), "no such folder"),
    ],
)
def test_what_cannot_be_meant_ends_with_code_2(arguments: Sequence[str], said: str) -> None:
    """The option, its value, and what to write instead."""
    code, err = said_by(*arguments)

    assert code == 2, err
    assert said in err


@pytest.mark.parametrize("what", ["config", "key"])
def test_a_pipe_where_a_file_should_be_is_not_waited_for(tmp_path: Path, what: str) -> None:
    """Opening one that nobody writes to would hang for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    arguments = (
        ("check", f"--config={pipe}")
        if what == "config"
        else (*TESTNET, f"--set=account.key_file={pipe}")
    )
    code, err = said_by(*arguments)

    assert code == 2
    assert "is a pipe or a device" in err


@pytest.mark.parametrize(
    "arguments", [("check", "--schema"), ("--help",), ("--version",), CHECK, ("exchange",)]
)
def test_a_full_disk_behind_standard_output_is_one_sentence(arguments: Sequence[str]) -> None:
    """`mmbot check --schema > file` on a full disk is nobody's bug."""
    code, err = said_by(*arguments, shell='exec "$@" > /dev/full')

    assert code == 1
    assert err == "mmbot: standard output: No space left on device; write it elsewhere\n"


@pytest.mark.parametrize("redirection", ["0<&-", "0</dev/null", f"0<{CONFIG}"])
def test_an_exchange_that_waits_for_its_input_to_close_wants_one_that_can(
    redirection: str,
) -> None:
    """Otherwise it would end at once, or wait for nothing, and nobody would know why."""
    code, err = said_by("exchange", "--until-stdin-closes", shell=f'exec "$@" {redirection}')

    assert code == 2
    assert "give it a pipe" in err


def test_a_name_the_terminal_cannot_show_is_no_traceback(tmp_path: Path) -> None:
    """An ASCII locale, and a folder that is not."""
    process = subprocess.run(
        [sys.executable, "-m", "mmbot", *CHECK, "--set=log.dir=caf\u00e9"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "MMBOT_KEY": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert process.returncode == 0
    assert process.stderr == ""
    assert "caf\\xe9" in process.stdout
