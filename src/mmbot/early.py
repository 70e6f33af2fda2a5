"""
Signals that come before a run can act on them, or when it no longer can.

By default SIGUSR1 and SIGHUP end a process without a word. Loading takes about a second, and
whoever tripped the switch in it would find the next start unlatched; so what comes then is kept.
What ends a program ends the loading at once, and says so when a SIGUSR1 is lost with it. Nothing
large is imported here.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

UNLATCHED: Final = (
    "mmbot: SIGUSR1 was given, but the kill switch is NOT latched: the start ended before it knew "
    "of what account and market; mmbot kill latches it"
)
_ENDS: Final = {
    signal.SIGINT: "Ctrl+C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGQUIT: "SIGQUIT",
    signal.SIGHUP: "SIGHUP, the terminal was closed,",
}
_KILLED: Final = 3
"""`errors.Exit.KILLED`, which is not loaded yet."""
_given: set[int] = set()
_heard_by: dict[int, Callable[[], None]] = {}
_ending: set[int] = set()
_killed: list[bool] = []


def keep(arguments: Sequence[str]) -> None:
    """
    From now on keep what comes, where `arguments` begin a run; other commands end by a signal.

    Whatever ends a program ends the start at once, as a clean stop; so does a hang-up that says
    that the terminal is gone. One that whoever started us has switched off (`nohup`) stays off.
    """
    signal.signal(signal.SIGINT, _on_end)
    if list(arguments[:1]) != ["run"]:
        return
    signal.signal(signal.SIGUSR1, _on_signal)
    # What comes while the interpreter takes itself apart can be acted on by nobody: the process
    # ends by it, which whoever waits for it sees.
    atexit.register(signal.signal, signal.SIGUSR1, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, _on_end)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _on_end if has_terminal() else _on_signal)


def hear(number: int, act: Callable[[], None] | None) -> None:
    """
    From now on `act` is called when this signal comes, between two steps of the main thread.

    It comes to nobody else and by no other way, so that at no moment it has its default effect.
    Until somebody takes it, it counts as not acted on.
    """
    if act is None:
        _heard_by.pop(number, None)
    else:
        _heard_by[number] = act
    if signal.getsignal(number) != _on_signal:
        signal.signal(number, _on_signal)


def take(number: int) -> bool:
    """Whether this signal came and nobody has acted on it yet; who asks does so."""
    was_given = number in _given
    _given.discard(number)
    return was_given


def give_back(number: int) -> None:
    """Whoever took this signal could not act on it; it is there again for the next who asks."""
    _given.add(number)


def end_killed() -> None:
    """A run that had ended was ordered to be killed: the exit code of the program says it."""
    _killed.append(True)


def is_killed() -> bool:
    """Whether `end_killed` was called."""
    return bool(_killed)


def say(line: str) -> None:
    """One line on standard error, from wherever a signal is handled: no stream is entered twice."""
    with suppress(OSError):  # often it would be written to the terminal that is gone
        os.write(2, line.encode(errors="backslashreplace") + b"\n")


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, so that a hang-up says that it is gone."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _on_signal(number: int, _frame: object) -> None:
    _given.add(number)
    act = _heard_by.get(number)
    if act is not None:
        act()


def _on_end(number: int, _frame: object) -> None:
    """Nothing was begun: say so and go, without unwinding a half-loaded module."""
    if number in _ending:
        return
    _ending.add(number)
    # Signals that came together are handled by their number: a SIGUSR1 before this one may wait
    # behind it, and is handled in this call.
    signal.raise_signal(number)
    try:
        say(f"mmbot: {_ENDS[signal.Signals(number)]} before the first order; nothing was sent")
        if signal.SIGUSR1 in _given:
            say(UNLATCHED)
    finally:
        os._exit(_KILLED if signal.SIGUSR1 in _given else 0)
