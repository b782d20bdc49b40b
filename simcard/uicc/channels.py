"""Logical channels: several walks through one card at once (ETSI TS 102 221 §8.7 and §11.1.17).

The class byte's low two bits name the channel. Channel 0 is always open; MANAGE CHANNEL opens and closes 1 to 3. What
PIN and ADM have opened is open on all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.files import Df
from simcard.uicc.session import Session

MANAGE_CHANNEL = 0x70
# Those the class byte's two low bits can name (TS 102 221 §10.1.1); more need another coding that few phones use.
CHANNELS = 4
OPEN, CLOSE = 0x00, 0x80


class Channel(Session):
    """A session, and whether it has the multi-account application selected rather than a file."""

    in_accounts = False


class Channels:
    """The open channels of one card session."""

    def __init__(self, mf: Df, asks_pin: Callable[[], bool]) -> None:
        self._mf, self._asks_pin = mf, asks_pin
        self.verified: set[int] = set()
        self._open = {0: self._make()}

    def __getitem__(self, number: int) -> Channel:
        channel = self._open.get(number)
        if channel is None:
            raise StatusError(Sw.CHANNEL_NOT_SUPPORTED)
        return channel

    def _make(self) -> Channel:
        return Channel(self._mf, self._asks_pin, self.verified)

    @property
    def changed(self) -> bool:
        """Whether an EF was written on any."""
        return any(channel.changed for channel in self._open.values())

    def settle(self) -> None:
        """What was changed is stored."""
        for channel in self._open.values():
            channel.changed = False

    def manage(self, command: Command, on: int) -> Response:
        """MANAGE CHANNEL, given on channel `on`: opening answers the number when the card is to choose it."""
        if command.p1 == CLOSE:
            if not 0 < command.p2 < CHANNELS:
                raise StatusError(Sw.WRONG_P1_P2)
            if self._open.pop(command.p2, None) is None:
                raise StatusError(Sw.CHANNEL_NOT_SUPPORTED)
            return Response()
        if command.p1 != OPEN or command.p2 >= CHANNELS:
            raise StatusError(Sw.WRONG_P1_P2)
        free = [number for number in range(1, CHANNELS) if number not in self._open]
        number = command.p2 or next(iter(free), 0)
        if number not in free:
            raise StatusError(Sw.FUNCTION_NOT_SUPPORTED)
        self._open[number] = channel = self._make()
        if on:  # opened from another channel it begins where that one is (§8.7)
            channel.df, channel.adf = self[on].df, self[on].adf
        return Response(b"" if command.p2 else bytes((number,)))


def channel_of(cla: int) -> int:
    """The channel a class byte names; `StatusError` 6881 for one beyond `CHANNELS`, 6E00 for no class of ours."""
    if cla & 0x40:
        raise StatusError(Sw.CHANNEL_NOT_SUPPORTED)
    if cla & 0x7C:
        raise StatusError(Sw.CLASS_NOT_SUPPORTED)
    return cla & 0x03
