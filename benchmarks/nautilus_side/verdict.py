"""
What the facts, the traffic and the adapter's own log say of each check.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.nautilus_side.phases import MARK
from benchmarks.nautilus_side.relay import Traffic

SOURCE: Final = Path(__file__).resolve().parent.parent.parent / "src" / "mmbot" / "emulator"
MASS: Final = re.compile(r"Generated mass status: (\d+) orders, (\d+) fills, (\d+) positions")
REFUSED: Final = "Order submission rejected by exchange"
LIQUIDATED: Final = ("Liquidation fill: ", "Liquidation event: ")
ANNOUNCED: Final = ("Cannot process fills: account_id is None", *LIQUIDATED)
NO_WORD: Final = "noSuchWord"
UNREAD: Final = {"order status tooManyOpenOrdersRejected"}
"""
Words that the pinned release does not know, and the venue uses: public captures of its order
updates have this one (1 % of them), and other clients list it. It takes 1000 open orders.
"""
DIRECTIONS: Final = (
    *("Open Long", "Close Long", "Open Short", "Close Short", "Long > Short", "Short > Long"),
    *(f"Liquidated {mode} {side}" for mode in ("Cross", "Isolated") for side in ("Long", "Short")),
    "Settlement",
)
LOUD: Final = re.compile(r"\[(WARN|ERROR)\] (.*)")
ENDED: Final = "ended"
CHANNELS: Final = {
    *("subscriptionResponse", "post", "user", "orderUpdates"),
    *("bbo", "l2Book", "trades", "candle", "activeAssetCtx", "allMids", "allDexsAssetCtxs"),
}
CHECKS: Final = {
    "67": "nautilus exec client connects, submits ALO, cancels, modifies, reconciles by its URLs",
    "9": "parsers of nautilus (strict enums) accept every reply",
    "63": "nautilus order entry by post works",
}


def words(samples: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """
    Every word of the exchange that the adapter reads by an enum, in a frame the exchange itself
    sent, and last a status that no venue has: were the adapter silent about it, its silence about
    the others would prove nothing. A direction of a fill it takes as it comes.

    Order statuses are taken from the source of the exchange, so that none is forgotten.
    """
    found = {"open", "filled", "canceled", "triggered", "scheduledCancel"}
    for path in SOURCE.glob("*.py"):
        found.update(re.findall(r'"([a-z]\w+(?:Canceled|Rejected))"', path.read_text("utf-8")))
    frames: list[tuple[str, Any]] = []

    def status(word: str) -> tuple[str, Any]:
        frame = copy.deepcopy(samples["orderUpdates"])
        row = frame["data"][0]
        row["order"]["oid"] = 900_000_000_000 + len(frames)
        row["order"].pop("cloid", None)
        row["status"] = word
        frame["data"] = [row]
        return f"order status {word}", frame

    def fill(word: str) -> tuple[str, Any]:
        frame = copy.deepcopy(samples["fills"])
        row = frame["data"]["fills"][0]
        row["oid"] = row["tid"] = 900_000_000_000 + len(frames)
        row.pop("cloid", None)
        row["dir"] = word
        frame["data"]["fills"] = [row]
        return f"fill direction {word}", frame

    for word in sorted(found):
        frames.append(status(word))  # noqa: PERF401 - the number of frames so far is part of each
    for word in DIRECTIONS:
        frames.append(fill(word))  # noqa: PERF401
    funding = {"coin": "HYPE", "usdc": "-0.0131", "szi": "2.0", "fundingRate": "0.00025"}
    row = {"time": 1_791_486_000_042, **funding, "nSamples": None}
    frames.append(("user event funding", {"channel": "user", "data": {"funding": row}}))
    frames.append(status(NO_WORD))
    return frames


def complaints(log: str) -> list[str]:
    """
    What the adapter itself warned of, but for what is as it should be: it repeats the refusals it
    was meant to provoke; a frame pushed to every socket reaches its socket for data, where it has
    no account to book a fill to; and it announces a liquidation.
    """
    lines = [match.group(2) for match in map(LOUD.search, log.splitlines()) if match]
    mine = [line for line in lines if "nautilus_hyperliquid" in line]
    return [line for line in mine if not any(part in line for part in (REFUSED, *ANNOUNCED))]


class Judge:
    """
    Collects rows of check, name, verdict and evidence; a verdict of None is a note.

    Args:
        facts: What the phases wrote.
        traffic: What went through the relays.
        logs: The adapter's log of each phase.
    """

    def __init__(self, facts: list[list[Any]], traffic: Traffic, logs: Mapping[str, str]) -> None:
        self.rows = [row for row in facts if row[0] in CHECKS]
        self._traffic = traffic
        self._logs = logs
        ended = {row[1] for row in facts if row[0] == ENDED}
        for check in CHECKS:
            missing = sorted(logs.keys() - ended)
            told = f"not: {', '.join(missing)}" if missing else ""
            self._put(check, "every phase ran to its end", not missing, told)
        self._urls()
        self._replies()
        self._words()
        self._posts()

    def _put(self, check: str, name: str, is_so: bool | None, told: str) -> None:
        self.rows.append([check, name, is_so, told])

    def _urls(self) -> None:
        """Check 67: which base URL carried what, and what a fresh node made of the account."""
        traffic = self._traffic
        self._put("67", "base_url_http is asked", bool(traffic.info), _counts(traffic.info))
        streams = _counts(traffic.subscribed)
        self._put("67", "base_url_ws is subscribed to", bool(traffic.subscribed), streams)
        told = _counts(traffic.exchange) or "taken, but this release sends no action by HTTP"
        self._put("67", "base_url_exchange", None, told)
        name = "a fresh node reconciles every order that has fills"
        found = MASS.search(self._logs["reconcile"])
        if found is None:
            self._put("67", name, is_so=False, told="no mass status in its log")
            return
        orders, fills, positions = map(int, found.groups())
        told = f"{orders} orders, fills of {fills}, {positions} position"
        is_so = fills == traffic.filled > 0 and positions == 1
        self._put("67", name, is_so, f"{told}; venue: fills of {traffic.filled}")

    def _replies(self) -> None:
        """Check 9: what was asked was answered, and read without a complaint."""
        for phase in ("trade", "reconcile"):
            said = complaints(self._logs[phase])
            name = f"{phase}: the adapter complains of nothing"
            self._put("9", name, not said, "; ".join(said[:3]))
        refused = [*self._traffic.info_refused, *self._traffic.errors]
        name = "every /info answered 200, no error frame"
        self._put("9", name, not refused, "; ".join(refused[:3]))
        channels = self._traffic.channels
        missing = sorted(CHANNELS - channels.keys())
        told = f"missing {', '.join(missing)}" if missing else _counts(channels)
        self._put("9", "every channel it subscribes to was heard", not missing, told)

    def _words(self) -> None:
        """Check 9: every word that is an enum to the adapter."""
        log = self._logs["words"]
        heard = 0
        for part in log.split(MARK)[1:]:
            word, _, rest = part.partition("\n")
            word = word.strip()
            said = complaints(rest)
            if word.endswith(NO_WORD):
                told = said[0] if said else "read without a complaint"
                self._put("9", f"{word} is refused (the control)", bool(said), told)
                continue
            heard += 1
            if said:
                is_known = word in UNREAD and all("unknown variant" in line for line in said)
                told = f"{'not read (known)' if is_known else 'complaint'}: {said[0]}"
                self._put("9", word, None if is_known else False, told)
        announced = [part for part in LIQUIDATED if part in log]
        told = " and ".join(part.strip(": ").lower() for part in announced) or "not announced"
        self._put("9", "a liquidation is read", len(announced) == len(LIQUIDATED), told)
        is_so = heard > len(DIRECTIONS) + 20
        self._put("9", "words that are enums, one frame each", is_so, f"{heard} frames")

    def _posts(self) -> None:
        """Check 63."""
        traffic = self._traffic
        by_post = Counter(traffic.posts)
        kinds = {name.removeprefix("action ") for name in by_post}
        is_so = {"order", "modify"} <= kinds and bool(kinds & {"cancel", "cancelByCloid"})
        self._put("63", "order, modify and cancel by post", is_so, _counts(by_post))
        is_so = bool(traffic.post_ids) and all(type(number) is int for number in traffic.post_ids)
        is_so = is_so and not traffic.waiting and len(traffic.answered) == len(traffic.post_ids)
        self._put("63", "numeric ids, each answered", is_so, traffic.told())
        told = _counts(Counter(traffic.answered))
        self._put("63", "every answer is an action's", set(traffic.answered) == {"action"}, told)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
