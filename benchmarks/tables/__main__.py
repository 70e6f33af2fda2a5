"""
`make tables`: what is claimed of the quoter, measured and written to `docs/results/`.

    .venv/bin/python -m benchmarks.tables [--minutes 55] [--only bands,widths] [--fresh]

Every piece is a page and a JSON file with the seeds and the commit. What a run of the same commit
left is kept, session by session, so that a second run goes on where the first one ended. Time is
shared among the pieces; what one does not need the next ones get, and the last, the bands, run
until every world is decided or the time is over. Returns 1 where a piece that admits no doubt
(mirror, pullback, inventory as shipped) finds something wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
from benchmarks.tables import (
    ablation,
    bands,
    direction,
    inventory,
    pullback,
    recordings,
    response,
    robustness,
    speed,
    widths,
)
from benchmarks.tables.kept import OUT, Clock, Kept, commit, say
from benchmarks.tables.sampling import Lab

from mmbot.runtime.beside import cores
from mmbot.runtime.lab.statistics import Verdict
from mmbot.runtime.workers import workers


class Piece(msgspec.Struct, frozen=True):
    """One table."""

    title: str
    share: float
    """Of the time, against the others."""
    run: Callable[[Lab, Kept, Clock], object]
    """What it returns is told; False is a fault."""


PIECES: Final[dict[str, Piece]] = {
    "speed": Piece(speed.TITLE, 1, lambda lab, kept, _: speed.measure(lab, kept)),
    "pullback": Piece(pullback.TITLE, 1, lambda _, kept, __: pullback.measure(kept)),
    "response": Piece(response.TITLE, 2, lambda lab, kept, _: response.measure(lab.pool, kept)),
    "inventory": Piece(inventory.TITLE, 2, lambda lab, kept, _: inventory.measure(lab.pool, kept)),
    "recordings": Piece(
        recordings.TITLE, 5, lambda lab, kept, clock: recordings.measure(lab.pool, kept, clock)
    ),
    "direction": Piece(
        direction.TITLE, 7, lambda lab, kept, clock: direction.Direction(lab, kept).measure(clock)
    ),
    "robustness": Piece(robustness.TITLE, 8, robustness.measure),
    "widths": Piece(widths.TITLE, 8, widths.measure),
    "ablation": Piece(ablation.TITLE, 8, ablation.measure),
    "bands": Piece(bands.TITLE, 14, bands.measure),
}


def main() -> int:
    """Run what the time allows, then write the first page."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=55.0, help="of the clock, for everything")
    parser.add_argument("--only", default="", help=f"some of {', '.join(PIECES)}")
    parser.add_argument("--fresh", action="store_true", help="leave nothing as it is")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    given = parser.parse_args()
    names = [name.strip() for name in given.only.split(",") if name.strip()] or list(PIECES)
    if unknown := [name for name in names if name not in PIECES]:
        parser.error(f"--only {', '.join(unknown)}: use some of {', '.join(PIECES)}")
    try:
        kept = Kept(given.out, commit())
    except OSError as error:
        parser.error(f"--out {given.out}: {error.strerror}; name a folder that can be written to")
    if given.fresh:
        for path in (*kept.folder.glob("*.json"), *kept.folder.glob("lab/*.json")):
            path.unlink()
    faults = []
    end_s = monotonic() + given.minutes * 60
    count = cores()
    say(f"commit {kept.commit}, {count} cores, {given.minutes:g} minutes, into {kept.folder}")
    with workers(count) as pool:
        lab = Lab(kept, pool, count)
        for n, name in enumerate(names):
            piece = PIECES[name]
            rest = sum(PIECES[other].share for other in names[n:])
            began = monotonic()
            found = piece.run(lab, kept, Clock((end_s - began) * piece.share / rest))
            if found is False:
                faults.append(name)
            told = "FAULT" if found is False else "done"
            if isinstance(found, Verdict):
                told = found.value
            say(f"{name}: {told} in {monotonic() - began:.0f} s")
            index(kept)
    if faults:
        say(f"something is wrong in: {', '.join(faults)}")
    return 1 if faults else 0


def index(kept: Kept) -> None:
    """The first page: what there is, of this commit, and what is missing."""
    lines = [
        "Every page has its figures beside it as JSON, with the seeds and the commit; `lab/` holds",
        "the sessions, seed by seed.",
        "",
    ]
    for name, piece in PIECES.items():
        there = kept.load(name) is not None
        lines.append(f"- [{piece.title}]({name}.md)" if there else f"- {piece.title}: not measured")
    kept.page("README", "Results", lines)


if __name__ == "__main__":
    sys.exit(main())
