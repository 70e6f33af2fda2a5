"""The sections of the configuration that belong to no single part of the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mmbot.config.paths import KeyPath, UsablePath
from mmbot.config.words import UnfitError

_FROZEN: Final = ConfigDict(frozen=True, extra="forbid")

_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
"""RFC 1123, with the underscore that container networks use."""


class InstrumentParams(BaseModel):
    """Which perp is traded."""

    model_config = _FROZEN

    coin: str = Field(
        min_length=1,
        max_length=32,
        pattern=r"^[^\s:]+$",
        description="Name of the perp without the dex, in the venue's spelling (HYPE, BTC).",
    )
    dex: str = Field(
        "",
        pattern=r"^([a-z0-9]{2,6})?$",
        description="Builder dex that lists it, empty for the main one.",
    )

    @property
    def wire_coin(self) -> str:
        """Name on the wire: `dex:coin` on a builder dex."""
        return f"{self.dex}:{self.coin}" if self.dex else self.coin


class ReferenceParams(BaseModel):
    """Another market of the same coin whose price may move our quotes."""

    model_config = _FROZEN

    coin: str = Field(
        "",
        max_length=32,
        pattern=r"^\S*$",
        description="Name on the wire (HYPE for hyna:HYPE); empty: no reference.",
    )


class AccountParams(BaseModel):
    """Whose account is traded, and where the key is found (never the key itself)."""

    model_config = _FROZEN

    address: str = Field(
        "",
        pattern=r"^(0x[0-9a-fA-F]{40})?$",
        description="Account traded; empty: the address of the key itself.",
    )
    key_env: str = Field(
        "MMBOT_KEY",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable that holds the signing key (hex).",
    )
    key_file: KeyPath | None = Field(
        None,
        description="File of mode 0600 that holds the signing key, read if the variable is unset.",
    )


class WatchdogParams(BaseModel):
    """The second process, which cancels when the daemon falls silent (`mmbot watchdog`)."""

    model_config = _FROZEN

    key_env: str = Field(
        "MMBOT_WATCHDOG_KEY",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable that holds the watchdog's own signing key (hex).",
    )
    key_file: KeyPath | None = Field(
        None,
        description="File of mode 0600 that holds this key, read if the variable is unset.",
    )
    silent_s: float = Field(
        1.5,
        ge=0.5,
        le=30,
        description="Silence of the daemon after which everything of ours is cancelled, s; it "
        "beats four times a second.",
    )


class EmulatorParams(BaseModel):
    """The emulated exchange that `mode = "emulator"` trades on."""

    model_config = _FROZEN

    scenario: str = Field("demo", description="Named market; [market] overrides its figures.")
    url: str = Field(
        "",
        pattern=r"^(http://[^\s/]+(:\d+)?)?/?$",
        description="An emulated exchange that runs already; empty: one is started and stopped.",
    )
    seed: int = Field(1, ge=0, le=2**32 - 1, description="Seed of the synthetic market.")
    equity_usd: float | None = Field(
        None, gt=0, le=1e9, description="Deposit of the account; unset: risk.capital_usd."
    )
    latency_ms: int = Field(
        50, ge=0, le=10_000, description="Time from an action's arrival to its execution, ms."
    )
    reply_ms: int = Field(
        0, ge=0, le=10_000, description="Time from an execution to our knowing its verdict, ms."
    )
    feed_ms: int = Field(
        0, ge=0, le=10_000, description="Age of market data and fills on arrival, ms."
    )
    queue: Literal["on", "off"] = Field(
        "on",
        description="on: who came last at a price of the synthetic market is filled last; off: a "
        "trade that reaches a price fills everybody there.",
    )
    block_ms: int = Field(
        68, ge=1, le=10_000, description="Spacing of the emulated venue's blocks, ms."
    )
    requests: int = Field(
        10_000,
        ge=0,
        le=10**9,
        description="Requests the emulated venue grants an address before any volume.",
    )

    @property
    def has_queue(self) -> bool:
        """Whether the place in the queue matters."""
        return self.queue == "on"

    @field_validator("url")
    @classmethod
    def _host_can_be_one(cls, url: str) -> str:
        if not url.strip("/"):
            return url
        unfit = UnfitError("is not the address of a host; write it as http://127.0.0.1:3001")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise unfit from None
        if parts.username is not None or parts.query or parts.fragment:
            raise unfit
        if not host or not ("[" in parts.netloc or _is_host(host)):
            raise unfit
        return url


def _is_host(name: str) -> bool:
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in labels)


class LabParams(BaseModel):
    """How the laboratory sets its variants."""

    model_config = _FROZEN

    law: Literal["world", "prototype"] = Field(
        "world",
        description="world: every variant has the width and the adverse law of its world, floors "
        "at break-even; prototype: widths, floors and fees of the vectorised market model.",
    )


class StartParams(BaseModel):
    """How a run begins."""

    model_config = _FROZEN

    retry_s: float = Field(
        70,
        ge=0,
        le=600,
        description="How long a start goes on asking a venue that is overloaded, down, or away "
        "while orders of an earlier run may rest, s. The venue's limit is per minute.",
    )


class LiveParams(BaseModel):
    """What a person must have said before real money is traded."""

    model_config = _FROZEN

    accept_negative_edge: bool = Field(
        default=False,
        description="Trade although the width that is quoted is not known to pay at this fee. "
        "The run then calls itself a measurement.",
    )
    recording: UsablePath | None = Field(
        None,
        description="Folder of a recording of this market (docs/recordings.md). A live run begins "
        "only where the half spread it opens with pays on it at the account's own fee; check "
        "prints what each width earns.",
    )


class LogParams(BaseModel):
    """What the log keeps."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"reloadable": ["level"]}
    )

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level written."
    )
    dir: UsablePath = Field(Path("logs"), description="Folder of the run directories.")


class ReportParams(BaseModel):
    """The post-mortem of a run (`mmbot report`)."""

    model_config = _FROZEN

    at_end: bool = Field(
        default=True,
        description="Make report.html and report.json when a run has ended, once everything is "
        "cancelled and told.",
    )
