"""One walk through the file tree: SELECT, STATUS, READ, UPDATE, SEARCH, INCREASE (ETSI TS 102 221 §8.4, §11.1).

Each logical channel has one `Session`, made anew at each reset; remote file management has another for each packet, so
that what comes over the air never moves the phone's selection. How a file is found is here; what is done with records
is in `records.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.files import ADM1, CURRENT_ADF, MF, PIN1, Access, Df, Ef, Structure
from simcard.uicc.records import ABSOLUTE, PREVIOUS, number_of, search

SELECT, STATUS = 0xA4, 0xF2
READ_BINARY, UPDATE_BINARY, READ_RECORD, UPDATE_RECORD = 0xB0, 0xD6, 0xB2, 0xDC
SEARCH_RECORD, INCREASE = 0xA2, 0x32

# TS 102 221 table 11.2: P2 of SELECT says what to return.
RETURN_FCP, RETURN_NOTHING = 0x04, 0x0C


class Session:
    """Current DF, EF and record of one channel.

    `verified` are the secret codes verified so far, which channels share (TS 102 221 §9.5). `pin_enabled` tells whether
    PIN1 is asked for at all. `changed` becomes True when an EF was written.
    """

    def __init__(self, mf: Df, pin_enabled: Callable[[], bool], verified: set[int] | None = None) -> None:
        self._mf = mf
        self._pin_enabled = pin_enabled
        self.verified: set[int] = set() if verified is None else verified
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
                target = self.df.parent or self._mf, None
            case 0x04:
                target = self._by_aid(command.data), None
            case 0x08:
                target = self._by_path(self._mf, command.data)
            case 0x09:
                target = self._by_path(self.df, command.data)
            case _:
                raise StatusError(Sw.WRONG_P1_P2)
        self._go(*target)
        return Response(b"" if command.p2 & 0x0C == RETURN_NOTHING else self._fcp())

    def select_fid(self, data: bytes) -> Df | Ef:
        """SELECT by FID alone, as class A0 has it; gives the file."""
        self._go(*self._by_fid(self.df, data))
        return self.ef or self.df

    def _go(self, df: Df, ef: Ef | None) -> None:
        self.df, self.ef, self.record = df, ef, 0
        if df.aid:
            self.adf = df

    def _by_fid(self, base: Df, data: bytes) -> tuple[Df, Ef | None]:
        """TS 102 221 §8.4.1: a child, the DF itself, its parent, its siblings, the MF, or 7FFF for the current ADF."""
        if len(data) != 2:
            raise StatusError(Sw.WRONG_LENGTH)
        fid = int.from_bytes(data, "big")
        if fid == MF:
            return self._mf, None
        if fid == CURRENT_ADF:
            if self.adf is None:
                raise StatusError(Sw.FILE_NOT_FOUND)
            return self.adf, None
        if ef := base.efs.get(fid):
            return base, ef
        parent = base.parent
        around = (*base.dfs.values(), base, *((parent, *parent.dfs.values()) if parent else ()))
        for df in around:
            if df.fid == fid:
                return df, None
        raise StatusError(Sw.FILE_NOT_FOUND)

    def _by_path(self, base: Df, data: bytes) -> tuple[Df, Ef | None]:
        if not data or len(data) % 2:
            raise StatusError(Sw.WRONG_LENGTH)
        df, ef = base, None
        for i in range(0, len(data), 2):
            if ef is not None:
                raise StatusError(Sw.FILE_NOT_FOUND)
            df, ef = self._by_fid(df, data[i : i + 2])
        return df, ef

    def _by_aid(self, aid: bytes) -> Df:
        """By a whole or right-truncated AID of at least the RID's five octets (TS 102 221 §8.4.2)."""
        for df in self._mf.applications:
            if df.aid and len(aid) >= 5 and df.aid.startswith(aid):
                return df
        raise StatusError(Sw.FILE_NOT_FOUND)

    def _fcp(self) -> bytes:
        """Of the current EF, else of the current DF."""
        return self.ef.encode_fcp(self.df.arr) if self.ef else self.df.encode_fcp(self._pin_enabled())

    def _status(self, command: Command) -> Response:
        """TS 102 221 §11.1.2: P2 00 the FCP, 01 the AID of the current application, 0C nothing."""
        match command.p2:
            case 0x00:
                data = self.df.encode_fcp(self._pin_enabled())
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
        number = number_of(ef, command, self.record)
        record = ef.read_record(number)
        require_length(command, len(record))
        if command.p2 & 7 != ABSOLUTE:
            self.record = number
        return Response(record)

    def _search_record(self, command: Command) -> Response:
        ef = self._with_records(command)
        self._require(ef.read)
        found = search(ef, command, self.record)
        if not found:
            return Response(sw=Sw.NOTHING_FOUND)
        self.record = found[0]
        return Response(bytes(found))

    def _increase(self, command: Command) -> Response:
        """TS 102 221 §11.1.8: record 1 plus the value becomes the new record 1; answers the sum, then the value."""
        if command.p1 & 0xE0 not in (0x00, 0x80) or command.p2:
            raise StatusError(Sw.WRONG_P1_P2)
        if command.p1 & 0x1F:
            self.ef, self.record = self.df.with_sfi(command.p1 & 0x1F), 0
        ef = self._current_ef()
        if ef.structure is not Structure.CYCLIC or ef.increase is None:
            raise StatusError(Sw.COMMAND_INCOMPATIBLE_WITH_FILE)
        self._require(ef.increase)
        if not 0 < len(command.data) <= ef.record_length:
            raise StatusError(Sw.WRONG_LENGTH)
        total = int.from_bytes(ef.read_record(1), "big") + int.from_bytes(command.data, "big")
        if total >> 8 * ef.record_length:
            raise StatusError(Sw.MAXIMUM_REACHED)
        ef.append_cyclic(total.to_bytes(ef.record_length, "big"))
        self.record, self.changed = 1, True
        return Response(ef.read_record(1) + command.data)

    def _update_record(self, command: Command) -> Response:
        ef = self._with_records(command)
        self._require(ef.update)
        if ef.structure is Structure.CYCLIC:
            if command.p2 & 7 != PREVIOUS:
                raise StatusError(Sw.COMMAND_INCOMPATIBLE_WITH_FILE)
            ef.append_cyclic(command.data)
            self.record = 1
        else:
            number = number_of(ef, command, self.record)
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
    SEARCH_RECORD: Session._search_record,
    INCREASE: Session._increase,
}
