"""
NautilusTrader against the emulated exchange: check 67, and its parts of checks 9 and 63.

    python benchmarks/nautilus.py [--venv DIR] [--python PATH] [--keep-log FILE] [--json]

Opt-in, not part of any test run: NautilusTrader needs its own environment and a package registry.
The script makes a virtual environment in a temporary directory (or in DIR, which is kept and used
again), installs one pinned release there with pip, starts `mmbot exchange` and runs the adapter
against it, unchanged and unpatched, in a process that imports nothing of mmbot.

The release needs Python 3.12 to 3.14, beside the 3.11 that suffices for mmbot. The last release for
3.11 is 1.221.0, whose Hyperliquid client can neither cancel nor modify nor be given another URL.
Since then the adapter is the Rust one, driven by `LiveNode`: its execution configuration takes the
three base URLs (`base_url_http` of /info, `base_url_exchange` of /exchange, `base_url_ws`). The
older Python `TradingNode` of the same release has no HTTP override and is not used here.

Each of the three URLs is a relay of this script on a port of its own, which passes everything on
and writes down what went through: so the evidence says which URL carried what. (This release
enters orders by the socket alone; the URL of /exchange is given to it and stays unused.) The other
evidence is the exchange's own word, asked for directly, beside what the adapter made of it.

Two limits of the release, both with the exchange's own rows in order, are left alone: it does not
know the order status `tooManyOpenOrdersRejected`, which the venue uses (a note says so), and a node
that starts beside a partly filled order takes it for unfilled and books its fill again when it
ends. So the orders that a fresh node must find here are unfilled ones; a fill during an outage is
looked for by a node that knew the order.

It takes three minutes, one of them waiting: three nodes that start ask for more than the request
weight an address has in a minute.

Returns 1 when a check fails, 2 when it cannot be run: the message says what to do about it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> int:
    """Hand over to the package beside this file; it is imported by its full name."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    code: int = importlib.import_module("benchmarks.nautilus_side.run").main(__doc__)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
