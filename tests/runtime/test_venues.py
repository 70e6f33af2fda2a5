"""Which venue a mode means, and for which network it is signed: decided in one place."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import mmbot
from mmbot.config import Config, load
from mmbot.errors import ConfigError
from mmbot.runtime.opening import open_venue
from mmbot.runtime.venues import MAINNET_URL, TESTNET_URL, Venue, signer_of, state_path, venue_url

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "hype.toml"
KEY = b"\x11" * 32
USER = "0x" + "ab" * 20
ELSEWHERE = "emulator.url=http://127.0.0.1:9/"
OTHER_SIGNERS = {
    "runtime/selftest/bench.py",
    "runtime/campaign/sockets.py",
    "runtime/campaign/stage.py",
    "cli/exchange.py",
}
"""Those of emulated exchanges that the program brings along itself."""


def config(mode: str) -> Config:
    return load(CONFIG, [f"mode={mode}", ELSEWHERE])


@pytest.mark.parametrize(
    ("mode", "is_mainnet", "url"),
    [
        ("emulator", False, "http://127.0.0.1:9"),
        ("testnet", False, TESTNET_URL),
        ("live", True, MAINNET_URL),
    ],
)
def test_only_a_live_run_signs_for_mainnet_and_goes_there(
    mode: str, is_mainnet: bool, url: str
) -> None:
    """An order signed for the other network is refused at best."""
    settings = config(mode)

    assert signer_of(settings, KEY).is_mainnet is is_mainnet
    assert venue_url(settings) == url


def test_the_addresses_are_the_venues_own() -> None:
    """Hyperliquid docs, "API": and no configuration names another."""
    assert MAINNET_URL == "https://api.hyperliquid.xyz"
    assert TESTNET_URL == "https://api.hyperliquid-testnet.xyz"


@pytest.mark.parametrize(("mode", "url"), [("testnet", TESTNET_URL), ("live", MAINNET_URL)])
def test_a_real_venue_wants_a_key(mode: str, url: str) -> None:
    """And says where it is looked for."""

    async def opened(key: bytes | None) -> Venue:
        async with open_venue(config(mode), key) as venue:
            return venue

    assert asyncio.run(opened(KEY)) == Venue(url, KEY)
    with pytest.raises(ConfigError, match=f'mode = "{mode}": no signing key: .* MMBOT_KEY'):
        asyncio.run(opened(None))


def test_the_safety_state_of_real_money_is_its_own() -> None:
    """A latch of the testnet says nothing of it, nor the other way round."""
    paths = {state_path(config(mode), None, USER) for mode in ("emulator", "testnet", "live")}

    assert len(paths) == 3


def test_nothing_else_decides_for_which_network_it_is_signed() -> None:
    """A signer made beside `signer_of` would be the testnet's in a live run."""
    root = Path(mmbot.__file__).parent
    makers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\bSigner\(", re.sub(r"class Signer\b.*|f?\"Signer\(", "", path.read_text()))
    }

    assert makers == {"runtime/venues.py", *OTHER_SIGNERS}
