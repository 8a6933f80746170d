"""CONTRIBUTING's examples run as they are written, section by section."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def run_section(title):
    """Execute the section's blocks in order, each at its own line; returns their names."""
    names = {"__name__": title}
    for block in re.finditer(r"^```python\n(.*?)^```", SECTIONS[title], re.M | re.S):
        line = PAGE[: PAGE.index(block[1])].count("\n")
        exec(compile("\n" * line + block[1], "CONTRIBUTING.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """The examples write where they stand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))


def test_a_pretext_is_trained_and_shown():
    names = run_section("A pretext")
    learn = names["learn"]
    losses = [n for n in learn.recorder.metric_names if n.startswith("upside_down")]
    assert losses == ["upside_down_loss", "upside_down_score"]
    assert len(learn.recorder.values) == 1
    figure = names["UpsideDown"]().show(torch.rand(3, 3, 8, 8))
    assert len(figure.axes) == 6
    plt.close(figure)


def test_a_supervised_task_is_trained():
    learn = run_section("A supervised task")["learn"]
    assert "ccc" in learn.recorder.metric_names
    assert len(learn.recorder.values) == 1


def test_a_data_set_is_read_packed_and_trained(tmp_path):
    names = run_section("A data set")
    assert len(names["pack"]) == 60
    assert (tmp_path / "packed" / "report.txt").is_file()
    assert len(names["learn"].recorder.values) == 1


def test_a_table_follows_from_the_record():
    names = run_section("A table")
    runs = names["runs"].iloc[:4].assign(accuracy_at_best=names["runs"]["accuracy"] + 0.02)
    table = names["lost_since_best"](runs)
    assert table["count"].sum() == 4
    assert (table["mean"] == 2.0).all()


def test_the_commands_it_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make\s([a-z-]+)", PAGE)):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / link).exists(), link
