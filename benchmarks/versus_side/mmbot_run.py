"""
The quoter in mmbot's recorded venue, without mmbot's engine: `ROWS_FOLDER RECORDING REPEAT`.

What `mmbot backtest` reads its recording with and fills its orders with, below the same small
strategy as in the other engines, on the same grid. The touch is known as it was received.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.versus_side import quoter
from benchmarks.versus_side.facts import read_facts
from benchmarks.versus_side.repeated import print_runs

from mmbot.core.events import Book, Event, Fill, OrderState, OrderUpdate, Rejected, Request, Trades
from mmbot.core.intents import Cancel, Place
from mmbot.core.types import NS_PER_MS, Fees, Side
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import Message, Recording, read_recording
from mmbot.emulator.tape import RecordedVenue, RecordedVenueParams

_BPS = 1e4


class Quoter:
    """One bid and one ask; what it knows of them it was told by the venue."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.step_ticks, self.order_lots = facts["step_ticks"], facts["order_lots"]
        self.hold_bps = facts["hold_bps"]
        self.c1_bps, self.c2 = quoter.terms_bps(facts["k_per_bp"])
        self.mid_before, self.variance = 0.0, quoter.VARIANCE
        self.bid_ticks = self.ask_ticks = 0
        self.position_lots = self.looks = self.places = self.cancels = self.fills = 0
        self.filled_usd = 0.0
        self.steps: dict[int, tuple[Side, int]] = {}
        self.acked: set[int] = set()
        self.leaving: set[int] = set()

    def hear(self, event: Event) -> None:
        """Fold an outcome."""
        if isinstance(event, Fill):
            self.fills += 1
            self.position_lots += event.sz_lots * event.side
            self.filled_usd += event.px_ticks * event.sz_lots * 1e-6
        elif isinstance(event, OrderUpdate) and event.cloid is not None:
            if event.state is OrderState.OPEN:
                self.acked.add(event.cloid)
            else:
                self.steps.pop(event.cloid, None)
        elif isinstance(event, Rejected) and event.request is Request.PLACE:
            self.steps.pop(event.cloid, None)

    def see(self, frame: Message) -> None:
        """Fold a message of the market."""
        if isinstance(frame, Trades):
            return
        bid, ask = (
            (frame.bids[0], frame.asks[0]) if isinstance(frame, Book) else (frame.bid, frame.ask)
        )
        if bid is not None and ask is not None:
            self.bid_ticks, self.ask_ticks = bid.px_ticks, ask.px_ticks

    def look(self) -> tuple[list[Cancel], list[Place]]:
        """Cancel what is out of place, place what is missing."""
        bid_step, ask_step = self.bid_ticks // self.step_ticks, self.ask_ticks // self.step_ticks
        if bid_step <= 0 or ask_step <= bid_step:
            return [], []
        self.looks += 1
        mid = (bid_step + ask_step) / 2.0
        if self.mid_before > 0.0:
            self.variance = quoter.variance_next(self.variance, self.mid_before, mid)
        self.mid_before = mid
        held = self.position_lots / self.order_lots
        bid, ask = quoter.wanted(bid_step, ask_step, self.variance, held, self.c1_bps, self.c2)
        targets = {Side.BUY: bid, Side.SELL: ask}
        hold = mid * self.hold_bps / _BPS
        cancels: list[Cancel] = []
        has: set[Side] = set()
        for cloid, (side, step) in self.steps.items():
            if cloid in self.leaving:
                continue
            if targets[side] > 0 and side not in has and abs(step - targets[side]) <= hold:
                has.add(side)
            elif cloid in self.acked:
                self.leaving.add(cloid)
                cancels.append(Cancel(cloid))
        places: list[Place] = []
        for side, step in targets.items():
            if step > 0 and side not in has:
                self.places += 1
                self.steps[self.places] = (side, step)
                places.append(Place(self.places, side, step * self.step_ticks, self.order_lots))
        self.cancels += len(cancels)
        return cancels, places


def play(recording: Recording, venue: RecordedVenue, small: Quoter) -> None:
    """The whole recording, on the grid."""
    frames, at, end = recording.frames, 0, len(recording.frames)
    now_ns = recording.start_ns
    while at < end:
        now_ns += quoter.GRID_NS
        while at < end and frames[at].recv_ns <= now_ns:
            small.see(frames[at])
            at += 1
        venue.advance(now_ns)
        for event in venue.take(now_ns):
            small.hear(event)
        cancels, places = small.look()
        if cancels or places:
            venue.send(now_ns, cancels=cancels, places=places)


def run(source: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """One run, the recording read again."""
    instrument, _ = listed_instrument(facts["coin"])
    recording = read_recording(source, instrument)
    venue = RecordedVenue(
        recording.happened,
        instrument=instrument,
        fees=Fees(quoter.MAKER_FEE * _BPS, quoter.TAKER_FEE * _BPS),
        params=RecordedVenueParams(
            order_latency_ms=quoter.ORDER_LATENCY_NS / NS_PER_MS,
            reply_latency_ms=quoter.REPLY_LATENCY_NS / NS_PER_MS,
        ),
        lead_ns=recording.lead_ns,
    )
    small = Quoter(facts)
    play(recording, venue, small)
    return {
        "decisions": small.looks,
        "requests": small.places + small.cancels,
        "fills": small.fills,
        "filled_usd": small.filled_usd,
        "position": small.position_lots / instrument.lots_per_coin,
    }


def main() -> None:
    """Run as often as asked, and print the figures of the last."""
    folder, source, repeat = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    facts = read_facts(folder)
    print_runs(lambda: run(source, facts), repeat)


if __name__ == "__main__":
    main()
