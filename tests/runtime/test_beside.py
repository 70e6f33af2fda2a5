"""A piece of work in a process beside this one: its result, its refusal, its death, its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmbot.errors import ConfigError, MmbotError
from mmbot.runtime.beside import beside


def twice(number: int) -> int:
    """Work that is done."""
    return 2 * number


def refused(key: str) -> None:
    """Work that is refused."""
    raise ConfigError(f"{key} is none")


def dies() -> None:
    """A process that is killed, as by the system when memory runs out."""
    os._exit(9)


def waits(path: str) -> None:
    """Work that ends only when somebody writes to a pipe."""
    Path(path).read_bytes()


def test_the_result_is_that_of_the_function() -> None:
    """It is waited for where it is asked for."""
    with beside(twice, 21) as result:
        assert result() == 42


def test_a_refusal_comes_in_its_own_words() -> None:
    """The key and the value are what the user has to change."""
    with (
        beside(refused, "x.y") as result,
        pytest.raises(MmbotError, match=r"x\.y is none"),
    ):
        result()


def test_a_process_that_died_is_told() -> None:
    """Not waited for."""
    with beside(dies) as result, pytest.raises(MmbotError, match="exit code 9"):
        result()


def test_a_process_does_not_outlive_the_work_here(tmp_path: Path) -> None:
    """A Ctrl+C while the first run plays: the second is not played to its end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(KeyboardInterrupt), beside(waits, str(pipe)):
        raise KeyboardInterrupt
