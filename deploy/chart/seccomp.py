"""Writes the seccomp profile of the sandbox executor's container.

A list of what is allowed, by what it is for; every other system call does not exist (ENOSYS, on
which libraries fall back to older ones). `NAMESPACES` is what a runtime's own list refuses to a
container without CAP_SYS_ADMIN and bubblewrap cannot do without. Programs of models run under
bubblewrap's filter besides, which is narrower.
"""

import errno
import json

FILES = """
access chdir chmod close close_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate
fchdir fchmod fchmodat fcntl fdatasync flock fstat fstatfs fsync ftruncate getcwd getdents64 ioctl
lseek lstat memfd_create mkdir mkdirat newfstatat open openat openat2 pipe pipe2 pread64 preadv
pwrite64 pwritev read readlink readlinkat readv rename renameat renameat2 rmdir sendfile stat statfs
statx truncate umask unlink unlinkat utimensat write writev
"""
MEMORY = """
brk madvise membarrier mincore mlock mmap mprotect mremap msync munlock munmap
"""
PROCESSES = """
arch_prctl capget capset clone clone3 execve execveat exit exit_group fork futex get_robust_list
getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid getresuid
getrlimit getrusage getsid gettid getuid kill prctl prlimit64 restart_syscall rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
sched_getaffinity sched_getparam sched_getscheduler sched_yield seccomp set_robust_list
set_tid_address setgid setgroups setpgid setpriority setresgid setresuid setrlimit setsid setuid
sigaltstack signalfd4 sysinfo tgkill uname vfork wait4 waitid
"""
TIME = """
clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timerfd_create
timerfd_gettime timerfd_settime times
"""
WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd2 getrandom poll
ppoll pselect6 select
"""
SOCKETS = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg
sendmmsg sendmsg sendto setsockopt shutdown socket socketpair
"""
NAMESPACES = ("mount", "pivot_root", "sethostname", "umount2")
"""Besides `clone` with flags of namespaces."""


def profile() -> str:
    """Return the profile in the form of the OCI runtime specification."""
    usual = f"{FILES} {MEMORY} {PROCESSES} {TIME} {WAITING} {SOCKETS}".split()
    allowed = {"action": "SCMP_ACT_ALLOW", "names": sorted([*usual, *NAMESPACES])}
    whole = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [allowed],
    }
    return json.dumps(whole, indent=1) + "\n"
