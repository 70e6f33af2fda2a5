"""What holds for every test."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from support import often

# No test may depend on how fast the machine is at the moment. A test that does not say how many
# examples it needs draws others in every run, so that what one of them does not meet the next may.
settings.register_profile("mmbot", deadline=None, max_examples=often(40, thoroughly=100))
settings.load_profile("mmbot")

# Nor on how the tests were begun: under `nohup` every process that a test starts would inherit a
# hang-up that is switched off, which is a case of its own.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_SYSTEM = Path(__file__).parent / "system"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits for other processes: last, it would wait while nothing else runs."""
    items.sort(key=lambda item: not item.path.is_relative_to(_SYSTEM))


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and never among thousands of tests: a twentieth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
