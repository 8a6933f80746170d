"""Work shared among processes: in order, and nobody is left behind."""

import os
import subprocess
import sys
import textwrap
import time
from multiprocessing import current_process

import numpy as np
import pytest
from PIL import Image

from hmtl.workers import check_not_a_worker, cores, map_in_order


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


def runs(process):
    """Whether it still does; one that nobody waited for may stand in /proc for ever."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


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
    while any(map(runs, children)):
        assert time.monotonic() < late, "workers are left"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["", "log = __name__", 'if __name__ == "__main__":'])
def test_a_plain_script_loads_a_pack_with_and_without_a_main_guard(tmp_path, guard):
    """Without one, workers would run it again and wait for the lock that their parent holds."""
    for i in range(40):
        (tmp_path / "set" / "happy").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / "sad").mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / ("happy", "sad")[i % 2] / f"{i}.png")
    code = """
        import hmtl.data.packing as packing
        packing._STEP, packing.cores = 4, lambda: 2
        from hmtl import load_pack
        GUARD
            print(len(load_pack("folders", "set", size=16)), "packed")
    """
    code = textwrap.dedent(code)
    if not guard.startswith("if"):
        code = code.replace("GUARD\n    ", f"{guard}\n")
    (file := tmp_path / "main.py").write_text(code.replace("GUARD", guard))
    environment = os.environ | {"HMTL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, file], cwd=tmp_path, env=environment, capture_output=True, timeout=300
    )
    assert done.stdout == b"40 packed\n", done.stderr.decode()


def test_a_worker_that_runs_a_script_again_says_what_to_do(monkeypatch):
    check_not_a_worker("load_pack")
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match="load_pack was called while a worker .*__main__"):
        check_not_a_worker("load_pack")
