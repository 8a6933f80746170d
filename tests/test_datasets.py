"""Rendered packs: whole, resumable, and the same however they are made."""

import os
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from hmtl import datasets, render
from hmtl.__main__ import main
from hmtl.datasets import load_pack, write_faces
from hmtl.faces import LABEL_COLUMNS, draw_faces
from hmtl.faceset import FaceSet
from hmtl.pack import open_pack

SMALL = FaceSet((14, 2, 4), size=16, seed=9)  # 160 faces: three parts


def test_a_killed_render_is_taken_up_and_gives_the_same_pack(tmp_path, monkeypatch):
    whole = write_faces(SMALL, tmp_path / "whole", processes=1)
    real, made = datasets.render_chunks, []

    def dies_after_one(chunks, *args, **options):
        for part in real(chunks, *args, **options):
            if made:
                raise KeyboardInterrupt
            made.append(part)
            yield part

    monkeypatch.setattr(datasets, "render_chunks", dies_after_one)
    with pytest.raises(KeyboardInterrupt):
        write_faces(SMALL, tmp_path / "again", processes=1)
    assert not (tmp_path / "again").exists()
    rendered = []

    def counts(chunks, *args, **options):
        for part in real(chunks, *args, **options):
            rendered.append(len(part.pictures))
            yield part

    monkeypatch.setattr(datasets, "render_chunks", counts)
    again = write_faces(SMALL, tmp_path / "again", processes=1)
    assert sum(rendered) == SMALL.n - 64  # only what was missing
    assert again.fingerprint == whole.fingerprint


def test_workers_change_no_bit(tmp_path):
    one = write_faces(SMALL, tmp_path / "one", processes=1)
    two = write_faces(SMALL, tmp_path / "two", processes=2)
    assert one.fingerprint == two.fingerprint


def test_the_pack_holds_the_labels_and_the_measured_occlusion(tmp_path):
    pack = write_faces(SMALL, tmp_path / "p", processes=1)
    assert list(pack.labels) == [*LABEL_COLUMNS, "occlusion"]
    drawn = draw_faces(SMALL)
    np.testing.assert_array_equal(pack.labels["key"], drawn["key"])
    covered = (drawn[["mask", "hand", "sunglasses", "glasses"]] > 0).any(axis=1)
    hats = (drawn["hat"] != "none") | (drawn["long_hair"] > 0)
    assert pack.labels["occlusion"][drawn["mask"] > 0].gt(0.2).all()
    assert pack.labels["occlusion"][~covered & ~hats].eq(0).all()


def test_another_set_in_the_same_folder_is_refused(tmp_path):
    few = FaceSet((1, 0, 0), size=8)
    write_faces(few, tmp_path / "p", processes=1)
    assert len(write_faces(few, tmp_path / "p", processes=1)) == 8
    with pytest.raises(ValueError, match="choose another folder"):
        write_faces(FaceSet((1, 0, 0), size=8, seed=1), tmp_path / "p", processes=1)


def test_the_command_renders_what_it_is_asked_for(tmp_path, capsys):
    command = ["faces", "--count", "60", "--size", "16", "--out", str(tmp_path / "p")]
    assert main([*command, "--without", "hands", "jpeg", "--set", "yaw", "5", "20"]) == 0
    pack = open_pack(tmp_path / "p")
    assert len(pack) == 64  # eight whole people
    assert pack.labels["yaw"].abs().max() <= 20
    assert (pack.labels["hand"] == 0).all()
    assert "64 faces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--without", "spectacles"], "sunglasses"),
        (["--without", "all", "spectacles"], "sunglasses"),
        (["--set", "moustache", "1"], "FaceSet"),
        (["--set", "yaw", "5", "95"], "yaw must lie in 0..89"),
        (["--set", "yaw", "10"], "yaw must be two numbers"),
        (["--set", "jpeg", "high", "low"], "jpeg must be a number"),
        (["--set", "glasses", "many"], "glasses must be a number"),
        (["--set", "hats", "true"], "hats must be a number"),
        (["--set", "per_person", "0"], "per_person must be at least 1"),
        (["--set", "per_person", "2.5"], "per_person must be an integer"),
        (["--set", "backgrounds", "beach"], "plain"),
        (["--set", "size", "32"], "--size"),
        (["--set", "yaw"], "needs a value"),
        (["--count", "0"], "--count must be at least 1"),
        (["--count", "8", "--people", "1", "1", "1"], "not both"),
        (["--mini", "--count", "8"], "--mini"),
        (["--count", "8", "--workers", "0", "--size", "8"], "processes must be at least 1"),
        (["--count", "8", "--device", "abacus"], "device 'abacus' is not there; one of cpu"),
    ],
)
def test_wrong_arguments_say_what_is_right(arguments, said, capsys, tmp_path):
    out = [] if "--mini" in arguments else ["--out", str(tmp_path / "p")]
    assert main(["faces", *arguments, *out]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # nothing is left lying about


def test_one_word_or_number_is_enough_where_several_may_stand(tmp_path):
    command = ["faces", "--count", "8", "--size", "8", "--out", str(tmp_path / "p")]
    more = ["--set", "backgrounds", "plain", "--set", "focal", "50", "--without", "light-direction"]
    assert main([*command, *more]) == 0
    labels = open_pack(tmp_path / "p").labels
    assert set(labels["background"]) == {"plain"}
    assert labels["light_azimuth"].nunique() == 1


def _die(task):
    os._exit(9)  # as the kernel ends a process that takes too much memory


def test_a_worker_that_dies_ends_the_render_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_render_chunk", _die)
    with pytest.raises(BrokenProcessPool):
        write_faces(SMALL, tmp_path / "p", processes=2)
    assert list(tmp_path.iterdir()) == []


def test_the_mini_set_is_replaced_only_by_a_finished_one(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MINI", FaceSet((1, 0, 0), size=8))
    path = tmp_path / "mini"
    datasets.build_mini(path)

    def fails(*args, **options):
        raise ImportError("no head")

    monkeypatch.setattr(datasets, "render_chunks", fails)
    with pytest.raises(ImportError):
        datasets.build_mini(path)
    assert len(open_pack(path)) == 8
    assert [file.name for file in tmp_path.iterdir()] == ["mini"]


def test_the_options_of_rendered_faces_reach_the_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path))
    options = {"people": (5, 0, 0), "size": 8, "progress": False}
    noisy = load_pack("faces", label_noise=1.0, proportions="affectnet", **options)
    assert (noisy.labels["emotion"] != noisy.labels["shown"]).all()
    assert noisy.labels["shown"].value_counts().max() > 10  # happy and neutral prevail
    assert noisy.fingerprint != load_pack("faces", **options).fingerprint
