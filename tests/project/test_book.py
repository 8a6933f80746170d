"""The book holds every notebook and paper, and its own settings do what they say."""

import io
import re
import runpy
from fnmatch import fnmatch
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("sphinx", reason='pip install -e ".[book]"')
from sphinx.application import Sphinx
from sphinx.util.matching import get_matching_files

ROOT = Path(__file__).parents[2]
CONF = runpy.run_path(str(ROOT / "book" / "conf.py"))


def listed():
    """The entries of every toctree, without titles: document names or patterns."""
    text = (ROOT / "book" / "index.md").read_text()
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    entries = [line for line in lines if line and not line.startswith(":")]
    return [re.sub(r".*<(.*)>", r"\1", entry) for entry in entries]


def pages():
    """Every document the book must hold, by its name there."""
    texts = [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("papers/**/*.md")]
    files = [*texts, *ROOT.glob("notebooks/*.py")]
    return [f"/{f.relative_to(ROOT).with_suffix('')}" for f in files]


@pytest.mark.parametrize("page", pages())
def test_every_notebook_and_page_is_in_one_toctree(page):
    # a * of Sphinx stops at a slash, fnmatch's does not
    found = [e for e in listed() if e.count("/") == page.count("/") and fnmatch(page, e)]
    assert len(found) == 1, f"{page} is in {found or 'no toctree'} of book/index.md"


def test_what_the_toctrees_ask_for_is_read_and_nothing_else():
    patterns = CONF["include_patterns"], CONF["exclude_patterns"]
    read = {f"/{name.rpartition('.')[0]}" for name in get_matching_files(ROOT, *patterns)}
    executed = {f"/notebooks/{f.stem}" for f in ROOT.glob("notebooks/*.ipynb")}
    texts = {page for page in pages() if not page.startswith("/notebooks")}
    assert read == texts | executed | {f"/{CONF['root_doc']}"}


def test_notebooks_are_not_executed():
    assert CONF["nb_execution_mode"] == "off"


@pytest.mark.filterwarnings("ignore:.*MystReferenceResolver")
def test_formulas_need_no_network_and_a_broken_link_is_a_warning(tmp_path):
    source = tmp_path / "source"
    (source / "book").mkdir(parents=True)
    (source / "folder").mkdir()
    (source / "waits.py").touch()
    links = "[a](../folder) [b](../waits.ipynb) [c](no.md)"
    page = f"# T\n\nOf $n_k$:\n\n$$w = \\frac{{1}}{{n_k}}$$\n\n{links}"
    (source / "book" / "index.md").write_text(page)
    told = io.StringIO()
    places = map(str, (source, ROOT / "book", tmp_path / "html", tmp_path / "trees"))
    Sphinx(*places, "html", status=None, warning=told).build()
    html = (tmp_path / "html" / "book" / "index.html").read_text()
    assert html.count("<math ") == 2
    assert "<mfrac>" in html
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', html)
    (warning,) = told.getvalue().strip().splitlines()
    assert "no.md" in warning
    assert 'href="../folder' not in html
    assert "url=book/index.html" in (tmp_path / "html" / "index.html").read_text()
