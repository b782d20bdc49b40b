"""One walk through the file tree: SELECT, STATUS, READ and UPDATE (ETSI TS 102 221 §8.4, §11.1.1 to §11.1.6).

The phone has one `Session`, made anew at each reset; remote file management has another for each packet, so that what
comes over the air never moves the phone's selection.
"""

from __future__ import annotations

from collections.abc import Callable

from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.files import ADM1, CURRENT_ADF, EF_ARR_OF_ADF, EF_ARR_OF_MF, MF, PIN1, Access, Df, Ef, Structure

SELECT, STATUS = 0xA4, 0xF2
READ_BINARY, UPDATE_BINARY, READ_RECORD, UPDATE_RECORD = 0xB0, 0xD6, 0xB2, 0xDC

# TS 102 221 table 11.2: P2 of SELECT says what to return.
RETURN_FCP, RETURN_NOTHING = 0x04, 0x0C
# TS 102 221 table 11.11: modes of record access.
NEXT, PREVIOUS, ABSOLUTE = 2, 3, 4


class Session:
    """Current DF, EF and record of one channel, and which secret codes it has verified.

    `pin_enabled` tells whether PIN1 is asked for at all. `changed` becomes True when an EF was written.
    """

    def __init__(self, mf: Df, pin_enabled: Callable[[], bool]) -> None:
        self._mf = mf
        self._pin_enabled = pin_enabled
        self.verified: set[int] = set()
        self.df = mf
        self.ef: Ef | None = None
        self.record = 0
        self.adf: Df | None = None
        self.changed = False

    def handles(self, ins: int) -> bool:
        """Whether `execute` knows this instruction."""
        return ins in _HANDLERS

    def execute(self, command: Command) -> Response:
        """Run one of the file instructions; raises `StatusError` with the reason it cannot."""
        return _HANDLERS[command.ins](self, command)

    def allows(self, access: Access) -> bool:
        """Whether an operation under that condition may go on."""
        match access:
            case Access.ALWAYS:
                return True
            case Access.PIN:
                return PIN1 in self.verified or not self._pin_enabled()
            case Access.ADM:
                return ADM1 in self.verified
            case Access.NEVER:
                return False

    def _select(self, command: Command) -> Response:
        if not command.data and command.le not in (None, 256):
            raise StatusError(Sw.WRONG_LENGTH)  # P3 promised data
        if command.p2 & 0x0C not in (RETURN_FCP, RETURN_NOTHING):
            raise StatusError(Sw.WRONG_P1_P2)
        match command.p1:
            case 0x00:
                target = self._by_fid(self.df, command.data or MF.to_bytes(2, "big"))
            case 0x03 if not command.data:
                target = self.df.parent or self._mf
            case 0x04:
                target = self._by_aid(command.data)
            case 0x08:
                target = self._by_path(self._mf, command.data)
            case 0x09:
                target = self._by_path(self.df, command.data)
            case _:
                raise StatusError(Sw.WRONG_P1_P2)
        if isinstance(target, Df):
            self.df, self.ef = target, None
            if target.aid:
                self.adf = target
        else:
            self.ef = target
            self.df = next((df for df in self._family(self.df) if target in df.efs.values()), self.df)
        self.record = 0
        return Response(b"" if command.p2 & 0x0C == RETURN_NOTHING else self._fcp(target))

    def _by_fid(self, base: Df, data: bytes) -> Ef | Df:
        """TS 102 221 §8.4.1: a child, the DF itself, its parent, its siblings, the MF, or 7FFF for the current ADF."""
        if len(data) != 2:
            raise StatusError(Sw.WRONG_LENGTH)
        fid = int.from_bytes(data, "big")
        if fid == MF:
            return self._mf
        if fid == CURRENT_ADF:
            if self.adf is None:
                raise StatusError(Sw.FILE_NOT_FOUND)
            return self.adf
        reachable = [base.efs.get(fid), self._df_of(base, fid)]
        if base.fid == fid:
            reachable.append(base)
        if base.parent:
            reachable += [base.parent if base.parent.fid == fid else None, self._df_of(base.parent, fid)]
        for found in reachable:
            if found is not None:
                return found
        raise StatusError(Sw.FILE_NOT_FOUND)

    def _by_path(self, base: Df, data: bytes) -> Ef | Df:
        if not data or len(data) % 2:
            raise StatusError(Sw.WRONG_LENGTH)
        here: Ef | Df = base
        for i in range(0, len(data), 2):
            if isinstance(here, Ef):
                raise StatusError(Sw.FILE_NOT_FOUND)
            here = self._by_fid(here, data[i : i + 2])
        return here

    def _by_aid(self, aid: bytes) -> Df:
        """By a whole or right-truncated AID of at least the RID's five octets (TS 102 221 §8.4.2)."""
        for df in self._mf.dfs.values():
            if df.aid and len(aid) >= 5 and df.aid.startswith(aid):
                return df
        raise StatusError(Sw.FILE_NOT_FOUND)

    @staticmethod
    def _df_of(parent: Df, fid: int) -> Df | None:
        df = parent.dfs.get(fid)
        return None if df is None or df.aid else df  # an ADF has no FID of its own to be selected by

    def _family(self, df: Df) -> tuple[Df, ...]:
        adf = (self.adf,) if self.adf else ()
        return (df, *adf, self._mf, *df.dfs.values())

    def _fcp(self, file: Ef | Df) -> bytes:
        if isinstance(file, Df):
            return file.encode_fcp(self._pin_enabled())
        return file.encode_fcp(EF_ARR_OF_MF if self.df is self._mf else EF_ARR_OF_ADF)

    def _status(self, command: Command) -> Response:
        """TS 102 221 §11.1.2: P2 00 the FCP, 01 the AID of the current application, 0C nothing."""
        match command.p2:
            case 0x00:
                data = self._fcp(self.df)
            case 0x01 if self.adf and self.adf.aid:
                data = b"\x84" + bytes((len(self.adf.aid),)) + self.adf.aid
            case 0x0C:
                return Response()
            case _:
                raise StatusError(Sw.WRONG_P1_P2)
        require_length(command, len(data))
        return Response(data)

    def _read_binary(self, command: Command) -> Response:
        ef, offset = self._transparent(command)
        self._require(ef.read)
        if offset >= len(ef.content):
            raise StatusError(Sw.WRONG_OFFSET)
        left = min(len(ef.content) - offset, 256)
        wanted = command.le or 256
        if wanted > left:
            raise StatusError(Sw.WRONG_LE | left & 0xFF)
        return Response(ef.read_binary(offset, wanted))

    def _update_binary(self, command: Command) -> Response:
        ef, offset = self._transparent(command)
        self._require(ef.update)
        if not command.data:
            raise StatusError(Sw.WRONG_LENGTH)
        ef.update_binary(offset, command.data)
        self.changed = True
        return Response()

    def _transparent(self, command: Command) -> tuple[Ef, int]:
        """The EF meant, by SFI in P1 when its top bit is set, and the offset."""
        if command.p1 & 0x80:
            if command.p1 & 0x60:
                raise StatusError(Sw.WRONG_P1_P2)
            self.ef, self.record = self.df.with_sfi(command.p1 & 0x1F), 0
            offset = command.p2
        else:
            offset = command.p1 << 8 | command.p2
        ef = self._current_ef()
        if ef.structure is not Structure.TRANSPARENT:
            raise StatusError(Sw.COMMAND_INCOMPATIBLE_WITH_FILE)
        return ef, offset

    def _read_record(self, command: Command) -> Response:
        ef = self._with_records(command)
        self._require(ef.read)
        number = self._number(ef, command)
        record = ef.read_record(number)
        require_length(command, len(record))
        if command.p2 & 7 != ABSOLUTE:
            self.record = number
        return Response(record)

    def _update_record(self, command: Command) -> Response:
        ef = self._with_records(command)
        self._require(ef.update)
        if ef.structure is Structure.CYCLIC:
            if command.p2 & 7 != PREVIOUS:
                raise StatusError(Sw.COMMAND_INCOMPATIBLE_WITH_FILE)
            ef.append_cyclic(command.data)
            self.record = 1
        else:
            number = self._number(ef, command)
            ef.update_record(number, command.data)
            if command.p2 & 7 != ABSOLUTE:
                self.record = number
        self.changed = True
        return Response()

    def _with_records(self, command: Command) -> Ef:
        if sfi := command.p2 >> 3:
            self.ef, self.record = self.df.with_sfi(sfi), 0
        ef = self._current_ef()
        if ef.structure is Structure.TRANSPARENT:
            raise StatusError(Sw.COMMAND_INCOMPATIBLE_WITH_FILE)
        return ef

    def _number(self, ef: Ef, command: Command) -> int:
        """The record meant; NEXT and PREVIOUS go round only in a cyclic file (TS 102 221 §11.1.5)."""
        match command.p2 & 7:
            case 4 if command.p1:
                return command.p1
            case 4 if self.record:
                return self.record
            case 2 if not command.p1:
                number = self.record + 1
            case 3 if not command.p1:
                number = self.record - 1 if self.record else ef.records
            case 4:
                raise StatusError(Sw.RECORD_NOT_FOUND)
            case _:
                raise StatusError(Sw.WRONG_P1_P2)
        return (number - 1) % ef.records + 1 if ef.structure is Structure.CYCLIC else number

    def _current_ef(self) -> Ef:
        if self.ef is None:
            raise StatusError(Sw.NO_EF_SELECTED)
        return self.ef

    def _require(self, access: Access) -> None:
        if not self.allows(access):
            raise StatusError(Sw.SECURITY_NOT_SATISFIED)


def require_length(command: Command, length: int) -> None:
    """`StatusError(6Cxx)` unless exactly `length` octets were asked for; no length at all asks for what there is."""
    if command.le is not None and command.le != length:
        raise StatusError(Sw.WRONG_LE | length & 0xFF)


_HANDLERS: dict[int, Callable[[Session, Command], Response]] = {
    SELECT: Session._select,
    STATUS: Session._status,
    READ_BINARY: Session._read_binary,
    UPDATE_BINARY: Session._update_binary,
    READ_RECORD: Session._read_record,
    UPDATE_RECORD: Session._update_record,
}
