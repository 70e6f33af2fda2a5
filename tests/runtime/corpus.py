"""Messages to damage: of the emulated exchange, from a run; of the venue, where recorded."""

from __future__ import annotations

import copy
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from core.rig import Rig, params
from mmbot.core.engine import Engine
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.replies import action_reply
from mmbot.hyperliquid.universe import Universe
from mmbot.hyperliquid.universe import fees as fees_of
from runtime.pipe_rig import PipeRun

_REPO: Final = Path(__file__).resolve().parent.parent.parent
SETS: Final = (
    "reference.coin=BTC",
    "risk.warm_s=0",
    "risk.loss_limit_frac=0.5",
    "risk.drawdown_limit_frac=0.5",
    "risk.soft_limit_frac=0.5",
)
_LOOKS_S: Final = (45.0, 60.0, 60.0, 35.0)
"""Spans of the run between the moments whose engine is copied; funding falls in it."""
_KEPT: Final = 60
"""Messages of each channel that are kept as they came, spread over the run."""
PARSERS: Final[dict[str, Callable[[bytes, Instrument], object]]] = {
    "openOrders": lambda body, it: wire_rest.open_orders(body, it, 1),
    "frontendOpenOrders": lambda body, it: wire_rest.open_orders(body, it, 1),
    "userFills": lambda body, it: wire_rest.user_fills(body, it, "0x1", 1),
    "orderStatus": lambda body, it: wire_rest.order_status(body, it, 1),
    "clearinghouseState": wire_rest.clearinghouse_state,
    "userRateLimit": lambda body, _: wire_rest.user_rate_limit(body),
    "userFees": lambda body, it: fees_of(it, body),
    "userRole": lambda body, _: wire_rest.user_role(body),
    "exchangeStatus": lambda body, _: wire_rest.exchange_time_ms(body),
    "userAbstraction": lambda body, _: wire_rest.user_abstraction(body),
    "activeAssetData": lambda body, _: wire_rest.active_asset_data(body),
    "candleSnapshot": lambda body, _: wire_rest.candle_ranges_bps(body),
    "meta": lambda body, _: Universe.parse(body, None, ""),
    "metaAndAssetCtxs": lambda body, it: wire_rest.market_ctx(body, it.coin),
    "perpDexs": lambda body, _: wire_rest.perp_dexs(body),
    "perpsAtOpenInterestCap": lambda body, _: wire_rest.coins_at_cap(body),
    "spotMeta": lambda body, _: wire_rest.spot_tokens(body),
    "exchange": lambda body, _: action_reply(body),
}
"""Who reads a body, by the type of the question."""


class Moment(msgspec.Struct):
    """An engine in the middle of a run, when that was, and what came next."""

    engine: Engine
    at_ns: int
    after: int


class Corpus(msgspec.Struct):
    """What there is to damage."""

    instrument: Instrument
    user: str
    frames: list[bytes]
    """Every frame of a run, in order."""
    channels: dict[str, list[bytes]]
    """Frames by channel, recorded ones of the venue among them."""
    replies: list[bytes]
    """Answers to actions, as frames."""
    bodies: dict[str, list[bytes]]
    """Bodies by the type of the question."""
    moments: list[Moment]


def collect(seed: int = 3) -> Corpus:
    """Run the program on the emulated exchange, and keep what it was told."""
    run = PipeRun("demo", seed=seed, sets=SETS)
    frames: list[bytes] = []
    bodies: dict[str, list[bytes]] = defaultdict(list)

    def tap(text: str) -> list[tuple[int, str]]:
        frames.append(text.encode())
        return [(0, text)]

    run.dialer.tamper = tap
    post = run.http.post

    def noting(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        kind = json.loads(body).get("type", "exchange")

        def done(reply: HttpReply) -> None:
            bodies[kind].append(reply.body)
            on_done(reply)

        post(path, body, done, timeout_s)

    run.http.post = noting  # type: ignore[method-assign]
    run.start()
    moments: list[Moment] = []
    for span_s in _LOOKS_S:
        run.sim.run_for(span_s)
        engine = copy.deepcopy(run.trader.engine)
        moments.append(Moment(engine, run.sim.clock(), len(frames)))
    # A new connection, and what only a person or a start asks.
    run.dialer.cut()
    run.sim.run_for(5)
    resting = run.resting()
    for question in (
        {"type": "orderStatus", "user": run.user, "oid": resting[0]["cloid"] if resting else "0x1"},
        {"type": "orderStatus", "user": run.user, "oid": f"0x{9:032x}"},
        *({"type": kind, "user": run.user} for kind in ("userRole", "userAbstraction")),
        *({"type": kind} for kind in ("exchangeStatus", "meta", "metaAndAssetCtxs", "perpDexs")),
        {"type": "spotMeta"},
        {"type": "openOrders", "user": run.user},
    ):
        run.http.post("/info", msgspec.json.encode(question), lambda _: None, 5)
    now_ms = run.sim.clock() // NS_PER_MS
    span = {"coin": "HYPE", "interval": "1h", "startTime": now_ms - 86_400_000, "endTime": now_ms}
    run.http.post(
        "/info", msgspec.json.encode({"type": "candleSnapshot", "req": span}), lambda _: None, 5
    )
    run.sim.run_for(3)
    channels: dict[str, list[bytes]] = defaultdict(list)
    for frame in frames:
        channels[channel_of(frame)].append(frame)
    kept = {name: found[:: max(1, len(found) // _KEPT)] for name, found in channels.items()}
    for frame in _recorded_frames():
        kept.setdefault(channel_of(frame), []).append(frame)
    for kind, found in _recorded_bodies().items():
        bodies[kind] += found
    replies = [*kept["post"], *_recorded_replies()]
    return Corpus(
        instrument=run.instrument,
        user=run.user,
        frames=frames,
        channels=kept,
        replies=replies,
        bodies={kind: found[:_KEPT] for kind, found in bodies.items() if kind in PARSERS},
        moments=[*moments, _fresh(run.instrument)],
    )


def _fresh(instrument: Instrument) -> Moment:
    """An engine that has only just started: most of what it estimates is not there yet."""
    rig = Rig(params(), instrument=instrument)
    rig.settle()
    return Moment(rig.engine, rig.now_ns, 0)


def channel_of(frame: bytes) -> str:
    """Channel of a sound frame."""
    try:
        found = json.loads(frame)
    except ValueError:
        return "none"
    return str(found.get("channel", "none")) if isinstance(found, dict) else "none"


def _recorded() -> Path | None:
    root = Path(os.environ.get("MMBOT_DATA", _REPO.parent / "shared" / "data"))
    folder = root / "hyperliquid-payloads"
    return folder if folder.is_dir() else None


def _recorded_frames() -> Iterable[bytes]:
    """Frames of the venue as they were recorded; none where they are not there."""
    folder = _recorded()
    for path in sorted(folder.glob("ws_*")) if folder is not None else ():
        raw = path.read_bytes().strip()
        for line in raw.splitlines() if path.suffix == ".jsonl" else [raw]:
            found = json.loads(line)
            pair = isinstance(found, dict) and "push" in found
            for message in (found["ack"], found["push"]) if pair else (found,):
                text = json.dumps(message, separators=(",", ":"))
                yield text.encode()
                # The same of our coin: of another it is hardly looked at.
                yield re.sub(r'"coin":"[^"]*"', '"coin":"HYPE"', text).encode()


def _recorded_replies() -> Iterable[bytes]:
    folder = _recorded()
    path = folder / "exchange_responses_observed.jsonl" if folder is not None else None
    for line in path.read_bytes().splitlines() if path is not None else ():
        found = json.loads(line)
        payload = found.get("response", found) if isinstance(found, dict) else found
        if isinstance(found, dict) and "status" in found:
            payload = found
        data = {"id": 1, "response": {"type": "action", "payload": payload}}
        yield json.dumps({"channel": "post", "data": data}, separators=(",", ":")).encode()


_FILES: Final = {
    "info_openOrders.json": "openOrders",
    "info_frontendOpenOrders_trigger.json": "openOrders",
    "info_clearinghouseState_HYPE_isolated.json": "clearinghouseState",
    "info_clearinghouse_whale.json": "clearinghouseState",
    "info_orderStatus_found.json": "orderStatus",
    "info_orderStatus_unknownOid.json": "orderStatus",
    "info_userRateLimit.json": "userRateLimit",
    "info_userFills_maker_rebate_cloid.json": "userFills",
    "info_perpdexs.json": "perpDexs",
    "info_metaAndAssetCtxs_sample.json": "metaAndAssetCtxs",
    "rest_user_role.json": "userRole",
}


def _recorded_bodies() -> dict[str, list[bytes]]:
    folder = _recorded()
    found: dict[str, list[bytes]] = defaultdict(list)
    for name, kind in _FILES.items() if folder is not None else ():
        assert folder is not None
        if (folder / name).exists():
            found[kind].append((folder / name).read_bytes().strip())
    return found
