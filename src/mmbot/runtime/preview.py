"""What a run would quote now: the ladder on the present book, and the width that it opens with."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mmbot.config import Config
from mmbot.core.engine import Decision, Engine
from mmbot.core.events import Bbo, Level, LinkUp, Snapshot
from mmbot.core.types import NS_PER_MS, notional_usd
from mmbot.errors import VenueError, VenueProtocolError
from mmbot.hyperliquid.grid import Grid
from mmbot.hyperliquid.wire_types import WireBook
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.patience import Reads
from mmbot.runtime.preflight import Facts

_TOUCH_USD: Final = 10_000.0
"""Size of a touch that nothing is known of."""


class LadderRung(msgspec.Struct, frozen=True):
    """One order of the ladder that would be placed."""

    side: str
    px: float
    sz: float
    usd: float
    depth_bps: float


class Ladder(msgspec.Struct, frozen=True):
    """The effective ladder at the present book, and the terms of its half spread."""

    fair_px: float
    rungs: tuple[LadderRung, ...]
    terms: dict[str, float | None]


async def preview(config: Config, rest: Reads, facts: Facts) -> Ladder:
    """
    The orders an engine with this configuration would place on the present book.

    Raises:
        VenueError: There is no two-sided book to price from.
    """
    instrument = facts.instrument
    body = await rest.info({"type": "l2Book", "coin": instrument.coin})
    try:
        book = msgspec.json.decode(body, type=WireBook | None, strict=False)
    except msgspec.DecodeError as error:
        raise VenueProtocolError(f"/info l2Book: not a book: {error}") from None
    if book is None or not book.levels[0] or not book.levels[1]:
        raise VenueError(f"{instrument.coin}: the book has no two sides, nothing can be priced")
    grid = Grid(instrument)
    now_ns = wall_clock_ns()
    bid, ask = grid.level(book.levels[0][0]), grid.level(book.levels[1][0])
    decision = _decide(config, facts, bid, ask, now_ns)
    shown = decision.diagnostics
    if shown is None:
        raise VenueError(
            f"{instrument.coin}: nothing would be quoted: " + ", ".join(decision.status.reasons)
        )
    fair = instrument.ticks(shown.fair_px)
    rungs = [
        LadderRung(
            side=place.side.name.lower(),
            px=instrument.px(place.px_ticks),
            sz=instrument.sz(place.sz_lots),
            usd=notional_usd(place.px_ticks, place.sz_lots),
            depth_bps=place.side * (fair - place.px_ticks) / fair * 1e4,
        )
        for place in (decision.batch.places if decision.batch is not None else ())
    ]
    rungs.sort(key=lambda rung: -rung.px)
    terms: dict[str, float | None] = {
        "fee": shown.fee_bps,
        "adverse selection": shown.adverse_selection_bps,
        "glft": shown.glft_bps,
        "least half spread": shown.half_min_bps,
        "half spread": shown.half_bps,
        "skew at full position": shown.skew_bps,
        "reference": shown.reference_bps,
        "floor of what adds": shown.floor_bps,
    }
    return Ladder(shown.fair_px, tuple(rungs), terms)


def quoted_half_bps(config: Config, facts: Facts) -> float | None:
    """
    The half spread with which a run would open, before the market has taught it anything.

    Of the configuration, the account and its fee alone: the book shifts the quote, not its width,
    so a touch around the mark does. The ladder rounds it outward to a line of its grid. None where
    nothing would be quoted.
    """
    instrument = facts.instrument
    mark = instrument.ticks(facts.mark_px)
    bid, ask = instrument.floor_ticks(mark - 1), instrument.ceil_ticks(mark + 1)
    lots = max(1, round(instrument.lots(_TOUCH_USD / facts.mark_px)))
    now_ns = wall_clock_ns()
    shown = _decide(config, facts, Level(bid, lots), Level(ask, lots), now_ns).diagnostics
    return None if shown is None else shown.half_bps


def _decide(config: Config, facts: Facts, bid: Level, ask: Level, now_ns: int) -> Decision:
    """What a fresh engine makes of this account and this touch."""
    engine = Engine(config.engine, facts.instrument, cloid_prefix=1)
    for event in _opening(facts, bid, ask, now_ns):
        engine.apply(event)
    return engine.decide(now_ns)


def _opening(facts: Facts, bid: Level, ask: Level, now_ns: int) -> list[Any]:
    return [
        LinkUp(recv_ns=now_ns),
        Snapshot(
            recv_ns=now_ns,
            requested_at_ns=now_ns,
            venue_ms=now_ns // NS_PER_MS,
            position_lots=facts.position_lots,
            entry_px=None,
            equity_usd=facts.equity_usd,
            mark_px=facts.mark_px,
            fees=facts.fees,
            open_orders=(),
            fills=(),
            requests_used=facts.requests_used,
            requests_cap=facts.requests_cap,
        ),
        Bbo(recv_ns=now_ns, venue_ms=now_ns // NS_PER_MS, bid=bid, ask=ask),
    ]
