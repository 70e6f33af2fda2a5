"""The log of a run (`log.jsonl`), folded into facts in one pass."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Fill, Floats, Happening, Ladders, Payment, Reading
from mmbot.runtime.report.kinds import FROM_NS, NUMBER_MAX, UNTIL_NS, checked_ns

_HEAD_BYTES: Final = 120
_QUOTE: Final = b'"event":"quote.'
_MOVED: Final = b'"event":"quote.moved"'
_CHUNK: Final = 4096
_NAN: Final = float("nan")
_WHOLE_BYTES: Final = 640_000_000
"""Size of a log of which every quote is kept: a day and a half of a lively market."""
_AFTER_NS: Final = 5 * NS_PER_S
"""What is kept whole after a sweep, of a log that is larger."""
_LADDERS: Final = 12
"""Decisions back to which an order that is filled may go."""
_SAME_FRAC: Final = 1e-7
"""Prices of a grid that differ by less are the same."""

_Num = Annotated[float, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
_Ticks = Annotated[int, msgspec.Meta(gt=0, le=int(NUMBER_MAX))]
_At = Annotated[int, msgspec.Meta(ge=FROM_NS, lt=UNTIL_NS)]


class _Rung(msgspec.Struct):
    """What is read of the waterfall of one order."""

    px_ticks: _Ticks
    opposed_bps: _Num | None = None
    floor_bps: _Num = 0.0
    post_only_bps: _Num = 0.0
    grid_bps: _Num = 0.0
    touch_bps: _Num = 0.0
    inventory_skew_bps: _Num = 0.0


class _Row(msgspec.Struct):
    """The numbers behind a decision, as far as a report uses them; what is absent is NaN."""

    at_ns: _At
    mid_px: _Num = _NAN
    fair_px: _Num = _NAN
    position_sz: _Num = _NAN
    q_frac: _Num = _NAN
    q_max_sz: _Num = _NAN
    sigma_bps_rt_s: _Num = _NAN
    sigma_robust_bps_rt_s: _Num = _NAN
    a_per_s: _Num = _NAN
    k_per_bp: _Num = _NAN
    ofi_z: _Num | None = None
    fee_bps: _Num = _NAN
    adverse_selection_bps: _Num = _NAN
    glft_bps: _Num = _NAN
    half_min_bps: _Num = _NAN
    half_bps: _Num = _NAN
    skew_bps: _Num = _NAN
    inventory_skew_bps: _Num = _NAN
    drift_bps_per_s: _Num | None = None
    drift_sd_bps_per_s: _Num | None = None
    drift_adj_bps: _Num | None = None
    trend_long_bps: _Num | None = None
    trend_bps: _Num | None = None
    z_t: _Num | None = None
    is_opposed: bool = False
    urgency: _Num = 0.0
    response_bps: _Num | None = None
    response_ratio: _Num | None = None
    is_response_capped: bool = False
    pos_guard_skew_bps: _Num = _NAN
    widening_bps: _Num = _NAN
    cascade_bid_bps: _Num = _NAN
    cascade_ask_bps: _Num = _NAN
    hold_bid_bps: _Num = _NAN
    hold_ask_bps: _Num = _NAN
    danger_up: _Num = _NAN
    danger_down: _Num = _NAN
    funding_bps: _Num | None = None
    reference_bps: _Num | None = None
    shift_bps: _Num = _NAN
    floor_bps: _Num = _NAN
    touch_bid_px: _Num | None = None
    touch_ask_px: _Num | None = None
    touch_bid_bps: _Num | None = None
    touch_ask_bps: _Num | None = None
    bid_budget_sz: _Num = _NAN
    ask_budget_sz: _Num = _NAN
    hold_bps: _Num = _NAN
    equity_usd: _Num = _NAN
    requests_left: _Num = _NAN


class _HeldRow(_Row):
    """As it is written where no order changed."""

    bid_pulled: str | None = None
    ask_pulled: str | None = None


class _MovedRow(_HeldRow):
    """As it is written where an order changed."""

    bids: list[_Rung] = []
    asks: list[_Rung] = []


NAMES: Final = (*_Row.__struct_fields__, "opposed_bid_bps", "opposed_ask_bps")
"""The columns of `Ladders`."""
_held = msgspec.json.Decoder(_HeldRow).decode
_moved = msgspec.json.Decoder(_MovedRow).decode
_any = msgspec.json.Decoder(dict[str, Any]).decode


class _Table:
    """Rows of quotes, put into columns a few thousand at a time."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._blocks: list[Floats] = []
        self.bid_pulled: list[str | None] = []
        self.ask_pulled: list[str | None] = []

    def add(self, row: _HeldRow, opposed: tuple[float | None, float | None]) -> None:
        cells = msgspec.structs.astuple(row)[: len(NAMES) - len(opposed)]
        self._rows.append((*cells, *opposed))
        self.bid_pulled.append(row.bid_pulled)
        self.ask_pulled.append(row.ask_pulled)
        if len(self._rows) >= _CHUNK:
            self._pack()

    def _pack(self) -> None:
        if self._rows:
            self._blocks.append(np.array(self._rows, dtype=np.float64))
            self._rows.clear()

    def ladders(self, every: int) -> Ladders | None:
        self._pack()
        if not self._blocks:
            return None
        columns = {
            name: np.concatenate([block[:, i] for block in self._blocks])
            for i, name in enumerate(NAMES)
        }
        return Ladders(columns, self.bid_pulled, self.ask_pulled, every)


class LogFold:
    """
    Reads a log line by line.

    A folder may hold several runs: what came before the last `run.started` is another run's.

    Args:
        whole_bytes: Size of a log of which every quote is kept. Of one that is n times as large one
            of n is, and those after fills and sweeps, so that neither memory nor time grows with it
            as the log does.
    """

    def __init__(self, whole_bytes: int = _WHOLE_BYTES) -> None:
        self._whole_bytes = whole_bytes
        self._every = 1
        self._skipped: bytes | None = None
        """The last record of a quote that was not read."""
        self._reset()
        self.unread = 0
        self.lines = 0
        self.first_ns: int | None = None

    def _reset(self) -> None:
        self.started: dict[str, Any] = {}
        self.summary: dict[str, Any] | None = None
        self.start: Reading | None = None
        self.fills: list[Fill] = []
        self.payments: list[Payment] = []
        self.happenings: list[Happening] = []
        self.readings: list[Reading] = []
        self.requests_told: list[tuple[int, int, int]] = []
        self.journal_lag_ms: float | None = None
        self.last_ns: int | None = None
        self.ended: str | None = None
        self.counts = {"quotes": 0, "moves": 0}
        self.has_info = False
        """Whether what is told at info is in it: fills are."""
        self._table = _Table()
        self._ladders: dict[int, deque[list[float]]] = {
            side: deque(maxlen=_LADDERS) for side in (1, -1)
        }
        """Prices of our ladder by side, nearest first; the newest ladder last."""
        self._opposed: tuple[float | None, float | None] = (None, None)
        self._is_wanted = True
        self._wanted_until_ns = 0
        self._skipped = None

    def fold(self, path: Path) -> None:
        """
        Read a whole log.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            self._every = 1 + os.fstat(file.fileno()).st_size // self._whole_bytes
            for line in file:
                self.lines += 1
                try:
                    self._line(line)
                except (msgspec.MsgspecError, ValueError, KeyError, TypeError, ArithmeticError):
                    # Cut by a full disk or a power failure, or not of the kinds that the program
                    # writes; the others stand for themselves.
                    self.unread += 1
        if self._skipped is not None:
            with suppress(msgspec.MsgspecError):
                self.last_ns = max(self.last_ns or 0, _held(self._skipped).at_ns)

    def ladders(self) -> Ladders | None:
        """The quotes, once everything has been read."""
        return self._table.ladders(self._every)

    def forget_before(self, at_ns: int) -> None:
        """Leave out what happened before a run began: a log without its start (log.level)."""
        self.happenings = [each for each in self.happenings if each.at_ns >= at_ns]
        self.fills = [each for each in self.fills if each.at_ns >= at_ns]
        self.payments = [each for each in self.payments if each.at_ns >= at_ns]
        self.readings = [each for each in self.readings if each.at_ns >= at_ns]
        self.requests_told = [each for each in self.requests_told if each[0] >= at_ns]
        self.start = self.readings[0] if self.readings else None

    def _line(self, line: bytes) -> None:
        head = line[:_HEAD_BYTES]
        if _QUOTE in head:
            self._quote(line, is_moved=_MOVED in head)
            return
        if not line.strip():
            return
        record = _any(line)
        at_ns, event = checked_ns(record), record["event"]
        if event == "run.started":
            self._reset()
            self.first_ns = at_ns
            self.started = record
        if self.first_ns is None:
            self.first_ns = at_ns
        if self.summary is None:
            # What comes after the end is of the next start, which may have been refused.
            self.last_ns = at_ns
        self.has_info = self.has_info or record["level"] in ("debug", "info")
        self._record(at_ns, event, record)

    def _quote(self, line: bytes, *, is_moved: bool) -> None:
        self.counts["quotes"] += 1
        self.has_info = True
        is_kept = self._is_wanted or self.counts["quotes"] % self._every == 0
        if not is_moved and not is_kept:
            self._skipped = line
            return
        self._skipped = None
        if not is_moved:
            self._keep(_held(line))
            return
        self.counts["moves"] += 1
        row = _moved(line)
        bids, asks = row.bids, row.asks
        px = None
        if bids and row.touch_bid_px:
            px = row.touch_bid_px / bids[0].px_ticks
        elif asks and row.touch_ask_px:
            px = row.touch_ask_px / asks[0].px_ticks
        if px is not None:
            for side, rungs in ((1, bids), (-1, asks)):
                if rungs:
                    self._ladders[side].append([rung.px_ticks * px for rung in rungs])
        self._opposed = (
            bids[0].opposed_bps if bids else None,
            asks[0].opposed_bps if asks else None,
        )
        self.last_ns = row.at_ns
        if is_kept:
            self._keep(row)

    def _keep(self, row: _HeldRow) -> None:
        self.last_ns = row.at_ns
        self._table.add(row, self._opposed)
        self._is_wanted = row.at_ns < self._wanted_until_ns

    def _record(self, at_ns: int, event: str, record: Mapping[str, Any]) -> None:
        where = f"log.jsonl line {self.lines}"
        facts = {k: v for k, v in record.items() if k not in ("at", "level", "event")}
        if event == "fill.booked":
            self.fills.append(fill_of(at_ns, facts, where, self.rung_of))
        elif event == "funding.booked":
            self.payments.append(Payment(at_ns, float(facts["cost_usd"]), where))
        elif event == "requests.forecast":
            # Null until the venue was asked for the first time.
            if facts["used"] is not None and facts["cap"] is not None:
                self.requests_told.append((at_ns, int(facts["used"]), int(facts["cap"])))
        else:
            self.happenings.append(Happening(at_ns, event, record["level"], facts, where))
        if event in ("fill.booked", "cascade.seen"):
            self._is_wanted = True
            span_ns = _AFTER_NS if event == "cascade.seen" else 0
            self._wanted_until_ns = max(self._wanted_until_ns, at_ns + span_ns)
        if event == "snapshot.read":
            reading = Reading(
                at_ns,
                float(facts["position_sz"]),
                float(facts["equity_usd"]),
                float(facts["mark_px"]),
                facts.get("maker_fee_bps"),
                where,
            )
            self.readings.append(reading)
            self.start = self.start or reading
        elif event == "run.ended":
            self.summary = dict(facts)
            self.ended = str(facts.get("end_reason"))
        elif event == "journal.closed":
            self.journal_lag_ms = float(facts["lag_ms_max"])

    def rung_of(self, side: int, px: float) -> int | None:
        """
        Which of our orders this price is, 1 the nearest to the market.

        An order rests where an earlier decision put it while a later one is on its way.
        """
        ladders = self._ladders[side]
        for ladder in reversed(ladders):
            for i, rung_px in enumerate(ladder):
                if abs(rung_px - px) <= _SAME_FRAC * px:
                    return i + 1
        if not ladders:
            return None
        nearest = ladders[-1]
        return min(range(len(nearest)), key=lambda i: abs(nearest[i] - px)) + 1


def fill_of(
    at_ns: int,
    facts: Mapping[str, Any],
    where: str,
    rung_of: Callable[[int, float], int | None] | None = None,
) -> Fill:
    """A fill from the facts of `fill.booked`; `rung_of` knows our ladder, if anybody does."""
    side = 1 if facts["side"] == "buy" else -1
    px, edge = float(facts["px"]), facts.get("edge_bps")
    is_taker = bool(facts.get("is_taker"))
    is_forced = bool(facts.get("is_liquidation"))
    is_quote = not (is_taker or is_forced)
    return Fill(
        at_ns=at_ns,
        venue_ms=int(facts["venue_ms"]),
        side=side,
        px=px,
        sz=float(facts["sz"]),
        fee_usd=float(facts["fee_usd"]),
        position_sz=float(facts["position_sz"]),
        # edge = side (mid - px) / mid, solved for the mid.
        mid_px=None if edge is None else px / (1.0 - side * float(edge) * 1e-4),
        rung=rung_of(side, px) if rung_of is not None and is_quote else None,
        tid=int(facts["tid"]),
        oid=int(facts["oid"]),
        is_taker=is_taker,
        is_forced=is_forced,
        where=where,
    )
