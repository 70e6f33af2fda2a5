"""What the sides know of the market, without an import of mmbot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]

TRADE: Final = 1
"""Kind of a row that is a trade; the others are changes of a level."""
COLUMNS: Final = ("kind", "side", "px_ticks", "sz_lots", "venue_ns", "recv_ns", "is_last")
"""Of a row. `side` of a trade is the aggressor's; `is_last` of its frame."""


def read_facts(folder: Path) -> dict[str, Any]:
    """What `frames.py` wrote beside its rows."""
    facts: dict[str, Any] = json.loads((folder / "frames.json").read_text("utf-8"))
    return facts


def read_rows(folder: Path) -> dict[str, Column]:
    """The rows by column, of one length."""
    values: Column = np.load(folder / "frames.npy")
    return {name: values[:, n] for n, name in enumerate(COLUMNS)}
