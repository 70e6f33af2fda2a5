"""
An environment of its own for NautilusTrader.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

RELEASE: Final = "nautilus_trader==1.231.0"
PYTHONS: Final = ("3.13", "3.12", "3.14")
INSTALL_S: Final = 900


class CannotRunError(Exception):
    """What is missing, and what to do about it."""


def find_python(asked: str | None) -> str:
    """An interpreter that the release has a wheel for."""
    found = [asked] if asked else []
    if not asked:
        for version in PYTHONS:
            if path := shutil.which(f"python{version}"):
                found.append(path)
            roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
            found.extend(str(path) for path in sorted(roots.glob(f"{version}*/bin/python")))
    for path in found:
        said = subprocess.run(
            [path, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.stdout.strip() in PYTHONS:
            return path
    raise CannotRunError(
        f"{RELEASE} needs Python {' or '.join(sorted(PYTHONS))} with its venv module, and none was "
        f"found{f' at {asked}' if asked else ''}: install one and name it with --python PATH"
    )


def install(place: Path, python: str, releases: Sequence[str] = (RELEASE,)) -> Path:
    """The environment's interpreter, with the releases in it."""
    inside = place / "bin" / "python"
    if not inside.exists():
        subprocess.run([python, "-m", "venv", str(place)], check=True)
    command = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary", "nautilus_trader", *releases]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired:
        raise CannotRunError(f"pip did not end within {INSTALL_S} s; try again") from None
    if said.returncode != 0:
        lines = [line for line in said.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotRunError(
            f"pip could not install {' '.join(releases)}: {' '.join(lines) or 'no reason given'}; "
            "it takes a package registry that has the wheel (about 200 MB; Linux with glibc 2.35 "
            "or newer, or macOS on ARM); or name an environment that has it with --venv DIR"
        )
    return inside
