"""
From a frame to signed orders, with everything the engine does, against the SDK's pieces.

    python benchmarks/hot_path.py [--rounds 40] [--json]

One step is: the bytes of a 20-level `l2Book` in; out, one signed `order` action of ten orders as
the bytes of a websocket message. Ours runs `Decoder.decode`, `Engine.apply`, `Engine.decide`
(volatility, quote, ladder of five rungs a side, reconciliation, risk gate) and `Gateway.send`
(encoding, signature, framing as a post). The engine lives through the whole benchmark; so that each
frame makes ten placements the venue cancels the ten before it, by an `orderUpdates` frame that is
not timed, nor are its answers to our posts. Every frame holds another price.

"The same way" is that with the SDK's pieces around the same engine: `json.loads` and floats before
it, `order_request_to_order_wire`, `order_wires_to_order_action`, `sign_l1_action` and `json.dumps`
of the same post after it. "Bare" is what a user of the SDK would write without an engine: five
prices a side at fixed distances of the mid, no model, no risk, no state of orders. "As installed"
is eth-keys' pure-Python backend, which `pip install hyperliquid-python-sdk` alone gives; the other
row has coincurve.

All ways run in turn within each round. Times are CPU time of the thread, garbage collection is
frozen, as in the daemon. Also shown: where our step spends its time; a frame in the steady state,
which changes nothing; and a jump of the price, on which every order that would add to a position is
taken off, up to the moment at which the signed cancel is handed over (and until the last request).

Returns 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

import msgspec
import numpy as np
from eth_account import Account
from eth_keys.backends import get_backend
from hyperliquid.utils.signing import (
    order_request_to_order_wire,
    order_wires_to_order_action,
    sign_l1_action,
)
from hyperliquid.utils.types import Cloid

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.events import (
    Acked,
    Book,
    Level,
    LinkUp,
    OrderState,
    OrderUpdate,
    Request,
    Snapshot,
)
from mmbot.core.intents import Place
from mmbot.core.ladder import LadderParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import RiskParams
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument, Side
from mmbot.hyperliquid.gateway import Gateway, GatewayParams
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Handle, HttpReply
from mmbot.hyperliquid.signing import KECCAK_BACKEND, Signer
from mmbot.hyperliquid.wire import Decoder, PostReply

KEY: Final = bytes.fromhex("0123456789" * 6 + "0123")
INSTRUMENT: Final = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
START_NS: Final = 1_791_484_300_000_000_000
ORDERS: Final = 10
TARGETS: Final = {"SDK as installed": 40.0, "SDK with coincurve": 5.0}
OURS: Final = "ours"
PARTS: Final = ("decode", "apply", "decide", "send")
PARAMS: Final = EngineParams(
    # A ladder of full size from the first frame on.
    risk=RiskParams(capital_usd=100, max_position_usd=400, warm_s=0),
    ladder=LadderParams(rungs=ORDERS // 2),
    # The budget of requests must not be what limits a benchmark.
    reconcile=ReconcileParams(requests_burst=2000),
)


class Frames:
    """20-level books in the venue's own text, seeded."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)
        self._gaps = np.cumsum(self._rng.integers(1, 4, (2, 20)), axis=1)

    def at(self, mid_step: int, now_ns: int) -> bytes:
        """The book around a price of `mid_step` thousandths of a dollar, at a time."""

        def side(number: int) -> list[dict[str, Any]]:
            sign = 1 if number else -1
            steps = mid_step + number + sign * (self._gaps[number] - 1)
            sizes = np.round(self._rng.exponential(150, 20) + 0.01, 2)
            return [
                {"px": f"{step / 1000:.3f}".rstrip("0").rstrip("."), "sz": str(size), "n": 3}
                for step, size in zip(steps, sizes, strict=True)
            ]

        data = {"coin": "HYPE", "time": now_ns // NS_PER_MS, "levels": [side(0), side(1)]}
        return json.dumps({"channel": "l2Book", "data": data}, separators=(",", ":")).encode()


class _Handle:
    def cancel(self) -> None:
        """Nothing was set."""


class _NoTimers:
    """Timers that never fire: time stands still between two frames."""

    def call_at(self, when_ns: int, fn: Callable[[], None]) -> Handle:  # noqa: ARG002
        """Set nothing."""
        return _Handle()


class _NoHttp:
    """Nothing goes over HTTP here."""

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        """Refuse."""
        raise AssertionError(path, body, on_done, timeout_s)


class Rig:
    """The daemon's own pieces between bytes in and bytes out, and a venue that says yes."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.sent: list[bytes] = []
        self.first_ns = 0
        self.first_cpu_ns = 0
        self._oid = 1_000
        self._live: dict[str, dict[str, Any]] = {}
        signer = Signer(KEY, is_mainnet=False)
        self.user = signer.address
        self.decoder = Decoder(INSTRUMENT, user=self.user)
        self.engine = Engine(PARAMS, INSTRUMENT, cloid_prefix=0x6D6D << 48 | 1)
        self.gateway = Gateway(
            INSTRUMENT,
            signer,
            Nonces(),
            link_send=self._send,
            http=_NoHttp(),
            clock=lambda: self.now_ns,
            scheduler=_NoTimers(),
            params=GatewayParams(),
            emit=self.engine.apply,
            user=self.user,
        )
        self._begin(self.engine)

    def _begin(self, engine: Engine) -> None:
        """Connect, and read an account that is flat."""
        engine.apply(LinkUp(self.now_ns))
        engine.apply(
            Snapshot(
                recv_ns=self.now_ns,
                requested_at_ns=self.now_ns,
                venue_ms=self.now_ns // NS_PER_MS,
                position_lots=0,
                entry_px=None,
                equity_usd=100.0,
                mark_px=21.3,
                fees=Fees(1.44, 4.32),
                open_orders=(),
                fills=(),
                requests_used=0,
                requests_cap=1_000_000_000,
            )
        )

    def _send(self, text: bytes) -> bool:
        if not self.sent:
            self.first_cpu_ns = thread_time_ns()
            self.first_ns = perf_counter_ns()
        self.sent.append(text)
        return True

    def pass_time(self, ns: int) -> None:
        """Let the clock run; no timer fires."""
        self.now_ns += ns

    def step(self, frame: bytes) -> None:
        """The whole way of one frame."""
        now_ns = self.now_ns
        apply = self.engine.apply
        for event in self.decoder.decode(frame, now_ns):
            apply(event)  # type: ignore[arg-type]  # market data holds events alone
        batch = self.engine.decide(now_ns).batch
        if batch is not None:
            self.gateway.send(batch)

    def parts(self, frame: bytes) -> list[int]:
        """The same, with the CPU time of each part in ns."""
        now_ns = self.now_ns
        marks = [thread_time_ns()]
        events = self.decoder.decode(frame, now_ns)
        marks.append(thread_time_ns())
        for event in events:
            self.engine.apply(event)  # type: ignore[arg-type]
        marks.append(thread_time_ns())
        batch = self.engine.decide(now_ns).batch
        marks.append(thread_time_ns())
        if batch is not None:
            self.gateway.send(batch)
        marks.append(thread_time_ns())
        return [after - before for before, after in itertools.pairwise(marks)]

    # -- the venue's side, never timed ------------------------------------------------------

    def answer(self) -> list[int]:
        """Say yes to every post; returns how many orders each held."""
        sizes = []
        for text in self.sent:
            post = msgspec.json.decode(text)
            action = post["request"]["payload"]["action"]
            statuses = [self._carry_out(entry) for entry in _entries(action)]
            sizes.append(len(statuses))
            kind = "cancel" if action["type"].startswith("cancel") else "order"
            inner = {"type": kind, "data": {"statuses": statuses}}
            payload = {"status": "ok", "response": inner}
            response = {"type": "action", "payload": payload}
            data = {"id": post["id"], "response": response}
            self.feed({"channel": "post", "data": data})
        self.sent.clear()
        return sizes

    def _carry_out(self, entry: dict[str, Any]) -> Any:
        cloid: str = entry["cloid"] if "cloid" in entry else entry["c"]
        if "p" not in entry:
            del self._live[cloid]
            return "success"
        self._oid += 1
        self._live[cloid] = {**entry, "oid": self._oid}
        return {"resting": {"oid": self._oid, "cloid": cloid}}

    def clear(self) -> None:
        """The venue cancels all that rests."""
        now_ms = self.now_ns // NS_PER_MS
        updates = [
            {
                "order": {
                    "coin": "HYPE",
                    "side": "B" if order["b"] else "A",
                    "limitPx": order["p"],
                    "sz": order["s"],
                    "oid": order["oid"],
                    "timestamp": now_ms,
                    "origSz": order["s"],
                    "cloid": cloid,
                },
                "status": "canceled",
                "statusTimestamp": now_ms,
            }
            for cloid, order in self._live.items()
        ]
        self._live.clear()
        self.feed({"channel": "orderUpdates", "data": updates})

    def feed(self, message: dict[str, Any]) -> None:
        """Take a frame of the venue's without deciding."""
        for event in self.decoder.decode(msgspec.json.encode(message), self.now_ns):
            if isinstance(event, PostReply):
                self.gateway.on_reply(event)
            else:
                self.engine.apply(event)  # type: ignore[arg-type]

    @property
    def resting(self) -> int:
        """Orders on the book."""
        return len(self._live)

    def settle(self, frame: bytes) -> None:
        """Let the ladder come to rest at a price."""
        for _ in range(20):
            self.pass_time(NS_PER_S // 4)
            self.step(frame)
            if not self.sent and self.resting == ORDERS:
                return
            self.answer()
        raise AssertionError(f"the ladder does not settle: {self.resting} orders rest")


def _entries(action: dict[str, Any]) -> list[dict[str, Any]]:
    match action["type"]:
        case "order":
            return list(action["orders"])
        case "batchModify":
            return [entry["order"] for entry in action["modifies"]]
        case _:
            return list(action["cancels"])


class SameWay:
    """Our engine between the SDK's pieces."""

    def __init__(self) -> None:
        self.rig = Rig()
        self._wallet = Account.from_key(KEY)
        self._placed: tuple[Place, ...] = ()

    def step(self, frame: bytes) -> None:
        """Frame to signed post."""
        rig, engine = self.rig, self.rig.engine
        data = json.loads(frame)["data"]
        bids, asks = (
            tuple(
                Level(
                    round(INSTRUMENT.ticks(float(level["px"]))),
                    round(INSTRUMENT.lots(float(level["sz"]))),
                )
                for level in side
            )
            for side in data["levels"]
        )
        engine.apply(Book(rig.now_ns, data["time"], bids, asks, is_fast=False))
        batch = engine.decide(rig.now_ns).batch
        assert batch is not None
        self._placed = batch.places
        requests = [
            {
                "coin": "HYPE",
                "is_buy": place.side is Side.BUY,
                "sz": INSTRUMENT.sz(place.sz_lots),
                "limit_px": INSTRUMENT.px(place.px_ticks),
                "order_type": {"limit": {"tif": place.tif.value}},
                "reduce_only": place.is_reduce_only,
                "cloid": Cloid.from_int(place.cloid),
            }
            for place in batch.places
        ]
        _post_by_sdk(self._wallet, requests, rig.now_ns)

    def answer(self) -> int:
        """Say yes to every order, then cancel them all; how many there were. Never timed."""
        rig = self.rig
        for number, place in enumerate(self._placed, start=1):
            oid = rig.now_ns // NS_PER_MS * 100 + number
            rig.engine.apply(Acked(rig.now_ns, Request.PLACE, place.cloid, oid))
            rig.engine.apply(
                OrderUpdate(
                    recv_ns=rig.now_ns,
                    venue_ms=rig.now_ns // NS_PER_MS,
                    oid=oid,
                    cloid=place.cloid,
                    side=place.side,
                    px_ticks=place.px_ticks,
                    sz_lots=place.sz_lots,
                    orig_sz_lots=place.sz_lots,
                    state=OrderState.CANCELED,
                    status="canceled",
                )
            )
        rig.pass_time(NS_PER_S)
        return len(self._placed)


def _post_by_sdk(wallet: Any, requests: list[dict[str, Any]], now_ns: int) -> bytes:
    """The SDK's wire, action and signature, and the post that its websocket would carry."""
    wires = [order_request_to_order_wire(each, INSTRUMENT.asset_id) for each in requests]
    action = order_wires_to_order_action(wires)
    nonce = now_ns // NS_PER_MS
    expires_ms = nonce + 3_000
    signature = sign_l1_action(wallet, action, None, nonce, expires_ms, False)  # noqa: FBT003
    payload = {
        "action": action,
        "nonce": nonce,
        "signature": signature,
        "vaultAddress": None,
        "expiresAfter": expires_ms,
    }
    request = {"type": "action", "payload": payload}
    return json.dumps({"method": "post", "id": nonce, "request": request}).encode()


class SdkWay:
    """What a user of the SDK would write: floats, fixed distances, its wire and its signature."""

    def __init__(self) -> None:
        self._wallet = Account.from_key(KEY)
        self._number = 0
        self.text = b""

    def step(self, frame: bytes, now_ns: int) -> None:
        """Frame to signed post."""
        levels = json.loads(frame)["data"]["levels"]
        bids, asks = (
            [(float(level["px"]), float(level["sz"])) for level in side] for side in levels
        )
        mid = (bids[0][0] + asks[0][0]) / 2
        requests = []
        for number in range(ORDERS):
            is_buy = number < ORDERS // 2
            bps = 4.0 + 2.0 * (number % (ORDERS // 2))
            self._number += 1
            requests.append(
                {
                    "coin": "HYPE",
                    "is_buy": is_buy,
                    "sz": 0.72,
                    "limit_px": float(f"{mid * (1 - bps * 1e-4 * (1 if is_buy else -1)):.5g}"),
                    "order_type": {"limit": {"tif": "Alo"}},
                    "reduce_only": False,
                    "cloid": Cloid.from_int((0x6D6D << 112) + self._number),
                }
            )
        self.text = _post_by_sdk(self._wallet, requests, now_ns)


def use(backend: str) -> None:
    """Name the ECDSA of eth-keys, which it reads at every signature."""
    os.environ["ECC_BACKEND_CLASS"] = f"eth_keys.backends.{backend}"
    assert type(get_backend()).__name__ == backend


def check(rig: Rig, sdk: SdkWay, frame: bytes) -> None:
    """Both must send one action of ten post-only orders with cloids."""
    rig.step(frame)
    sdk.step(frame, rig.now_ns)
    (ours,) = rig.sent
    for text in (ours, sdk.text):
        action = json.loads(text)["request"]["payload"]["action"]
        assert action["type"] == "order"
        assert len(action["orders"]) == ORDERS
        assert all(set(order) == set("abpsrtc") for order in action["orders"])
    rig.answer()


class Walk:
    """Another price for every step, within the same figures."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._rng = np.random.default_rng(2)
        self.step = 21_300

    def next(self, now_ns: int) -> bytes:
        """The next book of a walk."""
        self.step += int(self._rng.integers(-3, 4))
        self.step = min(22_000, max(20_500, self.step))
        return self._frames.at(self.step, now_ns)

    def jump(self, steps: int, now_ns: int) -> bytes:
        """A book that far away."""
        self.step += steps
        return self._frames.at(self.step, now_ns)

    def same(self, now_ns: int) -> bytes:
        """Other sizes at the same prices."""
        return self._frames.at(self.step, now_ns)


def compare(rounds: int) -> dict[str, float]:
    """Medians of each way in us, run in turn."""
    rig, sdk, same = Rig(), SdkWay(), SameWay()
    # A market for each engine: of a shared one each would miss the frames of the other, and their
    # sum within one second of its own is a jump of the price, on which it adds nothing.
    walk, same_walk = Walk(), Walk()
    check(rig, sdk, walk.next(rig.now_ns))
    gc.collect()
    gc.freeze()
    gc.disable()
    names = [OURS, *TARGETS, *(f"{name}, bare" for name in TARGETS)]
    samples: dict[str, list[float]] = {name: [] for name in names}
    calls = {"CoinCurveECCBackend": 5, "NativeECCBackend": 1}
    for _ in range(rounds):
        times = []
        for _ in range(20):
            times.append(_timed(rig.step, _prepare(rig, walk)))
            assert rig.answer() == [ORDERS]
        samples[OURS].append(median(times))
        for name, backend in zip(TARGETS, reversed(calls), strict=True):
            use(backend)
            times = []
            for _ in range(calls[backend]):
                times.append(_timed(same.step, same_walk.next(same.rig.now_ns)))
                assert same.answer() == ORDERS
            samples[name].append(median(times))
            times = [
                _timed(lambda frame: sdk.step(frame, rig.now_ns), walk.next(rig.now_ns))
                for _ in range(calls[backend])
            ]
            samples[f"{name}, bare"].append(median(times))
    gc.enable()
    gc.unfreeze()
    return {name: median(times) for name, times in samples.items()}


def _prepare(rig: Rig, walk: Walk) -> bytes:
    """Empty the book, let a second pass, and make the next frame."""
    rig.clear()
    rig.pass_time(NS_PER_S)
    return walk.next(rig.now_ns)


def _timed(run: Callable[[bytes], None], frame: bytes) -> float:
    began = thread_time_ns()
    run(frame)
    return (thread_time_ns() - began) / 1e3


def breakdown(steps: int) -> dict[str, dict[str, float]]:
    """Where a step with ten orders, and a step without any, spend their time, in us."""
    rig, walk = Rig(), Walk()
    rig.step(walk.next(rig.now_ns))
    rig.answer()
    gc.collect()
    gc.freeze()
    gc.disable()
    placing: list[list[int]] = []
    for _ in range(steps):
        placing.append(rig.parts(_prepare(rig, walk)))
        assert rig.answer() == [ORDERS]
    rig.settle(walk.next(rig.now_ns))
    steady: list[list[int]] = []
    while len(steady) < steps:
        rig.pass_time(50 * NS_PER_MS)
        times = rig.parts(walk.same(rig.now_ns))
        if rig.sent:
            rig.answer()
        else:
            steady.append(times)
    gc.enable()
    gc.unfreeze()
    return {
        name: {
            **{
                part: median(column) / 1e3
                for part, column in zip(PARTS, zip(*rows, strict=True), strict=True)
            },
            "total": median(sum(row) for row in rows) / 1e3,
        }
        for name, rows in (("ten orders out", placing), ("nothing to change", steady))
    }


def cancels(jumps: int) -> dict[str, float]:
    """From a frame with a jump to the protective cancel, in us."""
    # An engine of its own for every jump: one that saw hundreds of them would quote far away.
    rigs = [Rig() for _ in range(jumps)]
    walk = Walk()
    gc.collect()
    gc.freeze()
    gc.disable()
    times: dict[str, list[float]] = {"cancel_cpu": [], "cancel_wall": [], "all_sent_cpu": []}
    shapes: dict[str, int] = {}
    for number, rig in enumerate(rigs):
        rig.settle(walk.next(rig.now_ns))
        for _ in range(8):
            rig.pass_time(NS_PER_S // 4)
            rig.step(walk.same(rig.now_ns))
            rig.answer()
        # 20 bps up, then down again: the asks, then the bids, are inside their floor, and the price
        # jumped, so that without a position nothing may stay.
        frame = walk.jump(43 if number % 2 == 0 else -43, rig.now_ns)
        began, began_cpu = perf_counter_ns(), thread_time_ns()
        rig.step(frame)
        ended_cpu = thread_time_ns()
        assert rig.sent, "the jump made no request"
        actions = [json.loads(text)["request"]["payload"]["action"] for text in rig.sent]
        assert actions[0]["type"] == "cancelByCloid", actions[0]["type"]
        shape = " + ".join(f"{action['type']} {len(_entries(action))}" for action in actions)
        shapes[shape] = shapes.get(shape, 0) + 1
        times["cancel_cpu"].append((rig.first_cpu_ns - began_cpu) / 1e3)
        times["cancel_wall"].append((rig.first_ns - began) / 1e3)
        times["all_sent_cpu"].append((ended_cpu - began_cpu) / 1e3)
        rig.answer()
    gc.enable()
    gc.unfreeze()
    figures: dict[str, float] = {"jumps": jumps}
    for name, column in times.items():
        figures[f"{name}_p50_us"] = median(column)
        figures[f"{name}_p99_us"] = quantiles(column, n=100)[98]
    return {**figures, **{f"sent: {shape}": count for shape, count in sorted(shapes.items())}}


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    medians = compare(args.rounds)
    ratios = {name: us / medians[OURS] for name, us in medians.items()}
    parts = breakdown(args.steps)
    protect = cancels(args.steps)
    missed = [name for name, target in TARGETS.items() if ratios[name] < target]
    if args.json:
        figures = {"medians_us": medians, "ratios": ratios, "parts_us": parts, "cancel": protect}
        print(json.dumps({**figures, "missed": missed}, indent=1))
        return 1 if missed else 0
    print(f"20-level l2Book in, {ORDERS} signed orders out, medians of {args.rounds} rounds")
    print(f"our hash: {KECCAK_BACKEND}")
    for name, us in medians.items():
        target = f"  target {TARGETS[name]:.0f}x" if name in TARGETS else ""
        print(f"{name:24s} {us:10.1f} us {ratios[name]:8.1f}x{target}")
    print(f"where our time goes, medians of {args.steps} steps, us of CPU")
    print(f"{'':20s}" + "".join(f"{part:>9s}" for part in (*PARTS, "total")))
    for name, row in parts.items():
        print(f"{name:20s}" + "".join(f"{row[part]:9.1f}" for part in (*PARTS, "total")))
    print(f"price jumps by 20 bps, {args.steps} times, us")
    for key, what in (
        ("cancel_cpu", "frame to signed cancel, CPU time"),
        ("cancel_wall", "frame to signed cancel, wall time"),
        ("all_sent_cpu", "frame to last request, CPU time"),
    ):
        print(
            f"{what:36s} p50 {protect[key + '_p50_us']:7.1f}  p99 {protect[key + '_p99_us']:7.1f}"
        )
    for name, count in protect.items():
        if name.startswith("sent: "):
            print(f"  {name} ({count:.0f} times)")
    print(f"MISSED: {', '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
