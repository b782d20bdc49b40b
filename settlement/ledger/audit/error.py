"""What an audit ends with where the log is wrong."""

from landfall.errors import LandfallError


class AuditError(LandfallError):
    """The log is not what it claims to be. `index` is the first bad entry, `sender` who signed it, where known."""

    def __init__(self, why: str, *, index: int | None = None, sender: str | None = None) -> None:
        place = "" if index is None else f"entry {index}{f' by {sender}' if sender else ''}: "
        super().__init__(f"{place}{why}")
        self.why = why
        self.index = index
        self.sender = sender
