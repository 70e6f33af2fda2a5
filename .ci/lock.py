"""
Resolve requirements.lock anew: hashed, for Python 3.11 to 3.13, without index URLs or local paths.

The universal resolver is fetched into a throw-away environment; nothing else needs it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write requirements.lock from pyproject.toml."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        binaries = Path(folder) / "bin"
        subprocess.run([binaries / "pip", "install", "--quiet", "uv"], check=True)
        command = [
            str(binaries / "uv"),
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version=3.11",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--extra=dev",
            "--upgrade",
            "--output-file=requirements.lock",
            "pyproject.toml",
        ]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
