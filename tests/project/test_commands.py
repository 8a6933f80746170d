"""The command line: what is typed reaches the function, and bad usage is one line and status 2."""

import inspect
from pathlib import Path

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
    typed = ["run", "--preset", "quick", "--root", str(tmp_path), "--set", "fraction", share]
    assert main([*typed, "--data", "ferplus"]) == 130
    said = f"preset quick takes a share of ferplus: fraction is {taken}, not {share}"
    assert said in capsys.readouterr().err
    assert main([*typed, "--data", "mini"]) == 130
    assert "takes a share" not in capsys.readouterr().err
