"""A program whose disk stops taking writes: run as `python -m tests.unit.broker.failing_fsync DIRECTORY`.

A seccomp filter makes fsync and fdatasync of every thread fail with EIO from a moment on, as a dying disk does. Prints
what each kind of request is answered then. Ends with 77 where the kernel does not let a process filter itself.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

import ottla
from ottla.errors import StorageError

NOT_POSSIBLE = 77
# (number of seccomp(2), fsync, fdatasync)
CALLS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _FLAG_EVERY_THREAD = 1, 1
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def fail_every_sync() -> bool:
    """From now on no fsync of this process succeeds; False where that cannot be had."""
    calls = CALLS.get(platform.machine())
    if calls is None or not sys.platform.startswith("linux"):
        return False
    seccomp, fsync, fdatasync = calls
    instructions = b"".join(
        struct.pack("HBBI", *fields)
        for fields in (
            (_LOAD, 0, 0, 0),
            (_JUMP_IF_EQUAL, 1, 0, fsync),
            (_JUMP_IF_EQUAL, 0, 1, fdatasync),
            (_RETURN, 0, 0, _ERRNO | errno.EIO),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    failed: int = libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _FLAG_EVERY_THREAD, ctypes.byref(program))
    return not failed


def main(directory: str) -> int:
    broker = ottla.Broker(directory)
    told: list[str] = []
    broker.on_failure = told.append
    broker.start()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics([NewTopic("before", 1, 1)])
    if not fail_every_sync():
        return NOT_POSSIBLE
    for name in ("during", "after"):
        try:
            admin.create_topics([NewTopic(name, 1, 1)])
        except KafkaError as error:
            print(name, type(error).__name__, flush=True)
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
    print("topics", sorted(consumer.topics()), flush=True)
    print("waiting", broker.status().controller.waiting_changes, flush=True)
    print("told", told == [broker.status().failure], flush=True)
    consumer.close()
    admin.close()
    try:
        broker.stop()
    except StorageError:
        print("not closed cleanly", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
