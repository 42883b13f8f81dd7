"""What a program in a sandbox may use."""

from dataclasses import dataclass
from math import ceil

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run; processes and threads are always one.

    Attributes:
        cpu_s: CPU time, in seconds, over 0.
        wall_s: Longest wall time a caller may ask for, in seconds, over 0.
        memory: Address space, in bytes.
        disk: All files of the work folder together, in bytes.
        file: One file, in bytes.
        entries: Files and folders of the work folder together; the kernel sets no limit to them
            that counts, so the gateway looks every 50 ms and kills what is over it.
        open_files: Open files.
        output: Bytes of stdout that are kept; a program that prints sixteen times as many is
            killed.
    """

    cpu_s: int = 10
    wall_s: float = 60.0
    memory: int = 512 * MIB
    disk: int = 32 * MIB
    file: int = 16 * MIB
    entries: int = 4096
    open_files: int = 64
    output: int = 64 * KIB

    @property
    def flood(self) -> int:
        """Bytes of stdout at which a program is killed."""
        return 16 * self.output

    def cpu_for(self, wall_s: float) -> int:
        """Return CPU seconds for a run of `wall_s` seconds: one thread cannot use more."""
        return min(self.cpu_s, ceil(wall_s))

    def rlimits(self) -> dict[str, int]:
        """Return what is set before a program is known, by the names of module `resource`."""
        return {
            "RLIMIT_AS": self.memory,
            "RLIMIT_FSIZE": self.file,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_MEMLOCK": 0,
        }
