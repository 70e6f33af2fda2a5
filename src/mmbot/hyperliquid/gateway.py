"""
The way out: a batch becomes signed requests, and every request gets exactly one verdict.

A verdict is an acknowledgement, a definitive refusal, or "unknown". Unknown is said when no answer
came (time-out, lost socket, 5xx) and is never resolved by sending again: the question is put to the
venue by cloid, and a late answer still counts. Requests go over the socket as posts; while the
socket is down they go over HTTP, which the engine uses for cancels only.

Sending and its verdicts stay in one module: a request that is in the one and not in the other would
be lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mmbot.core.events import (
    Acked,
    Event,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
)
from mmbot.core.risk import Batch
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import LinkError, VenueError, VenueProtocolError
from mmbot.hyperliquid import actions
from mmbot.hyperliquid.budget import Budget, action_weight
from mmbot.hyperliquid.meter import RequestMeter
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, Handle, Http, HttpReply, Scheduler
from mmbot.hyperliquid.queries import Queries
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.wire import (
    ActionReply,
    EntryKind,
    EntryStatus,
    PostReply,
    action_reply,
    rejection,
)

CANCELS_PER_REQUEST: Final = 100
"""The venue refuses an action over more than 200 entries ("over weight limit of 200")."""
_LATE_KEPT: Final = 256
"""Unanswered posts that are remembered for a late answer."""
_EXCHANGE: Final = "/exchange"


class GatewayParams(BaseModel):
    """How long requests live and how questions are repeated."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    expires_after_s: float = Field(
        3,
        ge=1,
        le=30,
        description="Life of a placement or move, s; the venue refuses it after.",
    )
    post_timeout_s: float = Field(
        5,
        gt=0,
        le=60,
        description="Wait for the answer to an action, s; then its outcome is unknown.",
    )
    query_delays_s: tuple[Annotated[float, Field(gt=0, le=60)], ...] = Field(
        (0.5, 1, 2),
        min_length=1,
        max_length=10,
        description="Waits between questions about an order the venue does not know yet, s.",
    )
    schedule_cancel_s: float = Field(
        30,
        ge=0,
        le=600,
        description="The venue's own dead man cancels everything of the account, other markets "
        "included, this long after it was last put off, s; 0: never armed, else 10 or more. "
        "Open only to accounts that traded 1,000,000 USD.",
    )
    requests_read_every_s: float = Field(
        300,
        ge=10,
        le=86_400,
        description="Period of reading the request budget while sending, s.",
    )

    @field_validator("schedule_cancel_s")
    @classmethod
    def _leaves_time_to_put_it_off(cls, span_s: float) -> float:
        # The venue wants five seconds of notice, and two put-offs may be lost in a row.
        if 0 < span_s < 10:
            raise ValueError("must be 0 or at least 10")
        return span_s


class _Post(msgspec.Struct, gc=False):
    """
    One action without a verdict.

    `request` is None for what concerns no order; `expires_ns` 0 for what does not expire.
    """

    request: Request | None
    cloids: tuple[int, ...]
    deadline_ns: int
    expires_ns: int
    post_id: int = 0
    is_http: bool = False
    is_given_up: bool = False
    """Called unknown already; only a verdict is news then."""
    on_done: Callable[[VenueError | None], None] | None = None
    """Of an action that concerns no order: takes the refusal, or None."""
    kind: str = ""
    """The venue's name of such an action."""


class Gateway:
    """
    Sends what the engine decided and tells it what became of it.

    Args:
        link_send: Writes one text message to the socket; False when there is none.
        emit: Takes each verdict. It may call `send` from within.
        user: Account traded: status queries need it (the signer may be an agent of it).
        budget: Shared with whatever else sends requests from here; its own when None.

    `Link`, `SnapshotReader` and this class share nothing but the budget.
    """

    def __init__(
        self,
        instrument: Instrument,
        signer: Signer,
        nonces: Nonces,
        *,
        link_send: Callable[[bytes], bool],
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        params: GatewayParams,
        emit: Callable[[Event], None],
        user: str,
        budget: Budget | None = None,
    ) -> None:
        self.budget = budget if budget is not None else Budget()
        self._instrument = instrument
        self._signer = signer
        self._nonces = nonces
        self._link_send = link_send
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._params = params
        self._emit = emit
        self._user = user
        self._timeout_ns = round(params.post_timeout_s * NS_PER_S)
        self._expires_ms = round(params.expires_after_s * 1000)
        self._last_id = 0
        self._pending: dict[int, _Post] = {}
        self._late: dict[int, _Post] = {}
        self._deadlines: deque[int] = deque()
        self._newest: dict[tuple[int, bool], int] = {}
        self._timer: Handle | None = None
        self._meter = RequestMeter(
            user,
            http=http,
            clock=clock,
            scheduler=scheduler,
            budget=self.budget,
            read_every_s=params.requests_read_every_s,
            timeout_s=params.post_timeout_s,
            emit=emit,
        )
        self._queries = Queries(
            instrument,
            user,
            http=http,
            clock=clock,
            scheduler=scheduler,
            budget=self.budget,
            delays_s=params.query_delays_s,
            timeout_s=params.post_timeout_s,
            emit=emit,
        )

    @property
    def pending(self) -> int:
        """Actions without a verdict."""
        return len(self._pending)

    # -- out --------------------------------------------------------------------------------

    def send(self, batch: Batch) -> None:
        """
        Encode, sign and write: cancels first, then moves, then placements, each one request.

        Within one block the venue puts post-only orders before cancels, whatever arrived first
        (Hyperliquid docs on block order), so for a moment both rest; the gate counts both. That
        requests of one kind keep the order in which they were sent is unverified; nothing here
        relies on it.

        Raises:
            TypeError: Not a `Batch`; only the risk gate makes one.
        """
        if type(batch) is not Batch:
            kind = type(batch).__name__
            msg = f"the gateway sends nothing but a Batch of the risk gate, got {kind}"
            raise TypeError(msg)
        if batch.cancels:
            self.cancel_all([cancel.cloid for cancel in batch.cancels])
        if batch.moves:
            self._act(
                Request.MOVE,
                actions.batch_modify(self._instrument, batch.moves),
                tuple([move.cloid for move in batch.moves]),
            )
        if batch.places:
            self._act(
                Request.PLACE,
                actions.order(self._instrument, batch.places),
                tuple([place.cloid for place in batch.places]),
            )

    def cancel_all(self, cloids: Sequence[int]) -> None:
        """Cancel these orders. A cancel carries no expiry: it is right however late it arrives."""
        for start in range(0, len(cloids), CANCELS_PER_REQUEST):
            part = tuple(cloids[start : start + CANCELS_PER_REQUEST])
            self._act(Request.CANCEL, actions.cancel_by_cloid(self._instrument, part), part)

    def cancel_oids(self, oids: Sequence[int]) -> None:
        """
        Cancel by the venue's own ids, beside the cancels by cloid.

        For the end of a run: no verdict comes of it, the next reading tells what became of them.
        """
        for start in range(0, len(oids), CANCELS_PER_REQUEST):
            part = oids[start : start + CANCELS_PER_REQUEST]
            self._act(None, actions.cancel(self._instrument, part), (), is_cancel=True)

    def update_leverage(
        self,
        leverage: int,
        *,
        is_cross: bool,
        on_done: Callable[[VenueError | None], None],
    ) -> None:
        """
        Set the leverage of the instrument; `on_done` gets the refusal, or None.

        Setting it again is harmless, so no answer is reported as an error and may be tried again.
        """
        action = actions.update_leverage(self._instrument, leverage, is_cross=is_cross)
        self._act(None, action, (), on_done)

    def schedule_cancel(
        self, at_ms: int | None, on_done: Callable[[VenueError | None], None]
    ) -> None:
        """Have the venue cancel everything of the account at `at_ms`; None: not any more."""
        self._act(None, actions.schedule_cancel(at_ms), (), on_done)

    def query(self, cloid: int) -> None:
        """
        Ask what became of an order; ends in `OrderUpdate` or `OrderMissing`.

        A second question about the same order while one is under way is the same question. When
        the venue cannot be asked the question lapses, and the order stays unknown.
        """
        self._queries.ask(cloid)

    def close(self) -> None:
        """Ask and expect nothing more."""
        self._queries.close()
        self._meter.close()
        self._pending.clear()
        self._late.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _act(
        self,
        request: Request | None,
        action: actions.Action,
        cloids: tuple[int, ...],
        on_done: Callable[[VenueError | None], None] | None = None,
        *,
        is_cancel: bool = False,
    ) -> None:
        now_ns = self._clock()
        now_ms = now_ns // NS_PER_MS
        is_cancel = is_cancel or request is Request.CANCEL
        expires_ms = None if is_cancel else now_ms + self._expires_ms
        nonce = self._nonces.next(now_ms)
        signature = self._signer.sign(action.msgpack, nonce, expires_ms)
        body = actions.body(action, nonce, signature, self._signer.vault, expires_ms)
        self._last_id = post_id = self._last_id + 1
        deadline_ns = now_ns + self._timeout_ns
        expires_ns = (expires_ms or 0) * NS_PER_MS
        post = _Post(
            request, cloids, deadline_ns, expires_ns, post_id, on_done=on_done, kind=action.type
        )
        self._pending[post_id] = post
        newest = self._newest
        for cloid in cloids:
            newest[cloid, is_cancel] = post_id
        # A post over the socket weighs as much on the IP address as one over HTTP.
        self.budget.spend(action_weight(action.elements), now_ns)
        if self._link_send(actions.post_frame(post_id, body)):
            self._deadlines.append(post_id)
            if self._timer is None:
                self._timer = self._scheduler.call_at(deadline_ns, self._on_deadline)
        else:
            # HTTP keeps the time itself and always calls back.
            post.is_http = True
            self._http.post(
                _EXCHANGE,
                body,
                lambda reply: self._on_http(post_id, reply),
                self._params.post_timeout_s,
            )
        self._meter.count(action.elements, now_ns)

    # -- verdicts ---------------------------------------------------------------------------

    def on_reply(self, reply: PostReply) -> None:
        """Take the answer to a post, early or late; one that nobody waits for is ignored."""
        post = self._take(reply.id)
        if post is None:
            return
        if reply.action is not None:
            self._settle(post, reply.action, reply.recv_ns)
        elif reply.error is not None:
            self._settle_error(post, reply.error, reply.recv_ns)
        else:
            self._unknown(post, "the venue answered an action as if it were a read", reply.recv_ns)
        self._forget(post)

    def on_error_frame(self, post_id: int, text: str, recv_ns: int) -> None:
        """The venue would not even take this post (too many in flight): a definitive refusal."""
        post = self._take(post_id)
        if post is not None:
            self._refuse(post, Rejection.BUDGET, text, recv_ns)

    def on_link_lost(self) -> None:
        """
        The socket is gone: what was sent over it may or may not have been carried out.

        Tell the engine that the link is lost before calling this, or it takes each verdict for an
        occasion to quote.
        """
        now_ns = self._clock()
        # No answer can come any more, neither to these nor to those given up already.
        given_up = [post for post in self._late.values() if post.is_given_up]
        self._late.clear()
        lost = {key: post for key, post in self._pending.items() if not post.is_http}
        for post_id in lost:
            del self._pending[post_id]
        for post in lost.values():
            self._unknown(post, "the socket was lost before the answer came", now_ns)
        for post in (*given_up, *lost.values()):
            self._forget(post)

    def _on_http(self, post_id: int, reply: HttpReply) -> None:
        post = self._take(post_id)
        if post is None:
            return
        self._settle_http(post, reply, self._clock())
        self._forget(post)

    def _settle_http(self, post: _Post, reply: HttpReply, now_ns: int) -> None:
        status = reply.status
        if status == 200:
            try:
                self._settle(post, action_reply(reply.body), now_ns)
            except VenueProtocolError as error:
                self._unknown(post, str(error), now_ns)
        elif status is None:
            self._unknown(post, reply.error or "no answer", now_ns)
        else:
            said = reply.body[:200].decode("utf-8", "replace")
            self._settle_error(post, f"{status} {said}", now_ns)

    def _settle(self, post: _Post, reply: ActionReply, recv_ns: int) -> None:
        if not reply.is_ok:
            self.budget.charge(max(1, len(post.cloids)), rejection(reply.error))
        if post.request is None:
            _tell(post, None if reply.is_ok else VenueError(reply.error))
            return
        statuses = reply.for_elements(len(post.cloids))
        for cloid, status in zip(post.cloids, statuses, strict=True):
            if self._claim(post, cloid):
                self._emit(_verdict(post.request, cloid, status, recv_ns))

    def _settle_error(self, post: _Post, text: str, recv_ns: int) -> None:
        """
        Read a transport-level answer, "422 Failed to ...": 4xx was not carried out, 5xx may be.

        An answer without a status says nothing about the outcome.
        """
        status = text[:3]
        if status == "429":
            self._refuse(post, Rejection.BUDGET, text, recv_ns)
        elif status.isdigit() and status[0] == "4":
            self._refuse(post, rejection(text), text, recv_ns)
        else:
            self._unknown(post, text, recv_ns)

    def _refuse(self, post: _Post, reason: Rejection, text: str, recv_ns: int) -> None:
        """What the door of the venue turns away; it never reached the budget of the address."""
        self.budget.count(-max(1, len(post.cloids)))
        if post.request is None:
            _tell(post, VenueError(text))
            return
        for cloid in post.cloids:
            if self._claim(post, cloid):
                self._emit(Rejected(recv_ns, post.request, cloid, reason, text))

    def _unknown(self, post: _Post, text: str, recv_ns: int) -> None:
        if post.is_given_up:
            return
        if post.request is None:
            _tell(post, LinkError(f"no answer to {post.kind}: {text}"))
            return
        is_cancel = post.request is Request.CANCEL
        newest, post_id = self._newest, post.post_id
        cloids = [cloid for cloid in post.cloids if newest.get((cloid, is_cancel)) == post_id]
        if post.expires_ns:
            self._queries.may_still_happen(post.request, cloids, post.expires_ns)
        for cloid in cloids:
            self._emit(OutcomeUnknown(recv_ns, post.request, cloid, text))

    def _claim(self, post: _Post, cloid: int) -> bool:
        """
        Whether a verdict on this post is one on the newest request of its kind about the order.

        A report of the stream settles an order whose answer is late, and something else may be
        sent about it by then: that must not take the old answer for its own. A cancel follows
        what it is to undo, so the verdict on the placement or move before it is still news.
        """
        key = cloid, post.request is Request.CANCEL
        if self._newest.get(key) != post.post_id:
            return False
        del self._newest[key]
        return True

    def _forget(self, post: _Post) -> None:
        """No verdict on this post can come any more."""
        for cloid in post.cloids:
            self._claim(post, cloid)

    def _take(self, post_id: int) -> _Post | None:
        post = self._pending.pop(post_id, None)
        return post if post is not None else self._late.pop(post_id, None)

    # -- time -------------------------------------------------------------------------------

    def _on_deadline(self) -> None:
        """Give up waiting for what is due; a late answer is still taken."""
        now_ns = self._clock()
        self._timer = None
        due: list[_Post] = []
        while self._deadlines:
            post_id = self._deadlines[0]
            post = self._pending.get(post_id)
            if post is not None and post.deadline_ns > now_ns:
                self._timer = self._scheduler.call_at(post.deadline_ns, self._on_deadline)
                break
            self._deadlines.popleft()
            if post is not None:
                self._late[post_id] = self._pending.pop(post_id)
                due.append(post)
        for post in due:
            self._unknown(post, f"no answer within {self._params.post_timeout_s:g} s", now_ns)
            post.is_given_up = True
            if post.post_id not in self._late:
                # What was told of it led to the loss of the link: no answer can come any more.
                self._forget(post)
        while len(self._late) > _LATE_KEPT:
            self._forget(self._late.pop(next(iter(self._late))))


def _tell(post: _Post, error: VenueError | None) -> None:
    """Report the outcome of an action that concerns no order, once."""
    on_done, post.on_done = post.on_done, None
    if on_done is not None:
        on_done(error)


def _verdict(
    request: Request, cloid: int, status: EntryStatus, recv_ns: int
) -> Acked | Rejected | OutcomeUnknown:
    """What one status says about one element."""
    match status.kind:
        case EntryKind.ERROR:
            return Rejected(recv_ns, request, cloid, rejection(status.text), status.text)
        case EntryKind.UNKNOWN:
            return OutcomeUnknown(recv_ns, request, cloid, f"unknown status: {status.text}")
        case EntryKind.FILLED:
            return Acked(recv_ns, request, cloid, status.oid, is_filled=True)
        case _:
            return Acked(recv_ns, request, cloid, status.oid)
