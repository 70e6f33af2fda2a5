"""
Faults on demand: what a venue does to a client on a bad day, one switch each.

A test, or a person over the admin route, sets the fields of `Faults`; counted ones wear off by
themselves. What is lost after commit has happened: the order rests, and the client has to find it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mmbot.errors import ConfigError

_Status = Annotated[int, msgspec.Meta(ge=400, le=599)]
_Delay = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """
    Faults in force.

    Attributes:
        refuse: HTTP statuses the next requests to `/exchange` get instead of being carried out.
        refuse_info: The same for `/info`.
        answer: HTTP statuses the next actions get after they were carried out.
        refuse_batch: Texts with which the next batches of orders or modifies are refused, each as
            one status for the whole batch; none of it is carried out.
        drop: The next so many actions are carried out and never answered; over HTTP the connection
            is cut.
        lose: The next so many actions never reach the venue and are never answered.
        delay_ms: Every answer to an action comes this much later.
        info_delay_ms: Every answer to a question comes this much after it was looked up, so that it
            is older than what the streams told meanwhile.
        event_lag_ms: Account events come this much later than they happened.
        is_event_first: Events of an action reach the socket before the answer to it.
        unknown_oid_lag_ms: `orderStatus` does not know an order younger than this.
        is_post_only: The venue is in its window after an upgrade: only ALO orders are accepted.
        is_halted: No block is made: nothing is carried out and nothing is pushed, while sockets,
            heartbeats and questions live on. What was due meanwhile happens at the end of it.
        is_modify_reversed: A modify reports the new order before the old one's cancel.
        disconnect_per_s: Chance per second that a socket is cut without notice.
        mute: Channels that are no longer pushed, while the socket lives on.
    """

    refuse: list[_Status] = []
    refuse_info: list[_Status] = []
    answer: list[_Status] = []
    refuse_batch: list[Annotated[str, msgspec.Meta(max_length=256)]] = []
    drop: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    lose: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    delay_ms: _Delay = 0
    info_delay_ms: _Delay = 0
    event_lag_ms: _Delay = 0
    is_event_first: bool = False
    unknown_oid_lag_ms: _Delay = 0
    is_post_only: bool = False
    is_halted: bool = False
    is_modify_reversed: bool = False
    disconnect_per_s: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    mute: list[Annotated[str, msgspec.Meta(max_length=64)]] = []

    def update(self, changes: dict[str, Any]) -> None:
        """
        Set the named faults, leaving the others.

        Raises:
            ConfigError: An unknown name, or a value of the wrong kind or out of bounds; nothing is
                changed then.
        """
        current = msgspec.to_builtins(self)
        try:
            wanted = msgspec.convert({**current, **changes}, Faults)
        except msgspec.ValidationError as error:
            msg = f"faults: {error}; known are {', '.join(self.__struct_fields__)}"
            raise ConfigError(msg) from error
        for name in changes:
            setattr(self, name, getattr(wanted, name))


def take(statuses: list[int]) -> int | None:
    """Next status of a list that wears off, or None."""
    return statuses.pop(0) if statuses else None
