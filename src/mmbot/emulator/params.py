"""Time and manners of the emulated exchange."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmbot.emulator.limits import LimitParams


class ExchangeParams(BaseModel):
    """Time and manners of the emulated exchange; its intervals were measured at the venue."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: Literal["a", "b"] = Field("b", description="Source in signatures: a main, b test.")
    is_network_strict: bool = Field(
        default=False,
        description="Refuse signatures made for the other network instead of taking both.",
    )
    latency_ms: int = Field(
        0, ge=0, le=60_000, description="Time from an action's arrival to its block, ms."
    )
    block_ms: int = Field(68, ge=1, description="Spacing of blocks, ms.")
    reply_ms: int = Field(
        0, ge=0, le=60_000, description="Time from an execution to its answer's arrival, ms."
    )
    feed_ms: int = Field(0, ge=0, le=60_000, description="Age of a pushed message on arrival, ms.")
    fast_book_ms: int = Field(540, ge=1, description="Cadence of the fast book, ms.")
    slow_book_ms: int = Field(5400, ge=1, description="Cadence of the plain book, ms.")
    ctx_ms: int = Field(1000, ge=1, description="Cadence of asset contexts, ms.")
    mids_ms: int = Field(5050, ge=1, description="Cadence of all mids, ms.")
    candle_ms: int = Field(1000, ge=1, description="Cadence of a forming candle, ms.")
    dex_ctx_ms: int = Field(13_600, ge=1, description="Cadence of a dex's contexts, ms.")
    account_ms: int = Field(
        5000, ge=1, description="Cadence of account state streams, ms (unverified)."
    )
    idle_close_ms: int = Field(60_000, ge=1, description="Server silence that ends a socket, ms.")
    requests_kept: int = Field(20_000, ge=0, description="Requests the log remembers.")
    limits: LimitParams = LimitParams()

    def block_at(self, ms: int) -> int:
        """First block at or after `ms`."""
        return -(-ms // self.block_ms) * self.block_ms
