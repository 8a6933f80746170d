"""Small things every test file shares."""

import os
from contextlib import suppress

# before torch is imported: one thread a process, so that parallel runs never oversubscribe
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import matplotlib.pyplot as plt
import pytest
from ports import free_port
from toys import make_toy_pack

matplotlib.use("agg")

with suppress(ImportError):  # processes that test at once would now and then choose one port twice
    from jupyter_client.connect import LocalPortCache

    def own_port(self, ip):
        """A port of this process alone, or of few, below those that the system hands out."""
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
        port = free_port(20_000 + 900 * number, 900, self.currently_used_ports, ip)
        self.currently_used_ports.add(port)
        return port

    LocalPortCache.find_available_port = own_port

LONGEST = (
    "test_gpu.py",
    "test_strangers.py",
    "test_pretexts.py",
    "test_unfinished.py",
    "test_cluster.py",
    "test_guests.py",
    "test_examples.py",
    "test_tasks.py",
    "test_study.py",
    "test_jupyterlab.py",
    "test_runs.py",
)
"""Files of 40 seconds and more, and about so in this order."""


def pytest_collection_modifyitems(items):
    """The longest files begin, so that no worker is alone with one of them at the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True)
def close_figures():
    """No test leaves its figures to the next one."""
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def toy_pack(tmp_path_factory):
    """A small colour pack with vote shares."""
    return make_toy_pack(tmp_path_factory.mktemp("packs") / "toy", votes=True)


@pytest.fixture
def quiet():
    """A context manager without bars and rows: `with quiet(learn): learn.fit(1)`."""
    from contextlib import ExitStack

    def hush(learn):
        stack = ExitStack()
        stack.enter_context(learn.no_bar())
        stack.enter_context(learn.no_logging())
        return stack

    return hush
