"""How long a start asks a venue that does not answer, and how gently."""

from __future__ import annotations

import asyncio

import pytest

from mmbot.core.types import NS_PER_S
from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid.ports import HttpReply
from mmbot.runtime.patience import UNREACHABLE_S, PatientRest

BUSY = HttpReply(429, b"null")
DOWN = HttpReply(500, b"null")
AWAY = HttpReply(None, error="cannot connect: refused")
FINE = HttpReply(200, b"{}")
REFUSED = HttpReply(422, b"what?")


class Scripted:
    """Answers by script, the last for ever; time passes only while somebody sleeps."""

    def __init__(self, *replies: HttpReply) -> None:
        self.replies = list(replies)
        self.now_ns = 0
        self.asked_s: list[float] = []
        self.told: list[float] = []

    def clock(self) -> int:
        return self.now_ns

    async def sleep(self, span_s: float) -> None:
        self.now_ns += round(span_s * NS_PER_S)
        await asyncio.sleep(0)

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        self.asked_s.append(self.now_ns / NS_PER_S)
        await asyncio.sleep(0)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def reads(self, retry_s: float = 70.0) -> PatientRest:
        return PatientRest(
            self,
            "http://venue",
            retry_s=retry_s,
            on_wait=lambda _, left_s: self.told.append(left_s),
            clock=self.clock,
            sleep=self.sleep,
        )


@pytest.mark.parametrize("refusal", [BUSY, DOWN])
async def test_a_busy_venue_is_asked_again_for_longer_than_its_minute(refusal: HttpReply) -> None:
    """Its limit is per minute: giving up sooner would leave old orders for nothing."""
    venue = Scripted(refusal)
    with pytest.raises(LinkError, match=str(refusal.status)):
        await venue.reads().info({"type": "meta"})

    assert 60 < venue.asked_s[-1] <= 70
    assert len(venue.asked_s) <= 12, "a few gentle tries, not a storm"
    assert venue.told == sorted(venue.told, reverse=True)


async def test_the_answer_is_taken_when_it_comes() -> None:
    """And the next trouble has its own patience."""
    venue = Scripted(BUSY, BUSY, FINE)
    reads = venue.reads()

    assert await reads.info({"type": "meta"}) == b"{}"
    assert venue.asked_s == [0, 1, 3]
    venue.now_ns += 100 * NS_PER_S
    venue.replies = [BUSY, FINE]
    assert await reads.get("/x") == b"{}"


async def test_an_address_that_never_answered_is_given_up_soon() -> None:
    """A wrong one does not become right, and a person waits at the terminal."""
    venue = Scripted(AWAY)
    with pytest.raises(LinkError, match="cannot connect"):
        await venue.reads().info({"type": "meta"})

    assert venue.asked_s[-1] <= UNREACHABLE_S


async def test_an_address_that_answered_once_or_holds_our_orders_is_waited_for() -> None:
    """Then the network is away, not the address wrong."""
    venue = Scripted(FINE, AWAY)
    reads = venue.reads()
    await reads.info({"type": "meta"})
    with pytest.raises(LinkError):
        await reads.info({"type": "meta"})
    assert venue.asked_s[-1] > 60

    venue = Scripted(AWAY)
    reads = venue.reads()
    reads.orders_may_rest = True
    with pytest.raises(LinkError):
        await reads.info({"type": "meta"})
    assert venue.asked_s[-1] > 60


async def test_a_refusal_is_not_tried_again() -> None:
    """What the venue does not accept it will not accept in a minute either."""
    venue = Scripted(REFUSED)
    with pytest.raises(VenueError, match="trying again will not help"):
        await venue.reads().info({"type": "meta"})

    assert venue.asked_s == [0]


async def test_many_reads_at_once_wait_their_turn() -> None:
    """All of them again and again would keep the address above its limit."""
    venue = Scripted(*[BUSY] * 10, FINE)
    reads = venue.reads()
    bodies = await asyncio.gather(*(reads.info({"type": "meta"}) for _ in range(8)))

    assert bodies == [b"{}"] * 8
    first, *later = sorted(venue.asked_s)[7:]
    assert first == 0
    assert len(later) <= 10
    assert len([at_s for at_s in venue.asked_s if at_s == 0]) == 8
