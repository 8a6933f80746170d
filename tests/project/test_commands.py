"""The command line: what is typed reaches the function, and bad usage is one line and status 2."""

import inspect
import re
from pathlib import Path

import pandas as pd
import pytest

import hmtl.__main__ as line
import hmtl.data.sets
import hmtl.study.notebook
from hmtl.__main__ import main

COMMANDS = {c.name: inspect.unwrap(c.callback) for c in line.app.registered_commands}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option_and_says_what_it_is(name, capsys):
    assert main([name, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for option in line.typer.main.get_command(line.app).commands[name].params:
        assert max(option.opts, key=len) in said
        assert option.help is None or " ".join(option.help.split()) in said


@pytest.mark.parametrize(
    "typed",
    [
        [], ["bogus"], ["run", "--bogus", "1"], ["run", "stray"], ["faces", "--size", "large"],
        ["faces", "--people", "1", "2"], ["pack", "csv", "--out", "x"], ["predict", "latest"],
        ["run", "--set"], ["run", "--set", "lr"], ["run", "--set", "lr", "1", "2"],
        ["study", "-p", "seed"], ["reference", "--keep"], ["check"],
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_and_status_2(typed, capsys):
    assert main(typed) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (one,) = said.err.splitlines()
    assert one.startswith("hmtl: ")
    assert len(one) > len("hmtl: ")


@pytest.fixture
def studied(monkeypatch):
    """What `run_study` was called with."""
    calls = {}

    def run_study(preset, **options):
        calls.update(options, preset=preset)
        return Path("index.html"), calls.get("fails", [])

    monkeypatch.setattr(hmtl.study.notebook, "run_study", run_study)
    return calls


def test_values_up_to_the_next_option_belong_to_one(studied):
    typed = ["--only", "20", "11_puzzling", "-p", "seed", "-3", "-p", "way", "a=b", "--data=mini"]
    assert main(["study", *typed, "--only=30", "--root", "a b"]) == 0
    assert studied["only"] == ["20", "11_puzzling", "30"]
    assert studied["parameters"] == {"seed": -3, "way": "a=b"}
    assert (studied["data"], studied["root"], studied["preset"]) == ("mini", "a b", "quick")


def test_other_seeds_are_advised_with_outputs_of_their_own(studied, capsys):
    assert main(["study"]) == 0
    advised = re.search(r"-p seed .*", capsys.readouterr().out)[0]
    assert main(["study", *advised.split()]) == 0
    assert (studied["parameters"], studied["outputs"]) == ({"seed": 10}, "outputs/seed10")


def test_a_home_folder_is_meant_by_its_sign(studied, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["study", "--root=~/faces", "--outputs=~"]) == 0
    assert (studied["root"], studied["outputs"]) == (f"{tmp_path}/faces", str(tmp_path))


def test_a_notebook_that_fails_is_status_1(studied, capsys):
    studied["fails"] = ["20", "30"]
    assert main(["study"]) == 1
    assert "20, 30" in capsys.readouterr().err


def test_switches_and_groups_reach_the_faces(monkeypatch, capsys):
    made = {}

    def face_pack(faces, processes, device):
        made.update(faces=faces, processes=processes)
        raise KeyboardInterrupt

    monkeypatch.setattr(hmtl.data.sets, "face_pack", face_pack)
    typed = [
        "--people",
        "8",
        "2",
        "3",
        "--set",
        "yaw",
        "10",
        "45",
        "--without",
        "hands",
        "glasses",
        "--workers",
        "1",
    ]
    assert main(["faces", *typed]) == 130  # stopped, and said so
    assert "goes on where it was" in capsys.readouterr().err
    assert made["faces"].people == (8, 2, 3)
    assert tuple(made["faces"].yaw) == (10, 45)
    assert made["processes"] == 1


def test_what_cannot_go_on_where_it_was_does_not_say_so(monkeypatch, capsys, tmp_path):
    def load(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("hmtl.use.predict.load", load)
    assert main(["predict", "ferplus", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "hmtl: stopped; call the command again\n"


@pytest.mark.parametrize(("share", "taken"), [("1", "0.1"), ("0.5", "0.05")])
def test_a_share_that_a_preset_takes_of_a_set_is_told(monkeypatch, capsys, tmp_path, share, taken):
    def fit(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("hmtl.runs.fit.fit", fit)
    typed = ["run", "--preset", "quick", "--set", "fraction", share]
    assert main([*typed, "--data", "ferplus", "--root", str(tmp_path)]) == 130
    said = f"preset quick takes a share of ferplus: fraction is {taken}, not {share}"
    assert said in capsys.readouterr().err
    assert main([*typed, "--data", "mini"]) == 130
    assert "takes a share" not in capsys.readouterr().err


@pytest.mark.parametrize("data", [[], ["--data", "faces"], ["--data", "mini"]])
def test_a_folder_that_nothing_reads_is_refused(monkeypatch, capsys, tmp_path, data):
    monkeypatch.setattr("hmtl.runs.fit.fit", lambda *_, **__: pytest.fail("trained"))
    for name in ("run", "study"):
        assert main([name, "--preset", "quick", "--root", str(tmp_path), *data]) == 2
        assert f"root='{tmp_path}' would not be read; name the set" in capsys.readouterr().err


def test_shortcuts_of_other_presets_leave_the_record_as_it_is(monkeypatch, tmp_path):
    made = pd.DataFrame({"seen": ["hair"]})
    monkeypatch.setattr("hmtl.study.face_checks.shortcut_table", lambda spec: made)
    monkeypatch.setattr("hmtl.paths.reference_dir", lambda: tmp_path)
    assert main(["check-faces", "--preset", "smoke"]) == 0
    assert not list(tmp_path.iterdir())
    assert main(["check-faces", "--preset", "smoke", "--out", str(tmp_path / "own.csv")]) == 0
    assert main(["check-faces"]) == 0
    assert {f.name for f in tmp_path.iterdir()} == {"own.csv", "faces-shortcuts.csv"}
