"""What a replay found, and its words for a person."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.core.types import Side, Tif
from mmbot.journal.reader import Entry, State
from mmbot.journal.records import Build, Output, decode


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """
    The first thing that the replay decided otherwise.

    Attributes:
        record: Number of the record in the journal.
        position: The same with its file.
        at_ns: Time of the decision.
        what: The fields that differ.
        recorded: What the run decided, these fields alone.
        replayed: What the fresh engine decided.
        inputs: The last inputs before it, oldest first; those since the last decision at least.
    """

    record: int
    position: str
    at_ns: int | None
    what: tuple[str, ...]
    recorded: dict[str, Any]
    replayed: dict[str, Any]
    inputs: tuple[dict[str, Any], ...]


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found; the counts are of what was compared."""

    run: str
    is_identical: bool
    difference: Difference | None
    state: str
    why: str
    """What is wrong with the journal; empty for a whole one."""
    records: int
    reads: int
    frames: int
    events: int
    decisions: int
    batches: int
    orders: int
    notes: int
    judged: int
    reloads: int
    """Changes of parameters while it ran."""
    broke: str | None
    ended: str | None
    start_ns: int | None
    market_s: float
    wall_s: float
    market_h_per_s: float
    recorded_by: Build | None
    replayed_by: Build

    @property
    def is_good(self) -> bool:
        """
        Whether every decision was the same and no byte of the journal was found changed.

        Of a journal that was cut before its first decision nothing can be said.
        """
        is_shown = self.decisions > 0 or self.state == State.WHOLE.value
        return self.is_identical and self.state != State.DAMAGED.value and is_shown


def readable(output: Output) -> dict[str, Any]:
    """A decision in words and numbers, by field; cloids as the venue spells them."""
    fields: dict[str, Any] = {
        "mode": output.mode,
        "reasons": list(output.reasons),
        "cancels": [_hex(cloid) for cloid in output.cancels],
        "moves": [_order(row) for row in output.moves],
        "places": [{**_order(row), "tif": Tif(row[5]).value} for row in output.places],
        "notes": [
            {"event": event, "level": level, **facts} for event, level, facts in output.notes
        ],
        "queries": [_hex(cloid) for cloid in output.queries],
        "kill": output.kill,
        "relink": output.relink,
        "wake_ns": output.wake_ns,
        "fair_ticks": output.fair_ticks,
        "position_lots": output.position_lots,
        "equity_usd": output.equity_usd,
    }
    names = ("requests_left", "mid_ticks", "half_bps", "shift_bps")
    figures = output.figures or (None,) * len(names)
    return {**fields, **dict(zip(names, figures, strict=True))}


def _identical(result: ReplayResult) -> str:
    """Of which decisions it can be said."""
    if result.state == State.WHOLE.value:
        return "every decision is the one of the run"
    return (
        f"every decision that can be read is the one of the run ({result.decisions}, up to record "
        f"{result.records - 1}); of what came after them nothing is known"
    )


def _order(row: Any) -> dict[str, Any]:
    return {
        "cloid": _hex(row[0]),
        "side": Side(row[1]).name.lower(),
        "px_ticks": row[2],
        "sz_lots": row[3],
        "is_reduce_only": row[4],
    }


def _hex(cloid: bytes) -> str:
    return "0x" + cloid.hex()


def shown_input(entry: Entry) -> dict[str, Any]:
    """One input, for a person."""
    value = decode(entry.kind, entry.payload)
    if isinstance(value, int):
        return {"record": entry.at.record, "input": "decide", "now_ns": value}
    # As text: cloids have 128 bits, and whoever reads JSON may have 53.
    return {"record": entry.at.record, "input": type(value).__name__, "event": repr(value)}


def _speed(result: ReplayResult) -> str:
    """In multiples of the market's own time, which says something of a short run as well."""
    took = f"speed     {result.market_s:.0f} s of market in {result.wall_s:.2f} s"
    times = result.market_h_per_s * 3600
    if not times:
        return took
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    return f"{took}: {shown}x market time"


def render(result: ReplayResult) -> list[str]:
    """The result for a person."""
    lines = [f"run       {result.run}"]
    build = result.recorded_by
    if build is not None:
        commit = f", commit {build.commit[:12]}" if build.commit else ""
        lines.append(f"written   mmbot {build.version}{commit}, Python {build.python}")
    if result.why:
        lines.append(f"journal   {result.state}: {result.why}")
    lines.append(
        f"replayed  {result.events} events, {result.decisions} decisions: {result.batches} batches "
        f"of {result.orders} orders, {result.notes} notes"
    )
    if result.reloads:
        lines.append(f"reloads   {result.reloads} of the parameters, at their places")
    if result.broke is not None:
        lines.append(f"broke     {result.broke}, as in the run")
    lines.append(_speed(result))
    difference = result.difference
    if difference is None and not result.decisions:
        lines.append("NOTHING   there is no decision in it to compare")
        return lines
    if difference is None:
        lines.append(f"IDENTICAL {_identical(result)}")
        return lines
    lines.append(f"DIFFERENT at {difference.position}: {', '.join(difference.what)}")
    for name in difference.what:
        lines.append(f"  recorded  {name} = {difference.recorded[name]}")
        lines.append(f"  replayed  {name} = {difference.replayed[name]}")
    lines.append("  inputs before it, oldest first:")
    lines.extend(
        f"    record {each['record']}: {each.get('event') or each['now_ns']}"
        for each in difference.inputs
    )
    if build is not None and build.core != result.replayed_by.core:
        lines.append("  the journal was written by another state of the program's core")
    return lines
