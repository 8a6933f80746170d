import dataclasses
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import make_toy_pack

from hmtl.data.pack import GrowingPack, open_pack, whole_folder, write_pack


def test_pack_returns_what_was_written_memory_mapped(tmp_path):
    pack = make_toy_pack(tmp_path / "p")
    again = open_pack(tmp_path / "p")
    assert isinstance(again.images, np.memmap)
    assert not again.images.flags.writeable
    np.testing.assert_array_equal(pack.images, again.images)
    pd.testing.assert_frame_equal(pack.labels, again.labels)


def test_fingerprint_follows_pixels_and_labels(tmp_path):
    pack = make_toy_pack(tmp_path / "a")
    same = write_pack(tmp_path / "b", np.array(pack.images), pack.labels, source="elsewhere")
    assert same.fingerprint == pack.fingerprint
    pixels = np.array(pack.images)
    pixels[0, 0, 0, 0] ^= 1
    assert write_pack(tmp_path / "c", pixels, pack.labels).fingerprint != pack.fingerprint
    labels = pack.labels.assign(emotion=pack.labels["emotion"].iloc[::-1].to_numpy())
    changed = write_pack(tmp_path / "d", np.array(pack.images), labels)
    assert changed.fingerprint != pack.fingerprint


def test_splits_partition_the_rows(toy_pack):
    rows = np.concatenate([toy_pack.rows(s) for s in ("train", "valid", "test")])
    assert sorted(rows) == list(range(len(toy_pack)))
    with pytest.raises(ValueError, match="train, valid, test"):
        toy_pack.rows("dev")


@pytest.mark.parametrize("break_it", ["missing", "short", "format"])
def test_broken_pack_is_named(tmp_path, break_it):
    pack = make_toy_pack(tmp_path / "p")
    labels, meta = tmp_path / "p" / "labels.csv", tmp_path / "p" / "pack.json"
    if break_it == "missing":
        labels.unlink()
    elif break_it == "short":
        pack.labels.iloc[:-1].to_csv(labels, index=False)
    else:
        meta.write_text(meta.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path / "p")):
        open_pack(tmp_path / "p")


def test_a_second_image_with_the_same_key_is_refused(tmp_path):
    labels = pd.DataFrame({"key": ["a", "a"], "split": ["train", "test"]})
    with pytest.raises(ValueError, match="'a'"):
        write_pack(tmp_path / "p", np.zeros((2, 4, 4, 3), np.uint8), labels)
    assert not (tmp_path / "p").exists()


def test_killed_while_writing_leaves_no_folder(tmp_path):
    """A real process is killed between its files; the next one starts from nothing."""
    target = tmp_path / "run"
    code = f"""
        import os, signal
        from pathlib import Path
        from hmtl.files import whole_folder
        with whole_folder(Path({str(target)!r})) as folder:
            (folder / "first").write_text("1")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ)
    assert done.returncode == -9
    assert not target.exists()
    with whole_folder(target) as folder:
        (folder / "first").write_text("2")
    assert (target / "first").read_text() == "2"


def test_an_error_while_writing_leaves_nothing_at_all(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "run") as folder:  # noqa: PT012  the block is the point
        (folder / "first").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_writers_stands(tmp_path):
    with whole_folder(tmp_path / "run") as late:
        with whole_folder(tmp_path / "run") as early:
            (early / "who").write_text("early")
        (late / "who").write_text("late")
    assert (tmp_path / "run" / "who").read_text() == "early"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


# -- packs that grow ---


def _labels(start, stop):
    return pd.DataFrame(
        {
            "key": [f"k{i:03d}" for i in range(start, stop)],
            "split": "train",
            "depth": np.arange(start, stop) / 7,
            "note": ["", "a, b", "NA", 'say "x"'][: stop - start],
        }
    )


def _grow(path, count=10, identity="a"):
    return GrowingPack(path, count, 4, 1, identity=identity, step=4)


def _pictures(start, stop):
    return np.arange(start, stop, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones(
        (1, 4, 4, 1), np.uint8
    )


def _fill(growing):
    for start, stop in growing.missing():
        growing.put(start, _pictures(start, stop), _labels(start, stop))


def test_a_pack_grows_part_by_part_and_is_taken_up_after_a_kill(tmp_path):
    with _grow(tmp_path / "p") as growing:
        assert growing.missing() == [(0, 4), (4, 8), (8, 10)]
        growing.put(4, _pictures(4, 8), _labels(4, 8))
    assert not (tmp_path / "p").exists()  # killed here: nothing that looks finished
    with _grow(tmp_path / "p") as growing:
        assert growing.missing() == [(0, 4), (8, 10)]
        _fill(growing)
        growing.finish()
    pack = open_pack(tmp_path / "p")
    np.testing.assert_array_equal(pack.images, _pictures(0, 10))
    assert {file.name for file in tmp_path.iterdir()} == {"p"}
    assert len(list((tmp_path / "p").iterdir())) == 3
    whole = pd.concat([_labels(0, 4), _labels(4, 8), _labels(8, 10)])
    again = write_pack(tmp_path / "whole", _pictures(0, 10), whole)
    assert again.fingerprint == pack.fingerprint


@pytest.mark.parametrize("moment", ["data.pack._finish", "files.sync_files"])
def test_a_kill_while_finishing_loses_nothing(tmp_path, monkeypatch, moment):
    def dies(*args):
        raise KeyboardInterrupt

    with _grow(tmp_path / "p") as growing:
        _fill(growing)
        with monkeypatch.context() as patched:
            patched.setattr(f"hmtl.{moment}", dies)
            with pytest.raises(KeyboardInterrupt):
                growing.finish()
    with _grow(tmp_path / "p") as growing:
        assert growing.missing() == []
        growing.finish()
    assert len(open_pack(tmp_path / "p")) == 10


def _fill_with_notes(growing):
    for start, stop in growing.missing():
        notes = pd.DataFrame({"why": [f"{i}: a, b" for i in range(start, stop)]})
        growing.put(start, _pictures(start, stop), _labels(start, stop), notes)


def test_rows_can_be_left_out_at_the_end(tmp_path):
    keep = np.array([0, 0, 0, 0, 1, 1, 0, 1, 1, 0], bool)  # nothing of the first part
    with _grow(tmp_path / "p") as growing:
        _fill_with_notes(growing)
        assert list(growing.notes()["why"]) == [f"{i}: a, b" for i in range(10)]
        growing.finish(keep=keep, files={"note.txt": "ü"}, of="p")
    pack = open_pack(tmp_path / "p")
    whole = pd.concat([_labels(0, 4), _labels(4, 8), _labels(8, 10)])
    wanted = write_pack(tmp_path / "w", _pictures(0, 10)[keep], whole[keep], of="p")
    assert pack.fingerprint == wanted.fingerprint
    assert set(pack.meta["files"]) - set(wanted.meta["files"]) == {"note.txt"}
    checks = ("files", "sha256")
    assert {k: v for k, v in pack.meta.items() if k not in checks} == {
        k: v for k, v in wanted.meta.items() if k not in checks
    }
    files = {file.name for file in (tmp_path / "p").iterdir()}
    assert files == {"images.npy", "labels.csv", "pack.json", "note.txt"}


@pytest.mark.parametrize("moment", ["data.pack._finish", "files.sync_files", "files.sync_folder"])
def test_a_kill_after_rows_were_left_out_loses_nothing(tmp_path, monkeypatch, moment):
    def dies(*args):
        raise KeyboardInterrupt

    keep = np.arange(10) % 3 > 0
    with _grow(tmp_path / "p") as growing:
        _fill_with_notes(growing)
        with monkeypatch.context() as patched:
            patched.setattr(f"hmtl.{moment}", dies)
            with pytest.raises(KeyboardInterrupt):
                growing.finish(keep=keep)
    with _grow(tmp_path / "p") as growing:
        if not growing.finished:
            np.testing.assert_array_equal(growing.images(), _pictures(0, 10))
            growing.finish(keep=keep)
    np.testing.assert_array_equal(open_pack(tmp_path / "p").images, _pictures(0, 10)[keep])
    assert {file.name for file in tmp_path.iterdir()} == {"p"}


def test_a_disk_without_second_names_gets_a_copy(tmp_path, monkeypatch):
    def refuses(*args, **options):
        raise OSError

    monkeypatch.setattr("os.link", refuses)
    with _grow(tmp_path / "p") as growing:
        _fill(growing)
        growing.finish()
    np.testing.assert_array_equal(open_pack(tmp_path / "p").images, _pictures(0, 10))


def test_an_unfinished_pack_of_other_data_is_not_continued(tmp_path):
    with _grow(tmp_path / "p") as growing:
        growing.put(0, _pictures(0, 4), _labels(0, 4))
    with pytest.raises(ValueError, match="delete the folder"), _grow(tmp_path / "p", identity="b"):
        pass


def test_a_start_that_came_to_nothing_blocks_nobody(tmp_path):
    with pytest.raises(RuntimeError), _grow(tmp_path / "p"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with _grow(tmp_path / "p", identity="b") as growing:
        assert len(growing.missing()) == 3


def test_a_pack_with_missing_parts_is_not_finished(tmp_path):
    with _grow(tmp_path / "p") as growing, pytest.raises(ValueError, match="3 parts"):
        growing.finish()
    assert not (tmp_path / "p").exists()


def test_what_else_lies_there_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="choose another folder"), _grow(tmp_path / "mine"):
        pass
    (tmp_path / "empty").mkdir()
    with _grow(tmp_path / "empty", count=0) as growing:
        growing.finish()
    assert len(open_pack(tmp_path / "empty")) == 0


def test_an_empty_folder_becomes_the_pack_where_a_rename_replaces_none(tmp_path, monkeypatch):
    rename = Path.rename

    def as_windows(self, target):
        if target.exists():
            raise FileExistsError(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", as_windows)
    (tmp_path / "p").mkdir()
    with _grow(tmp_path / "p", count=0) as growing:
        growing.finish()
    assert len(open_pack(tmp_path / "p")) == 0


def test_the_second_of_two_writers_finds_it_finished(tmp_path):
    with _grow(tmp_path / "p", count=0) as growing:
        growing.finish()
    with _grow(tmp_path / "p", count=0) as growing:
        assert growing.finished


@pytest.mark.parametrize("large", [0, 1 << 40])
def test_rows_are_taken_alike_from_large_and_small_packs(tmp_path, monkeypatch, large):
    monkeypatch.setattr("hmtl.data.pack._LARGE", large)
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    labels = pd.DataFrame({"key": range(40), "split": "train"})
    pack = write_pack(tmp_path / "p", images, labels)
    for rows in ([3, 3, 39, 0], [7]):  # again, after the pages were given back
        taken = pack.take(np.array(rows))
        np.testing.assert_array_equal(taken, images[rows])
        taken[:] = 0  # a copy: the pack stays
    np.testing.assert_array_equal(pack.images, images)
    in_memory = dataclasses.replace(pack, images=images)
    np.testing.assert_array_equal(in_memory.take(np.array([5])), images[[5]])
