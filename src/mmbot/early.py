"""
Signals that come while the program is still being loaded, kept until a run can act on them.

By default SIGUSR1 and SIGHUP end a process without a word. Loading takes about a second, and
whoever tripped the switch in it would find the next start unlatched. Nothing large is imported
here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Final

_HUNG_UP: Final = (
    b"mmbot: SIGHUP, the terminal was closed, before the first order; nothing was sent\n"
)
_given: set[int] = set()


def keep(arguments: Sequence[str]) -> None:
    """
    From now on keep what comes, where `arguments` begin a run; other commands end by a signal.

    A hang-up that says that the terminal is gone ends the start at once, as a clean stop. One that
    whoever started us has switched off (`nohup`) stays off.
    """
    if list(arguments[:1]) != ["run"]:
        return
    signal.signal(signal.SIGUSR1, _on_signal)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _on_hangup if has_terminal() else _on_signal)


def take(number: int) -> bool:
    """Whether this signal came and nobody has acted on it yet; who asks does so."""
    was_given = number in _given
    _given.discard(number)
    return was_given


def give_back(number: int) -> None:
    """Whoever took this signal could not act on it; it is there again for the next who asks."""
    _given.add(number)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, so that a hang-up says that it is gone."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _on_signal(number: int, _frame: object) -> None:
    _given.add(number)


def _on_hangup(_number: int, _frame: object) -> None:
    """Nothing was begun: say so and go, without unwinding a half-loaded module."""
    try:
        os.write(2, _HUNG_UP)
    finally:  # often it would be written to the terminal that is gone
        os._exit(0)
