"""What the engine of a configuration does in scripted markets: its batches, modes and trips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from core.rig import T0_NS, Fault, Rig
from knobs.liveness import Seen
from mmbot.config import Config
from mmbot.core.events import (
    AccountRead,
    AssetCtx,
    Bbo,
    Gauge,
    JournalLag,
    Level,
    Measured,
    ReferencePx,
    Rejected,
    Rejection,
    Request,
    RequestsLeft,
)
from mmbot.core.types import NS_PER_MS, NS_PER_S, Side

MID_PX = 26.2
_SHORT_LOTS = -250
_POSITION_LOTS = 600
"""157 USD: one percent of price is 1.57 USD of the 100 at work."""


class Watched:
    """A rig, and what an observer of it would note down."""

    def __init__(
        self, config: Config, *, requests: int = 10**6, seen: list[object] | None = None
    ) -> None:
        self.rig = Rig(config.engine, fair_px=MID_PX, requests_cap=requests)
        self._seen = Seen() if seen is None else seen
        self._told = 0
        self._reasons: tuple[str, ...] = ()
        self._is_left = False

    def decide(self) -> None:
        """One decision; only what leaves the engine is noted."""
        rig = self.rig
        at_s = (rig.now_ns - T0_NS) / NS_PER_S
        count = len(rig.batches)
        decision = rig.decide()
        for batch in rig.batches[count:]:
            self._seen.append((at_s, batch))
        for note in rig.notes[self._told :]:
            if note.event in ("mode.changed", "killswitch.tripped"):
                self._seen.append((at_s, note.event, note.facts.get("cause")))
        self._told = len(rig.notes)
        if (decision.leave or decision.refusal) is not None and not self._is_left:
            self._is_left = True
            self._seen.append((at_s, "left"))
        if decision.status.reasons != self._reasons:
            self._reasons = decision.status.reasons
            self._seen.append((at_s, decision.status.mode, self._reasons))

    def steps(self, span_s: float, step_s: float) -> Iterator[float]:
        """Wait a step, let the caller act, decide; gives the time since the first step."""
        for n in range(round(span_s / step_s)):
            self.rig.wait(step_s)
            yield n * step_s
            self.decide()

    @property
    def seen(self) -> list[object]:
        """The notes so far."""
        return self._seen

    def mark(self, move_frac: float) -> None:
        """The venue's mark at this distance from where everything began."""
        px = MID_PX * (1 + move_frac)
        self.rig.apply(AssetCtx(self.rig.now_ns, px, px, 0.0, 1e6))


def _wander(watched: Watched, span_s: float, *, takers: float = 0.05) -> list[object]:
    """
    A price that wanders calmly, then wildly, then calmly.

    `takers` is the chance in each quarter of a second that one fills a part of an order of ours.
    """
    rig, chance = watched.rig, Random(7)
    px = MID_PX
    for at_s in watched.steps(span_s, 0.25):
        is_wild = span_s / 3 < at_s < span_s * 2 / 3
        px *= 1 + chance.gauss(0.0, 2.5 if is_wild else 0.2) * 1e-4
        rig.set_fair(px)
        rig.run_over()
        if chance.random() < takers:
            side = chance.choice((Side.BUY, Side.SELL))
            for order in rig.side(side)[:1]:
                rig.fill(order, max(1, round(order.sz_lots * chance.uniform(0.2, 0.9))))
        rig.tell_book(bid_lots=chance.randrange(50, 2000), ask_lots=chance.randrange(50, 2000))
    return watched.seen


def wandering(config: Config, _: Path) -> list[object]:
    """Requests in plenty."""
    return _wander(Watched(config), 150)


def wandering_scarce(config: Config, _: Path) -> list[object]:
    """Few requests are left at the venue, and no trade earns new ones."""
    return _wander(Watched(config, requests=600), 300, takers=0.0)


def marked_down(config: Config, _: Path) -> list[object]:
    """A held position is marked down into the soft limits, up again, then down for good."""
    watched = Watched(config)
    watched.rig.hold_position(_POSITION_LOTS)
    for at_s in watched.steps(160, 0.5):
        low = 0.012 * (1 - abs(at_s - 50) / 50)
        watched.rig.tell_book()
        watched.mark(-low if at_s < 100 else -0.0005 * (at_s - 100))
    return watched.seen


def mark_goes_silent(config: Config, _: Path) -> list[object]:
    """A low mark is the last that the venue says of it, while the book goes on."""
    watched = Watched(config)
    watched.rig.hold_position(_POSITION_LOTS)
    watched.mark(-0.012)
    for _at_s in watched.steps(40, 0.5):
        watched.rig.tell_book()
    return watched.seen


def book_goes_silent(config: Config, _: Path) -> list[object]:
    """No touch comes any more."""
    watched = Watched(config)
    for _at_s in watched.steps(320, 0.5):
        pass
    return watched.seen


def refused(config: Config, _: Path) -> list[object]:
    """The venue refuses every placement and move for two minutes."""
    watched = Watched(config)
    for _at_s in watched.steps(120, 0.25):
        watched.rig.fault = Fault.REFUSED
        watched.rig.tell_book()
    return watched.seen


def led(config: Config, _: Path) -> list[object]:
    """Another market leads ours, for good at first, then for a moment, then falls silent."""
    watched = Watched(config)
    rig = watched.rig
    for at_s in watched.steps(90, 0.25):
        rig.tell_book()
        lead_bps = 3.0 if 10 <= at_s < 50 else 30.0 if 50 <= at_s < 60 else 0.0
        if at_s < 60:
            px = MID_PX * (1.001 + lead_bps * 1e-4)
            rig.apply(ReferencePx(rig.now_ns, rig.venue_ms, px))
    return watched.seen


def leaning(config: Config, _: Path) -> list[object]:
    """
    A short position against a rise, swept twice, then a turn and a silence; a long pays funding.
    """
    watched = Watched(config)
    rig, chance = watched.rig, Random(11)
    rig.hold_position(_SHORT_LOTS)
    px = MID_PX
    for at_s in watched.steps(420, 0.5):
        if 300 <= at_s < 365:
            continue
        slope_bps_per_s = 0.25 if at_s < 150 else -0.35
        px *= 1 + (slope_bps_per_s * 0.5 + chance.gauss(0.0, 0.4)) * 1e-4
        if at_s in (30.0, 200.0, 380.0):
            px *= 1 + 25e-4
        rig.set_fair(px)
        if at_s in (60.0, 130.0):
            rig.sweep(Side.SELL)
        if at_s in (210.0, 230.0) and rig.side(Side.BUY):
            rig.sweep(Side.BUY)
        if at_s in (100.0, 240.0, 250.0, 390.0):
            for order in rig.side(Side.BUY if at_s < 200 else Side.SELL)[:1]:
                rig.fill(order, order.sz_lots)
        rig.run_over()
        rig.apply(AssetCtx(rig.now_ns, px, px, 2e-4 if at_s < 250 else 5e-3, 1e6))
        rig.tell_book(bid_lots=800, ask_lots=800)
    return watched.seen


class _Dead:
    """Vitals that find a term dead."""

    is_well = is_sound = False

    def reset_gap(self) -> None:
        """Nothing is kept."""


def _missing(watched: Watched) -> None:
    rig = watched.rig
    rig.apply(AccountRead(rig.now_ns, rig.venue_ms, 7, 100.0, 0.0))


def _refusals(watched: Watched) -> None:
    rig = watched.rig
    for n in range(40):
        rig.apply(Rejected(rig.now_ns, Request.PLACE, n, Rejection.TICK, "for the test"))


def _unanswered(watched: Watched) -> None:
    rig = watched.rig
    rig.fault = Fault.LOST_BEFORE
    rig.move_to(MID_PX * 1.002)
    rig.answer_query = lambda _: None  # type: ignore[method-assign, assignment]


def _few_requests(watched: Watched) -> None:
    rig = watched.rig
    rig.apply(RequestsLeft(rig.now_ns, 9_000, 10_000))


def _little_margin(watched: Watched) -> None:
    rig = watched.rig
    rig.apply(AccountRead(rig.now_ns, rig.venue_ms, 0, 100.0, 50.0))


def _dead_term(watched: Watched) -> None:
    watched.rig.engine._vitals = _Dead()  # type: ignore[assignment]


def _late_journal(watched: Watched) -> None:
    watched.rig.apply(JournalLag(watched.rig.now_ns, is_late=True, lag_s=0.0, text="test"))


def _old_mark(watched: Watched) -> None:
    watched.rig.apply(Measured(watched.rig.now_ns, Gauge.MARK_AGE_S, 200.0))


def _old_account(watched: Watched) -> None:
    watched.rig.apply(Measured(watched.rig.now_ns, Gauge.ACCOUNT_AGE_S, 200.0))


_CAUSES: tuple[Callable[[Watched], None], ...] = (
    _missing,
    _refusals,
    _unanswered,
    _few_requests,
    _little_margin,
    _dead_term,
    _late_journal,
    _old_mark,
    _old_account,
)


def alarmed(config: Config, _: Path) -> list[object]:
    """One cause of a trip after another, each on an engine of its own for a minute and a half."""
    seen = Seen()
    for cause in _CAUSES:
        watched = Watched(config, seen=[])
        for at_s in watched.steps(90, 0.5):
            watched.rig.tell_book()
            if at_s == 5.0:
                cause(watched)
        seen.extend((cause.__name__, item) for item in watched.seen)
    return seen


def clocks_apart(config: Config, _: Path) -> list[object]:
    """The venue's time is a second and a half behind ours from the beginning."""
    watched = Watched(config)
    rig = watched.rig
    rig.engine.book.forget()
    rig.engine.book.shift_clock(1500 * NS_PER_MS)
    for _at_s in watched.steps(30, 0.5):
        ms = rig.now_ns // NS_PER_MS - 1500
        rig.apply(Bbo(rig.now_ns, ms, Level(rig.bid_ticks, 1000), Level(rig.ask_ticks, 1000)))
    return watched.seen


def jumping(config: Config, _: Path) -> list[object]:
    """A quiet market that hops a little, and then far."""
    watched = Watched(config)
    rig, px = watched.rig, MID_PX
    for at_s in watched.steps(60, 0.25):
        if at_s in (20.0, 40.0):
            px *= 1 + (5e-4 if at_s < 30 else 15e-4)
            rig.set_fair(px)
            rig.run_over()
        rig.tell_book()
    return watched.seen


def shut_out(config: Config, _: Path) -> list[object]:
    """
    The venue's oracle falls silent for a while, goes apart from its mark, and the market halts.

    It begins on a Tuesday at 22:13:20 UTC.
    """
    watched = Watched(config)
    rig = watched.rig
    rig.hold_position(_POSITION_LOTS)
    for at_s in watched.steps(320, 0.5):
        mid_px = None if at_s >= 120 else MID_PX
        if mid_px is not None:
            rig.tell_book()
        else:
            ms = rig.now_ns // NS_PER_MS
            rig.apply(Bbo(rig.now_ns, ms, None, Level(rig.ask_ticks, 1000)))
        if 20 <= at_s < 60:
            continue
        oracle_px = MID_PX * (1.003 if 80 <= at_s < 100 else 1.0)
        rig.apply(AssetCtx(rig.now_ns, MID_PX, oracle_px, 0.0, 1e6, mid_px))
    return watched.seen
