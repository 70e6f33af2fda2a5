"""How orders are answered on paper; read by `paper` and by the shell around it."""

from __future__ import annotations

from pydantic import Field

from mmbot.emulator.tape import RecordedVenueParams


class PaperParams(RecordedVenueParams):
    """How `mode = "paper"` answers our orders from a real market that knows nothing of them."""

    source: str = Field(
        "mainnet",
        pattern=r"^(mainnet|testnet|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?/?)$",
        description="Whose public streams are traded on: mainnet, testnet, or the address of an "
        "emulated exchange on this machine. Only public data is asked for there.",
    )
    feed_lag_ms: float = Field(
        200,
        ge=0,
        le=10_000,
        description="How late the slowest stream may tell what happened, ms: an action waits that "
        "much longer for its turn, so that no trade before it is missed.",
    )
