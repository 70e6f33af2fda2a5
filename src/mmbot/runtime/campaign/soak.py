"""
A day of the program in one piece: faults that come and go for hours, and one end.

A campaign begins anew every two minutes, so what grows or wears out in a longer run is not seen by
it: request budgets, memories of fills and nonces, the hourly payments.
"""

from __future__ import annotations

from random import Random
from typing import Final

from mmbot.runtime.campaign.schedule import SIMULATED, Finish, Kind, Schedule, fault_of

KINDS: Final = (
    # What becomes of an answer (protocol notes, check 50) ...
    Kind.SLOW_ANSWERS,
    Kind.UNANSWERED_DONE,
    Kind.UNANSWERED_LOST,
    Kind.ERROR,
    Kind.ERROR_DONE,
    Kind.BUSY,
    Kind.UNKNOWN_OID,
    # ... of a connection (check 65) ...
    Kind.CUT,
    Kind.CUT_BYTE,
    # ... and which comes first, answer or event (check 66).
    Kind.EARLY_EVENTS,
    Kind.LATE_EVENTS,
)
_EVERY_S: Final = 45.0
"""Mean time between the beginnings of two faults."""
_H: Final = 3600.0


def soak_schedule(hours: float, seed: int) -> Schedule:
    """Faults at random moments of so many hours, and a calm stop."""
    chance = Random(seed)  # noqa: S311 - a schedule is drawn, nothing is kept secret by it
    pace = SIMULATED
    ends_s = hours * _H
    faults = []
    at_s = pace.first_s + chance.expovariate(1.0 / _EVERY_S)
    while at_s < ends_s - pace.calm_s - pace.span_s[1]:
        faults.append(fault_of(chance, pace, chance.choice(KINDS), at_s))
        at_s += chance.expovariate(1.0 / _EVERY_S)
    return Schedule(
        seed=seed,
        scenario="demo",
        latency_ms=50,
        faults=tuple(faults),
        finish=Finish.STOP,
        ends_s=ends_s,
        is_calm=True,
        inherited_usd=0.0,
        leftovers=0,
        pace=pace,
    )
