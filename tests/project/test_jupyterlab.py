"""A notebook's .py twin is opened, run and moved in a real JupyterLab, in a real browser."""

import io
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from ports import free_port

from hmtl.data.sets import MINI
from hmtl.faces.render import render_faces
from hmtl.faces.table import draw_faces
from hmtl.use.playground import posed

ROOT = Path(__file__).parents[2]
NAME = "00_start_here"
MINUTE = 60_000  # milliseconds
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# of the notebook that is in front: cells that were not run to their end, by JupyterLab's own count
UNFINISHED = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === "code" && cell.model.sharedModel.source.trim())
    .filter(cell => !cell.model.executionCount || cell.model.executionState === "running").length"""
READY = """() => {
    const session = window.jupyterapp.shell.currentWidget.sessionContext;
    return session?.session?.kernel?.status === "idle";
}"""
SHOWN = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return Array.from(bytes);
}"""


def browser() -> str:
    """The system's Chromium, or skip."""
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found[0]


@contextmanager
def jupyterlab(folder: Path):
    """The address of a JupyterLab whose files are those of a folder; it ends with the block."""
    token = secrets.token_hex(16)
    port = free_port(28_000)
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "RUNTIME")}
    own |= {f"JUPYTERLAB_{kind}_DIR": str(folder / kind) for kind in ("SETTINGS", "WORKSPACES")}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser",
        "--allow-root", f"--ServerApp.root_dir={folder}", f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
    ]  # fmt: skip
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log,
            env=os.environ | own | {"PYTHONPATH": paths, "HMTL_PROGRESS": "0"},
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/api/status?token={token}", server, folder / "lab.log")
        yield f"{address}/lab/tree/notebooks?token={token}"
    finally:
        server.terminate()  # its kernels end with it
        server.wait(60)


def wait_for(address: str, server: subprocess.Popen, log: Path, seconds: int = 120) -> None:
    """Return as soon as the server answers."""
    end = time.monotonic() + seconds
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and server.poll() is None:
        try:
            direct.open(address, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start\n{log.read_text()}")


def open_twin(page) -> None:
    """File browser, right click on the .py, Open With, Notebook."""
    page.locator(".jp-DirListing-item", has_text=f"{NAME}.py").click(button="right")
    page.locator(".lm-Menu-item", has_text="Open With").hover()
    page.locator(".lm-Menu-item", has_text="Jupytext Notebook").click()
    page.locator(".jp-NotebookPanel:visible .jp-CodeCell").first.wait_for()
    page.wait_for_function(READY)  # without a kernel, Run All Cells empties the cells and is silent


def run_all(page) -> None:
    """Menu Run, Run All Cells; return when the last is done."""
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator(".lm-Menu-item", has_text="Run All Cells").first.click()
    page.wait_for_function(f"({UNFINISHED})() > 0")  # until then there are stored outputs
    page.wait_for_function(f"({UNFINISHED})() === 0", timeout=15 * MINUTE, polling=1000)


def picture(page) -> np.ndarray:
    """The face that the sliders show, uint8 (48, 48, 3), without its puzzle."""
    image = page.locator(".jp-NotebookPanel:visible img.widget-image")
    shown = Image.open(io.BytesIO(bytes(image.evaluate(SHOWN)))).convert("RGB")
    scale = shown.height // 48
    return np.asarray(shown)[::scale, ::scale][:, :48]


def keep(page, folder: Path) -> None:
    """A screenshot in the test's folder; HMTL_KEEP_SCREENSHOT=1 copies it to outputs/."""
    taken = folder / "jupyterlab.png"
    page.screenshot(path=taken)
    if os.environ.get("HMTL_KEEP_SCREENSHOT"):
        (ROOT / "outputs").mkdir(exist_ok=True)
        shutil.copy(taken, ROOT / "outputs")


def use_as_its_users_do(page, folder: Path) -> None:
    """Open the twin, run it, move a slider, save."""
    twin = folder / "notebooks" / f"{NAME}.py"
    text = twin.read_text()
    open_twin(page)
    run_all(page)
    slider = page.locator(".jp-NotebookPanel:visible .widget-slider", has_text="yaw")
    slider.scroll_into_view_if_needed()
    people = draw_faces(MINI.without("hands", "masks"))
    people = people.query("split == 'test' and shown == 'happy'")
    turned = people[["yaw", "pitch"]].abs().sum(axis=1)
    people = people.loc[turned.sort_values().index]
    start = picture(page)
    np.testing.assert_array_equal(start, render_faces(people[:1], 48, progress=False)[0])

    handle = slider.locator(".noUi-handle")
    handle.focus()
    for _ in range(5):
        handle.press("ArrowRight")
    yaw = round(people["yaw"].iloc[0]) + 5
    page.wait_for_function(
        "([box, yaw]) => box.textContent.trim() === yaw",
        arg=[slider.locator(".widget-readout").element_handle(), str(yaw)],
    )
    moved = render_faces(posed(people[:1], yaw=yaw), 48, progress=False)[0]
    end = time.monotonic() + 60
    while time.monotonic() < end and not np.array_equal(picture(page), moved):
        page.wait_for_timeout(200)
    keep(page, folder)
    np.testing.assert_array_equal(picture(page), moved)
    assert np.abs(moved.astype(int) - start).max() > 50

    page.keyboard.press("Control+s")
    notebook = twin.with_suffix(".ipynb")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    assert twin.read_text() == text, "saving keeps the twin as it was"
    cells = [c for c in nbformat.read(notebook, 4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not [o for c in cells for o in c.outputs if o.output_type == "error"]


@pytest.mark.slow
def test_a_twin_runs_in_jupyterlab_and_its_sliders_move_the_face(tmp_path):
    pytest.importorskip("jupyterlab")
    pytest.importorskip("ipywidgets")
    sync_api = pytest.importorskip("playwright.sync_api", reason='pip install "hmtl[test]"')
    executable = browser()
    (tmp_path / "notebooks").mkdir()
    for suffix in (".py", ".ipynb"):
        shutil.copy(ROOT / "notebooks" / (NAME + suffix), tmp_path / "notebooks")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # how twins are paired
    with jupyterlab(tmp_path) as address, sync_api.sync_playwright() as playwright:
        options = {"executable_path": executable, "args": ["--no-sandbox"], "timeout": 2 * MINUTE}
        with playwright.chromium.launch(**options) as chromium:
            page = chromium.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(2 * MINUTE)
            page.goto(address)
            use_as_its_users_do(page, tmp_path)
