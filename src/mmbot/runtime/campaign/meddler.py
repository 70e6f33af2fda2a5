"""What a network does to messages while a fault lasts: hold, repeat, turn round, lose."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.ports import Clock
from mmbot.runtime.campaign.schedule import Fault, Kind

_HEAD: Final = '{"channel":"'
_REORDER_S: Final = 0.3
"""How far messages change places."""


class Meddler:
    """Meets every text of the exchange, on each connection; see `pipe.Tamper`."""

    def __init__(self, clock: Clock, chance: Random) -> None:
        self._clock = clock
        self._chance = chance
        self._until_ns: dict[Fault, int] = {}

    def begin(self, fault: Fault) -> None:
        """Let a fault last for its span."""
        self._until_ns[fault] = self._clock() + round(fault.span_s * NS_PER_S)

    def end(self, fault: Fault) -> None:
        """Let it be over."""
        self._until_ns.pop(fault, None)

    def __call__(self, text: str) -> Iterable[tuple[int, str]]:
        """The texts to deliver in place of one, each with its delay in ns."""
        if not self._until_ns:
            return ((0, text),)
        channel = text[len(_HEAD) : text.find('"', len(_HEAD))]
        delay_ns, copies = 0, 1
        for fault, until_ns in self._until_ns.items():
            if fault.channel and fault.channel != channel:
                continue
            if fault.kind is Kind.STALL_STREAM:
                # All of it comes at the end of the stall, in its order.
                delay_ns = max(delay_ns, until_ns - self._clock())
            elif fault.kind is Kind.MUTE_STREAM:
                return ()
            elif self._chance.random() < fault.size:
                if fault.kind is Kind.DROP:
                    return ()
                if fault.kind is Kind.DUPLICATE:
                    copies = 2
                else:
                    most_s = _REORDER_S if fault.kind is Kind.REORDER else 2.0
                    delay_ns += round(self._chance.uniform(0.0, most_s) * NS_PER_S)
        if copies == 1:
            return ((delay_ns, text),)
        return ((delay_ns, text), (delay_ns + round(self._chance.random() * NS_PER_S), text))
