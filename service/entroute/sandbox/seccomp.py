"""The system-call filter of a sandbox: one process and thread, no socket, no kernel interface.

Namespaces hide what is outside; the filter keeps a program from asking the kernel for more, and is
the only limit on processes that binds root too (RLIMIT_NPROC does not bind uid 0).
"""

import errno
import struct
from collections.abc import Iterable

NEWEST = 424
"""First number common to all architectures (Linux 5.1): from here on every call is answered ENOSYS,
io_uring, clone3, the mount calls and all that is still to come; libraries then use older calls."""

_SPAWN = {"x86_64": (56, 57, 58), "aarch64": (220,)}
"""clone, fork, vfork."""

_DENIED: dict[str, dict[str, int]] = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
        "unshare": 272, "setns": 308, "bpf": 321, "perf_event_open": 298,
        "keyctl": 250, "add_key": 248, "request_key": 249, "userfaultfd": 323,
        "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313,
        "delete_module": 176, "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163,
        "settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305,
        "sethostname": 170, "setdomainname": 171, "quotactl": 179, "nfsservctl": 180,
        "lookup_dcookie": 212, "open_by_handle_at": 304, "name_to_handle_at": 303,
        "memfd_create": 319, "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64,
        "msgget": 68, "mq_open": 240, "socket": 41, "bind": 49, "connect": 42,
        "personality": 135, "syslog": 103, "vhangup": 153, "io_setup": 206,
        "move_pages": 279, "mbind": 237, "set_mempolicy": 238, "migrate_pages": 256,
        "fanotify_init": 300, "mknodat": 259, "vmsplice": 278,
        "iopl": 172, "ioperm": 173, "modify_ldt": 154, "uselib": 134, "sysfs": 139,
        "ustat": 136, "mknod": 133, "_sysctl": 156, "link": 86, "symlink": 88,
        "linkat": 265, "symlinkat": 266, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
        "unshare": 97, "setns": 268, "bpf": 280, "perf_event_open": 241,
        "keyctl": 219, "add_key": 217, "request_key": 218, "userfaultfd": 282,
        "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273,
        "delete_module": 106, "reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89,
        "settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266,
        "sethostname": 161, "setdomainname": 162, "quotactl": 60, "nfsservctl": 42,
        "lookup_dcookie": 18, "open_by_handle_at": 265, "name_to_handle_at": 264,
        "memfd_create": 279, "shmget": 194, "shmat": 196, "shmctl": 195, "semget": 190,
        "msgget": 186, "mq_open": 180, "socket": 198, "bind": 200, "connect": 203,
        "personality": 92, "syslog": 116, "vhangup": 58, "io_setup": 0,
        "move_pages": 239, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238,
        "fanotify_init": 262, "mknodat": 33, "vmsplice": 75,
        "linkat": 37, "symlinkat": 36, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7,
    },
}  # fmt: skip

_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
_STREAM_PAIR = (1, 1)
"""AF_UNIX and SOCK_STREAM: what asyncio wakes itself with; a datagram socket could send outside."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# linux/bpf_common.h and linux/seccomp.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # offsets in struct seccomp_data
_ARGUMENTS_AT = (16, 24)  # low words of the first two; both machines are little-endian
_TYPE_MASK = 0xF  # of a socket's type, less its flags

MACHINES = tuple(_AUDIT_ARCH)
"""Machines, as `platform.machine()` calls them, that there is a filter for."""


def syscall_filter(machine: str) -> bytes:
    """Return the filter for a machine as an array of `struct sock_filter`.

    It kills on a foreign architecture (x86_64 runs 32-bit code, whose numbers differ), answers
    EAGAIN to a new process or thread as a full process table does, ENOSYS to calls from `NEWEST`
    on (x32 among them), EPERM to `denied` and to pairs of sockets that are no local streams, and
    allows the rest.

    Raises:
        KeyError: `machine` is none of `MACHINES`.

    Source: Linux, Documentation/userspace-api/seccomp_filter.rst.
    """
    program = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_IF_EQUAL, _AUDIT_ARCH[machine], if_true=1),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_AT),
        _instruction(_IF_AT_LEAST, NEWEST, if_false=1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        *_refuse(_SPAWN[machine], errno.EAGAIN),
        *_refuse(denied(machine).values(), errno.EPERM),
        *_only_stream_pairs(_SOCKETPAIR[machine]),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def denied(machine: str) -> dict[str, int]:
    """Return name and number of every call that is answered EPERM."""
    return _DENIED[machine]


def _refuse(numbers: Iterable[int], code: int) -> list[bytes]:
    # Two instructions a call instead of one shared return: no jump then has a distance to keep.
    return [
        part
        for number in numbers
        for part in (
            _instruction(_IF_EQUAL, number, if_false=1),
            _instruction(_RETURN, _ERRNO | code),
        )
    ]


def _only_stream_pairs(number: int) -> list[bytes]:
    """Return the filter's last part but one: what is allowed jumps to the instruction after it."""
    family, kind = _STREAM_PAIR
    return [
        _instruction(_IF_EQUAL, number, if_false=6),
        _instruction(_LOAD, _ARGUMENTS_AT[0]),
        _instruction(_IF_EQUAL, family, if_false=3),
        _instruction(_LOAD, _ARGUMENTS_AT[1]),
        _instruction(_AND, _TYPE_MASK),
        _instruction(_IF_EQUAL, kind, if_true=1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
    ]


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
