"""Privileges are given up: capabilities, user, and the ways back to them."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from collections.abc import Iterable
from contextlib import suppress
from errno import EINVAL

from lvs_nat.errors import LvsNatError, NotPrivileged

# linux/capability.h, in the order of their numbers.
NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in NAMES.split())
# linux/prctl.h
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
VERSION_3 = 0x20080522
MOST = 64  # bits in a set of capabilities, as _LINUX_CAPABILITY_VERSION_3 has them


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    # The low halves of effective, permitted and inheritable, then the high ones.
    _fields_ = (("words", ctypes.c_uint32 * 6),)


def become(*users: str) -> None:
    """Turn for good into the first of *users* that exists, without any capability.

    Without root the user stays the same and gives up what can be given up.  Raises LvsNatError
    where a privilege would be left, OSError where the kernel refuses a step.
    """
    libc = _libc()
    if os.geteuid() == 0:
        found = _first(users)
        _bound(0)
        os.setgroups([])
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)
    _limit(libc, 0)
    prctl(PR_SET_DUMPABLE, 0)
    if effective() or 0 in os.getresuid():
        raise LvsNatError("privileges could not be given up; this process must not go on")


def group(name: str) -> tuple[int, ...]:
    """Return the number of the group *name*, or nothing where there is none."""
    with suppress(KeyError):
        return (grp.getgrnam(name).gr_gid,)
    return ()


def keep_only(capabilities: Iterable[str]) -> None:
    """Stay the present user with no more than *capabilities*, such as CAP_NET_ADMIN, for good.

    Raises NotPrivileged if one of them is not there to be kept.
    """
    kept = sum(1 << CAPABILITIES.index(name) for name in set(capabilities))
    libc = _libc()
    missing = kept & ~effective()
    if missing:
        names = [name for name in CAPABILITIES if missing >> CAPABILITIES.index(name) & 1]
        raise NotPrivileged(f"{', '.join(names)} is needed: run as root")
    _bound(kept)
    _limit(libc, kept)


def effective() -> int:
    """Return the capabilities in force, one bit each."""
    words = _sets(_libc()).words
    return int(words[0] | words[3] << 32)


def prctl(option: int, value: int) -> None:
    """Call prctl(2); raise OSError where it refuses."""
    # It takes unsigned longs, and some options insist that the unused ones are 0.
    words = [ctypes.c_ulong(word) for word in (value, 0, 0, 0)]
    if _libc().prctl(ctypes.c_int(option), *words) < 0:
        raise _failure()


def _first(users: Iterable[str]) -> pwd.struct_passwd:
    for name in users:
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            if found.pw_uid != 0:
                return found
    raise LvsNatError(f"there is no user {' or '.join(users)}; make one: useradd -r -M NAME")


def _limit(libc: ctypes.CDLL, kept: int) -> None:
    # Inheritable and ambient sets are only narrowed: nothing that is run later shall gain.
    with suppress(OSError):  # ambient capabilities are there since Linux 4.3
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    sets = _sets(libc)
    for number in range(6):
        sets.words[number] &= (kept >> (32 if number >= 3 else 0)) & 0xFFFFFFFF
    if libc.capset(ctypes.byref(_Header(VERSION_3, 0)), ctypes.byref(sets)):
        raise _failure()
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def _bound(kept: int) -> None:
    # Without CAP_SETPCAP the bounding set stays; no_new_privs then bars the way back.
    if not effective() >> CAPABILITIES.index("CAP_SETPCAP") & 1:
        return
    for number in range(MOST):
        if kept >> number & 1:
            continue
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != EINVAL:
                raise
            return  # the kernel knows no capability of this number, nor any above


def _sets(libc: ctypes.CDLL) -> _Sets:
    sets = _Sets()
    if libc.capget(ctypes.byref(_Header(VERSION_3, 0)), ctypes.byref(sets)):
        raise _failure()
    return sets


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
