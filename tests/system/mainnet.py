"""
A script that begins the program where mainnet is an emulated exchange of ours, on loopback.

    mainnet.py [--network=a|b] exchange ...     an exchange that takes one network's signatures
    mainnet.py [--venue=URL] [--bug] [--row=ROW] COMMAND
                                                a command whose mainnet is at URL

No key of the configuration says where a live run goes, so the address is replaced in the program
before it begins. There is one mainnet, and one lock for an account on this machine; each of these
has its own, so that tests run side by side.

With `--row` the self-test of a start is that row alone: for starts that are about something else,
or about that very row. All of its rows take as long as the rest of a test. Whatever the script is
told, it ends at once, with `STRAYED`, when anything in this process looks a host up or connects to
one that is not this machine. The loop is asyncio's own, because only what goes through Python's
sockets is seen here.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

STRAYED: Final = 99
"""Exit code of a process that was about to leave this machine."""
_HERE: Final = ("127.0.0.1", "::1", "localhost", "", None)


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook, which nothing in the process can take back."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in _HERE:
        os.write(2, f"tests do not leave this machine, and this was to reach {host}\n".encode())
        os._exit(STRAYED)


def _plant_a_bug() -> None:
    """The founding case: a skew that is configured, computed and then thrown away."""
    import msgspec

    from mmbot.core.quoter import Quote, Quoter

    computed = Quoter.quote

    def without_skew(self: Quoter, **state: Any) -> Quote:
        return msgspec.structs.replace(computed(self, **state), inventory_skew_bps=0.0)

    Quoter.quote = without_skew  # type: ignore[method-assign]


def main() -> None:
    """Begin the program."""
    sys.addaudithook(stay_here)
    sys.modules["uvloop"] = None  # type: ignore[assignment]
    own, rest = {}, sys.argv[1:]
    while rest and rest[0].startswith("--"):
        name, _, text = rest.pop(0).removeprefix("--").partition("=")
        own[name] = text
    sys.argv = ["mmbot", *rest]

    from mmbot.cli import app
    from mmbot.cli import exchange as served
    from mmbot.emulator.params import ExchangeParams
    from mmbot.runtime import selftest, venues
    from mmbot.state.lock import RunLock

    if "bug" in own:
        _plant_a_bug()
    played = selftest.run_selftest
    if "row" in own:
        played = partial(played, rows=(own["row"],))
    strict = partial(ExchangeParams, network=own.get("network", "a"), is_network_strict=True)
    url = own.get("venue", venues.MAINNET_URL)

    def locked(path: Path, name: str | None, **said: str) -> RunLock:
        return RunLock(path, None if name is None else f"{name} {url}", **said)

    with (
        patch.object(served, "ExchangeParams", strict),
        patch.object(selftest, "run_selftest", played),
        patch.object(venues, "MAINNET_URL", url),
        patch.object(venues, "RunLock", locked),
    ):
        app.main()


if __name__ == "__main__":
    main()
