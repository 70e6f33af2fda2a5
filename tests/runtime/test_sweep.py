"""Cancelling from outside the daemon: what is asked, how often, and when it is called done."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from mmbot.core.types import NS_PER_S
from mmbot.errors import VenueError
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.ending import CLOID_MAGIC
from mmbot.runtime.heart import Beat
from mmbot.runtime.sweep import Sweep
from mmbot.runtime.watchdog import Pulse
from runtime.pipe_rig import PipeRun, Records

OURS = f"0x{CLOID_MAGIC << 112 | 7:032x}"
FOREIGN = f"0x{7:032x}"


class Venue:
    """Open orders by oid, and what a cancel does to them."""

    def __init__(self, **orders: str | None) -> None:
        self.now_ns = 1_791_484_300 * NS_PER_S
        self.orders = {int(name.removeprefix("o")): cloid for name, cloid in orders.items()}
        self.actions: list[dict[str, Any]] = []
        self.is_deaf_to_cloids = False
        self.refuse: list[int | None] = []
        self.looks = 0

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """Answer as the venue does."""
        self.now_ns += NS_PER_S // 20
        if self.refuse:
            return HttpReply(self.refuse.pop(0), b"null", "no answer")
        value = json.loads(body or b"")
        if path == "/info":
            self.looks += 1
            rows = [self._row(oid, cloid) for oid, cloid in self.orders.items()]
            return HttpReply(200, json.dumps(rows).encode())
        action = value["action"]
        self.actions.append(action)
        for item in action["cancels"]:
            if action["type"] == "cancel":
                self.orders.pop(item["o"], None)
            elif not self.is_deaf_to_cloids:
                gone = [oid for oid, cloid in self.orders.items() if cloid == item["cloid"]]
                for oid in gone:
                    del self.orders[oid]
        answer = {"type": "cancel", "data": {"statuses": ["success"] * len(action["cancels"])}}
        return HttpReply(200, json.dumps({"status": "ok", "response": answer}).encode())

    async def sleep(self, span_s: float) -> None:
        """Wait."""
        self.now_ns += round(span_s * NS_PER_S)

    @staticmethod
    def _row(oid: int, cloid: str | None) -> dict[str, Any]:
        return {
            "coin": "HYPE",
            "side": "B",
            "limitPx": "26.1",
            "sz": "1.0",
            "oid": oid,
            "timestamp": 1,
            "origSz": "1.0",
            "cloid": cloid,
        }

    def sweep(self) -> Sweep:
        """One over this venue."""
        log = make_logger(cast("LogWriter", Records()), lambda: self.now_ns)
        return Sweep(
            self,
            PipeRun().instrument,
            signer=Signer(b"\x07" * 32, is_mainnet=False),
            user="0x" + "ab" * 20,
            clock=lambda: self.now_ns,
            log=log,
            sleep=self.sleep,
        )


async def test_what_is_not_ours_is_left_alone() -> None:
    """Another bot or a person may trade the same market of the account."""
    venue = Venue(o1=OURS, o2=FOREIGN, o3=None)

    assert await venue.sweep().run(venue.now_ns) == 1

    assert set(venue.orders) == {2, 3}


async def test_what_a_cloid_does_not_cancel_its_oid_does() -> None:
    """Both names are tried before it is asked again for ever."""
    venue = Venue(o1=OURS)
    venue.is_deaf_to_cloids = True

    assert await venue.sweep().run(venue.now_ns) == 1

    assert [action["type"] for action in venue.actions] == [
        "cancelByCloid",
        "cancelByCloid",
        "cancel",
    ]


async def test_an_empty_book_counts_only_when_nothing_can_come_to_rest_any_more() -> None:
    """A placement on its way when the daemon died would rest behind our back."""
    venue = Venue()
    quiet_ns = venue.now_ns + 5 * NS_PER_S

    async def arrives(span_s: float) -> None:
        await Venue.sleep(venue, span_s)
        if venue.now_ns < quiet_ns and not venue.actions:
            venue.orders[9] = OURS

    venue.sleep = arrives  # type: ignore[method-assign]
    assert await venue.sweep().run(quiet_ns) == 1

    assert venue.orders == {}
    assert venue.now_ns >= quiet_ns
    assert venue.looks < 12, "each look weighs 20 of the 1200 of a minute"


async def test_a_busy_or_silent_venue_is_asked_again() -> None:
    """429, 5xx or nothing at all: the orders still rest."""
    venue = Venue(o1=OURS)
    venue.refuse = [429, 502, None]

    assert await venue.sweep().run(venue.now_ns) == 1


async def test_patience_ends_with_an_error_and_not_with_a_guess() -> None:
    """Whoever is told that nothing rests must be able to rely on it."""
    venue = Venue(o1=OURS)
    venue.refuse = [429] * 1000

    with pytest.raises(VenueError, match="not confirmed"):
        await venue.sweep().run(venue.now_ns, patience_s=10)


async def test_a_sweep_that_is_called_off_sends_nothing_more() -> None:
    """The daemon came round: it looks after its orders itself."""
    venue = Venue(o1=OURS)

    assert await venue.sweep().run(venue.now_ns, is_wanted=lambda: False) is None

    assert (venue.actions, venue.looks) == ([], 0)


def test_silence_counts_from_the_last_beat_that_was_new() -> None:
    """The same beat read again is no life, and an unreadable file is none either."""
    pulse = Pulse(1.5, 0)
    assert not pulse.is_silent(10 * NS_PER_S), "no daemon was ever here"
    pulse.see(Beat(pid=1, count=1), 10 * NS_PER_S)
    pulse.see(Beat(pid=1, count=1), 11 * NS_PER_S)
    pulse.see(None, 11 * NS_PER_S)
    assert not pulse.is_silent(11 * NS_PER_S + 499_999_999)
    assert pulse.is_silent(11 * NS_PER_S + 500_000_000)
    pulse.see(Beat(pid=2, count=1), 12 * NS_PER_S)
    assert not pulse.is_silent(12 * NS_PER_S), "the next daemon"


def test_a_verified_end_is_no_silence() -> None:
    """Nothing rests, so there is nothing to cancel, however long ago it was."""
    pulse = Pulse(1.5, 0)
    pulse.see(Beat(pid=1, count=9, may_rest=False), 0)

    assert not pulse.is_silent(10**6 * NS_PER_S)
