"""`python ...` in processes that have torch, fastai and timm already: no test of its own.

They are forked from a server that has imported them, which saves seconds a process.
"""

import ctypes
import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

HELPERS = Path(__file__).parent
ADDED = {HELPERS, HELPERS.parents[1] / "benchmarks"}
"""What pytest adds to sys.path, as pyproject.toml says."""


def processes():
    """A context whose processes start with everything imported, so that a kill meets training."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        [
            "hmtl.runs.fit",
            "hmtl.runs.unfinished",
            "hmtl.method.batches",
            "hmtl.method.learner",
            "hmtl.method.pretext",
            "hmtl.method.tasks",
            "fastai.callback.training",
            "fastai.vision.core",
        ]
    )
    return context


class Python:
    """A process as `subprocess.Popen([sys.executable, *arguments])` starts it, pipes captured."""

    def __init__(self, *arguments, cwd=None, env=None, rights=True, together=False):
        self.arguments = [str(argument) for argument in arguments]
        self._place = tempfile.TemporaryDirectory()
        files = [Path(self._place.name) / name for name in ("out", "out" if together else "err")]
        for file in files:
            file.touch()
        self._files = files
        env = dict(os.environ if env is None else env)
        given = (self.arguments, str(cwd or os.getcwd()), env, rights, list(map(str, files)))
        self._process = processes().Process(target=_begin, args=given)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        return tuple(file.read_text(encoding="utf-8") for file in self._files)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)


def run_python(*arguments, **options):
    """As `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`."""
    process = Python(*arguments, **options)
    printed = process.communicate()
    return subprocess.CompletedProcess(process.arguments, process.returncode, *printed)


def _begin(arguments, folder, environment, rights, files):
    """In the forked process: what python does with its command line."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
    if not rights:  # root, too, has the rights of an owner alone, and so have its processes
        for capability in range(64):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)())
    while arguments[0] == "-W":
        del arguments[:2]
    kind, *rest = arguments
    if kind == "-m":
        sys.argv = rest
        sys.path.insert(0, folder)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = arguments
        # python knows a script's own folder, and not those that pytest adds
        sys.path[:] = [p for p in sys.path if Path(p) not in ADDED]
        sys.path.insert(0, str(Path(kind).resolve().parent))
        runpy.run_path(kind, run_name="__main__")
