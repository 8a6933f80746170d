"""Runs made elsewhere: any executor, and a real Dask cluster that loses a worker halfway."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from forked import processes

import hmtl
from hmtl.__main__ import main
from hmtl.runs import cluster
from hmtl.runs.cluster import cluster_executor
from hmtl.runs.fit import _outcome, fit, run_all
from hmtl.runs.specs import RunSpec, grid
from hmtl.runs.store import Run
from hmtl.workers import map_in_order

pytestmark = pytest.mark.slow

SPEC = RunSpec(data="mini", epochs=1, bs=64)
FERPLUS = Path(__file__).parents[1] / "fixtures" / "ferplus"
FILES = ("metrics.csv", "predictions.csv", "model.safetensors")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Two runs made here, one after the other."""
    return run_all(grid(SPEC, seed=[0, 1]), store=tmp_path_factory.mktemp("local"), jobs=1)


def assert_same(runs, others):
    """To the bit."""
    for run, other in zip(runs, others, strict=True):
        assert run.id == other.id
        for name in FILES:
            assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name


def in_a_process():
    """One worker process."""
    return ProcessPoolExecutor(1, mp_context=processes())


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(2), in_a_process])
def test_any_executor_makes_the_same_runs(local, tmp_path, make):
    """Threads share seeds, so that theirs take turns."""
    with make() as executor:
        made = run_all([run.spec for run in local], store=tmp_path, executor=executor)
        assert executor.submit(abs, -1).result() == 1  # it is the caller's to close
    assert_same(made, local)


def test_what_an_executor_gave_up_is_an_error_of_its_run():
    future = Future()
    future.cancel()
    assert "given up" in str(_outcome(future))


def _daemon_squares(place):
    Path(place).write_text(json.dumps(list(map_in_order(abs, [-1, -2], 2))))


def test_a_daemon_works_alone(tmp_path):
    """Dask's workers are daemons, which may have no processes of their own."""
    place = tmp_path / "answer"
    process = processes().Process(target=_daemon_squares, args=(str(place),), daemon=True)
    process.start()
    process.join()
    assert json.loads(place.read_text()) == [1, 2]


# -- Dask ---

distributed = pytest.importorskip("distributed", reason="distributed is not installed")


def start(command, *arguments, log, **variables):
    """One of Dask's commands in a process of its own."""
    with open(log, "w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{command}", *map(str, arguments)],
            env=os.environ | variables, stdout=file, stderr=file,
        )  # fmt: skip


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A scheduler, and a function that starts a worker; all end with the tests."""
    place = tmp_path_factory.mktemp("dask")
    file = place / "scheduler.json"
    own = ("--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", file)
    processes = [start("scheduler", *own, log=place / "scheduler.log")]

    def worker(name):
        process = start(
            "worker", address, "--name", name, "--nthreads", 1, "--no-nanny", "--no-dashboard",
            "--memory-limit", 0, "--local-directory", place / name, log=place / f"{name}.log",
            HMTL_OUTPUTS=str(place / "elsewhere"),
        )  # fmt: skip
        processes.append(process)
        return process

    try:
        address = until(lambda: address_in(file))
        yield SimpleNamespace(address=address, worker=worker, place=place)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def address_in(file):
    """What the scheduler says of itself, once all of it is written."""
    with suppress(OSError, json.JSONDecodeError):
        return json.loads(file.read_text())["address"]


def until(true, seconds=600):
    """Wait for a condition, and give what it answers."""
    end = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return answer


@pytest.mark.slow
def test_a_worker_is_killed_halfway_and_no_run_is_lost(dask, local, tmp_path, monkeypatch):
    """Nor is one made that fails by itself more than once."""
    specs = grid(SPEC, seed=[0, 1, 2, 3, 4, 5])
    bad = dataclasses.replace(SPEC, arch="resnetty")
    store, outcome = tmp_path / "runs", {}
    monkeypatch.setenv(cluster.VARIABLE, dask.address)
    victim, _ = dask.worker("victim"), dask.worker("survivor")

    def study():
        try:
            run_all([*specs, bad], store=store, progress=False)
        except RuntimeError as error:
            outcome["error"] = str(error)

    with distributed.Client(dask.address, set_as_default=False) as client:
        client.wait_for_workers(2)
        names = {w["name"]: a for a, w in client.scheduler_info()["workers"].items()}
        thread = Thread(target=study)
        thread.start()
        # runs are made, others are being made: by the victim too
        until(lambda: _finished(store) >= 2)
        held = [str(key) for key in until(lambda: client.processing()[names["victim"]])]
        victim.kill()
        assert _finished(store) < len(specs)
        thread.join()
        log = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.transition_log))
        starts = [str(key) for key, _, state, *_ in log if state == "processing"]
        assert max(starts.count(key) for key in held) > 1  # what it held was made again
        assert set(client.scheduler_info()["workers"]) == {names["survivor"]}
    assert "1 of 7 runs failed" in outcome["error"]
    assert "resnetty" in outcome["error"]
    logs = [(dask.place / f"{name}.log").read_text() for name in ("victim", "survivor")]
    assert sum(log.count("Compute Failed") for log in logs) == 1
    made = run_all(specs, store=store, progress=False)
    assert len({run.id for run in made}) == len(specs) == _finished(store)
    assert_same(made[:2], local)
    assert not (dask.place / "elsewhere").exists()  # the store is the caller's, not the worker's


def _finished(store):
    return len(list(store.glob("[!.]*/spec.json")))


@pytest.mark.slow
def test_a_study_sends_the_runs_of_its_notebooks_to_the_cluster(dask, tmp_path):
    pytest.importorskip("papermill")
    dask.worker("another")
    command = ["study", "--preset", "smoke", "--only", "20", "--scheduler", dask.address]
    command += ["--data", "ferplus", "--root", str(FERPLUS)]  # few faces
    command += ["-p", "seed", "3"]  # at the defaults a page of results trains nothing
    assert main([*command, "--outputs", str(tmp_path / "out")]) == 0
    count = _finished(tmp_path / "runs")
    assert count > 0
    with distributed.Client(dask.address, set_as_default=False) as client:
        log = client.run_on_scheduler(
            lambda dask_scheduler: [str(entry[0]) for entry in dask_scheduler.transition_log]
        )
    assert len({key for key in log if key.startswith("fit-")}) >= count
    assert cluster.VARIABLE not in os.environ


def test_a_worker_with_threads_makes_the_same_runs(local, tmp_path):
    """Its threads share seeds, so that they take turns."""
    with (
        distributed.LocalCluster(
            1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as two,
        cluster_executor(two.scheduler_address) as executor,
    ):
        made = run_all([run.spec for run in local], store=tmp_path, executor=executor)
    assert_same(made, local)


def test_a_worker_of_another_version_is_named_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.0")
    with (
        distributed.LocalCluster(1, processes=False, dashboard_address=":0") as one,
        pytest.raises(RuntimeError, match=f"hmtl 0.0, .* has {hmtl.__version__}: install the same"),
        cluster_executor(one.scheduler_address),
    ):
        pass


class Elsewhere(ThreadPoolExecutor):
    """Workers that write to another disk, or have another version of the package."""

    def __init__(self, **changes):
        super().__init__(1)
        self.changes = changes

    def submit(self, function, spec, **options):
        """Where the run came to lie is only what the worker says."""
        return super().submit(lambda: Run(self.changes["place"](options["store"]), spec))


@pytest.mark.parametrize(
    "place", [lambda store: Path("/nowhere") / "name", lambda store: store / "name-of-an-old-hash"]
)
def test_a_run_that_is_not_where_it_was_asked_for_is_an_error_of_that_run(tmp_path, place):
    with Elsewhere(place=place) as executor, pytest.raises(RuntimeError) as error:
        run_all([SPEC], store=tmp_path, executor=executor)
    assert "a disk that all machines share" in str(error.value)
    assert "this version of hmtl" in str(error.value)
    assert "1 of 1 runs failed" in str(error.value)


def test_no_scheduler_and_no_dask_are_said_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "TIMEOUT", "1s")
    command = ["study", "--preset", "smoke", "--only", "23", "--outputs", str(tmp_path / "out")]
    for address in ("tcp://127.0.0.1:1", "nowhere"):
        assert main([*command, "--scheduler", address]) == 2
        assert "`dask scheduler`" in capsys.readouterr().err
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    monkeypatch.setenv(cluster.VARIABLE, "tcp://127.0.0.1:1")
    with pytest.raises(ModuleNotFoundError, match=r"pip install .hmtl\[cluster\]"):
        run_all([SPEC], store=tmp_path)


def test_finished_runs_need_no_cluster(local, monkeypatch):
    monkeypatch.setenv(cluster.VARIABLE, "tcp://127.0.0.1:1")
    again = run_all([run.spec for run in local], store=local[0].path.parent)
    assert [run.path for run in again] == [run.path for run in local]
    assert fit(local[0].spec, store=local[0].path.parent).path == local[0].path
