"""The journal of a run, folded into facts in one pass; nothing is replayed or simulated."""

from __future__ import annotations

from array import array
from typing import Any, Final

import msgspec
import numpy as np

from mmbot.core.types import Instrument
from mmbot.journal.reader import Block, Journal, Position, State
from mmbot.journal.records import Kind, decode
from mmbot.runtime.report.facts import (
    Fill,
    Happening,
    Left,
    Mids,
    Outage,
    Payment,
    Reading,
    Requests,
    VenueMids,
)
from mmbot.runtime.report.fromlog import fill_of

_EMPTY: Final = b"\x90"
"""An empty array of msgpack."""
_FEED_EVERY: Final = 4
"""Every so many messages of the book one age is kept."""
_GAP_NS: Final = 2_000_000_000
"""Silence of the prices that is worth a note."""
SKIPPED: Final = frozenset(
    int(kind) for kind in (Kind.READ, Kind.TRADES, Kind.JUDGED, Kind.ORDER, Kind.LISTING)
)
"""Records that no report needs, which are most of a journal's bytes."""


class _Output(msgspec.Struct, array_like=True):
    """What is read of `journal.records.Output`: the same fields, in their order."""

    mode: str
    reasons: tuple[str, ...]
    cancels: msgspec.Raw
    moves: msgspec.Raw
    places: msgspec.Raw
    notes: list[tuple[str, str, dict[str, Any]]]
    queries: msgspec.Raw
    kill: str | None
    relink: str | None
    wake_ns: int | None
    fair_ticks: float | None
    position_lots: int
    equity_usd: float
    figures: tuple[float | None, ...] | None


class _Priced(msgspec.Struct):
    """When a message of the book was received, and when it was made."""

    recv_ns: int
    venue_ms: int


class _Ctx(msgspec.Struct):
    recv_ns: int
    mark_px: float
    funding_per_h: float = 0.0


class _Answer(msgspec.Struct):
    recv_ns: int
    request: str
    cloid: bytes
    reason: str = ""


class _Asked(msgspec.Struct):
    recv_ns: int
    used: int
    cap: int


_OUTPUT: Final = int(Kind.OUTPUT)
_DECIDE: Final = int(Kind.DECIDE)
_PRICED: Final = frozenset({int(Kind.BBO), int(Kind.BOOK)})
"""Plain numbers: a member of an enumeration is compared more slowly, a million times."""
_time = msgspec.msgpack.Decoder(int).decode
_output = msgspec.msgpack.Decoder(_Output).decode
_priced = msgspec.msgpack.Decoder(_Priced).decode
_ctx = msgspec.msgpack.Decoder(_Ctx).decode
_answer = msgspec.msgpack.Decoder(_Answer).decode
_asked = msgspec.msgpack.Decoder(_Asked).decode
_rows = msgspec.msgpack.Decoder(list[list[Any]]).decode
_cloids = msgspec.msgpack.Decoder(list[bytes]).decode


class JournalFold:
    """
    Reads a journal record by record.

    Attributes are those of `Facts` that a journal knows; prices and sizes are converted here.
    """

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.params: dict[str, Any] = {}
        self.instrument: Instrument | None = None
        self.build = ""
        self.started_ns: int | None = None
        self.last_ns: int | None = None
        self.ended: str | None = None
        self.exit_code: int | None = None
        self.broke: str | None = None
        self.lost: str | None = None
        self.lag_ms: float | None = None
        self.full: list[Reading] = []
        self.brief: list[Reading] = []
        self.fills: list[Fill] = []
        self.payments: list[Payment] = []
        self.happenings: list[Happening] = []
        self.outages: list[Outage] = []
        self.requests: list[Requests] = []
        self.rejections: dict[str, int] = {}
        self.answers_ms: dict[str, list[float]] = {"place": [], "move": [], "cancel": []}
        self.feed_ms = array("d")
        self.news_ms: list[float] = []
        self.read_ms: list[float] = []
        self.gaps: list[tuple[int, float]] = []
        self.suppressed_ns: dict[str, dict[str, int]] = {"bid": {}, "ask": {}}
        self.mode_ns: dict[str, int] = {}
        self.watched_ns = 0
        self.marks: list[tuple[int, float]] = []
        self.funding_per_h: list[tuple[int, float]] = []
        self.counts = {"decisions": 0, "batches": 0, "requests": 0, "unanswered": 0}
        self._mid_ns, self._mid = array("q"), array("d")
        self._mid_venue_ms = array("q")
        self._left_ns, self._left = array("q"), array("d")
        self._anchor: tuple[float, float] | None = None
        """Mid and fair price of the last record of a decision, ticks."""
        self._sent: dict[tuple[str, bytes], int] = {}
        self._outage: tuple[int, str, str] | None = None
        self._state: tuple[str, tuple[str, ...], int] | None = None
        """Mode and reasons in force, and since when."""
        self._priced_ns: int | None = None
        self._venue_ms = 0
        """Newest venue time of a message of the book."""
        self._unseen_ms: int | None = None
        """That of the last one before a connection was lost, until there is another."""
        self._gaps_ms: list[tuple[int, int]] = []
        self._is_up = False
        self._seen = 0
        self._decided_ns = 0
        self._ticks_per_usd = 1
        self._block: Block | None = None

    def fold(self, journal: Journal) -> None:
        """
        Read all that can be read.

        Raises:
            JournalError: Written by a later version, or not readable.
        """
        output, decide, time, on_output = _OUTPUT, _DECIDE, _time, self._on_output
        for block in journal.blocks(skip=SKIPPED):
            self._block = block
            for i, kind, payload in block.rows:
                # Two of three records are these: a call each would be a second of every day.
                if kind == output:
                    on_output(payload, i)
                elif kind == decide:
                    self.last_ns = time(payload)
                else:
                    self._on(i, kind, payload)
        self._add_spell(self._decided_ns)
        if self._outage is not None:
            self.outages.append(Outage(self._outage[0], None, *self._outage[1:]))

    def mids(self) -> Mids | None:
        """The mid, once everything has been read."""
        if not self._mid:
            return None
        return Mids(np.frombuffer(self._mid_ns, np.int64), np.frombuffer(self._mid, np.float64))

    def venue_mids(self) -> VenueMids | None:
        """The mid by the venue's time, once everything has been read."""
        if not self._mid:
            return None
        at_ms = np.frombuffer(self._mid_venue_ms, np.int64)
        px = np.frombuffer(self._mid, np.float64)
        return VenueMids(at_ms, px, self._venue_ms, tuple(self._gaps_ms))

    def left(self) -> Left | None:
        """The requests left, once everything has been read."""
        if not self._left:
            return None
        return Left(np.frombuffer(self._left_ns, np.int64), np.frombuffer(self._left, np.float64))

    # -- records --------------------------------------------------------------------------------

    def _where(self, i: int) -> str:
        """Place of a record of the block at hand."""
        block = self._block
        assert block is not None
        return str(Position(block.file, block.at, block.first + i))

    def _on(self, i: int, kind: int, payload: bytes) -> None:
        if kind in _PRICED:
            self._on_priced(payload)
        elif kind == Kind.CTX:
            ctx = _ctx(payload)
            self.marks.append((ctx.recv_ns, ctx.mark_px))
            if not self.funding_per_h or self.funding_per_h[-1][1] != ctx.funding_per_h:
                self.funding_per_h.append((ctx.recv_ns, ctx.funding_per_h))
        elif kind in (Kind.ACKED, Kind.REJECTED, Kind.UNANSWERED):
            self._on_answer(kind, payload)
        elif kind == Kind.REQUESTS:
            asked = _asked(payload)
            self.requests.append(Requests(asked.recv_ns, asked.used, asked.cap))
        else:
            self._on_rare(kind, decode(kind, payload), self._where(i))

    def _on_rare(self, kind: int, record: Any, where: str) -> None:
        match kind:
            case Kind.BUILD:
                commit = f" {record.commit[:12]}" if record.commit else ""
                self.build = f"mmbot {record.version}{commit}, Python {record.python}"
            case Kind.STARTED:
                self.config, self.params = record.config, record.params
                self.instrument, self.started_ns = record.instrument, record.at_ns
                self._ticks_per_usd = record.instrument.ticks_per_usd
            case Kind.FILL:
                self.news_ms.append(record.recv_ns * 1e-6 - record.venue_ms)
            case Kind.SNAPSHOT:
                self.read_ms.append(record.recv_ns * 1e-6 - record.venue_ms)
                self._read(self.full, record, where, record.mark_px, record.fees.maker_bps)
                used, cap = record.requests_used, record.requests_cap
                self.requests.append(Requests(record.recv_ns, used, cap))
            case Kind.ACCOUNT:
                self._read(self.brief, record, where, None, None)
            case Kind.LINK_UP:
                self._on_up(record.recv_ns)
            case Kind.LINK_LOST:
                if self._outage is None and self._is_up:
                    self._outage = (record.recv_ns, record.reason, where)
                self._is_up = False
                self._unseen_ms = self._venue_ms
            case Kind.RECONFIGURED:
                facts = {"changes": _changes(self.params, record.params)}
                self.params = record.params
                if facts["changes"]:
                    self._note(record.now_ns, "config.reloaded", "info", facts, where)
            case Kind.COMMAND:
                facts = {"kind": record.kind.value, "text": record.text}
                self._note(record.recv_ns, "operator.ordered", "info", facts, where)
            case Kind.BROKE:
                self.broke = record.error
                at_ns = self.last_ns or self.started_ns or 0
                self._note(at_ns, "engine.broke", "critical", {"error": record.error}, where)
            case Kind.LOST:
                self.lost = f"{record.records} records are missing ({record.why}) at {where}"
            case Kind.ENDED:
                self.ended, self.exit_code = record.reason, record.exit_code
                self.lag_ms = record.lag_ms_max
                self.last_ns = max(record.at_ns, self.last_ns or record.at_ns)

    def _note(self, at_ns: int, event: str, level: str, facts: dict[str, Any], where: str) -> None:
        self.happenings.append(Happening(at_ns, event, level, facts, where))

    def _read(
        self,
        into: list[Reading],
        record: Any,
        where: str,
        mark_px: float | None,
        maker_bps: float | None,
    ) -> None:
        assert self.instrument is not None
        position_sz = self.instrument.sz(record.position_lots)
        equity = record.equity_usd
        into.append(Reading(record.recv_ns, position_sz, equity, mark_px, maker_bps, where))

    def _on_up(self, at_ns: int) -> None:
        self._is_up = True
        if self._outage is not None:
            from_ns, reason, where = self._outage
            self.outages.append(Outage(from_ns, at_ns, reason, where))
            self._outage = None
        self._priced_ns = None

    def _on_priced(self, payload: bytes) -> None:
        priced = _priced(payload)
        last_ns, self._priced_ns = self._priced_ns, priced.recv_ns
        if self._unseen_ms is not None:
            self._gaps_ms.append((self._unseen_ms, priced.venue_ms))
            self._unseen_ms = None
        self._venue_ms = max(self._venue_ms, priced.venue_ms)
        if last_ns is not None and priced.recv_ns - last_ns >= _GAP_NS:
            self.gaps.append((last_ns, (priced.recv_ns - last_ns) * 1e-9))
        self._seen += 1
        if self._seen % _FEED_EVERY == 0:
            self.feed_ms.append(priced.recv_ns * 1e-6 - priced.venue_ms)

    def _on_answer(self, kind: int, payload: bytes) -> None:
        answer = _answer(payload)
        sent_ns = self._sent.pop((answer.request, answer.cloid), None)
        if kind == Kind.UNANSWERED:
            self.counts["unanswered"] += 1
            return
        if sent_ns is not None:
            self.answers_ms[answer.request].append((answer.recv_ns - sent_ns) * 1e-6)
        if kind == Kind.REJECTED:
            what = f"{answer.request}: {answer.reason}"
            self.rejections[what] = self.rejections.get(what, 0) + 1

    # -- decisions ------------------------------------------------------------------------------

    def _on_output(self, payload: bytes, i: int) -> None:
        output = _output(payload)
        now_ns = self.last_ns
        assert now_ns is not None
        self._decided_ns = now_ns
        self.counts["decisions"] += 1
        self._spell(output.mode, output.reasons, now_ns)
        self._sent_by(output, now_ns)
        if output.fair_ticks is not None:
            self._price(output.fair_ticks, output.figures, now_ns)
        if output.notes:
            where = self._where(i)
            for event, level, facts in output.notes:
                self._told(now_ns, event, level, facts, where)

    def _told(self, now_ns: int, event: str, level: str, facts: dict[str, Any], where: str) -> None:
        if event == "fill.booked":
            self.fills.append(fill_of(now_ns, facts, where))
        elif event == "funding.booked":
            self.payments.append(Payment(now_ns, float(facts["cost_usd"]), where))
        else:
            self._note(now_ns, event, level, facts, where)

    def _spell(self, mode: str, reasons: tuple[str, ...], now_ns: int) -> None:
        """Note what is in force from now on, and for how long something else was."""
        state = self._state
        if state is None:
            self._state = (mode, reasons, now_ns)
        elif state[0] != mode or state[1] != reasons:
            self._add_spell(now_ns)
            self._state = (mode, reasons, now_ns)

    def _add_spell(self, now_ns: int) -> None:
        """Add the time since the last change to what was in force."""
        if self._state is None:
            return
        mode, reasons, since_ns = self._state
        span_ns = max(0, now_ns - since_ns)
        self.watched_ns += span_ns
        self.mode_ns[mode] = self.mode_ns.get(mode, 0) + span_ns
        for reason in reasons:
            side, _, rule = reason.partition(": ")
            if side in ("bid", "ask"):
                spells = self.suppressed_ns[side]
                spells[rule] = spells.get(rule, 0) + span_ns
            elif reason != "requests spent":
                for spells in self.suppressed_ns.values():
                    spells[reason] = spells.get(reason, 0) + span_ns
            else:
                self.counts["spent_ms"] = self.counts.get("spent_ms", 0) + span_ns // 1_000_000

    def _sent_by(self, output: _Output, now_ns: int) -> None:
        """Remember when each request left."""
        count = 0
        for request, raw in (("move", output.moves), ("place", output.places)):
            if bytes(raw) != _EMPTY:
                for row in _rows(raw):
                    self._sent[request, row[0]] = now_ns
                    count += 1
        if bytes(output.cancels) != _EMPTY:
            for cloid in _cloids(output.cancels):
                self._sent["cancel", cloid] = now_ns
                count += 1
        if count:
            self.counts["batches"] += 1
            self.counts["requests"] += count

    def _price(
        self, fair_ticks: float, figures: tuple[float | None, ...] | None, now_ns: int
    ) -> None:
        """
        The mid at a decision.

        It is recorded once a second and with every batch; between, it moves as the fair price does.
        """
        mid = figures[1] if figures is not None else None
        if mid is None and self._anchor is not None:
            mid = self._anchor[0] + fair_ticks - self._anchor[1]
        elif mid is None:
            mid = fair_ticks
        if figures is not None:
            self._anchor = (mid, fair_ticks)
            if figures[0] is not None:
                self._left_ns.append(now_ns)
                self._left.append(figures[0])
        px = mid / self._ticks_per_usd
        if not self._mid or self._mid[-1] != px:
            self._mid_ns.append(now_ns)
            self._mid_venue_ms.append(self._venue_ms)
            self._mid.append(px)


def _changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """What differs between two sets of parameters, by key, in the words of the log."""
    found: dict[str, str] = {}
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found.update(_changes(one, other, f"{prefix}{name}."))
        elif one != other:
            shown = (
                "unset" if it is None else msgspec.json.encode(it).decode() for it in (one, other)
            )
            found[prefix + name] = " -> ".join(shown)
    return found


def state_of(fold: JournalFold, journal: Journal) -> tuple[str, str]:
    """How the journal was found, and what is wrong with it in words."""
    if fold.lost is not None:
        return State.DAMAGED.value, fold.lost
    return journal.state.value, journal.why
