"""What a network does to the connections over it, whatever they are made of."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """One connection between the program and the exchange."""

    def cut(self) -> None:
        """End it without a close frame (1006); what is on its way still arrives."""

    def cut_after(self, count: int, *, is_upward: bool) -> None:
        """Let so many more bytes of one direction through, then break."""

    def stall(self, *, is_stalled: bool) -> None:
        """Hold everything back in both directions, or let it all through."""


C = TypeVar("C", bound=Connection)


class Network(Generic[C]):
    """
    The connections that are open, and what fails them all at once.

    Attributes:
        refuse: While set, no connection is made; the reason.
    """

    def __init__(self) -> None:
        self.refuse: str | None = None
        self._open: list[C] = []
        self._stalled: list[C] = []

    def opened(self, connection: C) -> None:
        """A connection was made."""
        self._open.append(connection)

    def forget(self, connection: C) -> None:
        """It ended."""
        if connection in self._open:
            self._open.remove(connection)

    @property
    def connections(self) -> list[C]:
        """Those that are open, and those that were given up while they were held back."""
        return [*self._open, *(one for one in self._stalled if one not in self._open)]

    def cut(self) -> None:
        """End every connection without a close frame (1006); what is on its way still arrives."""
        for connection in list(self._open):
            connection.cut()

    def cut_after(self, count: int, *, is_upward: bool) -> None:
        """
        End every connection once so many more bytes of one direction have passed.

        The last read is a part of a message then, or of the head of its frame.
        """
        for connection in list(self._open):
            connection.cut_after(count, is_upward=is_upward)

    def stall(self, *, is_stalled: bool) -> None:
        """
        Hold everything back in both directions, or let it all through.

        What was written to a connection that was given up meanwhile arrives with the rest.
        """
        if is_stalled:
            self._stalled.extend(one for one in self._open if one not in self._stalled)
        held = list(self._stalled)
        if not is_stalled:
            self._stalled.clear()
        for connection in held:
            connection.stall(is_stalled=is_stalled)
