"""
Work on all cores, in processes of this program.

They are spawned, not forked: nothing of this process is shared, on any system. None outlives the
process that began it, however that one ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final, TypeVar

from mmbot.runtime.beside import begin_worker

_AHEAD: Final = 4
"""Pieces handed out ahead, per worker: enough to keep it busy, few enough to stop soon."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Workers:
    """Processes that work side by side, or this one where one is enough."""

    def __init__(self, pool: ProcessPoolExecutor | None, count: int) -> None:
        self._pool = pool
        self._window = count * _AHEAD

    def each(self, make: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
        """What a function of a module makes of each, in their order."""
        pool = self._pool
        if pool is None:
            yield from map(make, given)
            return
        waiting: list[Future[_Made]] = []
        for item in given:
            waiting.append(pool.submit(make, item))
            if len(waiting) == self._window:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """Start `count` processes and end them, whatever happens."""
    if count <= 1:
        yield Workers(None, 1)
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=begin_worker)
    try:
        yield Workers(pool, count)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
