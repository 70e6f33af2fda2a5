"""Where a signing key comes from: the environment or a file of mode 0600, nowhere else."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from mmbot.config import AccountParams, Config, WatchdogParams, show
from mmbot.errors import ConfigError


def find_key(config: Config, environment: Mapping[str, str]) -> bytes | None:
    """
    The key of this configuration, or None where none is needed.

    The embedded exchange generates worthless accounts of its own; a running emulated one is traded
    with our key when there is one. On paper nothing is signed for anybody, so none is read.
    """
    account = config.account
    if config.is_paper:
        return None
    is_given = bool(environment.get(account.key_env, "").strip()) or account.key_file is not None
    if config.mode == "emulator" and (not config.emulator.url or not is_given):
        return None
    return load_key(account, environment)


def find_watchdog_key(config: Config, environment: Mapping[str, str]) -> bytes | None:
    """
    The watchdog's own key, or None where none is given.

    An emulated exchange has keys of its own to lend; everywhere else one must be given, because
    two processes that sign with one key use up each other's nonces.
    """
    section = config.watchdog
    is_given = bool(environment.get(section.key_env, "").strip()) or section.key_file is not None
    return load_key(section, environment, "watchdog") if is_given else None


def load_key(
    section: AccountParams | WatchdogParams, environment: Mapping[str, str], name: str = "account"
) -> bytes:
    """
    Read the 32-byte signing key that a section of the configuration, called `name`, points at.

    Raises:
        ConfigError: No key, an unreadable or too open file, or not 64 hex digits. The key itself is
            never part of a message.
    """
    variable = section.key_env
    if text := environment.get(variable, "").strip():
        return _parse(text, f"environment variable {variable}")
    if section.key_file is None:
        raise ConfigError(
            f"no signing key: set the environment variable {variable}, or {name}.key_file to a "
            "file of mode 0600, to the key of an API wallet of the account"
        )
    where = f"{name}.key_file = {show(str(section.key_file))}"
    text = read_private(section.key_file.expanduser(), where, "it must hold 64 hex digits")
    return _parse(text, where)


def read_private(path: Path, where: str, form: str) -> str:
    """
    The text of a file that nobody else may read; `form` says what it must hold.

    Raises:
        ConfigError: It is none such. What it holds is never part of a message.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"{where}: is a directory; name the key file itself")
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{where}: is a pipe or a device; name a file of mode 0600")
        if mode & 0o077:
            raise ConfigError(
                f"{where}: mode {stat.S_IMODE(mode):04o} lets others read it; chmod 600 it"
            )
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: is not text; {form}") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None


def _parse(text: str, where: str) -> bytes:
    digits = text.removeprefix("0x")
    if len(digits) != 64:
        raise ConfigError(f"{where}: holds {len(digits)} characters; a key is 64 hex digits")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        raise ConfigError(f"{where}: holds something else than hex digits") from None
    if not any(key):
        raise ConfigError(f"{where}: zero is not a key")
    return key
