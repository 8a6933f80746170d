"""The examples in docstrings give what they say, and an export names everything that it takes."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import hmtl
from hmtl import data, faces, method, runs, study, use

PACKAGE = Path(hmtl.__file__).parent
SHOWN = [
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    for file in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in file.read_text()
]
ROOMS = (data, faces, method, runs, study, use)
EXPORTS = dict.fromkeys(hmtl.__all__, hmtl) | {name: r for r in ROOMS for name in r.__all__}
EXPORTS = {name: home for name, home in EXPORTS.items() if callable(getattr(home, name))}


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_gives_what_it_says(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_says_what_each_argument_is(name):
    own = getattr(EXPORTS[name], name)
    told = re.search(r"^Args:\n(.*?)(?=^\w|\Z)", inspect.getdoc(own), re.M | re.S)
    heads = re.findall(r"^    (\w[\w, ]*):", told[1] if told else "", re.M)
    assert sorted(", ".join(heads).split(", ")) == sorted(inspect.signature(own).parameters or [""])
