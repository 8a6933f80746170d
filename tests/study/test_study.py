"""The study runner and the command line."""

import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path

import huggingface_hub.constants
import nbformat
import pandas as pd
import pytest
from made_up_folders import write_affectnet_npy, write_aflw2000, write_w300lp

from hmtl.__main__ import main
from hmtl.data.packing import read_set
from hmtl.data.sets import load_pack
from hmtl.paths import cache_dir, full_root, outputs_dir, reference_dir
from hmtl.runs.specs import PRESETS, Preset, get_preset
from hmtl.runs.store import load_run
from hmtl.study import notebook as study
from hmtl.study.notebook import Setting, notebook_paths, open_notebook, run_study, what_lacks

pytestmark = pytest.mark.slow

FERPLUS = Path(__file__).parents[1] / "fixtures" / "ferplus"
PARAMETERS = """\
preset: str = ""  # preset
data: str = ""  # data
root: str = ""  # root
outputs: str = ""  # outputs
seed: int = 0  # seed
"""


def write_notebook(path, *cells):
    """A notebook with the common parameters and these code cells."""
    first = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    rest = [nbformat.v4.new_code_cell(c) for c in cells]
    notebook = nbformat.v4.new_notebook(cells=[first, *rest])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": ""}
    nbformat.write(notebook, path)


@pytest.fixture
def three_notebooks(tmp_path, monkeypatch):
    """A study of three notebooks, the second of which fails."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    table = "import pandas as pd\npd.DataFrame({'preset': [preset], 'seed': [seed]})"
    write_notebook(folder / "00_first.ipynb", table)
    write_notebook(folder / "10_second.ipynb", "1 / 0")
    write_notebook(folder / "20_third.ipynb", table)
    monkeypatch.setattr(study, "NOTEBOOKS", folder)
    return folder


def test_a_failed_notebook_is_named_and_the_others_run(three_notebooks, tmp_path, capsys):
    out = tmp_path / "out"
    code = main(["study", "--preset", "smoke", "--outputs", str(out), "-p", "seed", "7"])
    assert code == 1
    assert "failed: 10_second" in capsys.readouterr().err
    page = (out / "index.html").read_text()
    assert page.count("<td>7</td>") == 2  # the tables of the first and the third
    assert "ZeroDivisionError" in page
    for name in ("00_first", "10_second", "20_third"):
        assert (out / f"{name}.ipynb").exists()
        assert (out / f"{name}.html").exists()


@pytest.mark.parametrize("size", ["8k", "40k", "600k"])
def test_a_study_whose_disk_is_full_says_so_and_goes_on_later(
    three_notebooks, tmp_path, capsys, size
):
    """The disk is full for the report of an earlier call, a notebook, or its page."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def resize(size, kind=""):
        mount = ["mount", "-t", "tmpfs", "-o", f"{kind}size={size}", "tmpfs", str(disk)]
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0

    if not resize(size):
        pytest.skip("no right to mount a disk")
    write_notebook(three_notebooks / "10_second.ipynb", "print('x' * 60_000)")
    command = ["study", "--preset", "smoke", "--outputs", str(disk / "out")]
    try:
        assert main(command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"hmtl: {disk / 'out'}/")
        assert "cannot be written (No space left on device). Free some space" in line
        assert line.endswith("the same command goes on from them.")
        for file in (disk / "out").iterdir():  # whole, or not there
            assert file.suffix in (".ipynb", ".html")
            assert file.suffix == ".html" or len(nbformat.read(file, 4).cells) == 3
        assert resize("60m", "remount,")
        assert run_study("smoke", outputs=disk / "out")[1] == []
        left = {file.name for file in (disk / "out").iterdir()}
        names = {"00_first", "10_second", "20_third"}
        assert left == {f"{n}.{e}" for n in names for e in ("ipynb", "html")} | {"index.html"}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_notebook_that_is_a_link_is_replaced_and_a_stopped_one_stays(
    three_notebooks, tmp_path, monkeypatch
):
    (out := tmp_path / "out").mkdir()
    (mine := tmp_path / "mine").write_text("mine")
    (out / "00_first.ipynb").symlink_to(mine)
    (three_notebooks / "10_second.ipynb").unlink()
    assert run_study("smoke", outputs=out)[1] == []
    assert mine.read_text() == "mine"
    text = (out / "00_first.ipynb").read_text()
    assert not (out / "00_first.ipynb").is_symlink()
    assert ".tmp-" not in text

    def stop(source, target, *rest, **options):
        Path(target).write_text('{"cells": [')
        raise KeyboardInterrupt

    monkeypatch.setattr("papermill.execute_notebook", stop)
    with pytest.raises(KeyboardInterrupt):
        run_study("smoke", outputs=out)
    assert (out / "00_first.ipynb").read_text() == text
    assert not list(out.glob(".tmp-*"))


def test_an_unknown_parameter_is_refused_before_anything_runs(three_notebooks, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["study", "--preset", "smoke", "--outputs", str(out), "-p", "sed", "7"]) == 2
    assert "no parameter sed" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "fast"], "smoke, quick, study"),
        (["--preset", "smoke", "--data", "affectnot"], "mini, faces, affectnet"),
        (["--preset", "smoke", "--data", "ferplus"], "root"),
        (["--preset", "smoke", "--only", "99"], "99"),
    ],
)
def test_wrong_arguments_name_the_right_ones(arguments, said, capsys):
    assert main(["study", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_notebooks_are_chosen_by_number_or_name():
    assert [p.stem for p in notebook_paths(["11", "00_start_here"])] == [
        "00_start_here", "11_puzzling",
    ]  # fmt: skip
    assert len(notebook_paths()) >= 6


@pytest.mark.parametrize(
    ("preset", "data", "said"), [("fast", "", "smoke, quick"), ("", "affectnot", "mini, faces")]
)
def test_a_notebook_refuses_an_unknown_preset_or_data(preset, data, said):
    with pytest.raises(ValueError, match=said):
        open_notebook("00_start_here", preset, data, "", "", 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"preset": "quik"}, "did you mean quick"),
        ({"preset": "Study"}, "did you mean study"),
        ({"data": "affecnet"}, "did you mean affectnet"),
        ({"data": "raf-db"}, "did you mean rafdb"),
    ],
)
def test_a_name_that_is_nearly_right_is_offered(given, said):
    with pytest.raises(ValueError, match=said):
        open_notebook(
            "x", **{"preset": "", "data": "", "root": "r", "outputs": "", "seed": 0} | given
        )


def test_a_page_refuses_a_folder_that_it_would_not_read():
    with pytest.raises(ValueError, match="data='mini' is rendered here, so root='mine' would not"):
        open_notebook("20_hmtl_emotion", "", "", "mine", "", 0)


@pytest.mark.parametrize(("share", "told"), [(1.0, "all labels"), (0.1, "10 % of the labels")])
def test_what_a_study_saw_names_the_share_of_the_labels(share, told, tmp_path):
    runs = pd.read_csv(reference_dir() / "runs.csv").query("task == 'emotion'")[:9]
    (tmp_path / "tables").mkdir()
    runs.assign(fraction=share).to_csv(tmp_path / "tables" / "20_hmtl_emotion-runs.csv")
    assert f"on unseen faces, {told}, " in study.what_it_saw(tmp_path)


@pytest.mark.parametrize(("name", "near"), [("presett", "preset"), ("sed", "seed"), ("zzz", "")])
def test_a_parameter_that_papermill_injects_and_no_cell_has_is_refused(name, near, monkeypatch):
    import IPython

    shell = type("Shell", (), {"user_ns": {"In": ["", PARAMETERS, f"# Parameters\n{name} = 1\n"]}})
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    with pytest.raises(ValueError, match=f"no parameter {name}.*preset") as refused:
        open_notebook("x", "", "", "", "", 0)
    assert ("did you mean" in str(refused.value)) == bool(near)
    assert near in str(refused.value)
    shell.user_ns["In"][2] = "# Parameters\npreset = 'smoke'\nseed = 3\n"
    study.refuse_injected()


def test_the_environment_names_the_preset_only_where_the_notebook_does_not(monkeypatch):
    monkeypatch.setenv("HMTL_PRESET", "quick")
    assert open_notebook("x", "", "", "", "", 0).preset.name == "quick"
    assert open_notebook("x", "study", "", "", "", 0).preset.name == "study"
    monkeypatch.delenv("HMTL_PRESET")
    here = open_notebook("x", "", "", "", "", 3)
    assert (here.preset.name, here.data, list(here.seeds)) == ("smoke", "mini", [3])


def test_run_command_prints_scores_and_refuses_unknown_fields(tmp_path, capsys):
    arguments = ["run", "--store", str(tmp_path), "--set", "epochs", "1"]
    assert main(arguments) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main([*arguments, "--set", "epoch", "1"]) == 2
    assert "epoch" in capsys.readouterr().err
    assert main([*arguments, "--set", "people", "300"]) == 2
    assert "three counts" in capsys.readouterr().err


def test_a_run_of_head_pose_is_made_and_scored(tmp_path, capsys):
    changes = ["--set", "task", "head_pose", "--set", "epochs", "1"]
    assert main(["run", "--store", str(tmp_path), *changes]) == 0
    said = capsys.readouterr().out
    assert "geodesic" in said
    assert "accuracy" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["task", "age"], "emotion, gender, head_pose, head_pose_bins"),
        (["label_noise", "0.3"], "label_noise has no meaning"),  # of the mini set
        (["balance", "geometric"], "balance has no meaning"),  # without a pretext
        (["balance", "geometrik"], "gradnorm"),
        (["proportions", "foo"], "affectnet"),
        (["epochs", "two"], "epochs must be a whole number"),
        (["init", "imagenet"], "tf_efficientnet_lite0"),
    ],
)
def test_what_a_run_cannot_have_is_said_in_one_line(changes, said, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read at its import
    assert main(["run", "--store", str(tmp_path), "--set", *changes]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_second_call_keeps_the_first_one_in_the_report(three_notebooks, tmp_path):
    for number in ("00", "20"):
        run_study("smoke", outputs=tmp_path / "out", only=[number])
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.index("00_first") < page.index("20_third")
    assert "done earlier" in page


class Bar:
    """What a progress bar was told."""

    def __init__(self):
        self.said = []

    def set_postfix_str(self, text):
        self.said.append(text)


def test_the_bar_says_which_notebook_runs_and_how_many_trainings_it_made(tmp_path, monkeypatch):
    store = tmp_path / "runs"
    (store / "of-an-earlier-notebook").mkdir(parents=True)
    bar = Bar()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with study._watched(bar, "20_hmtl_emotion", store):
        for name in ("one", "two", ".unfinished"):
            (store / name).mkdir()
        end = time.monotonic() + 30
        while not (bar.said and bar.said[-1].endswith(": 2")) and time.monotonic() < end:
            time.sleep(0.05)
    assert bar.said[-1] == "20_hmtl_emotion, trainings made: 2"
    count = len(bar.said)
    time.sleep(1.2)
    assert len(bar.said) == count, "it goes on after the notebook's end"


def test_the_bar_stops_where_a_notebook_raises_and_needs_no_store(tmp_path):
    bar = Bar()
    with pytest.raises(KeyError), study._watched(bar, "x", tmp_path / "nowhere"):
        raise KeyError
    assert bar.said == ["x, trainings made: 0"]


def test_what_failed_in_an_earlier_call_stays_failed_in_the_report(three_notebooks, tmp_path):
    out = tmp_path / "out"
    for number, failed in (("10", ["10_second"]), ("00", [])):
        assert run_study("smoke", outputs=out, only=[number])[1] == failed
    said = '<p class="failed">failed earlier: ZeroDivisionError: division by zero</p>'
    assert said in (out / "index.html").read_text()
    executed = nbformat.read(out / "10_second.ipynb", 4)
    for cell in executed.cells:  # as by somebody who cleared them
        cell.get("outputs", []).clear()
    nbformat.write(executed, out / "10_second.ipynb")
    run_study("smoke", outputs=out, only=["00"])
    assert "failed earlier" in (out / "index.html").read_text()


@pytest.mark.parametrize("began", [False, True])
def test_a_notebook_without_a_kernel_has_failed_in_a_later_report_too(
    began, three_notebooks, tmp_path, monkeypatch
):
    def die(source, target, *rest, **options):
        if began:
            Path(target).write_bytes(Path(source).read_bytes())
        raise RuntimeError("the kernel is not there")

    out = tmp_path / "out"
    with monkeypatch.context() as without:
        without.setattr("papermill.execute_notebook", die)
        assert run_study("smoke", outputs=out, only=["20"])[1] == ["20_third"]
    run_study("smoke", outputs=out, only=["00"])
    page = (out / "index.html").read_text()
    assert "failed earlier: RuntimeError: the kernel is not there" in page
    assert "done earlier" not in page
    nbformat.validate(nbformat.read(out / "20_third.ipynb", 4))


def test_each_training_gets_the_rate_that_serves_it_best_on_valid(tmp_path, monkeypatch):
    tiny = Preset("tiny", "mini", {"epochs": 1}, 1, (1.0,), {}, lrs=(4e-3, 1e-7), jobs=1)
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    here = open_notebook("20_hmtl_emotion", "tiny", "", "", str(tmp_path / "tiny"), 0)
    pose = {"task": "head_pose"}
    chosen = here.choose_lr([pose, pose | {"pretexts": ("second_view",)}], bs=32)
    assert [m["lr"] for m in chosen] == [4e-3, 4e-3]  # errors: less is better
    rates = tmp_path / "tiny" / "tables" / "20_hmtl_emotion-learning-rates.csv"
    table = pd.read_csv(rates)
    tried = table[["valid mae, lr 0.004", "valid mae, lr 1e-07"]].to_numpy()
    assert (tried[:, 0] < tried[:, 1]).all()
    assert table["method"].tolist() == ["SL", "second_view (paired)"]
    runs = here.train(here.spec(**method, bs=32) for method in chosen)
    assert len(list((tmp_path / "runs").glob("[!.]*"))) == 4  # the chosen ones are there already
    # the test split has no say: other test labels, the same choice
    scores = [run.metrics["mae"].iloc[-1] for run in runs]
    assert table[["valid mae, lr 0.004"]].to_numpy().ravel() == pytest.approx(scores)
    assert table["arch"].tolist() == ["tiny", "tiny"]
    quick = open_notebook("x", "smoke", "", "", str(tmp_path / "smoke"), 0)
    assert quick.choose_lr([{}]) == [{}]  # a preset without a choice keeps its own
    assert here.choose_lr([pose], lrs=()) == [pose]  # none to choose from, though the preset has
    # other rates for some trainings
    chosen = here.choose_lr([pose], lrs=(1e-7, 2e-3), bs=32)
    assert chosen == [pose | {"lr": 2e-3}]
    table = pd.read_csv(rates)
    assert table["start"].tolist() == ["scratch"] * 3
    assert table["chosen"].tolist() == [4e-3, 4e-3, 2e-3]


def test_costly_tables_have_fewer_seeds_the_first_ones(tmp_path):
    def seeds(preset):
        here = open_notebook("x", preset, "", "", str(tmp_path / preset), 3)
        return [list(own) for own in (here.seeds, here.short_seeds, here.imagenet_seeds)]

    assert seeds("study") == [[3, 4, 5, 6, 7], [3, 4, 5], [3, 4]]
    assert seeds("gpu") == [[3, 4, 5, 6, 7]] * 3


def test_trainings_of_other_lengths_are_shorter_where_their_preset_is(tmp_path):
    def epochs(data):
        root = "anywhere" if data == "ferplus" else ""
        here = open_notebook("x", "study", data, root, str(tmp_path), 0)
        return here.spec(**here.imagenet).epochs, here.short().epochs, here.spec().epochs

    assert epochs("faces") == (4, 40, 16)
    assert epochs("ferplus") == (2, 15, 6)  # to a whole epoch
    gpu = open_notebook("x", "gpu", "ferplus", "anywhere", str(tmp_path), 0)
    assert gpu.imagenet == {}


def test_verdicts_are_the_records_at_defaults_and_else_the_notebooks_own(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv("HMTL_PRESET", raising=False)
    name = "21_few_labels"
    here = open_notebook(name, "", "", "", str(tmp_path), 0)
    runs, outcomes = here.record()
    whole = pd.read_csv(
        reference_dir() / "tables" / "verdicts.csv", dtype="string", keep_default_na=False
    )
    told = here.verdicts(runs, outcomes).reset_index().set_index(["claim", "faces"])
    wanted = whole.set_index(["claim", "faces"]).loc[told.index, list(told)]
    pd.testing.assert_frame_equal(told, wanted, check_dtype=False)
    assert (tmp_path / "tables" / f"{name}-verdicts.csv").is_file()
    quick = open_notebook(name, "quick", "", "", str(tmp_path), 0)
    own = runs[(runs["data"] == "faces") & (runs["task"] == "emotion")].assign(study=name)
    alone = quick.verdicts(own, outcomes).loc["C4"]
    assert alone["effect"] == told.loc[("C4", "faces"), "effect"]  # whatever else is asked
    assert not capsys.readouterr().out
    assert quick.verdicts(own[own["method"] == "SL"], outcomes).empty
    assert "preset quick lacks trainings" in capsys.readouterr().out


def test_the_ways_compared_cost_one_unit_or_two(tmp_path):
    here = open_notebook("23_head_pose", "study", "", "", str(tmp_path / "study"), 3)
    pose = {"task": "head_pose"}
    ways = [here.spec(**way) for way in here.ways("inpainting_grid_pl", **pose)]
    assert {spec.task for spec in ways} == {"head_pose"}
    assert {spec.seed for spec in ways} == {3}
    plain = here.spec(**pose)
    assert ways[0] == plain
    assert ways[1] == dataclasses.replace(plain, epochs=2 * plain.epochs)
    assert [way.pretexts for way in ways[2:]] == [
        ("second_view",), ("puzzling_2x2",), ("inpainting_grid_pl",)
    ]  # fmt: skip
    units = [spec.epochs / plain.epochs * (2 if spec.pretexts else 1) for spec in ways]
    assert units == [1, 2, 2, 2, 2]
    assert {spec.views for spec in ways} == {"paired"}


def test_folders_of_the_machine_leave_an_executed_notebook(monkeypatch):
    monkeypatch.setenv("HMTL_CACHE", "/scratch/cache")
    values = {"outputs": "/scratch/jörg/quick"}
    for write in (json.dumps, lambda text: json.dumps(text, ensure_ascii=False)):
        for own in ("/scratch/jörg/quick/tables", "/scratch/jörg/runs/x", "/scratch/cache/packs"):
            assert "scratch" not in study._without_paths(write(f"in {own}"), values)
            assert "scratch" not in study._without_paths(write(f"line\n{own}\x1b[0m"), values)


@pytest.mark.parametrize("root", ["/d", "/tmp/a"])
def test_a_short_folder_leaves_pictures_and_words_whole(root):
    """A picture's letters may spell a folder's name."""
    picture = f"iVBOR{root}/A{root}w0KGgo="
    output = {"image/png": [picture, picture], "text/plain": f"{root}/x, {root}ata and {root}"}
    notebook = json.dumps({"data": output, "html": f"<img src='data:image/png;base64,{picture}'>"})
    told = json.loads(study._without_paths(notebook, {"root": root, "outputs": ""}))
    name = root.rpartition("/")[2]
    assert told["data"]["image/png"] == [picture, picture]
    assert told["html"] == f"<img src='data:image/png;base64,{picture}'>"
    assert told["data"]["text/plain"].startswith(f"{name}/x, ")
    assert told["data"]["text/plain"].endswith(f"ata and {name}")


@pytest.mark.parametrize("name", ["HMTL_OUTPUTS", "HMTL_CACHE"])
def test_a_home_folder_is_meant_by_its_sign(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "~/x")
    assert {"HMTL_OUTPUTS": outputs_dir, "HMTL_CACHE": cache_dir}[name]() == tmp_path / "x"
    here = study.open_notebook("20_hmtl_emotion", "smoke", "", "", "~/out", seed=3)
    assert here.outputs == tmp_path / "out"
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nowhere")):
        load_pack("ferplus", root="~/nowhere")
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nowhere")):
        read_set("ferplus", "~/nowhere")
    with monkeypatch.context() as without:
        without.setattr(study, "notebook_paths", lambda only=(): [])
        assert run_study("smoke", outputs="~/out")[0] == tmp_path / "out" / "index.html"


@pytest.mark.slow
def test_the_notebooks_run_on_real_faces_of_the_ferplus_format(tmp_path):
    """On the fixture: by parameters alone, and no photograph is drawn."""
    index, failed = run_study(
        "smoke", data="ferplus", root=str(FERPLUS), outputs=tmp_path / "out", only=["01", "20"]
    )
    assert failed == []
    runs = pd.read_csv(tmp_path / "out" / "tables" / "20_hmtl_emotion-runs.csv")
    assert set(runs["data"]) == {"ferplus"}
    made = json.loads((tmp_path / "out" / "20_hmtl_emotion.ipynb").read_text())
    injected = [c for c in made["cells"] if "injected-parameters" in c["metadata"].get("tags", [])]
    assert "ferplus" in "".join(injected[0]["source"])
    assert "<table" in index.read_text()


# -- real data sets ---


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Made-up folders of AffectNet, 300W-LP and AFLW2000; a cache and a preset for tests."""
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HMTL_PROGRESS", "0")
    small = PRESETS["paper"].base | {"arch": "tiny", "size": 32, "epochs": 1, "bs": 32}
    paper = dataclasses.replace(PRESETS["paper"], base=small, seeds=1, jobs=1)
    monkeypatch.setitem(PRESETS, "paper", paper)
    write_w300lp(tmp_path / "pose", people=4)
    write_aflw2000(tmp_path / "pose", people=1)
    write_affectnet_npy(tmp_path / "affectnet", people=3)
    return tmp_path


def test_the_papers_preset_runs_on_a_data_set_by_parameters_alone(folders, capsys):
    arguments = ["run", "--preset", "paper", "--root", str(folders / "affectnet")]
    arguments += ["--store", str(folders / "runs"), "--set", "pretexts", "puzzling_2x2"]
    for data in ("affectnet", "affectnet:classes=7"):
        assert main([*arguments, "--data", data]) == 0
        path, *said = capsys.readouterr().out.splitlines()
        run = load_run(path)
        assert run.spec.data == data
        assert run.spec.optimizer == "adabelief_lookahead"
        assert said[-1].startswith("test accuracy of epoch 1, the best on the valid images: ")
        assert ("contempt" in set(run.predictions["target"])) == (data == "affectnet")


def test_notebook_20_runs_on_a_folder_of_affectnet(folders):
    here = open_notebook(
        "20_hmtl_emotion", "paper", "affectnet-8", str(folders / "affectnet"), str(folders / "o"), 0
    )
    assert here.is_read
    methods = here.choose_lr([{}, {"pretexts": ("second_view",)}, {"pretexts": ("puzzling_2x2",)}])
    runs = here.train(here.spec(fraction=f, **m) for f in here.preset.fractions for m in methods)
    table, outcomes = here.results(runs)
    assert table["data"].unique().tolist() == ["affectnet-8"]
    assert table["fraction"].tolist() == [0.2] * 3 + [1.0] * 3
    assert set(outcomes) == {run.id for run in runs}
    assert len(outcomes[runs[0].id]) == 24  # of three people


def test_notebook_23_trains_on_one_data_set_and_tests_on_another(folders):
    here = open_notebook(
        "23_head_pose", "paper", "300w-lp-aflw2000", str(folders / "pose"), str(folders / "o"), 0
    )
    pose = {"task": "head_pose"}
    first = {"task": "pretraining", "pretexts": ("image_rotation",), "views": "shared"}
    (before,) = here.train([here.spec(**first, arch=here.spec(**pose).arch)])
    pose["init"] = str(before.path)
    runs = here.train([here.spec(**pose), here.spec(**pose, pretexts=("puzzling_2x2",))])
    for run in runs:
        assert run.predictions["key"].str.startswith("AFLW2000/").all()
        assert run.scores["test_faces"] == 7  # of eight, one is beyond 99 degrees
        assert run.best["epoch"] == 1
    table, _ = here.results([*runs, before])
    assert table["start"].tolist() == ["image_rotation"] * 2 + ["scratch"]


def test_notebooks_are_left_out_whose_labels_the_data_have_not(folders):
    stems = ["00_any", "02_any", "20_emotion", "23_pose"]
    paths, preset = [Path(f"{stem}.ipynb") for stem in stems], get_preset("smoke")
    assert what_lacks(preset, "mini", None, paths) == {}
    assert what_lacks(preset, "ferplus", str(FERPLUS), paths) == {
        "23_pose": "ferplus has no head pose"
    }
    lacks = what_lacks(preset, "300w-lp-aflw2000", str(folders / "pose"), paths)
    assert list(lacks) == ["00_any", "20_emotion"]


def test_a_study_says_what_it_skips_unless_it_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "23_head_pose.ipynb", "data")
    write_notebook(folder / "30_results.ipynb", "data")
    monkeypatch.setattr(study, "NOTEBOOKS", folder)
    command = ["study", "--preset", "smoke", "--data", "ferplus", "--root", str(FERPLUS)]
    command += ["--outputs", str(tmp_path / "out")]
    assert main(command) == 0
    assert "23_head_pose: skipped, ferplus has no head pose\n" in capsys.readouterr().out
    assert not (tmp_path / "out" / "23_head_pose.ipynb").exists()
    assert (tmp_path / "out" / "30_results.ipynb").exists()
    assert main([*command, "--only", "23"]) == 0
    assert (tmp_path / "out" / "23_head_pose.ipynb").exists()


def test_names_with_options_name_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HMTL_OUTPUTS", str(tmp_path))
    here = open_notebook("x", "smoke", "affectnet:classes=8", "somewhere", "", 0)
    assert (here.data, here.outputs.name) == ("affectnet", "smoke-affectnet")
    here = open_notebook("x", "smoke", "affectnet:classes=7", "somewhere", "", 0)
    assert here.outputs.name == "smoke-affectnet-classes=7"
    two = full_root(f"a{os.pathsep}b")  # the folders of two data sets
    assert [Path(part).is_absolute() for part in two.split(os.pathsep)] == [True, True]


def test_no_rate_is_chosen_on_test_images(tmp_path, monkeypatch, toy_pack, capsys):
    tiny = Preset("tiny", "mini", {"epochs": 1}, 1, (1.0,), {}, lrs=(4e-3, 1e-7), jobs=1)
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    on_test = dataclasses.replace(
        toy_pack, meta={**toy_pack.meta, "protocol": {"chosen_on": "test"}}
    )
    monkeypatch.setattr(Setting, "load", lambda self: on_test)
    here = open_notebook("20_hmtl_emotion", "tiny", "", "", str(tmp_path / "tiny"), 0)
    assert here.choose_lr([{"fraction": 0.5}]) == [{"fraction": 0.5}]
    assert "no rate is chosen on test images" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_pages_of_results_read_the_record_at_defaults_alone(tmp_path):
    def trains(data="", root="", seed=0, preset="smoke"):
        return open_notebook("x", preset, data, root, str(tmp_path), seed).trains

    assert not trains()
    assert not trains(data="mini")
    assert trains(data="ferplus", root=str(FERPLUS))
    assert trains(seed=3)
    assert trains(preset="quick")


@pytest.mark.parametrize("name", ["preset", "data", "root", "outputs"])
def test_a_parameter_with_an_option_of_its_own_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"--{name}, not -p {name}"):
        run_study("smoke", outputs=tmp_path, only=["25"], parameters={name: "x"})
