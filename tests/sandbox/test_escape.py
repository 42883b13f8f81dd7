"""Programs that try to do harm or to get out; afterwards the pool serves and nothing is left."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from entroute.sandbox import BubblewrapSandbox
from tests.sandbox.boxes import bubblewrap, children, processes, until_gone

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "the-secret-of-this-test"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> AsyncIterator[BubblewrapSandbox]:
    async with bubblewrap(disk_mib=8, file_mib=4) as started:
        yield started


@pytest.fixture
def secret_file() -> Iterator[Path]:
    """Put a secret into the home folder, readable by all."""
    path = Path.home() / f".entroute-test-secret-{os.getpid()}"
    path.write_text(SECRET)
    yield path
    path.unlink()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listen on the host; `accepted` says whether anybody came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def accepted(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


BOMBS = {
    "fork bomb": ("import os\nwhile True: os.fork()", "killed"),
    "fork bomb that insists": (
        "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
        "timeout",
    ),
    "subprocess": ("import subprocess; subprocess.run(['/python/bin/python3'])", "killed"),
    "process pool": ("import multiprocessing as m\nm.Process(target=print).start()", "killed"),
    "threads bomb": (
        "import threading as t\nt.stack_size(32768)\nwhile True: t.Thread(target=input).start()",
        "killed",
    ),
    "memory bomb in one": ("x = bytearray(1 << 32)", "killed"),
    "memory bomb in many": ("x = []\nwhile True: x.append('y' * 100_000)", "killed"),
    "memory map bomb": (
        "import mmap\nx = []\nwhile True: x.append(mmap.mmap(-1, 1 << 24))",
        "killed",
    ),
    "disk fill": (
        "import itertools\nfor i in itertools.count(): open(str(i), 'w').write('x' * 1_000_000)",
        "killed",
    ),
    "huge file": ("f = open('f', 'wb')\nwhile True: f.write(bytes(1 << 16))", "killed"),
    "open files": ("x = []\nwhile True: x.append(open('/dev/null'))", "killed"),
    "files without end": (
        "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()",
        "killed",
    ),
    "folders without end": (
        "import itertools, os\nfor i in itertools.count(): os.mkdir(str(i))",
        "killed",
    ),
    "files that are gone but open": (
        "import os\nwhile True: os.open('f', os.O_CREAT | os.O_RDWR), os.unlink('f')",
        "killed",
    ),
    "endless loop": ("while True: pass", "timeout"),
    "endless sleep": ("import time; time.sleep(999)", "timeout"),
    "endless output": ("while True: print('x' * 1000)", "killed"),
    "endless recursion": ("def f(): f()\nf()", "error"),
    "suicide": ("import os; os.kill(os.getpid(), 9)", "killed"),
    "stop": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "timeout"),
    "crash": ("import ctypes; ctypes.string_at(0)", "killed"),
    "other program": ("import os; os.execv('/python/bin/python3', ['p', '-c', '1'])", "error"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
async def test_a_program_that_takes_too_much_is_ended(
    sandbox: BubblewrapSandbox, name: str
) -> None:
    source, status = BOMBS[name]
    run = await sandbox.run(source, wall_s=1 if status == "timeout" else 30)
    assert (run.status, run.error != "") == (status, True), run.error
    assert len(run.stdout) <= 64 * 1024
    assert (await sandbox.run("print('next')")).stdout == "next\n"


@pytest.mark.parametrize(
    "call",
    [
        "os.symlink('x' * 100, 'l')",
        "os.symlink('x', 'l', dir_fd=os.open('.', 0))",
        "os.link('f', 'l')",
        "os.mknod('l')",
        "os.mkfifo('l')",
        "os.setxattr('f', 'user.x', bytes(9999))",
        "socket.socketpair(type=socket.SOCK_DGRAM)",
    ],
)
async def test_what_takes_memory_that_no_limit_counts_is_refused(
    sandbox: BubblewrapSandbox, call: str
) -> None:
    run = await sandbox.run(f"import os, socket\nopen('f', 'w').close()\n{call}")
    assert (run.status, "Operation not permitted" in run.error) == ("error", True), run.error


async def test_files_and_folders_of_ordinary_use_are_there(sandbox: BubblewrapSandbox) -> None:
    source = (
        "import os, pathlib, shutil, tempfile\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    for i in range(1500): pathlib.Path(folder, str(i)).touch()\n"
        "    shutil.copytree(folder, 'copy')\n"
        "    os.replace('copy/1', 'one')\n"
        "    with tempfile.NamedTemporaryFile() as file: shutil.copy2(file.name, 'two')\n"
        "print(len(os.listdir('copy')), sorted(os.listdir()))\n"
    )
    run = await sandbox.run(source)
    assert (run.error, run.stdout) == ("", "1499 ['copy', 'one', 'two']\n")


async def test_recursion_without_python_s_limit_is_ended(sandbox: BubblewrapSandbox) -> None:
    source = "import sys; sys.setrecursionlimit(10**9)\nx = []\n"
    source += "class A:\n def __repr__(self): return repr(self)\nrepr(A())"
    assert (await sandbox.run(source, wall_s=30)).status == "killed"


async def test_a_busy_loop_that_ignores_signals_runs_out_of_cpu_time() -> None:
    source = "import signal\nfor s in set(signal.Signals) - {9, 19}:\n"
    source += " signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
    async with bubblewrap(cpu_s=1) as impatient:
        run = await impatient.run(source, wall_s=30)
    assert (run.status, run.error) == ("timeout", "CPU time ran out")
    assert run.seconds < 25


async def test_large_output_is_cut(sandbox: BubblewrapSandbox) -> None:
    run = await sandbox.run("print('x' * 200_000)")
    assert (run.status, run.stdout) == ("ok", "x" * 65536)


UNREACHABLE = {
    "connect": "socket.create_connection(('127.0.0.1', {port}))",
    "connect anywhere": "socket.create_connection(('192.0.2.1', 80), 1)",
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "names": "socket.getaddrinfo('example.com', 80)",
    "unix": "socket.socket(socket.AF_UNIX).connect({unix!r})",
    "abstract": "socket.socket(socket.AF_UNIX).connect('\\0' + {unix!r})",
    "from a pair": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', {unix!r})",
    "netlink": "socket.if_nameindex()",
    "http": "__import__('urllib.request').request.urlopen('http://127.0.0.1:{port}')",
}


@pytest.mark.parametrize("name", UNREACHABLE)
async def test_there_is_no_network(
    sandbox: BubblewrapSandbox, listener: socket.socket, tmp_path: Path, name: str
) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.bind(path)
        unix.setblocking(False)
        port = listener.getsockname()[1]
        run = await sandbox.run(
            f"import socket\n{UNREACHABLE[name].format(port=port, unix=path)}", wall_s=5
        )
        assert (run.status, run.stdout) == ("error", "")
        with pytest.raises(BlockingIOError):
            unix.recv(1)
    assert not accepted(listener)


async def test_files_of_the_host_cannot_be_read(
    sandbox: BubblewrapSandbox, secret_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "secret"
    other.write_text(SECRET)
    up = "/".join([".."] * 20)
    paths = [
        secret_file, other, Path(__file__), "/etc/passwd", "/etc/shadow", "/proc/self/environ",
        f"/proc/{os.getpid()}/environ", "/proc/1/root/etc/passwd", "/sys/kernel", f"{up}{other}",
        "/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/tty",
    ]  # fmt: skip
    for path in map(str, paths):
        plain = await sandbox.run(f"print(open({path!r}).read())")
        linked = await sandbox.run(f"import os; os.symlink({path!r}, 'l'); print(open('l').read())")
        for run in (plain, linked):
            assert (run.status, run.stdout) == ("error", ""), path


async def test_the_gateways_environment_and_processes_do_not_show(
    sandbox: BubblewrapSandbox,
) -> None:
    source = "import os; print(sorted(os.environ), os.getpid() < 9, os.path.exists('/proc'))"
    run = await sandbox.run(source)
    assert run.stdout == "['LD_LIBRARY_PATH', 'PWD'] True False\n"


async def test_files_of_other_runs_do_not_show(sandbox: BubblewrapSandbox) -> None:
    write = "open('/tmp/mine', 'w').write('x')\nimport time; time.sleep({})"
    look = "import os; print(os.listdir('/tmp'), os.path.exists('/tmp/mine'))"
    await sandbox.run(write.format(0))
    concurrent = asyncio.ensure_future(sandbox.run(write.format(1)))
    await asyncio.sleep(0.3)
    run = await sandbox.run(look)
    assert (run.stdout, (await concurrent).status) == ("[] False\n", "ok")


@pytest.mark.parametrize(
    "path", ["/x", "/python/x", "/python/bin/python3", "/runner.py", "/dev/x", "/python/lib/x"]
)
async def test_nothing_but_the_work_folder_can_be_written(
    sandbox: BubblewrapSandbox, path: str
) -> None:
    run = await sandbox.run(f"open({path!r}, 'r+' if {path!r} != '/x' else 'w')")
    assert run.status == "error"
    assert (await sandbox.run(f"import os; os.chmod({path!r}, 0o777)")).status == "error"


async def test_signals_reach_nobody_else(sandbox: BubblewrapSandbox) -> None:
    source = "import os\nfor pid in [-1, 0x7fff, {host}, os.getppid()]:\n"
    source += " try: os.kill(pid, 9)\n except OSError as error: pass\nprint('alive')"
    run = await sandbox.run(source.format(host=os.getpid()))
    assert (run.status, run.stdout) == ("ok", "alive\n")
    assert (await sandbox.run("print(1)")).ok


FORGERIES = {
    "closes it": "os.closerange(3, 1024)",
    "says ok": "[write(fd, b'ok\\n') for fd in range(3, 1024)]; os._exit(0)",
    "guesses": (
        "import json; line = '0' * 32 + ' ' + json.dumps({'status': 'ok', 'error': ''}) + '\\n'\n"
        "[write(fd, line.encode()) for fd in range(3, 1024)]; os._exit(0)"
    ),
    "adds to it": "[write(fd, b'x') for fd in range(3, 1024)]",
    "floods it": "\nwhile True: [write(fd, b'x' * 4096) for fd in range(3, 1024)]",
}


SEARCH = """
import os, sys
frame = sys._getframe()
while 'job' not in frame.f_locals: frame = frame.f_back
report = frame.f_locals['job']['secret'] + ' ' + GARBAGE + '\\n'
os.write(frame.f_locals['report_fd'], report.encode())
os._exit(0)
"""


@pytest.mark.parametrize(
    "garbage",
    ["[" * 8000, '{"status": "error", "error": 5}', '{"status": ["ok"], "error": ""}', "1"],
)
async def test_a_report_forged_with_the_secret_is_read_as_data(
    sandbox: BubblewrapSandbox, garbage: str
) -> None:
    run = await sandbox.run(f"GARBAGE = {garbage!r}\n{SEARCH}")
    assert (run.status, run.error) == (
        "error",
        "the program wrote to the sandbox's report channel",
    )


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_report_does_not_count(sandbox: BubblewrapSandbox, name: str) -> None:
    source = "import os\ndef write(fd, data):\n try: os.write(fd, data)\n except OSError: pass\n"
    run = await sandbox.run(source + FORGERIES[name], wall_s=5)
    assert run.status in {"error", "killed"}


async def test_stdin_holds_the_programs_input_and_nothing_of_the_job(
    sandbox: BubblewrapSandbox,
) -> None:
    run = await sandbox.run("import os; print(os.read(0, 9999))", stdin="mine")
    assert run.stdout == "b'mine'\n"


async def test_limits_cannot_be_raised(sandbox: BubblewrapSandbox) -> None:
    for name in ("AS", "CPU", "FSIZE", "NOFILE"):
        source = f"import resource as r; r.setrlimit(r.RLIMIT_{name}, (10**9, 10**9))"
        assert (await sandbox.run(source)).status == "error"


async def test_system_calls_by_hand_are_refused(sandbox: BubblewrapSandbox) -> None:
    numbers = {
        "x86_64": [165, 272, 101, 308, 321, 250, 310, 161, 155, 246, 41, 56, 57, 435, 425],
        "aarch64": [40, 97, 117, 268, 280, 219, 270, 51, 41, 104, 198, 220, 220, 435, 425],
    }[os.uname().machine]
    source = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"for number in {numbers}:\n"
        " print(libc.syscall(number, 0x10000000, 0, 0, 0, 0), ctypes.get_errno())"
    )
    run = await sandbox.run(source)
    assert run.status == "ok"
    assert run.stdout.split("\n")[:-1] == [*["-1 1"] * 11, *["-1 11"] * 2, *["-1 38"] * 2]


async def test_afterwards_the_pool_serves_and_closing_leaves_no_process(
    sandbox: BubblewrapSandbox,
) -> None:
    runs = await asyncio.gather(*(sandbox.run(f"print({i})") for i in range(8)))
    assert [run.stdout for run in runs] == [f"{i}\n" for i in range(8)]
    mine = processes()
    assert mine
    await sandbox.close()
    assert await until_gone(mine)
    assert processes() == []
    assert children() == []
