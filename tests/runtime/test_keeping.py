"""What a run stores of its kill switch, on disks that take it late or never."""

from __future__ import annotations

import asyncio
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from mmbot.core.intents import KillReason
from mmbot.runtime.keeping import Keeping
from mmbot.state.store import Store

REASON = KillReason("operator", 1.0, 1.0, "command", "operator: test", 1)


def test_a_latch_that_failed_at_the_trip_is_tried_again_at_the_end(tmp_path: Path) -> None:
    """Whoever made room meanwhile must not find the next start trading."""
    state = tmp_path / "state"
    with ThreadPoolExecutor(1) as pool, Store(state / "state.sqlite") as store:
        keeping = Keeping(store, pool, tmp_path, structlog.get_logger())
        shutil.rmtree(state)
        state.write_text("no folder")
        keeping.latch(REASON)
        keeping.store_report({"state": "tripped"})
        pool.submit(lambda: None).result()
        at_trip = json.loads((tmp_path / "kill.json").read_text("utf-8"))
        state.unlink()
        asyncio.run(keeping.latched())

    assert at_trip["latched"] is False
    assert keeping.unlatched is None
    with Store(state / "state.sqlite") as store:
        assert store.latched() == REASON
