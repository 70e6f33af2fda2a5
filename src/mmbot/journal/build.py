"""Which program writes a journal: its version, its commit if it runs from a repository."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from mmbot.journal.records import Build

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_CORE: Final = _PACKAGE / "core"
_DIGEST_CHARS: Final = 16


def this_build() -> Build:
    """The program that is running."""
    try:
        number = version("mmbot")
    except PackageNotFoundError:
        number = "unknown"
    return Build(
        version=number,
        commit=_commit(_PACKAGE.parent.parent),
        core=core_digest(),
        python=platform.python_version(),
        platform=platform.platform(),
    )


def core_digest() -> str:
    """Digest of the source of everything that decides."""
    digest = hashlib.sha256()
    try:
        for path in sorted(_CORE.rglob("*.py")):
            digest.update(path.relative_to(_CORE).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    except OSError:
        return "unknown"
    return digest.hexdigest()[:_DIGEST_CHARS]


def _commit(root: Path) -> str | None:
    """The commit that `root` has checked out, by git's own files; None where there is none."""
    git = root / ".git"
    try:
        if git.is_file():  # a linked work tree names its folder
            git = (root / git.read_text("utf-8").removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref:"):
            return head or None
        name = head.removeprefix("ref:").strip()
        common = git / "commondir"
        shared = (git / common.read_text("utf-8").strip()) if common.exists() else git
        for folder in (git, shared):
            if (folder / name).exists():
                return (folder / name).read_text("utf-8").strip()
        for line in (shared / "packed-refs").read_text("utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line.split(" ", 1)[0]
    except (OSError, UnicodeDecodeError):
        return None
    return None
