"""Programs pass only by running to their end within limits."""

import time

import pytest

from loadtest.grading import Limits, code_of, passes

QUICK = Limits(cpu_s=1, wall_s=20.0, memory_bytes=256 << 20)
RIGHT = "def add(a, b):\n    return a + b\n"
TEST = "assert add(2, 3) == 5\n"


def test_a_right_program_passes():
    assert passes(RIGHT + TEST)


@pytest.mark.parametrize(
    "program",
    [
        RIGHT.replace("+", "-") + TEST,
        "def add(a, b:\n",
        "import sys\nsys.exit(0)\n" + RIGHT + TEST,
        "import os\nos._exit(0)\n" + RIGHT + TEST,
        "held = bytearray(512 << 20)\n" + RIGHT + TEST,
        "print('x' * (8 << 20))\n" + RIGHT + TEST,
    ],
    ids=["wrong", "syntax", "exit", "hard exit", "memory", "output"],
)
def test_other_programs_do_not(program: str):
    assert not passes(program, QUICK)


def test_endless_loops_are_stopped_by_cpu_time():
    started = time.monotonic()
    assert not passes("while True:\n    pass\n", QUICK)
    assert time.monotonic() - started < 60


def test_sleeping_programs_are_stopped_by_wall_time():
    started = time.monotonic()
    assert not passes("import time\ntime.sleep(60)\n", Limits(wall_s=0.5))
    assert time.monotonic() - started < 10


def test_what_a_program_writes_is_gone(tmp_path):
    marker = tmp_path / "home"
    program = f"import os\nopen({str(marker)!r}, 'w').write(os.getcwd())\n"
    assert passes(program)
    assert "grading-" in marker.read_text()
    assert not (tmp_path / marker.read_text()).exists()


def test_code_is_the_block_that_defines_the_function():
    answer = (
        "First:\n```\nimport math\n```\nThen\n```python\ndef add(a, b):\n    return a\n```\nbye"
    )
    assert code_of(answer, "add") == "def add(a, b):\n    return a\n"
    assert code_of("```python\ndef add(a, b):\n    re", "add") == "def add(a, b):\n    re"
    assert code_of("    return a + b", "add") == "    return a + b"
