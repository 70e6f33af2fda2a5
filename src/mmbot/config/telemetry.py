"""Who is told of a run while nobody looks: Prometheus, and a person."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mmbot.config.paths import KeyPath
from mmbot.config.words import UnfitError

AlertKind = Literal["kill", "halt", "mismatch", "dead_term", "budget", "watchdog", "summary"]
ALERT_KINDS: Final[tuple[AlertKind, ...]] = get_args(AlertKind)

_EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=128)]


class MetricsParams(BaseModel):
    """The figures of a running daemon for Prometheus, on 127.0.0.1 alone (docs/monitoring.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(
        0, ge=0, le=65_535, description="TCP port of http://127.0.0.1:PORT/metrics; 0: none."
    )


class AlertParams(BaseModel):
    """What a person is told wherever he is, through Apprise; off unless addresses are given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url_env: tuple[_EnvName, ...] = Field(
        (),
        max_length=8,
        description="Names of environment variables that hold Apprise URLs, several separated by "
        "white space. The URLs hold secrets and never stand in a configuration.",
    )
    urls_file: KeyPath | None = Field(
        None, description="File of mode 0600 with an Apprise URL per line; # begins a comment."
    )
    events: tuple[AlertKind, ...] = Field(
        ALERT_KINDS, description="Kinds of events that are told; all by default."
    )
    timeout_s: float = Field(
        5.0, ge=1, le=30, description="How long a service may take to connect, and to answer, s."
    )
    every_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="Three alerts of an event may follow each other; then one per this time, s.",
    )
    budget_hours: float = Field(
        6.0,
        ge=0,
        le=1000,
        description="Hours for which the requests left last at the present churn, below which "
        "`budget` is told, h.",
    )

    @field_validator("events")
    @classmethod
    def _something_is_told(cls, kinds: tuple[AlertKind, ...]) -> tuple[AlertKind, ...]:
        if not kinds:
            raise UnfitError("is empty, so nothing is told; name kinds, or leave it out for all")
        return kinds

    @field_validator("events", "url_env")
    @classmethod
    def _none_stands_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UnfitError(f"names {twice[0]} more than once; take the others out")
        return names

    @field_validator("urls_file", mode="before")
    @classmethod
    def _a_file_and_no_address(cls, name: object) -> object:
        if "://" in str(name):
            raise UnfitError("is an address; write it into a file of mode 0600, its name here")
        return name

    @property
    def is_on(self) -> bool:
        """Whether anybody is told."""
        return bool(self.url_env) or self.urls_file is not None
