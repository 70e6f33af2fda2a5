"""A signing key comes from the environment or a private file, and never appears in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbot.cli.keys import find_key, load_key
from mmbot.config import AccountParams, parse
from mmbot.errors import ConfigError

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """One place decides, and it is the one that is hardest to leave lying about."""
    path = tmp_path / "key"
    path.write_text("11" * 32)
    path.chmod(0o600)
    account = AccountParams(key_file=path)

    assert load_key(account, {"MMBOT_KEY": "0x" + KEY}) == bytes.fromhex(KEY)
    assert load_key(account, {}) == b"\x11" * 32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (KEY[:-1], "63 characters"),
        (KEY + "00", "66 characters"),
        ("zz" * 32, "hex digits"),
        ("00" * 32, "zero"),
    ],
)
def test_a_malformed_key_is_named_by_its_place_and_not_shown(text: str, words: str) -> None:
    """The message ends up in logs and screenshots."""
    with pytest.raises(ConfigError, match=words) as caught:
        load_key(AccountParams(), {"MMBOT_KEY": text})

    assert text not in str(caught.value)
    assert "MMBOT_KEY" in str(caught.value)


def test_a_file_others_can_read_is_refused(tmp_path: Path) -> None:
    """The remedy is one command."""
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(AccountParams(key_file=path), {})


def test_a_directory_as_key_file_is_explained(tmp_path: Path) -> None:
    """A slip of completion in the shell, not a crash."""
    with pytest.raises(ConfigError, match="is a directory"):
        load_key(AccountParams(key_file=tmp_path), {})


def test_a_missing_key_file_is_explained(tmp_path: Path) -> None:
    """With the path it looked at."""
    with pytest.raises(ConfigError, match="no such file"):
        load_key(AccountParams(key_file=tmp_path / "none"), {})


def test_testnet_without_a_key_says_where_to_put_one() -> None:
    """Exit 2 before any socket is opened."""
    config = parse(
        {"mode": "testnet", "instrument": {"coin": "HYPE"}, "risk": {"capital_usd": 100}}, "test"
    )

    with pytest.raises(ConfigError, match="MMBOT_KEY"):
        find_key(config, {})


def test_the_embedded_exchange_needs_no_key() -> None:
    """A stray key in the environment is not used for play money either."""
    config = parse({"instrument": {"coin": "HYPE"}, "risk": {"capital_usd": 100}}, "test")

    assert find_key(config, {"MMBOT_KEY": KEY}) is None
