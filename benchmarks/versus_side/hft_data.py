"""Rows to hftbacktest's own file, run by the interpreter that has it, ahead of what is measured."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from benchmarks.versus_side.facts import TRADE, read_facts, read_rows
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from hftbacktest.data import validate_event_order
from hftbacktest.types import event_dtype


def main() -> None:
    """Folder that holds the rows; the file is written beside them, not packed: it loads faster."""
    folder = Path(sys.argv[1])
    facts = read_facts(folder)
    rows = read_rows(folder)
    data = np.zeros(len(rows["kind"]), event_dtype)
    kinds = np.where(rows["kind"] == TRADE, TRADE_EVENT, DEPTH_EVENT)
    sides = np.where(rows["side"] > 0, BUY_EVENT, SELL_EVENT)
    data["ev"] = kinds | sides | EXCH_EVENT | LOCAL_EVENT
    data["exch_ts"] = rows["venue_ns"]
    data["local_ts"] = rows["recv_ns"]
    data["px"] = rows["px_ticks"] / facts["ticks_per_usd"]
    data["qty"] = rows["sz_lots"] / facts["lots_per_coin"]
    validate_event_order(data)
    np.savez(folder / "hftbacktest.npz", data=data)


if __name__ == "__main__":
    main()
