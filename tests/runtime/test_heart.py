"""The life that a daemon shows to a watchdog and to a service manager, and the order of its end."""

from __future__ import annotations

import threading
from pathlib import Path

from mmbot.runtime.heart import Beat, Heart, read_beat
from mmbot.runtime.notify import Notify


class Manager(Notify):
    """Who may still speak to the service manager when the way to it is closed."""

    def __init__(self) -> None:
        super().__init__("", is_watched=True)
        self.speakers: list[str] = []

    def close(self) -> None:
        """Remember them."""
        self.speakers = [thread.name for thread in threading.enumerate()]
        super().close()


async def test_the_way_to_the_service_manager_outlives_the_thread_that_uses_it(
    tmp_path: Path,
) -> None:
    """It said that we are alive by a socket that was closed under it, and died of that."""
    manager, path = Manager(), tmp_path / "beat"
    heart = Heart(
        path,
        Beat(pid=1),
        latched=lambda: None,
        on_kill=lambda _: None,
        on_problem=lambda _: None,
        notify=manager,
    )
    heart.start()
    heart.end(may_rest=False)

    assert "MainThread" in manager.speakers
    assert "heart" not in manager.speakers
    last = read_beat(path)
    assert last is not None
    assert not last.may_rest
