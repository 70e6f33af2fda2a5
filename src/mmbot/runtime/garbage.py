"""The garbage collector of a process that trades: off the loop but for a slow timer."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

_GC_EVERY_S: Final = 30.0
_GC_WHOLE_EVERY: Final = 20
"""Sweeps until one looks at the old as well: a cycle that outlived a sweep is found only there."""


def freeze_garbage(loop: asyncio.AbstractEventLoop) -> None:
    """
    Keep the collector off the loop: what exists now is never scanned again.

    The hot path makes no cycles, so reference counts free it; the few cycles of HTTP replies are
    collected on a slow timer. What survives two sweeps is looked at once in ten minutes.
    """
    gc.collect()
    gc.freeze()
    gc.disable()

    def sweep(count: int) -> None:
        gc.collect(2 if count % _GC_WHOLE_EVERY == 0 else 1)
        loop.call_later(_GC_EVERY_S, sweep, count + 1)

    loop.call_later(_GC_EVERY_S, sweep, 1)
