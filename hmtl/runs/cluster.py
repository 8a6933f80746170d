"""Many runs on many machines: a Dask cluster as the executor of `run_all`.

    dask scheduler                                                on one machine
    dask worker tcp://HOST:8786 --nworkers CORES --nthreads 1     on every machine
    python -m hmtl study --scheduler tcp://HOST:8786

Notebooks are executed where the command runs; `$HMTL_SCHEDULER` tells their kernels where to send
their runs. The executor is Dask's own: the run of a worker that dies is made again by another, up
to `allowed-failures`; a run that fails by itself is not. papers/SCALING.md has the rest. Ours.
"""

__all__ = ["VARIABLE", "cluster_executor"]

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from hmtl import __version__

VARIABLE = "HMTL_SCHEDULER"
TIMEOUT = "10s"  # to reach the scheduler


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """The executor of the Dask cluster at an address.

    Args:
        address: Of its scheduler, e.g. tcp://HOST:8786.

    Raises:
        ModuleNotFoundError: Dask is not installed; the error has the command.
        ConnectionError: No scheduler answers.
        RuntimeError: A worker has another version of this package.
    """
    if find_spec("distributed") is None:
        raise ModuleNotFoundError(
            'a cluster needs Dask: pip install "hmtl[cluster]"', name="distributed"
        )
    from distributed import Client

    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address!r} ({error}); start one with `dask scheduler` "
            "and give its address, e.g. tcp://HOST:8786"
        ) from error
    with client:
        versions: Any = client.get_versions(packages=["hmtl"])
        found = {w: said["packages"]["hmtl"] for w, said in versions["workers"].items()}
        if other := [f"{w} has {v}" for w, v in found.items() if v != __version__]:
            raise RuntimeError(f"this is hmtl {__version__}, {', '.join(other)}: install the same")
        # pure: Dask would answer with what an equal call gave before, a failure say
        yield client.get_executor(pure=False)
