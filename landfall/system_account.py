"""The account that runs PostgreSQL when we are root, which PostgreSQL refuses to be.

`running_account()` finds or makes it; `admit(account, folder)` lets it reach a folder. A clone in `/root`, or in what
`mktemp -d` made, is closed to every other account. Opening those folders for everybody would be a favour nobody asked
for: a POSIX access list gives this one account the right to pass through, and no more (not to list, not to read).
"""

import os
import pwd
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import msgspec

from landfall.errors import LandfallError

ACCOUNT_NAME = "landfall"

_ACL = "system.posix_acl_access"
_ACL_VERSION = 2  # POSIX_ACL_XATTR_VERSION
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_SEARCH = 1
_NO_ID = 0xFFFFFFFF


class Account(msgspec.Struct, frozen=True):
    """A system account by its numbers."""

    name: str
    uid: int
    gid: int


class AccountError(LandfallError):
    """The account cannot be made, or cannot be let in."""


def running_account() -> Account | None:
    """Return the account to run the server as: None for ourselves, which is right for everyone but root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        entry = _make_account()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def admit(account: Account, folder: Path) -> None:
    """Let the account pass through every folder on the way to `folder`, and through it, where it cannot already.

    Raises `AccountError` where the file system keeps no access lists.
    """
    for place in [*reversed(folder.parents), folder]:
        if not _may_pass(account, place):
            _grant_search(account, place)


def _make_account() -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise AccountError(
            f"PostgreSQL does not run as root and there is no useradd to make the account {ACCOUNT_NAME!r}: "
            "make it, run as another user, or set LANDFALL_DATABASE_URL."
        )
    command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT_NAME]
    result = subprocess.run(command, capture_output=True, text=True)
    try:
        return pwd.getpwnam(ACCOUNT_NAME)  # another process may have made it in the meantime
    except KeyError:
        raise AccountError(
            f"useradd could not make the system account {ACCOUNT_NAME!r} ({result.stderr.strip()}): "
            "make it, run as another user, or set LANDFALL_DATABASE_URL."
        ) from None


def _may_pass(account: Account, folder: Path) -> bool:
    # Asked of the kernel rather than worked out: modes, access lists and mounts all have their say.
    probe = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
    result = subprocess.run(
        probe, user=account.uid, group=account.gid, extra_groups=[], cwd="/", stderr=subprocess.DEVNULL
    )
    return result.returncode == 0


def _grant_search(account: Account, folder: Path) -> None:
    """Add `user:<account>:--x` to the folder's access list (acl(5)), keeping what is there."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    try:
        entries = _decode(os.getxattr(folder, _ACL))
    except OSError:
        entries = {(_USER_OBJ, _NO_ID): mode >> 6 & 7, (_GROUP_OBJ, _NO_ID): mode >> 3 & 7, (_OTHER, _NO_ID): mode & 7}
    entries[_USER, account.uid] = entries.get((_USER, account.uid), 0) | _SEARCH
    # The mask bounds every named entry, ours too; the owning group keeps what it had.
    entries[_MASK, _NO_ID] = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID]) | _SEARCH
    try:
        os.setxattr(folder, _ACL, _encode(entries))
    except OSError as error:
        raise AccountError(
            f"the account {account.name!r}, which runs PostgreSQL for root, cannot pass through {folder} "
            f"and cannot be let through ({error.strerror}): "
            f"chmod o+x {folder}, use another folder, or run as another user."
        ) from None


def _decode(value: bytes) -> dict[tuple[int, int], int]:
    return {(tag, who): bits for tag, bits, who in struct.iter_unpack("<HHI", value[4:])}


def _encode(entries: dict[tuple[int, int], int]) -> bytes:
    # The kernel wants them in the order of tag, then of id.
    packed = (struct.pack("<HHI", tag, bits, who) for (tag, who), bits in sorted(entries.items()))
    return struct.pack("<I", _ACL_VERSION) + b"".join(packed)
