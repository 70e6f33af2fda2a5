"""Entry point of `mmbot` and of `python -m mmbot`."""

from __future__ import annotations

from mmbot.cli.app import main

if __name__ == "__main__":
    main()
