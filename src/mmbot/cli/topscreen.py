"""The screen of `mmbot top`: it asks twice a second, on a thread, so that a hung daemon shows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static
from textual.worker import get_current_worker

from mmbot.errors import MmbotError
from mmbot.logs import clean
from mmbot.runtime.asking import GONE, LIVE, Heard, ask, read_files
from mmbot.runtime.statustext import verdict
from mmbot.runtime.tailing import Filter, Item, Tail, line_of
from mmbot.runtime.topview import Seen, head, ladder, newest, rules, terms

ASK_S: Final = 0.5
DRAW_S: Final = 0.25
_ANSWER_S: Final = 1.0
_LINES: Final = 200
_TERMS_WIDTH: Final = 35
"""A term, its name and both its figures; the ladder may have all the rest."""
_LADDER_WIDTH: Final = 40
_BODY: Final = 10
_BODY_LEAST: Final = 5
_LOG_LEAST: Final = 2
_FILLS: Final = 2
_FILL: Final = "fill.booked"
_BEGINS: Final = "run.started"


class Top(App[None]):
    """
    The live screen.

    Args:
        find: The folder of the run that is meant now; asked again at every look, so that a daemon
            that is started anew is found.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    Static { text-wrap: nowrap; }
    #terms { width: 1fr; }
    #log { height: 1fr; }
    #foot { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),
    ]

    def __init__(self, find: Callable[[], Path]) -> None:
        super().__init__(ansi_color=True)
        self._find = find
        self._seen = Seen(answer=None, age_s=None, how="asking", run_dir="")
        self._heard_at: float | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._booked: deque[str] = deque(maxlen=_FILLS)
        self._tail: Tail | None = None
        self._is_asking = False

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield Static(id="head", markup=False)
        with Horizontal(id="body"):
            yield Static(id="ladder", markup=False)
            yield Static(id="terms", markup=False)
        yield Static(id="rules", markup=False)
        yield Static(id="fills", markup=False)
        yield Static(id="log", markup=False)
        yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        """Begin to ask and to draw."""
        self._begin_asking()
        self.set_interval(ASK_S, self._begin_asking)
        self.set_interval(DRAW_S, self._draw)
        self._draw()

    def on_unmount(self) -> None:
        """Close the log."""
        if self._tail is not None and not self._is_asking:
            self._tail.close()

    # -- asking, on a thread ----------------------------------------------------------------

    def _begin_asking(self) -> None:
        if not self._is_asking:
            self._is_asking = True
            self.run_worker(self._look, thread=True, exit_on_error=False)

    def _look(self) -> None:
        worker = get_current_worker()
        folder, heard, how = "", Heard(GONE), ""
        ended: dict[str, Any] | None = None
        items: list[tuple[str, str]] = []
        try:
            found = self._find()
            folder = str(found)
            heard = ask(found, "all", timeout_s=_ANSWER_S)
            if heard.how != LIVE:
                kept = read_files(found, heard)
                how, ended = verdict(kept), kept.summary
            elif heard.reply is not None and not heard.reply.get("ok"):
                how = str(heard.reply.get("error"))
            items = self._new_lines()
        except (MmbotError, OSError) as error:
            how = str(error)
        except Exception as error:  # noqa: BLE001 - a look that fails is told, and not the last one
            how = f"internal error: {type(error).__name__}: {error}"
        if not worker.is_cancelled:
            self.call_from_thread(self._take, folder, heard, how, ended, items)

    def _new_lines(self) -> list[tuple[str, str]]:
        """The kind of each, and its line, which is made while its run is being read."""
        items: Iterable[Item]
        if self._tail is None:
            self._tail = Tail(self._find, Filter())
            items = self._tail.last(_LINES)
        else:
            items = self._tail.more()
        return [(_kind(it), line_of(it, self._tail.tag).partition("\n")[0]) for it in items]

    def _take(
        self,
        folder: str,
        heard: Heard,
        how: str,
        ended: dict[str, Any] | None,
        items: list[tuple[str, str]],
    ) -> None:
        self._is_asking = False
        answer = self._seen.answer
        if not how and heard.reply is not None:
            answer, self._heard_at = heard.reply, time.monotonic()
        self._seen = Seen(answer=answer, age_s=None, how=how, run_dir=folder, ended=ended)
        for kind, line in items:
            if kind == _BEGINS:
                self._booked.clear()  # what an earlier run was filled is none of this one's
            (self._booked if kind == _FILL else self._lines).append(line)
        self._draw()

    # -- drawing ----------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self.is_running:
            return
        at = self._heard_at
        age_s = None if at is None else time.monotonic() - at
        seen = Seen(
            answer=self._seen.answer,
            age_s=age_s,
            how=self._seen.how,
            run_dir=self._seen.run_dir,
            ended=self._seen.ended,
        )
        width, height = self.size.width, self.size.height
        booked = newest(list(self._booked) or ["no fill in the log yet"], width, _FILLS)
        about, shaped = head(seen, width), rules(seen, width)
        # What says how it stands comes first; the ladder gives way to it, and never all of itself.
        most = max(2, height - _BODY_LEAST - len(booked) - _LOG_LEAST - 1)
        about = about[: max(1, most - len(shaped))]
        shaped = shaped[: max(0, most - len(about))]
        left = height - len(about) - len(shaped) - len(booked) - 1
        body = max(1, min(_BODY, left - _LOG_LEAST))
        rungs = ladder(seen, max(_LADDER_WIDTH - 1, width - _TERMS_WIDTH - 1), body)
        column = min(width, max(_LADDER_WIDTH, *(len(line) + 1 for line in rungs)))
        self.query_one("#ladder").styles.width = column
        self._put("#head", about, len(about))
        self.query_one("#body").styles.height = body
        self._put("#ladder", rungs)
        self._put("#terms", terms(seen, max(1, width - column), body))
        self._put("#rules", shaped, len(shaped))
        self._put("#fills", booked, len(booked))
        self._put("#log", newest(list(self._lines), width, max(1, left - body)))
        live = "" if seen.is_live else "   *** NOT LIVE ***"
        self._put("#foot", [f"q quit   * rests   bps from fair, + is away{live}"])

    def _put(self, where: str, lines: list[str], height: int | None = None) -> None:
        width = self.size.width
        shown = self.query_one(where, Static)
        if height is not None:
            shown.styles.height = height
        shown.update("\n".join(clean(line)[:width] for line in lines))


def _kind(item: Item) -> str:
    return "" if isinstance(item, str) else str(item.get("event"))
