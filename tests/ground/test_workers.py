"""Work shared among processes: in order, and nobody is left behind."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

from hmtl.workers import cores, map_in_order


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_tasks_one_by_one(processes):
    asked = []

    def tasks():
        for number in range(40):
            asked.append(number)
            yield -number

    results = map_in_order(abs, tasks(), processes)
    assert next(results) == 0
    assert len(asked) <= 3 * processes + 1  # not all at once
    assert list(results) == list(range(1, 40))
    assert cores() >= 1


def test_an_error_in_a_worker_is_raised_here():
    with pytest.raises(TypeError, match="bad operand"):
        list(map_in_order(abs, [1, "two", 3], 2))


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks processes up in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = """
        import os, signal
        from hmtl.workers import map_in_order
        def main():
            results = map_in_order(__import__("time").sleep, [0.01] * 4 + [600] * 4, 2)
            next(results)
            children = open(f"/proc/self/task/{os.getpid()}/children").read()
            open("children", "w").write(children)
            os.kill(os.getpid(), signal.SIGKILL)
        if __name__ == "__main__":
            main()
    """
    (file := tmp_path / "main.py").write_text(textwrap.dedent(code))
    null = subprocess.DEVNULL  # who is left behind must not keep this test's pipes open
    subprocess.run([sys.executable, file], cwd=tmp_path, stdout=null, stderr=null)
    children = (tmp_path / "children").read_text().split()
    assert len(children) >= 2
    late = time.monotonic() + 30
    while any(os.path.isdir(f"/proc/{child}") for child in children):
        assert time.monotonic() < late, "workers are left"
        time.sleep(0.05)
