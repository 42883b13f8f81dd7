import errno
import struct

import pytest

from entroute.sandbox.seccomp import MACHINES, denied, syscall_filter

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003
READ = {"x86_64": 0, "aarch64": 63}
EXECVE = {"x86_64": 59, "aarch64": 221}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
UNIX, INET, VSOCK, STREAM, DATAGRAM, CLOEXEC = 1, 2, 40, 1, 2, 0o2000000
CLONE3, IO_URING_SETUP, X32 = 435, 425, 0x40000000


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run a filter as the kernel does; a small machine for the five instructions that it uses."""
    data = {0: number, 4: architecture}
    data |= {16 + 8 * i: argument for i, argument in enumerate(arguments)}
    at, accumulator = 0, 0
    instructions = list(struct.iter_unpack("=HBBI", program))
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x20:
            accumulator = data[value]
        elif code == 0x15:
            at += if_true if accumulator == value else if_false
        elif code == 0x54:
            accumulator &= value
        elif code == 0x35:
            at += if_true if accumulator >= value else if_false
        else:
            assert code == 0x06
            return int(value)


@pytest.mark.parametrize("machine", MACHINES)
class TestFilter:
    def test_ordinary_calls_pass(self, machine: str) -> None:
        for number in (READ[machine], EXECVE[machine]):
            assert verdict(syscall_filter(machine), NATIVE[machine], number) == ALLOW

    def test_every_call_on_the_list_is_refused(self, machine: str) -> None:
        for name, number in denied(machine).items():
            answer = verdict(syscall_filter(machine), NATIVE[machine], number)
            assert answer == ERRNO | errno.EPERM, name

    def test_new_processes_and_threads_meet_a_full_table(self, machine: str) -> None:
        answer = verdict(syscall_filter(machine), NATIVE[machine], CLONE[machine])
        assert answer == ERRNO | errno.EAGAIN

    @pytest.mark.parametrize(
        ("family", "kind", "answer"),
        [
            (UNIX, STREAM, ALLOW),
            (UNIX, STREAM | CLOEXEC, ALLOW),
            (UNIX, DATAGRAM, ERRNO | errno.EPERM),
            (UNIX, DATAGRAM | CLOEXEC, ERRNO | errno.EPERM),
            (INET, STREAM, ERRNO | errno.EPERM),
            (VSOCK, STREAM, ERRNO | errno.EPERM),
        ],
    )
    def test_of_pairs_of_sockets_only_local_streams_pass(
        self, machine: str, family: int, kind: int, answer: int
    ) -> None:
        pair = SOCKETPAIR[machine], family, kind
        assert verdict(syscall_filter(machine), NATIVE[machine], *pair) == answer

    @pytest.mark.parametrize("number", [CLONE3, IO_URING_SETUP, X32 | 1, 424, 0xFFFFFFFF])
    def test_new_and_foreign_numbers_do_not_exist(self, machine: str, number: int) -> None:
        answer = verdict(syscall_filter(machine), NATIVE[machine], number)
        assert answer == ERRNO | errno.ENOSYS

    def test_calls_of_another_architecture_kill(self, machine: str) -> None:
        assert verdict(syscall_filter(machine), I386, READ[machine]) == KILL

    def test_it_is_shorter_than_the_kernels_limit(self, machine: str) -> None:
        assert 0 < len(syscall_filter(machine)) // 8 <= 4096


def test_both_machines_refuse_the_same_calls_where_both_have_them() -> None:
    only_x86 = set(denied("x86_64")) - set(denied("aarch64"))
    assert set(denied("aarch64")) <= set(denied("x86_64"))
    assert only_x86 == {
        "iopl", "ioperm", "modify_ldt", "uselib", "sysfs", "ustat", "mknod", "_sysctl",
        "link", "symlink",
    }  # fmt: skip
