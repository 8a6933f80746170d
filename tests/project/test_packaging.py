"""What leaves the checkout: the wheel, the citation, the changelog."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import hmtl
from hmtl.study import tables

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of copies: a build leaves its own folders where it runs."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    kept_out = shutil.ignore_patterns("__pycache__")
    for name in ("hmtl", "notebooks", "papers", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=kept_out)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (made,) = out.iterdir()
    with zipfile.ZipFile(made) as opened:
        yield opened


def test_the_wheel_holds_the_package_and_its_faces_and_nothing_else(wheel):
    there = (f for f in (ROOT / "hmtl").rglob("*") if "__pycache__" not in f.parts)
    files = {f for f in there if f.is_file()}
    names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    assert names == {str(f.relative_to(ROOT)) for f in files}
    assert "hmtl/data/mini/images.npy" in names


def test_the_wheel_says_what_it_is(wheel):
    (info,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    said = message_from_bytes(wheel.read(info))
    assert said["Version"] == hmtl.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert set(said.get_all("License-File")) == {"LICENSE", "NOTICE"}
    python = re.search(r"3\.(\d+)", said["Requires-Python"])[1]
    assert f"Programming Language :: Python :: 3.{python}" in said.get_all("Classifier")
    assert said.get_payload().startswith("# hmtl")


def test_without_a_checkout_the_papers_are_asked_for_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "PAPERS", tmp_path / "papers")  # as beside an installed package
    monkeypatch.setattr(tables, "reference_dir", lambda: tmp_path / "reference")
    for read in (tables.reported, tables.claims, tables.recorded_runs):
        with pytest.raises(FileNotFoundError, match=r"\.csv is missing.*in a checkout"):
            read()


def test_the_citation_is_the_papers_and_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # what the schema requires
    assert str(cited["version"]) == hmtl.__version__
    assert cited["license"] == PROJECT["license"]
    paper = cited["preferred-citation"]
    bib = (ROOT / "papers" / "hmtl" / "reference.bib").read_text()
    field = dict(re.findall(r"(\w+)\s*= \{(.*)\}", bib))
    people = [f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]]
    assert " and ".join(people) == field["author"]
    assert (paper["title"], paper["journal"]) == (field["title"], field["journal"])
    assert str(paper["year"]) == field["year"]
    assert paper["url"].rpartition("/")[2] in field["journal"]
    assert PROJECT["urls"]["Paper"] == paper["url"]


def test_the_changelog_ends_at_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased, *released = re.findall(r"^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$", text, re.M)
    assert unreleased == ("Unreleased", "")
    assert released[0][0] == hmtl.__version__
    assert all(date for _, date in released), "a version has a date"
    numbers = [tuple(map(int, version.split("."))) for version, _ in released]
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("scipy", "1.14.1"),  # there the bootstrap's rng is called random_state
        ("typer", "0.27.1"),  # typer.exceptions
        ("pillow", "10.0.1"),  # ImageFont.load_default(size)
    ],
)
def test_versions_that_lack_what_is_used_are_refused(name, lacks):
    (least,) = (r.specifier for r in map(Requirement, PROJECT["dependencies"]) if r.name == name)
    assert not least.contains(lacks)
