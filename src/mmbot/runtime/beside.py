"""
One piece of work in a process beside this one.

The process is spawned, not forked: nothing of this one is shared, on any system. It does not
outlive this one, however this one ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, TypeVar

from mmbot.errors import MmbotError

_Made = TypeVar("_Made")


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin_worker() -> None:
    """Ctrl+C reaches every process of a terminal: these end without a word, the first one tells."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def beside(make: Callable[..., _Made], *given: Any) -> Iterator[Callable[[], _Made]]:
    """
    Begin `make(*given)` in another process; what is yielded waits for its result.

    The process is ended with this context, finished or not.

    Args:
        make: A function of a module; it, what it is given and its result can be pickled.

    Raises:
        MmbotError: When the result is asked for: the work was refused, in its own words, or the
            process died (what it said of that is on the screen).
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, make, given), daemon=True)
    process.start()
    theirs.close()  # the end of the process is now the end of the pipe

    def result() -> _Made:
        try:
            made, refusal = ours.recv()
        except EOFError:
            process.join()
            msg = f"the process beside this one died (exit code {process.exitcode}); try again"
            raise MmbotError(msg) from None
        if refusal is not None:
            raise MmbotError(refusal)
        result: _Made = made
        return result

    try:
        yield result
    finally:
        process.terminate()
        process.join()
        ours.close()


def _serve(end: Connection, make: Callable[..., object], given: tuple[object, ...]) -> None:
    begin_worker()
    try:
        made = make(*given)
    except MmbotError as error:
        end.send((None, str(error)))
    else:
        end.send((made, None))


def _end_with_parent() -> None:
    """Where the first process is killed, nobody is left to take results: do not go on for hours."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
