"""The log's leaf: `uint64 big-endian milliseconds since the epoch ‖ compact JWS`, at most 65,535 octets."""

from settlement.ledger.envelope import TIME_SIZE


def leaf_data(time: int, raw: bytes) -> bytes:
    """A leaf's data, which is also its entry in a C2SP entry bundle."""
    return time.to_bytes(TIME_SIZE, "big") + raw


def read_leaf(data: bytes) -> tuple[int, bytes]:
    """(time, envelope) of a leaf's data. Raises ValueError where it is too short to have both."""
    if len(data) <= TIME_SIZE:
        raise ValueError(f"a leaf has a time of {TIME_SIZE} octets and an envelope, this has {len(data)} octets")
    return int.from_bytes(data[:TIME_SIZE], "big"), data[TIME_SIZE:]
