"""The folder of a run: fresh, complete, and the newest easy to find."""

from __future__ import annotations

import errno
import json
import os
import tomllib
from pathlib import Path

import pytest

from mmbot.config import Config, load
from mmbot.errors import ConfigError
from mmbot.runtime.concluding import FILES
from mmbot.runtime.rundir import (
    LATEST,
    describe_run,
    make_run_dir,
    point_latest,
    set_aside,
    write_summary,
)

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
NOW_NS = 1_791_484_300 * 10**9


def config_in(folder: Path, *sets: str) -> Config:
    """The shipped configuration with its logs below a folder."""
    return load(CONFIG, [f"log.dir={folder / 'logs'}", *sets])


def test_latest_names_the_newest_run(tmp_path: Path) -> None:
    """Two runs in the same second get folders of their own."""
    config = config_in(tmp_path)

    first = make_run_dir(config, None, NOW_NS)
    point_latest(first)
    assert (first.parent / LATEST).resolve() == first.resolve()
    second = make_run_dir(config, None, NOW_NS)
    assert (first.parent / LATEST).resolve() == first.resolve(), "it has not begun yet"
    point_latest(second)
    third = make_run_dir(config, None, NOW_NS + 10**9)
    point_latest(third)

    assert first.name == "HYPE-20261008T183140Z"
    assert second.name == first.name + "-2"
    assert third.name == "HYPE-20261008T183141Z"
    link = first.parent / LATEST
    assert link.is_symlink()
    assert link.resolve() == third.resolve()
    assert sorted(path.name for path in first.parent.iterdir()) == sorted(
        [first.name, second.name, third.name, LATEST]
    )


def test_the_effective_configuration_lies_in_it(tmp_path: Path) -> None:
    """What ran can be run again."""
    config = config_in(tmp_path, "risk.max_position_usd=300", "instrument.dex=hyna")

    path = make_run_dir(config, None, NOW_NS)
    describe_run(config, path)

    assert path.name.startswith("hyna-HYPE-")
    assert tomllib.loads((path / "config.toml").read_text())["risk"]["max_position_usd"] == 300
    assert load(path / "config.toml") == config


def test_a_chosen_folder_is_used_as_it_is_and_moves_no_link(tmp_path: Path) -> None:
    """Its earlier log stays."""
    chosen = tmp_path / "mine"
    chosen.mkdir()
    (chosen / "log.jsonl").write_text("{}\n")

    assert make_run_dir(config_in(tmp_path), chosen, NOW_NS) == chosen

    assert (chosen / "log.jsonl").read_text() == "{}\n"
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before the first order, with the place."""
    (tmp_path / "logs").write_text("a file where the folder should be")

    with pytest.raises(ConfigError, match=r"cannot write the run directory .*logs"):
        make_run_dir(config_in(tmp_path), None, NOW_NS)
    with pytest.raises(ConfigError, match=r"cannot write the run directory .*nowhere"):
        describe_run(config_in(tmp_path), tmp_path / "nowhere")


def test_what_stands_where_a_run_folder_should_be_is_named(tmp_path: Path) -> None:
    """ "File exists" says neither what it is nor where."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    config = config_in(tmp_path)
    with pytest.raises(ConfigError, match=r"pipe is a named pipe; name another with --run-dir"):
        make_run_dir(config, tmp_path / "pipe", NOW_NS)
    with pytest.raises(ConfigError, match=r"link is a link to .*nowhere, which is not there"):
        make_run_dir(config, tmp_path / "link", NOW_NS)
    with pytest.raises(ConfigError, match=r"file is a file"):
        make_run_dir(config, tmp_path / "file", NOW_NS)


def test_a_name_that_is_taken_for_latest_is_said(tmp_path: Path) -> None:
    """A folder of that name is somebody's, and is not replaced."""
    path = make_run_dir(config_in(tmp_path), None, NOW_NS)
    (path.parent / LATEST).mkdir()

    with pytest.raises(ConfigError, match="latest"):
        point_latest(path)


def test_the_summary_is_written_whole(tmp_path: Path) -> None:
    """A reader finds the old one or the new one, never half."""
    write_summary(tmp_path, {"fills": 1})
    write_summary(tmp_path, {"fills": 2, "kill": None})

    assert json.loads((tmp_path / "summary.json").read_text()) == {"fills": 2, "kill": None}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_what_an_earlier_run_says_of_itself_is_set_aside(tmp_path: Path) -> None:
    """A run that dies, or does not trip, must not be told by the files of the one before."""
    names = ("summary", "kill", "report")
    for count in ("first", "second"):
        for name in names:
            (tmp_path / f"{name}.json").write_text(count)
        (tmp_path / "report.html").write_text(count)
        (tmp_path / "log.jsonl").write_text("{}\n")
        set_aside(tmp_path, FILES)
        assert {path.name for path in tmp_path.iterdir()} == {
            "log.jsonl", "report.earlier.html", *(f"{name}.earlier.json" for name in names),
        }  # fmt: skip
        assert (tmp_path / "kill.earlier.json").read_text() == count


def test_a_full_disk_leaves_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty `summary.new` would only take a name."""

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_summary(tmp_path, {"fills": 1})
    assert list(tmp_path.iterdir()) == []
