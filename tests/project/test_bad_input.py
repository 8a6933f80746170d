"""Whatever is given: a correct result, or an error that names file, field and remedy.

Specs, fields of the command line and parameters of notebooks, with at least 500 mutations each;
data sets, packs and runs have files of their own.
"""

import dataclasses
import functools
import json
import math

import papermill
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import MANY, VALUES, assert_clear

import hmtl.runs.fit
import hmtl.study.notebook
from hmtl.__main__ import main
from hmtl.data.sets import DATA
from hmtl.runs.specs import PRESETS, RunSpec
from hmtl.study.notebook import check_parameters, notebook_paths, open_notebook

pytestmark = pytest.mark.slow

FIELDS = {field.name: field for field in dataclasses.fields(RunSpec)}
WORDS = (
    "emotion", "gender", "head_pose", "head_pose_bins", "pretraining", "puzzling_2x2", "none",
    "strong", "shared", "paired", "scratch", "imagenet", "bf16", "balanced", "uncertainty", "sum",
    "probability", "majority", "tiny", "adabelief", "warmup_cosine", "mini", "faces", "folders:x=1",
)  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(VALUES), st.sampled_from(WORDS), st.integers(), st.floats(), st.text(max_size=9)
)
ANYTHING = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=4), SCALARS, max_size=2),
)


def same(value, given_one) -> bool:
    """Whether a field holds what was given; lists become tuples, and data get their full name."""
    if isinstance(given_one, list):
        return list(value) == given_one
    return value == given_one and isinstance(value, bool) == isinstance(given_one, bool)


# ------------------------------------------------------------------------------------------- specs


@MANY
@given(
    st.dictionaries(st.sampled_from([*FIELDS, "epoch", "", "Ω"]), ANYTHING, min_size=1, max_size=3)
)
def test_specs(changes):
    try:
        spec = RunSpec.from_dict(changes)
    except ValueError as error:
        assert_clear(error, *changes, *map(str, changes.values()))
        return
    for name, value in changes.items():
        kept = getattr(spec, name)
        reset = name in spec.unused() or name in ("label_views", "features", "pretexts", "data")
        assert same(kept, value) or (reset and type(kept) is type(FIELDS[name].default)), name
    record = json.loads(json.dumps(dataclasses.asdict(spec)))
    assert RunSpec.from_dict(record) == spec
    assert all(math.isfinite(v) for v in record.values() if isinstance(v, float))


class Trained(Exception):
    """Stands for the training that a command would begin."""


def _stop(spec, **options):
    raise Trained(spec)


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(hmtl.runs.fit, "fit", _stop)


@MANY
@given(
    st.sampled_from([*FIELDS, "epoch", "name", "cls", ""]),
    st.one_of(
        st.sampled_from(WORDS),
        st.text(max_size=12),
        st.integers().map(str),
        st.floats().map(str),
        st.sampled_from(["true", "False", "1e3", "1_000", "300,50,125", "a+b", "+", "\0", "٣"]),
    ),
)
def test_fields_on_the_command_line(no_training, capsys, field, text):
    capsys.readouterr()
    try:
        status = main(["run", "--set", field, f" {text}" if text.startswith("-") else text])
    except Trained as trained:
        spec = trained.args[0]
        assert field in FIELDS
        assert RunSpec.from_dict(dataclasses.asdict(spec)) == spec
        said = str(getattr(spec, field)).strip().lower()
        value = text.strip().lower()
        words = ["pretexts", "people", "features", "data", "label_views"]
        assert field in words or said == value or float(said) == float(value)
        return
    lines = capsys.readouterr().err.splitlines()
    assert status == 2
    assert lines[0].startswith("hmtl: ")
    assert field.removesuffix("s") in lines[0] or text.strip() in lines[0]
    assert "Traceback" not in "".join(lines)


# -------------------------------------------------------------------------- notebooks' parameters

PARAMETERS = {
    "preset": st.one_of(st.sampled_from([*PRESETS, ""]), ANYTHING),
    "data": st.one_of(
        st.sampled_from(DATA), st.sampled_from(["mini:a=1", "csv:columns=path=a"]), ANYTHING
    ),
    "root": st.sampled_from([*VALUES, *WORDS, "no-such-folder", "x" * 5000]),  # no "/": it is read
    "outputs": st.one_of(st.sampled_from(["", "out", "A FILE", "x" * 5000]), SCALARS),
    "seed": st.one_of(st.integers(), SCALARS),
}


@pytest.fixture(scope="module")
def quick_inspect():
    """papermill's view of a notebook, read once: its source does not change meanwhile."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(papermill, "inspect_notebook", functools.cache(papermill.inspect_notebook))
        yield


@MANY
@given(st.lists(st.sampled_from(list(PARAMETERS)), min_size=1, max_size=2), st.data())
def test_parameters(quick_inspect, tmp_path_factory, changed, data):
    folder = tmp_path_factory.getbasetemp()
    values = {
        "preset": "smoke",
        "data": "mini",
        "root": "",
        "outputs": str(folder / "o"),
        "seed": 0,
    }
    for name in changed:
        values[name] = data.draw(PARAMETERS[name])
    if values["outputs"] == "A FILE":
        values["outputs"] = str(folder / "file")
        (folder / "file").touch()
    notebook = notebook_paths(["11"])[0]
    try:
        check_parameters(notebook, values)
        setting = open_notebook("11_puzzling", **values)
        pack = setting.load() if values["data"] not in ("faces", "") else None
    except (ValueError, OSError) as error:
        assert_clear(error, *changed, *(v for v in map(str, values.values()) if v))
        return
    assert setting.seed == values["seed"]
    assert setting.preset.name == (values["preset"] or "smoke")
    assert pack is None or len(pack) == 640
