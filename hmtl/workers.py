"""Work shared among processes: how many there may be, results in the order of the tasks. Ours."""

__all__ = ["check_not_a_worker", "cores", "map_in_order", "worker_pool"]

import ast
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import current_process, get_context, parent_process
from threading import Thread
from typing import Any


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """A pool of worker processes that end with this one, even if it is killed.

    Spawned, not forked: a forked worker would inherit started libraries and threads. A worker that
    dies raises BrokenProcessPool, where multiprocessing's own pool would wait for it for ever.
    """
    return ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_end_with_parent
    )


def map_in_order(function: Callable, tasks: Iterable, processes: int) -> Iterator[Any]:
    """Yield `function(task)` for each task, in order; memory holds three results a process at most.

    One process is this one. More are started anew, and each runs the caller's script again up to
    its `if __name__ == "__main__"`; a script without one is worked on in this process alone. A
    worker that dies raises BrokenProcessPool; workers end with this process, even if it is killed.
    """
    tasks = iter(tasks)
    # a daemon, as Dask's workers are, has no workers
    if processes == 1 or current_process().daemon or not _guarded():
        yield from map(function, tasks)
        return
    with worker_pool(processes) as pool:
        pending = deque(pool.submit(function, task) for task in islice(tasks, 3 * processes))
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(function, task) for task in islice(tasks, 1))
        finally:
            for future in pending:  # an error or a caller that stops does not wait for the rest
                future.cancel()


def _guarded() -> bool:
    """Whether the script that runs, if one does, can be run again by a worker: it has its `if`."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) or not file or not file.endswith(".py"):
        return True  # a module, a notebook, a prompt: nothing is run again, or it is made for it
    try:
        with open(file, encoding="utf-8") as script:
            body = ast.parse(script.read()).body
    except (OSError, ValueError, SyntaxError):
        return True
    tests = (node for part in body if isinstance(part, ast.If) for node in ast.walk(part.test))
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in tests)


def check_not_a_worker(what: str) -> None:
    """Raise RuntimeError in a worker that runs its parent's script again.

    There the script would wait for ever for the lock that its parent holds.
    """
    if getattr(current_process(), "_inheriting", False):  # multiprocessing's own mark, as it starts
        raise RuntimeError(
            f"{what} was called while a worker process imported the script: put what the script "
            'does below `if __name__ == "__main__":`'
        )


def _end_with_parent() -> None:
    """End this worker when its parent does: one whose parent was killed would wait for ever.

    Ctrl-C ends it too: an exception would let it take the next call.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def wait() -> None:
        if parent := parent_process():
            parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
