"""
Every command line that is shipped for a service manager or a container, run.

The paths of an installation are replaced by those of the test, the program by this one; nothing
else is. The venue is the emulated one. What would change the machine is run dry: package managers
without an index, the tools of the system for whether they know their options.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.test_units import PROGRAM, commands
from mmbot.config import dump_toml, load
from system.harness import PATIENCE_S, STILL, Exchange, command, end, exchange, wait_until
from system.harness import start as start_mmbot
from system.killing import WATCHDOG_KEY, approve

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
_PYTHON = "/opt/mmbot/.venv/bin/python"


def instructions() -> list[tuple[str, str]]:
    """Instruction and arguments of every line of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def only(word: str) -> str:
    """The arguments of an instruction that is there once."""
    (found,) = (rest for each, rest in instructions() if each == word)
    return found


def shell_lines() -> list[str]:
    """Every command of every RUN."""
    runs = [rest for word, rest in instructions() if word == "RUN"]
    return [command.strip() for rest in runs for command in rest.split("&&")]


def unit_line(name: str) -> list[str]:
    """The words of a command of a unit, without the program."""
    (line,) = (line for each, line in commands() if each == name)
    program, *words = shlex.split(line)
    assert program == PROGRAM
    return words


class Installed:
    """A configuration, a state and a log where the test has them."""

    def __init__(self, here: Path, venue: Exchange, *sets: str) -> None:
        self.here = here
        wanted = [f"emulator.url={venue.url}", f"account.address={venue.user}", *sets]
        config = load(ROOT / "configs" / "emulator.toml", wanted)
        (here / "mmbot.toml").write_text(dump_toml(config), "utf-8")
        self._paths = {
            "/etc/mmbot/mmbot.toml": str(here / "mmbot.toml"),
            "/var/lib/mmbot": str(here / "state"),
            "/var/log/mmbot": str(here / "log"),
        }

    def words(self, words: list[str]) -> list[str]:
        """The same command here."""
        found = []
        for word in words:
            for path, ours in self._paths.items():
                word = word.replace(path, ours)  # noqa: PLW2901 - one after the other
            found.append(word)
        return found

    def does(self, words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        return command(*self.words(words), env=env)

    @contextmanager
    def running(self, words: list[str], venue: Exchange) -> Iterator[subprocess.Popen[str]]:
        """A daemon with orders resting, without a terminal, as a service manager has it."""
        process = start_mmbot(*self.words(words), shell='exec setsid "$@" </dev/null')
        try:

            def quotes() -> bool:
                assert process.poll() is None, process.communicate()
                return len(venue.resting()) >= 4

            wait_until("nothing rests", quotes)
            yield process
        finally:
            end(process)

    def events(self) -> list[str]:
        """What the newest run told of."""
        text = (self.here / "log" / "latest" / "log.jsonl").read_text("utf-8")
        return [json.loads(line)["event"] for line in text.splitlines()]


def test_the_container_starts_is_healthy_stops_and_is_not_healthy_any_more(tmp_path: Path) -> None:
    """ENTRYPOINT with CMD, HEALTHCHECK and STOPSIGNAL, against an exchange."""
    run = [*json.loads(only("ENTRYPOINT")), *json.loads(only("CMD"))]
    options, _, told = only("HEALTHCHECK").partition("CMD ")
    health = json.loads(told)
    assert (run[0], health[0]) == ("mmbot", "mmbot")
    assert re.fullmatch(r"(--(interval|timeout|start-period|retries)=\d+s? +)+", options)
    number = signal.Signals[only("STOPSIGNAL")]
    with exchange(sets=STILL) as venue:
        place = Installed(tmp_path, venue, "report.at_end=false")
        before = place.does(health[1:])
        with place.running(run[1:], venue) as process:
            healthy = place.does(health[1:])
            process.send_signal(number)
            _, err = process.communicate(timeout=PATIENCE_S)
        after = place.does(health[1:])
        resting = venue.open_orders()

    assert (process.returncode, err, resting) == (0, "", [])
    assert [before.returncode != 0, healthy.returncode, after.returncode] == [True, 0, 1]
    assert "run.verified" in place.events()


def test_the_unit_of_the_daemon_starts_reloads_and_clears_up(tmp_path: Path) -> None:
    """ExecStart, ExecReload with a changed file, and ExecStopPost behind a daemon that was shot."""
    with exchange(sets=STILL) as venue:
        place = Installed(tmp_path, venue, "report.at_end=false")
        with place.running(unit_line("mmbot.service ExecStart"), venue) as process:
            same = place.does(unit_line("mmbot.service ExecReload"))
            file = tmp_path / "mmbot.toml"
            text = file.read_text("utf-8")
            file.write_text(text.replace('level = "info"', 'level = "debug"'), "utf-8")
            changed = place.does(unit_line("mmbot.service ExecReload"))
            file.write_text(text.replace('coin = "HYPE"', 'coin = "BTC"'), "utf-8")
            refused = place.does(unit_line("mmbot.service ExecReload"))
            file.write_text(text, "utf-8")
            process.kill()
            process.wait()
        resting = venue.resting()
        cleared = place.does(unit_line("mmbot.service ExecStopPost"))
        left = venue.open_orders()

    assert [it.returncode for it in (same, changed)] == [0, 0], same.stderr + changed.stderr
    assert refused.returncode != 0
    assert "config.reloaded" in place.events()
    assert resting
    assert (cleared.returncode, left) == (0, []), cleared.stderr


def test_the_unit_of_the_watchdog_watches(tmp_path: Path) -> None:
    """ExecStart with a key of its own, and a stop as systemd sends it."""
    with exchange(sets=STILL) as venue:
        approve(venue, WATCHDOG_KEY)
        place = Installed(tmp_path, venue)
        words = place.words(unit_line("mmbot-watchdog.service ExecStart"))
        process = start_mmbot(*words, env={"MMBOT_WATCHDOG_KEY": WATCHDOG_KEY})
        try:
            assert process.stdout is not None
            said = ""
            while "watchdog.watching" not in said:
                line = process.stdout.readline()
                assert line, process.communicate()
                said += line
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE_S)
        finally:
            end(process)

    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("line", shell_lines(), ids=lambda line: " ".join(line.split()[:4])[-40:])
def test_every_command_of_the_build_is_one(line: str, tmp_path: Path) -> None:
    """A wrong option fails here and not on the day of a release."""
    words = shlex.split(line)
    if words[1:3] == ["-m", "venv"]:
        done = _done([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")])
        assert (tmp_path / "venv" / "bin" / "python").exists()
    elif words[1:4] == ["-m", "pip", "install"]:
        assert words[0] == _PYTHON
        # The lock's packages are here already, with their hashes; nothing is fetched or changed.
        dry = [sys.executable, *words[1:4], "--dry-run", "--no-index", *words[4:]]
        done = _done(dry, cwd=ROOT)
        assert "Would install mmbot" in done.stdout or "requirements.lock" in line
    else:
        program = shutil.which(words[0]) or shutil.which(words[0], path="/usr/sbin:/sbin")
        if program is None:
            pytest.skip(f"{words[0]} is not on this machine: its options are not looked at here")
        done = _done([program, "--help"])
        for option in re.findall(r"(?<!\S)--[a-z-]+", line):
            assert re.search(rf"{option}(?![a-z-])", done.stdout), f"{words[0]} has no {option}"
    assert done.returncode == 0, done.stderr


def _done(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_the_container_is_nobody_and_brings_what_is_locked() -> None:
    """Not root, two stages, every package by its hash, nothing that is not run."""
    user, _, group = only("USER").partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert [" AS build" in stage for stage in stages] == [True, False]
    assert any("--require-hashes -r requirements.lock" in line for line in shell_lines())
    written = set(json.loads(only("VOLUME")))
    named = set(re.findall(r"(?:state_dir|log\.dir)=(/[a-z/]+)", only("CMD")))
    assert named == written, "a read-only container could not write elsewhere"
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text("utf-8")
                assert f"!{source}\n" in ignored
