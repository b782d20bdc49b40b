"""One card's rotation of OTA keys, taken a step further by each attempt (`ota.key_rotation` has the steps).

Where things stand is read from the stored key sets, never assumed: whenever the fate of PUT KEY is unknown the card is
asked under the new keys, and if it does not answer under those, PUT KEY goes again under the old ones. The job's packet
is the PUT KEY, then the DELETE, that is on its way.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from marketplace.campaigns.endings import Again, End
from marketplace.campaigns.repository import note_packet
from marketplace.campaigns.schemas import JobRow
from marketplace.operator_database import Database
from ota.delivery import Outcome, StoredPacket, Verdict
from ota.key_rotation import FORMER, NEW, KeyRotation, OtherKeys
from ota.profile import list_slots
from ota.scp80.parameters import ResponseStatus

NOT_THERE: Final = 0x6A88
"""The card has no such key set: it was deleted by a packet whose proof was lost."""

DONE: Final = "the new key set is in use, the former one is deleted"

Send = Callable[[UUID], Awaitable[Outcome]]


class Rotator:
    """Takes rotations further; `send` delivers a stored packet, or raises `Again`."""

    def __init__(self, database: Database, rotation: KeyRotation, send: Send) -> None:
        self._database = database
        self._rotation = rotation
        self._send = send

    async def advance(self, job: JobRow) -> None:
        """As far as it goes now. Raises `End` at the end, and `Again`."""
        label = str(job.id)
        former = await self._rotation.find(job.iccid, FORMER)
        if former is not None and former.label != label:
            await self._clear(former)
            former = None
        new = await self._rotation.find(job.iccid, NEW)
        if former is None and new is None and job.packet is not None:
            raise End("proven", DONE)  # its DELETE was proven; we died before the job could say so
        if former is None:
            new = await self._rotation.begin(job.iccid, label)
            await self._put(job, new)
            await self._rotation.switch(new)
            former = await self._rotation.find(job.iccid, FORMER)
            assert former is not None, "the key set that was in use"
        await self._delete(job, former)
        raise End("proven", DONE)

    async def _put(self, job: JobRow, new: OtherKeys) -> None:
        """Give the card the new key set; returns when the card has answered under it."""
        packet = job.packet
        if packet is None:
            made = await self._rotation.prepare_put(new)
            await self._note(job, made)
            packet = made.id
        outcome = await self._send(packet)
        asked = await self._rotation.prepare_proof(new, [list_slots()])
        answer = await self._send(asked.id)
        if answer.status is ResponseStatus.POR_OK and answer.verdict in (Verdict.DONE, Verdict.FAILED):
            return
        if outcome.verdict in (Verdict.FAILED, Verdict.REFUSED):
            raise End("failed", f"the card did not take the new key set: {outcome.words}")
        if outcome.status is ResponseStatus.CNTR_LOW:
            await self._note(job, None)
        raise Again(f"the new key set is not proven yet: {answer.words}")

    async def _delete(self, job: JobRow, former: OtherKeys) -> None:
        """Have the card delete the key set that was in use, and forget it."""
        packet = None if job.packet is None else await self._rotation.packet(job.packet)
        # The packet may still be the PUT KEY, which is under the former key set.
        if packet is None or packet.key_index == former.card.key_index:
            packet = await self._rotation.prepare_delete(former)
            await self._note(job, packet)
        outcome = await self._send(packet.id)
        if outcome.verdict is Verdict.UNKNOWN:
            if outcome.status is ResponseStatus.CNTR_LOW:
                await self._note(job, None)
            raise Again(f"the new key set is in use, the former one is not deleted yet: {outcome.words}")
        if outcome.verdict is not Verdict.DONE and outcome.sw != NOT_THERE:
            raise End("failed", f"the new key set is in use; the former one could not be deleted: {outcome.words}")
        await self._rotation.forget(former)

    async def _clear(self, former: OtherKeys) -> None:
        """An earlier rotation left its former key set in the card: delete it, if the card will."""
        outcome = await self._send((await self._rotation.prepare_delete(former)).id)
        if outcome.verdict is Verdict.UNKNOWN:
            raise Again(f"the key set of an earlier rotation is not deleted yet: {outcome.words}")
        await self._rotation.forget(former)

    async def _note(self, job: JobRow, packet: StoredPacket | None) -> None:
        async with self._database.begin() as connection:
            await note_packet(connection, job.id, None if packet is None else packet.id)
