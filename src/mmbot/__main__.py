"""
Entry point of `mmbot` and of `python -m mmbot`.

What must hold from the first moment is done here, before anything large is loaded: an interrupt is
no traceback, a signal to a run that starts is kept for it (`early`), and the three standard
descriptors are open, so that no socket takes their number.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import NoReturn

from mmbot import early


def _open_standard_descriptors() -> None:
    """Some service managers close them; the next file or socket would become our screen."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - for the whole process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name in a message may hold what the terminal's encoding has no sign for.
            stream.reconfigure(errors="backslashreplace")


def main() -> NoReturn:
    """Run the command line."""
    early.keep(sys.argv[1:])
    _open_standard_descriptors()
    # Loading makes no garbage worth looking for; `app` switches the collector on when it is done.
    gc.disable()
    from mmbot.cli.app import main as command_line  # noqa: PLC0415 - after the lines above

    command_line()


if __name__ == "__main__":
    main()
