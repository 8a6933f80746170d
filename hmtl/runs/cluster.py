"""Many runs on many machines: a Dask cluster as the executor of `run_all`.

    dask scheduler                                                on one machine
    dask worker tcp://HOST:8786 --nworkers CORES --nthreads 1     on every machine
    python -m hmtl study --scheduler tcp://HOST:8786

Notebooks are executed where the command runs; `$HMTL_SCHEDULER` tells their kernels where to send
their runs. Workers write to the one run store, which must lie on a disk that all of them see under
the same path, and have this version of the package. The run of a worker that dies is made again by
another, up to Dask's `allowed-failures`; a run that fails by itself is not.

Whoever reaches a Dask scheduler can run code on all its workers: keep it inside a network that you
trust. Ours.
"""

__all__ = ["VARIABLE", "cluster_executor"]

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from hmtl import __version__

VARIABLE = "HMTL_SCHEDULER"
TIMEOUT = "10s"  # to reach the scheduler


@contextmanager
def cluster_executor(address: str, store: str | Path) -> Iterator[Executor]:
    """The Dask cluster whose scheduler is at `address`, as an Executor of runs for `store`.

    Raises ModuleNotFoundError, with the command that installs it, without Dask; ConnectionError if
    no scheduler answers; RuntimeError naming each worker that has another version of the package,
    several threads or another disk. Workers that come later are checked by their first run.
    """
    if find_spec("distributed") is None:
        raise ModuleNotFoundError(
            'a cluster needs Dask: pip install "hmtl[cluster]"', name="distributed"
        )
    store = Path(store).absolute()
    store.mkdir(parents=True, exist_ok=True)
    with _client(address) as client, NamedTemporaryFile(dir=store, prefix=".shared-") as mark:
        wanted = {"version": __version__, "mark": mark.name}
        answers = client.run(problem_of, wanted, on_error="return")
        if bad := [f"{worker}: {said}" for worker, said in answers.items() if said is not None]:
            raise RuntimeError("the cluster cannot make these runs:\n  " + "\n  ".join(bad))
        if not answers:
            print(f"hmtl: {address} has no workers yet; runs wait for them", file=sys.stderr)
        # pure: Dask would answer with what an equal call gave before, a failure say
        yield Checked(client.get_executor(pure=False), wanted)


@contextmanager
def _client(address: str) -> Iterator:
    from distributed import Client

    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address!r} ({error}); start one with `dask scheduler` "
            "and give its address, e.g. tcp://HOST:8786"
        ) from error
    with client:
        yield client


class Checked(Executor):
    """An Executor on a Dask cluster whose workers look at themselves before they start."""

    def __init__(self, runs: Executor, wanted: dict[str, str]):
        self.runs, self.wanted = runs, wanted

    def submit(self, function: Callable, /, *args, **options) -> Future:
        """As `concurrent.futures`; RuntimeError from a worker that cannot make runs."""
        return self.runs.submit(checked, self.wanted, function, *args, **options)


def checked(wanted: dict[str, str], function: Callable, *args, **options) -> Any:
    """Call `function` on this worker, if it is one that can make runs."""
    if problem := problem_of(wanted):
        raise RuntimeError(problem)
    return function(*args, **options)


def problem_of(wanted: dict[str, str], dask_worker: Any = None) -> str | None:
    """Why this worker cannot make the runs, None if it can."""
    from distributed import get_worker

    worker = dask_worker or get_worker()
    threads, mark = worker.state.nthreads, Path(wanted["mark"])
    if threads != 1:
        return (
            f"worker has {threads} threads, but seeds and threads of torch belong to a process: "
            f"start it with --nworkers {threads} --nthreads 1"
        )
    if wanted["version"] != __version__:
        return f"worker has hmtl {__version__}, the study {wanted['version']}: install the same"
    if not mark.is_file():
        return (
            f"worker does not see {mark.parent}: the run store must lie on a disk that all "
            "machines share, under one path (--outputs or $HMTL_OUTPUTS)"
        )
    return None
