"""What SECURITY.md promises: strangers' files run no code, lead nowhere; secrets stay outside."""

import ast
import getpass
import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
import reader_fixtures as fixtures
from tested_again import predict_test
from toys import make_toy_pack, reseal

from hmtl.data.pack import open_pack
from hmtl.data.photos import PhotoTask, read_photos
from hmtl.data.readers import READERS
from hmtl.data.sets import MINI_PATH
from hmtl.files import sealed
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec
from hmtl.runs.store import load_run
from hmtl.study import notebook as study
from hmtl.use.predict import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    file
    for folder in ("hmtl", "notebooks", "benchmarks", "book")
    for file in (ROOT / folder).rglob("*.py")
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


# -- what is never called ---

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load",
    "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "torch.jit.load", "pd.read_pickle",
    "pandas.read_pickle", "load_learner",
}  # fmt: skip
METHODS = {"extractall", "unpack_archive", "read_pickle", "to_pickle", "load_learner"}


def called(node):
    """The dotted name of what a call calls: "np.load"; "" for what has none."""
    parts, function = [], node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    return ".".join([function.id, *parts[::-1]]) if isinstance(function, ast.Name) else ""


def faults(source):
    """What a source must not do, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.split(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append((node.lineno, node.module))
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if (
            name in CALLS
            or method in METHODS
            or (name == "torch.load" and given.get("weights_only") is not True)
            or (method == "load" and given.get("allow_pickle", False) is not False)
            or given.get("shell", False) is not False
            or given.get("trust_remote_code", False) is not False
        ):
            found.append((node.lineno, name or method))
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_source_can_run_what_it_reads(file):
    assert faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "torch.load(f)", "eval('1')", "exec(code)",
        "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "yaml.load(f)",
        "numpy.load(f, allow_pickle=flag)", "subprocess.run('ls', shell=True)", "os.system('ls')",
        "tarfile.open(f).extractall()", "pd.read_pickle(f)", "learn = load_learner('x.pkl')",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source):
    assert faults(source)
    assert not faults("model.eval(); np.load(f, allow_pickle=False); yaml.safe_load(f)")


def test_only_a_file_just_written_is_read_by_torch_export():
    """torch.export's files hold pickles: none but the one that export_run made itself is read."""
    users = [f.name for f in SOURCES if "torch.export.load" in f.read_text() and "hmtl" in f.parts]
    assert set(users) <= {"export.py"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_hold_no_shell_and_no_place_of_a_machine(notebook):
    places = ["/home/", "/Users/", "/root/", "/work/", "/tmp/", "/var/folders/", "site-packages"]
    places += [f"/{getpass.getuser()}/", f"{Path.home()}/", str(ROOT), "C:\\\\"]
    text = notebook.read_text(encoding="utf-8")  # all of it: sources, outputs, metadata
    assert [place for place in places if place in text] == []
    for cell in nbformat.reads(text, 4).cells:
        lines = cell.source.splitlines() if cell.cell_type == "code" else []
        assert not [line for line in lines if line.lstrip().startswith("!")]


# -- data sets of strangers ---


@pytest.fixture
def outside(tmp_path):
    """A picture that lies beside the data set, not in it."""
    fixtures.save_picture(tmp_path / "secret.png")
    fixtures.save_picture(tmp_path / "set" / "in.png")
    return tmp_path / "secret.png"


@pytest.mark.parametrize(
    "form", ["../secret.png", "{out}", "a/../../secret.png", "..\\secret.png", "/etc/passwd", "."]
)
def test_a_row_of_a_csv_cannot_name_a_file_outside(outside, form):
    root = outside.parent / "set"
    named = form.format(out=outside)
    fixtures.write(root / "labels.csv", ["path,emotion", "in.png,sad", f"{named},happy"])
    with pytest.raises(ValueError, match=r"labels\.csv line 3, field path: .* is no file in"):
        READERS["csv"](root, columns={"path": "path", "emotion": "emotion"})


def test_rows_of_other_sets_are_looked_up_among_the_files_that_are_there(outside, tmp_path):
    """What is named elsewhere is as good as missing: dropped and counted, or an error."""
    root = fixtures.make_affectnet_csv(tmp_path / "affectnet")
    list_file = root / "Manually_Annotated_file_lists/training.csv"
    fixtures.change(list_file, fixtures.affectnet_name(0), "../../secret.png")
    table = READERS["affectnet-csv"](root)
    assert "Manually_Annotated_Images/../../secret.png" in table.attrs["report"]["missing"]
    root = fixtures.make_rafdb(tmp_path / "rafdb")
    names = root / "EmoLabel/list_patition_label.txt"
    fixtures.change(names, "train_00001", "train_/../../../secret")
    assert len(READERS["rafdb"](root).attrs["report"]["missing"]) == 1
    root = fixtures.make_celeba(tmp_path / "celeba")
    fixtures.change(root / "list_attr_celeba.txt", "000001.jpg", "../secret.png")
    assert READERS["celeba"](root).attrs["report"]["dropped"] == {"without a split": 1}
    for table in (READERS["rafdb"](tmp_path / "rafdb"), READERS["celeba"](root)):
        assert not table["path"].str.contains("secret").any()
    root = fixtures.make_ferplus_csv(tmp_path / "plus", ["8,0,0,0,0,0,0,0,0,0"] * 12)
    fixtures.change(root / "fer2013new.csv", "fer0000003.png", "../../x.png")
    told = r"line 5, field Image name: '../../x.png' is no FER\+ image"
    with pytest.raises(ValueError, match=told):
        READERS["ferplus-csv"](root)


def test_links_are_followed_but_never_in_circles(tmp_path):
    """Data sets lie on other disks, so a link is as good as what it leads to, once."""
    real = fixtures.make_class_folders(tmp_path / "disk", ["happy"], count=3)
    root = tmp_path / "set"
    root.mkdir()
    (root / "happy").symlink_to(real / "happy")
    fixtures.make_class_folders(root, ["sad"], count=3)
    (root / "sad" / "again").symlink_to(root / "sad")
    (root / "sad" / "up").symlink_to(root)
    table = READERS["folders"](root)
    assert table["emotion"].value_counts().to_dict() == {"happy": 3, "sad": 3}


def test_a_pipe_among_pictures_blocks_nobody(tmp_path):
    os.mkfifo(tmp_path / "1.jpg")
    _, (note,) = read_photos(
        PhotoTask([str(tmp_path / "1.jpg")], None, None, 8, False, "cover", "auto")
    )
    assert "no regular file" in note.problem


# -- runs of strangers ---

OPENED: list[str] = []
PICKLED: list[str] = []
WATCHING = []


def _watch(event, arguments):
    if WATCHING and event == "open":
        OPENED.append(str(arguments[0]))
    if WATCHING and event == "pickle.find_class":
        PICKLED.append(str(arguments))


sys.addaudithook(_watch)


@contextmanager
def watched():
    """Note every file that Python opens meanwhile, and every name that a pickle looks up."""
    OPENED.clear()
    PICKLED.clear()
    WATCHING.append(True)
    try:
        yield
    finally:
        WATCHING.clear()


SECRETS = {
    "WANDB_API_KEY": "5ecre7-wandb-0123456789abcdef", "HF_TOKEN": "hf_5ecre7Token",
    "MLFLOW_TRACKING_PASSWORD": "5ecre7-mlflow", "AWS_SECRET_ACCESS_KEY": "5ecre7/aws+key",
}  # fmt: skip


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return make_toy_pack(tmp_path_factory.mktemp("pack") / "toy", count=64)


@pytest.fixture(scope="module")
def store(pack, tmp_path_factory):
    """A store with a run that was made while secrets stood in the environment."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SECRETS.items():
            patched.setenv(name, value)
        patched.setenv("HMTL_OUTPUTS", str(folder / "outputs"))
        spec = RunSpec(data="mini", epochs=1, bs=64, size=32)
        fit(spec, pack=pack, store=folder / "runs", track="tensorboard")
    return folder


def test_no_secret_of_the_environment_is_stored(store):
    files = [file for file in store.rglob("*") if file.is_file()]
    assert {"spec.json", "machine.json"} <= {file.name for file in files}
    assert any("tfevents" in file.name for file in files)
    for file in files:
        raw = file.read_bytes()
        for name, value in SECRETS.items():
            assert value.encode() not in raw, (file, name)
            assert name.encode() not in raw, (file, name)


def forged(store, tmp_path, **fields):
    """A copy of the run whose spec says something else and whose checksums fit."""
    (run,) = (store / "runs").glob("[!.]*")
    folder = shutil.copytree(run, tmp_path / "theirs")
    record = json.loads((folder / "spec.json").read_text())
    reseal(folder, spec={**record["spec"], **fields})
    return folder


def test_paths_in_a_strangers_spec_are_not_followed(store, pack, tmp_path):
    (run,) = (store / "runs").glob("[!.]*")
    bait = shutil.copytree(run, tmp_path / "bait")
    folder = forged(
        store, tmp_path, init=str(bait), features=str(bait), pretexts=["inpainting_grid_pl"]
    )
    face = np.asarray(pack.images[:4])
    wanted = load(run).predict(list(face), detect=False)
    with watched():
        said = load(folder).predict(list(face), detect=False)
        predict_test(load_run(folder), pack)
    assert said.filter(like="p").equals(wanted.filter(like="p"))
    assert any(str(folder) in name for name in OPENED)
    assert not [name for name in OPENED if str(bait) in name]
    assert PICKLED == []


@pytest.mark.parametrize(
    "arch", ["hf-hub:someone/network", "hf_hub:someone/network", "../../bait", "local-dir:/tmp/x"]
)
def test_a_strangers_backbone_is_one_that_timm_has(store, tmp_path, arch):
    with pytest.raises(ValueError, match="unknown backbone"):
        load(forged(store, tmp_path, arch=arch))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", "a/b", ".."])
def test_checksums_name_files_of_their_own_folder_only(store, tmp_path, name):
    folder = forged(store, tmp_path)
    record = json.loads((folder / "spec.json").read_text())
    record = sealed(record, {**record["files"], name: "0" * 64})
    (folder / "spec.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"spec\.json: field 'files' must map names of files"):
        load_run(folder)


def test_packs_and_runs_are_read_without_a_pickle(store):
    (path,) = (store / "runs").glob("[!.]*")
    with watched():
        open_pack(MINI_PATH, verify=True)
        run = load_run(path)
        _ = run.scores, run.metrics, run.best, run.machine
    assert any(name.endswith("metrics.csv") for name in OPENED)
    assert PICKLED == []


# -- executed notebooks ---


def test_an_executed_notebook_can_be_passed_on(tmp_path, monkeypatch):
    """Its outputs, its error and its metadata name no folder of this machine and no secret."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(study, "NOTEBOOKS", tmp_path / "source")
    (tmp_path / "source").mkdir()
    cells = [
        nbformat.v4.new_code_cell('outputs: str = ""', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import pathlib, sys, tempfile\n"
            "print(pathlib.Path.home() / 'x', sys.prefix, tempfile.gettempdir(), outputs)"
        ),
        nbformat.v4.new_code_cell("import json; json.loads('{')"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": ""}
    source, target = tmp_path / "source" / "00_x.ipynb", tmp_path / "out" / "00_x.ipynb"
    target.parent.mkdir()
    nbformat.write(notebook, source)
    values = {"outputs": str(target.parent), "root": "/data/me/faces"}
    error = study._execute(source, target, values, {})
    assert "JSONDecodeError" in error
    assert "~/x" in str(nbformat.read(target, 4))
    places = [str(tmp_path), f"{Path.home()}/", sys.prefix, "/data/me", *SECRETS.values()]
    for file in (target, target.with_suffix(".html")):
        text = file.read_text()
        assert [place for place in places if place in text] == [], file.name
