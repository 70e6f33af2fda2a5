"""What a trader speaks with the venue through, and what the parts of one trader are built from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from mmbot.config import Config
from mmbot.core.events import Event
from mmbot.core.intents import KillReason
from mmbot.core.triggers import closes_position
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import VenueError
from mmbot.hyperliquid.deadman import DeadMan
from mmbot.hyperliquid.gateway import Gateway
from mmbot.hyperliquid.link import Link
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Ports
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.wire import Decoder
from mmbot.runtime.flatten import Closed, Flattener
from mmbot.runtime.telling import Log


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """Who trades what, by which rules, over which ports."""

    config: Config
    instrument: Instrument
    signer: Signer
    user: str
    ports: Ports
    nonces: Nonces
    cloid_prefix: int
    url: str
    """WebSocket address of the venue."""
    jitter: random.Random
    """Spreads reconnects."""

    @property
    def lifetime_ns(self) -> int:
        """How long a placement may wait before the venue refuses it."""
        return round(self.config.gateway.expires_after_s * NS_PER_S)

    def closes(self, reason: KillReason) -> bool:
        """Whether the position is closed after this trip of the kill switch."""
        return reason.is_flatten or (self.config.kill.flatten and closes_position(reason.trigger))

    def flattener(self, log: Log, on_done: Callable[[Closed], None]) -> Flattener:
        """What closes the position; it shares nothing with the engine but the account."""
        return Flattener(
            self.instrument,
            signer=self.signer,
            user=self.user,
            http=self.ports.http,
            clock=self.ports.clock,
            scheduler=self.ports.scheduler,
            gateway=self.config.gateway,
            params=self.config.flatten,
            nonces=self.nonces,
            cloid_prefix=self.cloid_prefix,
            log=log,
            on_done=on_done,
        )


class Connections(NamedTuple):
    """What speaks with the venue, and what cancels when that falls silent."""

    decoder: Decoder
    link: Link
    gateway: Gateway
    dead_man: DeadMan


def connect(
    basis: Basis,
    *,
    emit: Callable[[Event], None],
    on_frames: Callable[[Sequence[bytes], int], None],
    on_up: Callable[[int], None],
    on_lost: Callable[[int, str], None],
    on_refused: Callable[[VenueError], None],
    log: Callable[[], Log],
) -> Connections:
    """Build what speaks with the venue; nothing connects yet."""
    config, instrument, ports = basis.config, basis.instrument, basis.ports
    clock, scheduler, http = ports.clock, ports.scheduler, ports.http
    reference = config.reference.coin or None
    decoder = Decoder(instrument, user=basis.user, reference_coin=reference)
    link = Link(
        basis.url,
        subscriptions=subscriptions(instrument.coin, basis.user, reference),
        dialer=ports.dialer,
        clock=clock,
        scheduler=scheduler,
        jitter=basis.jitter,
        params=config.link,
        on_frames=on_frames,
        on_up=on_up,
        on_lost=on_lost,
        on_refused=on_refused,
    )
    gateway = Gateway(
        instrument,
        basis.signer,
        basis.nonces,
        link_send=link.send,
        http=http,
        clock=clock,
        scheduler=scheduler,
        params=config.gateway,
        emit=emit,
        user=basis.user,
    )
    dead_man = DeadMan(
        span_s=config.gateway.schedule_cancel_s,
        budget=gateway.budget,
        send=gateway.schedule_cancel,
        clock=clock,
        scheduler=scheduler,
        tell=lambda event, facts: log().info(event, **facts),
    )
    return Connections(decoder, link, gateway, dead_man)


def subscriptions(coin: str, user: str, reference: str | None) -> list[dict[str, object]]:
    """
    Every stream the engine lives on; `bbo`, `trades` and fast books are what it reacts to.

    The plain book tells what lies behind five levels that are all ours.
    """
    wanted: list[dict[str, object]] = [
        {"type": "bbo", "coin": coin},
        {"type": "l2Book", "coin": coin, "fast": True},
        {"type": "l2Book", "coin": coin, "fast": False},
        {"type": "trades", "coin": coin},
        {"type": "activeAssetCtx", "coin": coin},
        {"type": "orderUpdates", "user": user},
        {"type": "userFills", "user": user},
        {"type": "userFundings", "user": user},
    ]
    if reference is not None:
        wanted.append({"type": "bbo", "coin": reference})
    return wanted
