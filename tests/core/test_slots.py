"""The table of transitions: every cell of it."""

from __future__ import annotations

import itertools

import pytest

from mmbot.core.slots import NEXT_STATE, News, SlotState

LIVE = [state for state in SlotState if state is not SlotState.EMPTY]


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("news", list(News))
def test_every_cell_of_the_table_has_one_answer(state: SlotState, news: News) -> None:
    """No news can meet a slot without an answer, and none invents a request of ours."""
    after = NEXT_STATE[state, news]
    assert after in SlotState
    if after is not state:
        # Only we start a placement, a move or a cancel; news only settle them.
        assert after not in (SlotState.PLACING, SlotState.MOVING, SlotState.CANCELLING)
    if news in (News.PLACE_UNANSWERED, News.MOVE_UNANSWERED, News.CANCEL_UNANSWERED):
        assert after is not SlotState.EMPTY
    if news in (News.OPEN_SAME, News.OPEN_NEW):
        assert after is not SlotState.EMPTY
    if news in (News.OWED_SAME, News.OWED_NEW):
        assert after is not SlotState.EMPTY


def test_the_table_covers_all_live_states_and_nothing_else() -> None:
    """A new kind of news cannot be forgotten."""
    assert set(NEXT_STATE) == set(itertools.product(LIVE, News))
