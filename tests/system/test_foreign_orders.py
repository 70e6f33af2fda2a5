"""A start among orders of others in its market: what the process says, and what it sends."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mmbot.core.intents import Place
from mmbot.core.types import Side
from mmbot.errors import Exit
from mmbot.hyperliquid import actions
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import Universe
from mmbot.runtime.cloids import CLOID_MAGIC
from system.harness import STILL, Exchange, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
OURS = CLOID_MAGIC << 112 | 1
"""Of an earlier run of this program."""
THEIRS = 0xABCDEF << 96 | 7


def rest(venue: Exchange, cloid: int, px: int) -> None:
    """Place an order with the key of the account, as its owner does by another program."""
    universe = Universe.parse(json.dumps(venue.info(type="meta")).encode(), None, "")
    instrument = universe.instrument("HYPE")
    ticks, lots = px * instrument.ticks_per_usd, instrument.lots_per_coin
    place = Place(cloid, Side.BUY, ticks, lots)
    signer = Signer(bytes.fromhex(venue.accounts[0]["private_key"][2:]), is_mainnet=False)
    action = actions.order(instrument, [place])
    nonce = time.time_ns() // 1_000_000
    body = actions.body(action, nonce, signer.sign(action.msgpack, nonce, None), None, None)
    request = urllib.request.Request(
        f"{venue.url}/exchange", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    (status,) = answer["response"]["data"]["statuses"]
    assert "resting" in status, answer


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_start_among_foreign_orders_is_refused_as_check_refuses_it(
    tmp_path: Path, command: str
) -> None:
    """
    They would trade with ours, and move the position beside us.

    What an earlier run of ours left is cancelled all the same; the others are nobody's business.
    """
    with exchange(sets=STILL) as venue:
        rest(venue, OURS, 20)
        rest(venue, THEIRS, 21)
        before = len(venue.actions())
        process = start(
            command,
            f"--config={CONFIG}",
            f"--set=emulator.url={venue.url}",
            f"--set=state_dir={tmp_path / 'state'}",
            f"--set=log.dir={tmp_path / 'logs'}",
            *(["--for=1s"] if command == "run" else []),
        )
        out, err = process.communicate(timeout=120)
        sent = [action["type"] for action in venue.actions()[before:]]
        left = sorted(row["limitPx"] for row in venue.open_orders())

    assert process.returncode == Exit.CHECK, err
    said = err if command == "run" else out
    assert "open orders" in said
    assert "1 in HYPE that are not of this program (buy 1 at 21, oid " in said
    assert "cancel them, or use an account of its own" in said
    assert left == (["21.0"] if command == "run" else ["20.0", "21.0"])
    assert sent == (["cancelByCloid"] if command == "run" else [])


def test_what_an_earlier_run_left_refuses_no_start(tmp_path: Path) -> None:
    """It is cancelled, and the run begins."""
    with exchange(sets=STILL) as venue:
        rest(venue, OURS, 20)
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_event("orders.left_over_cancelled")
            bot.wait_event("quote.moved")
            code, _, err = bot.stop()
        assert (code, err) == (0, "")
        assert venue.open_orders() == []
