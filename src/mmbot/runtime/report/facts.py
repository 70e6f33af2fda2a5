"""
What a run left behind, as plain data: nothing here judges, and nothing here is estimated.

The journal and the log are folded into it in one pass each (`fromjournal`, `fromlog`); everything
that a report says is computed from it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmbot.core.types import NS_PER_S

Floats = npt.NDArray[np.float64]


class Fill(NamedTuple):
    """
    One fill of ours as the engine booked it.

    `mid_px` is the mid without our own orders before it, None where there was none; `rung` counts
    our orders of that side from the market, 1 the nearest, None where the ladder is not known.
    """

    at_ns: int
    venue_ms: int
    side: int
    px: float
    sz: float
    fee_usd: float
    position_sz: float
    mid_px: float | None
    rung: int | None
    tid: int
    oid: int
    is_taker: bool
    is_forced: bool
    where: str


class Happening(NamedTuple):
    """Something that was noted, by the core or by the shell around it."""

    at_ns: int
    event: str
    level: str
    facts: Mapping[str, Any]
    where: str


class Reading(NamedTuple):
    """
    The account as the venue stated it.

    A full reading has the mark at which the venue valued it; the brief ones between have none.
    """

    at_ns: int
    position_sz: float
    equity_usd: float
    mark_px: float | None
    maker_bps: float | None
    where: str


class Payment(NamedTuple):
    """Funding; `cost_usd` positive is a cost to us."""

    at_ns: int
    cost_usd: float
    where: str


class Requests(NamedTuple):
    """Address budget as read or counted."""

    at_ns: int
    used: int
    cap: int


class Left(NamedTuple):
    """Requests left to the address by the engine's count, which has what trades earned."""

    at_ns: npt.NDArray[np.int64]
    requests: Floats


class Outage(NamedTuple):
    """Time without a connection; `until_ns` None where it lasted to the end."""

    from_ns: int
    until_ns: int | None
    reason: str
    where: str


class Ladders:
    """
    The quotes over time, one row for each record of a decision: at least one a second.

    Of a run of days one of `every` so many is kept, and those right after a fill or a sweep.

    Columns are float arrays of one length by the names of `core.diagnostics.Diagnostics`; an absent
    estimate is NaN. `bid_pulled` and `ask_pulled` are words.
    """

    def __init__(
        self,
        columns: dict[str, Floats],
        bid_pulled: list[str | None],
        ask_pulled: list[str | None],
        every: int = 1,
    ) -> None:
        self.columns = columns
        self.bid_pulled = bid_pulled
        self.ask_pulled = ask_pulled
        self.every = every

    def __len__(self) -> int:
        return len(self.bid_pulled)

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    @property
    def at_s(self) -> Floats:
        """Our clock in seconds since the epoch."""
        return self.columns["at_ns"] * 1e-9

    @property
    def spans_s(self) -> Floats:
        """For how long each row stood, s: to the next one, if that is not missing."""
        at_s = self.at_s
        return np.minimum(np.diff(at_s, append=at_s[-1:]), 1.5 * self.every)


class Mids(NamedTuple):
    """The mid without our own orders, by our clock; one row for each change that is known."""

    at_ns: npt.NDArray[np.int64]
    px: Floats

    @property
    def at_s(self) -> Floats:
        """Our clock in seconds since the epoch."""
        return self.at_ns.astype(np.float64) / NS_PER_S

    def at(self, when_ns: npt.ArrayLike) -> Floats:
        """The last mid at or before each of these times; the first one before all."""
        if not len(self.px):
            return np.full(np.shape(when_ns), np.nan)
        found = np.searchsorted(self.at_ns, np.asarray(when_ns, np.int64), side="right") - 1
        return self.px[np.maximum(found, 0)]


class VenueMids(NamedTuple):
    """
    The same mids by the venue's time of the price, and that of the last price of all.

    `gaps_ms` are the last price before each lost connection and the first one after it.
    """

    at_ms: npt.NDArray[np.int64]
    px: Floats
    until_ms: int
    gaps_ms: tuple[tuple[int, int], ...]

    def at(self, when_ms: npt.NDArray[np.int64]) -> Floats:
        """The last mid at or before each of these times; the first one before all."""
        found = np.searchsorted(self.at_ms, when_ms, side="right") - 1
        return self.px[np.maximum(found, 0)]


@dataclass(kw_only=True)
class Facts:
    """
    Everything known of one run; lists are in the order of time.

    `missing` says, for a person, what a part of the report cannot say and why.
    """

    run: str
    has_journal: bool = False
    has_log: bool = False
    knows_fills: bool = True
    """Whether a fill would be here: the journal has them, and a log that is not above info."""
    journal_state: str = "absent"
    missing: list[str] = field(default_factory=list)
    started_ns: int | None = None
    ended_ns: int | None = None
    """Last sign of life."""
    config: dict[str, Any] = field(default_factory=dict)
    market: str = ""
    sz_decimals: int | None = None
    build: str = ""
    started: dict[str, Any] = field(default_factory=dict)
    """Of the log's `run.started`."""
    summary: dict[str, Any] | None = None
    kill: dict[str, Any] | None = None
    ended: str | None = None
    """Why it ended, None where nothing says so."""
    exit_code: int | None = None
    broke: str | None = None
    start: Reading | None = None
    final: Reading | None = None
    readings: list[Reading] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    requests: list[Requests] = field(default_factory=list)
    left: Left | None = None
    """None where no decision was found that knew it."""
    rejections: dict[str, int] = field(default_factory=dict)
    answers_ms: dict[str, list[float]] = field(default_factory=dict)
    """From a request to its verdict, by kind of request."""
    feed_ms: list[float] = field(default_factory=list)
    """Our clock less the venue's time of a message of the book, sampled."""
    news_ms: list[float] = field(default_factory=list)
    """The same of our fills."""
    read_ms: list[float] = field(default_factory=list)
    """The same of what we asked for ourselves: readings of the account."""
    feed_gap_s: list[tuple[int, float]] = field(default_factory=list)
    """Moments at which prices had been silent for seconds, with for how long."""
    suppressed_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """Time without quotes by side and rule, s."""
    mode_s: dict[str, float] = field(default_factory=dict)
    watched_s: float = 0.0
    """Time over which the two above were counted."""
    journal_lag_ms: float | None = None
    marks: list[tuple[int, float]] = field(default_factory=list)
    """The venue's mark by our clock, as its stream told it."""
    funding_per_h: list[tuple[int, float]] = field(default_factory=list)
    unread_lines: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    ladders: Ladders | None = None
    """None where no record of a decision was found."""
    mids: Mids | None = None
    """None where no price was found."""
    venue_mids: VenueMids | None = None
    """None without a journal: the log has our own times alone."""

    @property
    def began(self) -> bool:
        """
        Whether there was a run: the account was read, or orders were thought of.

        Where nothing that would tell of that is kept, only a refusal says that there was none.
        """
        return bool(
            self.start
            or self.started
            or self.fills
            or self.mids
            or self.counts.get("decisions")
            or not (self.knows_fills or self.refusal)
        )

    @property
    def refusal(self) -> Mapping[str, Any] | None:
        """What was said of a start that was refused: `error`, `exit_code`; the last one."""
        refused = self.named("run.refused")
        return (
            {"error": "no reason is told", "exit_code": None, **refused[-1].facts}
            if refused
            else None
        )

    def named(self, *events: str) -> list[Happening]:
        """Happenings of these names."""
        return [each for each in self.happenings if each.event in events]

    @property
    def span_s(self) -> float:
        """From the beginning to the last sign of life, s."""
        if self.started_ns is None or self.ended_ns is None:
            return 0.0
        return max(0.0, (self.ended_ns - self.started_ns) * 1e-9)
