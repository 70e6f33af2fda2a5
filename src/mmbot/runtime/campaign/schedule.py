"""
What goes wrong in a run, when, and how the run ends: drawn from its seed and nothing else.

Faults are shorter than any limit of the kill switch, also where several overlap; the endings that
must trip it last longer than its limit. What neither is decides nothing and is not drawn.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Final

import msgspec


class Kind(Enum):
    """Kinds of fault."""

    CUT = "disconnect"
    CUT_BYTE = "disconnect_at_a_byte"
    STALL = "stall_of_the_socket"
    STALL_STREAM = "stall_of_one_stream"
    MUTE_STREAM = "silence_of_one_stream"
    REORDER = "reordered_messages"
    DUPLICATE = "duplicated_messages"
    DELAY = "delayed_messages"
    DROP = "dropped_messages"
    BUSY = "429"
    ERROR = "500_not_executed"
    ERROR_DONE = "500_executed"
    BUSY_INFO = "429_to_questions"
    ERROR_INFO = "500_to_questions"
    UNANSWERED_DONE = "timeout_executed"
    UNANSWERED_LOST = "timeout_not_executed"
    SLOW_ANSWERS = "slow_answers"
    ONE_STATUS = "batch_rejected_with_one_status"
    CLOCK = "clock_jump"
    HALT = "exchange_halt"
    POST_ONLY = "alo_only_window"
    SNAPSHOT_RACE = "snapshot_race"
    LATE_EVENTS = "late_account_events"
    EARLY_EVENTS = "events_before_answers"
    UNKNOWN_OID = "unknown_oid_lag"


class Finish(Enum):
    """How a run ends."""

    STOP = "stop"
    OPERATOR = "operator"
    GAP = "gap"
    STALE_DATA = "stale_data"
    STALE_MARK = "stale_mark"
    STALE_ACCOUNT = "stale_account"
    CLOCK = "clock"
    FOREIGN_FILL = "foreign_fill"
    REQUESTS = "requests"
    SETTLEMENT = "settlement"
    BALANCE = "balance"
    MARGIN = "margin"
    POSITION = "position"
    REJECTS = "rejects"
    UNKNOWN_ORDER = "unknown_order"
    DEAD_WIRING = "dead_wiring"


class Fault(msgspec.Struct, frozen=True):
    """
    One fault.

    Attributes:
        at_s: When it begins, s after the start.
        span_s: How long it lasts; what is counted wears off by itself before.
        is_aimed: It waits for an order in flight, for a few seconds.
        channel: The stream it is about, empty for all.
        count: How many requests or messages, or which byte.
        size: Share of the messages, or seconds of delay or of a step.
        is_up: It meets what we send, not what we are sent.
    """

    kind: Kind
    at_s: float
    span_s: float
    is_aimed: bool
    channel: str = ""
    count: int = 0
    size: float = 0.0
    is_up: bool = False


class Pace(msgspec.Struct, frozen=True):
    """
    How much time a run is given, in s.

    Attributes:
        earliest_s: In some runs faults begin while it connects, once the first dial is out.
        first_s: Before it most runs connect and send their first orders.
        last_s: Earliest and latest begin of the last fault.
        storm_s: Within so much of each other all faults of some runs begin.
        span_s: Shortest and longest fault.
        calm_s: Without a fault before a calm end: what was lost is found by then.
        down_s: How long no new connection is taken after some cuts.
        slow_s: Delays that what waits for an answer bears.
        too_slow_s: Delays beyond what it waits for.
        race_s: The same for the answers to questions, of which the longest are `too_late_s`.
        after_s: Longer than anything sent before the end can take to come to rest.
        asked_s: What stays untrue for so long is wrong.
        gap_every_s: Time between two of the jumps of a price that end a run.
        slack_s: Beyond the limit of a trigger, what it may take to fire.
        unknown_s: Without a verdict on an order, what trips a run that is to end by that; the
            others may wait for the weight of a minute.
        has_minutes: Whether there is time for triggers that take some.
    """

    earliest_s: float
    first_s: float
    last_s: tuple[float, float]
    storm_s: float
    span_s: tuple[float, float]
    calm_s: float
    down_s: tuple[float, ...]
    slow_s: tuple[float, float]
    too_slow_s: tuple[float, float]
    race_s: tuple[float, float]
    too_late_s: tuple[float, float]
    after_s: float
    asked_s: float
    gap_every_s: float
    slack_s: float
    unknown_s: float
    has_minutes: bool


SIMULATED: Final = Pace(
    earliest_s=0.6,
    first_s=12.0,
    last_s=(70.0, 150.0),
    storm_s=15.0,
    span_s=(1.0, 8.0),
    calm_s=25.0,
    down_s=(0.0, 0.0, 2.0, 5.0),
    slow_s=(0.2, 2.0),
    too_slow_s=(4.0, 6.5),
    race_s=(0.2, 2.5),
    too_late_s=(5.2, 7.0),
    after_s=10.0,
    asked_s=5.0,
    gap_every_s=1.0,
    slack_s=20.0,
    unknown_s=50.0,
    has_minutes=True,
)
"""Over the pipe, where a minute takes a second."""
REAL: Final = Pace(
    earliest_s=0.3,
    first_s=3.0,
    last_s=(7.0, 12.0),
    storm_s=3.0,
    span_s=(0.3, 1.5),
    calm_s=14.0,
    down_s=(0.0, 0.0, 0.5, 1.0),
    slow_s=(0.1, 0.8),
    too_slow_s=(2.2, 3.0),
    race_s=(0.1, 0.8),
    too_late_s=(2.2, 3.0),
    after_s=4.0,
    asked_s=3.0,
    gap_every_s=0.25,
    slack_s=15.0,
    unknown_s=14.0,
    has_minutes=False,
)
"""Over sockets, with waits and limits of the program to match; see `sockets.SETS`."""


class Schedule(msgspec.Struct, frozen=True):
    """Everything that happens to one run."""

    seed: int
    scenario: str
    latency_ms: int
    faults: tuple[Fault, ...]
    finish: Finish
    ends_s: float
    is_calm: bool
    """The end comes after a time without faults, not in the midst of them."""
    inherited_usd: float
    """Position that the account holds at the start, signed."""
    leftovers: int
    """Orders of an earlier run that rest at the start."""
    pace: Pace


STREAMS: Final = ("bbo", "l2Book", "trades", "activeAssetCtx", "orderUpdates", "userFills", "post")
_OFTEN: Final = (*STREAMS, "orderUpdates", "userFills", "userFills", "post")
"""What is lost of an account is worse than what is lost of a price, which comes again."""
_UNKNOWN_S_MAX: Final = 1.8
"""The venue's reads lag by 0.4 to 1.1 s (protocol notes, check 50) and the program allows for two.
An order that stays unknown for longer is taken for missing, until a reading shows it."""
_SCENARIOS: Final = ("demo", "demo", "demo", "demo", "hype", "thin")
_CHANCE_TO_TRIP: Final = 0.4
_TRIPS: Final = (
    Finish.OPERATOR,
    Finish.GAP,
    Finish.STALE_DATA,
    Finish.STALE_MARK,
    Finish.STALE_ACCOUNT,
    Finish.CLOCK,
    Finish.FOREIGN_FILL,
    Finish.REQUESTS,
    Finish.SETTLEMENT,
)
_CHANCE_TO_TRIP_LATE: Final = 0.33
_LATE_TRIPS: Final = (
    Finish.BALANCE,
    Finish.MARGIN,
    Finish.POSITION,
    Finish.UNKNOWN_ORDER,
    Finish.REJECTS,
    Finish.DEAD_WIRING,
)
"""Drawn when all else is, of the runs that were to stop: a seed keeps its faults that way."""
_POSITION_USD: Final = (560.0, 800.0)
"""Beyond 1.25 times the limit of the shipped configuration: no order of ours can have made it."""
_CHANCE_OF_CALM: Final = 0.6
_CHANCE_OF_AIM: Final = 0.85
_CHANCE_OF_EARLY: Final = 0.15
_CHANCE_OF_STORM: Final = 0.3
_ONE_STATUS: Final = (
    "Order has invalid price.",
    "Order must have minimum value of $10.",
    "Price must be divisible by tick size.",
)


def draw(seed: int, pace: Pace = SIMULATED) -> Schedule:
    """The schedule of a seed."""
    chance = Random(seed)  # noqa: S311 - a schedule is drawn, nothing is kept secret by it
    latency_ms = chance.choice((30, 50, 120, 300, 800))
    is_calm = chance.random() < _CHANCE_OF_CALM
    last_s = chance.uniform(*pace.last_s)
    kinds = list(Kind)
    count = chance.randint(5, 10)
    first_s = pace.earliest_s if chance.random() < _CHANCE_OF_EARLY else pace.first_s
    if chance.random() < _CHANCE_OF_STORM:
        # All of them at once.
        first_s = chance.uniform(first_s, last_s - pace.storm_s)
        last_s = first_s + pace.storm_s
    faults = [
        fault_of(chance, pace, chance.choice(kinds), chance.uniform(first_s, last_s))
        for _ in range(count)
    ]
    faults.sort(key=lambda fault: fault.at_s)
    finish = Finish.STOP
    if chance.random() < _CHANCE_TO_TRIP:
        finish = chance.choice(_TRIPS)
    over_s = max(fault.at_s + fault.span_s for fault in faults)
    # A clean reading of the clocks, of the prices or of the account is what these are about.
    is_calm = is_calm or finish not in (Finish.STOP, Finish.OPERATOR, Finish.FOREIGN_FILL)
    scenario = chance.choice(_SCENARIOS)
    ends_s = over_s + pace.calm_s if is_calm else chance.uniform(faults[-1].at_s, over_s)
    inherited_usd = chance.uniform(-200.0, 200.0) if chance.random() < 0.25 else 0.0
    leftovers = chance.randint(1, 6) if chance.random() < 0.25 else 0
    if finish is Finish.STOP and chance.random() < _CHANCE_TO_TRIP_LATE:
        finish = chance.choice(_LATE_TRIPS if pace.has_minutes else _LATE_TRIPS[:-2])
        is_calm, ends_s = True, over_s + pace.calm_s
        if finish is Finish.POSITION:
            inherited_usd = chance.choice((-1.0, 1.0)) * chance.uniform(*_POSITION_USD)
            leftovers = 0  # with it any order at all would be one too many
            # It trips at once: the faults have to meet that, and the closing of the position.
            shrink = pace.first_s / 3 / over_s
            faults = [
                msgspec.structs.replace(fault, at_s=pace.earliest_s + shrink * fault.at_s)
                for fault in faults
            ]
        elif finish is Finish.REJECTS:
            # So few refusals trip then that those of a fault would.
            faults = [fault for fault in faults if fault.kind is not Kind.ONE_STATUS]
    return Schedule(
        seed=seed,
        scenario=scenario,
        latency_ms=latency_ms,
        faults=tuple(faults),
        finish=finish,
        ends_s=ends_s,
        is_calm=is_calm,
        inherited_usd=inherited_usd,
        leftovers=leftovers,
        pace=pace,
    )


def one_status(count: int) -> list[str]:
    """Texts of so many refusals of whole batches."""
    return [_ONE_STATUS[n % len(_ONE_STATUS)] for n in range(count)]


def fault_of(chance: Random, pace: Pace, kind: Kind, at_s: float) -> Fault:
    """A fault of a kind; what else there is to it is drawn."""
    is_aimed = chance.random() < _CHANCE_OF_AIM
    span_s, channel, count, size, is_up = chance.uniform(*pace.span_s), "", 0, 0.0, False
    if kind is Kind.CUT:
        span_s = 0.0
        size = chance.choice(pace.down_s)  # how long no new connection is taken
    elif kind is Kind.CUT_BYTE:
        # Any byte of the next thousand: heads, lengths, bodies and the seams between them.
        count, is_up = chance.randrange(1000), chance.random() < 0.4
    elif kind in (Kind.STALL_STREAM, Kind.MUTE_STREAM):
        channel = chance.choice(_OFTEN)
    elif kind in (Kind.REORDER, Kind.DUPLICATE, Kind.DELAY, Kind.DROP):
        channel = chance.choice(("", "", "", *_OFTEN))
        size = chance.uniform(0.1, 0.6)
    elif kind is Kind.CLOCK:
        span_s, size = 0.0, chance.choice((-2.0, -0.5, 0.15, 0.3, 0.5))
    elif kind is Kind.SNAPSHOT_RACE:
        size = chance.uniform(*(pace.race_s if chance.random() < 0.9 else pace.too_late_s))
    elif kind in (Kind.SLOW_ANSWERS, Kind.LATE_EVENTS, Kind.UNKNOWN_OID):
        size = chance.uniform(*(pace.slow_s if chance.random() < 0.8 else pace.too_slow_s))
        if kind is Kind.UNKNOWN_OID:
            size = min(size, _UNKNOWN_S_MAX)
    elif kind is Kind.EARLY_EVENTS:
        is_up = chance.random() < 0.5  # whether a modify reports the new order first as well
    elif kind not in (Kind.STALL, Kind.HALT, Kind.POST_ONLY):
        count = chance.randint(1, 6)
    return Fault(kind, at_s, span_s, is_aimed, channel, count, size, is_up)
