"""
Soft guards: what reduces a position, or keeps a side empty, long before a loss limit is near.

On 24 February a loss of 1.6 % was rightly no kill; position, opposition and edge had told the story
twenty minutes earlier. Each guard has its own unit and ends by its own rule.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.intents import Note
from mmbot.core.jump import Jump
from mmbot.core.markout import RecentEdge
from mmbot.core.types import NS_PER_S, Side


class GuardParams(BaseModel):
    """When the position is only to be reduced although no loss limit is near."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "reloadable": [
                "stuck_s",
                "taker_exit",
                "stuck_exit_s",
                "edge_events",
                "edge_bps",
                "edge_errors",
                "edge_s",
                "sweeps",
                "sweeps_window_s",
                "sweeps_off_s",
                "jump_sigmas",
                "jump_off_s",
            ]
        },
    )

    stuck_x: float = Field(
        0.3, ge=0.05, le=1, description="Position that counts as stuck, of the limit."
    )
    stuck_s: float = Field(
        300.0, ge=10, le=3600, description="Time stuck against an urgent trend that reduces, s."
    )
    taker_exit: bool = Field(
        default=False,
        description="End the run and close the position as a taker when it has been stuck for "
        "stuck_exit_s and closing costs less than the trend is expected to.",
    )
    stuck_exit_s: float = Field(
        600.0,
        ge=20,
        le=14_400,
        description="Time stuck after which that is done, below kill.stuck_s, s.",
    )
    edge_events: int = Field(
        20, ge=5, le=20, description="Fill events before the edge is judged, count."
    )
    edge_bps: float = Field(
        2.0, gt=0, le=50, description="Mean loss per event that reduces, bps after the fee."
    )
    edge_errors: float = Field(
        3.0, ge=1, le=10, description="Standard errors by which that loss must be certain."
    )
    edge_s: float = Field(
        900.0, ge=60, le=86_400, description="Time of reducing after a proven loss, s."
    )
    sweeps: int = Field(2, ge=2, le=10, description="Sweeps of one side that empty it, count.")
    sweeps_window_s: float = Field(
        600.0, ge=60, le=7200, description="Time within which those sweeps came, s."
    )
    sweeps_off_s: float = Field(
        300.0, ge=10, le=7200, description="Time for which the swept side is empty, s."
    )
    jump_sigmas: float = Field(
        8.0,
        ge=2,
        le=100,
        description="Move of the mid within a second, in standard deviations of one second, after "
        "which nothing is added on either side.",
    )
    jump_off_s: float = Field(
        5.0, ge=0.5, le=600, description="Time for which nothing is added after it, s."
    )


class Guard(Enum):
    """Which guard asks to reduce."""

    STUCK = "stuck_and_opposed"
    EDGE = "negative_edge"


class Position(NamedTuple):
    """What the guards must know of us."""

    x: float
    is_opposed: bool
    urgency: float


class Guards:
    """Follow the conditions; say what must be reduced and which side must be empty, until when."""

    __slots__ = (
        "_edge_from",
        "_edge_until_ns",
        "_jump",
        "_jump_until_ns",
        "_off_until_ns",
        "_params",
        "_stuck_ns",
        "_swept",
    )

    def __init__(self, params: GuardParams) -> None:
        self._params = params
        self._stuck_ns: int | None = None
        self._edge_until_ns: int | None = None
        self._edge_from = 0
        """Events judged already: after a pause only new ones count."""
        self._swept: dict[Side, deque[int]] = {side: deque(maxlen=params.sweeps) for side in Side}
        self._off_until_ns: dict[Side, int] = {}
        self._jump = Jump()
        self._jump_until_ns: int | None = None

    def update(
        self, now_ns: int, position: Position, edge: RecentEdge | None, events: int
    ) -> Guard | None:
        """
        Which guard asks to reduce at `now_ns`, None if none does.

        `edge` is that of the last `edge_events` events at 5 s, `events` how many there were in all.
        """
        if self._is_stuck(now_ns, position):
            return Guard.STUCK
        return Guard.EDGE if self._is_losing(now_ns, edge, events) else None

    def _is_stuck(self, now_ns: int, position: Position) -> bool:
        params = self._params
        if not (position.is_opposed and position.urgency > 1 and abs(position.x) >= params.stuck_x):
            self._stuck_ns = None
            return False
        if self._stuck_ns is None:
            self._stuck_ns = now_ns
        return now_ns - self._stuck_ns >= params.stuck_s * NS_PER_S

    def _is_losing(self, now_ns: int, edge: RecentEdge | None, events: int) -> bool:
        params = self._params
        if self._edge_until_ns is not None:
            if now_ns < self._edge_until_ns:
                return True
            self._edge_until_ns = None
            self._edge_from = events
        if edge is None or edge.se_bps is None or events - self._edge_from < params.edge_events:
            return False
        is_proven = edge.mean_bps < -params.edge_errors * edge.se_bps
        if is_proven and edge.mean_bps < -params.edge_bps:
            self._edge_until_ns = now_ns + int(params.edge_s * NS_PER_S)
            return True
        return False

    @property
    def stuck_ns(self) -> int | None:
        """Since when the position is stuck against an urgent trend; None if it is not."""
        return self._stuck_ns

    def wants_exit(self, now_ns: int, *, cost_bps: float, saved_bps: float) -> bool:
        """
        Whether to close the position as a taker, after `update` at the same time.

        Args:
            now_ns: Now.
            cost_bps: Taker fee and half the touch spread.
            saved_bps: Move that the trend is expected to make while the position is unwound.
        """
        params = self._params
        if not params.taker_exit or self._stuck_ns is None:
            return False
        is_due = now_ns - self._stuck_ns >= params.stuck_exit_s * NS_PER_S
        return is_due and cost_bps < saved_bps

    def on_sweep(self, now_ns: int, side: Side) -> Note | None:
        """Count a sweep of ours on `side`; a note when the side is to be empty from now on."""
        params = self._params
        swept = self._swept[side]
        swept.append(now_ns)
        if len(swept) < params.sweeps or now_ns - swept[0] > params.sweeps_window_s * NS_PER_S:
            return None
        self._off_until_ns[side] = now_ns + int(params.sweeps_off_s * NS_PER_S)
        facts: dict[str, int | float | str | bool | None] = {
            "side": side.name.lower(),
            "sweeps": len(swept),
            "within_s": (now_ns - swept[0]) / NS_PER_S,
            "off_s": params.sweeps_off_s,
        }
        return Note("side.off", "warning", facts)

    def on_mid(self, now_ns: int, venue_ms: int, mid_ticks: float, sd_ticks: float) -> Note | None:
        """
        Take a mid; a note where it begins to have jumped.

        `sd_ticks` is the standard deviation of a second's move as of the mid before: a jump must
        not raise its own bar.
        """
        move = self._jump.move_ticks(venue_ms, mid_ticks)
        params = self._params
        if sd_ticks <= 0 or abs(move) < params.jump_sigmas * sd_ticks:
            return None
        is_news = not self.is_jumping(now_ns)
        self._jump_until_ns = now_ns + round(params.jump_off_s * NS_PER_S)
        if not is_news:
            return None
        facts: dict[str, int | float | str | bool | None] = {
            "move_ticks": move,
            "sigmas": move / sd_ticks,
            "off_s": params.jump_off_s,
        }
        return Note("price.jumped", "warning", facts)

    def is_jumping(self, now_ns: int) -> bool:
        """Whether nothing may be added on either side, because the price has just jumped."""
        return self._jump_until_ns is not None and now_ns < self._jump_until_ns

    @property
    def jump_until_ns(self) -> int | None:
        """Until when nothing is added because the price jumped; None if it never did."""
        return self._jump_until_ns

    @property
    def edge_until_ns(self) -> int | None:
        """Until when a proven loss per fill has the position reduced; None if none does."""
        return self._edge_until_ns

    def off_until_ns(self, side: Side) -> int:
        """Until when `side` may add nothing because it was swept again; 0 if it never was."""
        return self._off_until_ns.get(side, 0)

    def retune(self, params: GuardParams) -> None:
        """Go on with other parameters; what has begun ends when it was to end."""
        self._params = params
        self._swept = {side: deque(old, params.sweeps) for side, old in self._swept.items()}

    def reset_gap(self) -> None:
        """A lost link: no move is measured across it."""
        self._jump.reset_gap()

    def is_off(self, side: Side, now_ns: int) -> bool:
        """Whether `side` may add nothing now."""
        return now_ns < self._off_until_ns.get(side, 0)

    def wake_at_ns(self, now_ns: int) -> int | None:
        """When a guard begins or ends by time alone."""
        jump_ns = self._jump_until_ns
        if (
            self._stuck_ns is None
            and self._edge_until_ns is None
            and jump_ns is None
            and not self._off_until_ns
        ):
            return None
        times = [*self._off_until_ns.values()]
        if jump_ns is not None:
            times.append(jump_ns)
        if self._stuck_ns is not None:
            times.append(self._stuck_ns + int(self._params.stuck_s * NS_PER_S))
            if self._params.taker_exit:
                times.append(self._stuck_ns + int(self._params.stuck_exit_s * NS_PER_S))
        if self._edge_until_ns is not None:
            times.append(self._edge_until_ns)
        return min((at for at in times if at > now_ns), default=None)
