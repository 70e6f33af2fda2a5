"""The store survives `kill -9` at any write: every one is tried, before it and torn."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from state import killed_at_writes
from state.killed_at_writes import STEPS
from support import IS_THOROUGH

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="follows system calls by the registers of x86-64 on Linux",
)

AFTER: list[dict[str, Any]] = [
    {"latched": None, "day": None, "has_cascade": False, "history": []},
    {"latched": None, "day": -1.0, "has_cascade": False, "history": []},
    {"latched": None, "day": -1.0, "has_cascade": True, "history": []},
    {"latched": "session_loss", "day": -1.0, "has_cascade": True, "history": ["tripped"]},
    {"latched": "session_loss", "day": -3.1, "has_cascade": True, "history": ["tripped"]},
    {"latched": None, "day": -3.1, "has_cascade": True, "history": ["tripped", "reset"]},
    *(
        {
            "latched": "operator",
            "day": -3.1,
            "has_cascade": True,
            "history": ["tripped", "reset", "tripped"],
            "fills": fills,
            "began_ms": began_ms,
            "nonce_ms": nonce_ms,
        }
        for began_ms, fills, nonce_ms in (
            (9000, 0, 0),
            (1000, 0, 0),
            (1000, 2, 0),
            (1000, 3, 0),
            (1000, 3, 900),
            (1000, 3, 901),
        )
    ),
]
"""What is stored after each step of `STEPS`, and before the first."""
WHOLE = [{"began_ms": 9000, "fills": 0, "nonce_ms": 0} | one for one in AFTER]


@pytest.fixture(scope="module")
def kills() -> Iterator[list[dict[str, Any]]]:
    """What the next start found after each kill; in memory, where nothing waits for a disk."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield _killed(folder)


def _killed(folder: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, killed_at_writes.__file__, folder, *(["--after-too"] * IS_THOROUGH)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_next_start_finds_what_was_stored_last_or_what_was_just_being_stored(
    kills: list[dict[str, Any]],
) -> None:
    """
    Nothing half of it, and nothing lost whose call had returned.

    A latch that were lost this way would let the next run trade on.
    """
    for kill in [kill for kill in kills if kill["what"] == "work"]:
        assert "error" not in kill, kill
        found = dict(kill["state"])
        assert found.pop("integrity") == "ok", kill
        assert found.pop("journal") == "wal", kill
        # One step may have reached the disk before its call returned.
        assert found in WHOLE[kill["done"] : kill["done"] + 2], kill


def test_a_file_of_an_older_program_keeps_its_latch_however_its_upgrade_ends(
    kills: list[dict[str, Any]],
) -> None:
    """It is upgraded by the next start, or was already."""
    upgrades = [kill for kill in kills if kill["what"] == "upgrade"]
    assert sum(kill["call"] == "pwrite64" for kill in upgrades) >= 6
    for kill in upgrades:
        assert "error" not in kill, kill
        assert kill["state"] == {
            "latched": "session_loss",
            "day": None,
            "has_cascade": False,
            "fills": 0,
            "began_ms": 9000,
            "nonce_ms": 0,
            "history": ["tripped"],
            "integrity": "ok",
            "journal": "wal",
        }


def test_every_write_of_every_step_was_tried(kills: list[dict[str, Any]]) -> None:
    """A tracer that misses the writes would find nothing wrong with any store."""
    assert len(AFTER) == len(STEPS) + 1
    for is_torn, calls in (
        (False, {"write", "pwrite64", "fdatasync", "rename", "openat", "unlink"}),
        (True, {"pwrite64"}),
    ):
        tried = [k for k in kills if k["what"] == "work" and k["is_torn"] is is_torn]
        assert tried[-1]["call"] is None, "the last one ran to its end"
        assert tried[-1]["done"] == len(STEPS)
        seen = {kill["call"] for kill in tried[:-1]}
        assert calls - {"write"} <= seen
        for step in range(len(STEPS)):
            inside = [kill for kill in tried if kill["done"] == step and kill["call"] in seen]
            assert any(kill["call"] == "pwrite64" for kill in inside), step
    assert len(kills) > 100
