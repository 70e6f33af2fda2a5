"""
What the venue's times are checked for: a message from the future is malformed.

The newest time of a stream is what older frames are measured by. One frame dated a day ahead would
make every true one after it too old to use, so it must never be taken. Some lead is normal: two
clocks differ, and what a machine says of its own can be off by seconds.
"""

from __future__ import annotations

from typing import Final

from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import VenueProtocolError

LEAD_MAX_NS: Final = 10 * NS_PER_S
"""How far ahead of our clock a venue time may lie."""


def check_date(venue_ms: int, recv_ns: int, what: str) -> None:
    """
    Refuse a venue time that cannot be.

    Args:
        venue_ms: Of the message, ms since the epoch.
        recv_ns: Our clock when it came, ns since the epoch.
        what: The message, for the error.

    Raises:
        VenueProtocolError: It lies more than `LEAD_MAX_NS` ahead.
    """
    if venue_ms * NS_PER_MS > recv_ns + LEAD_MAX_NS:
        lead_s = venue_ms / 1e3 - recv_ns / NS_PER_S
        msg = (
            f"{what} is dated {lead_s:.1f} s ahead of our clock ({venue_ms} ms): either it is "
            "malformed, or the clock of this machine is behind; if this repeats, check NTP"
        )
        raise VenueProtocolError(msg)
