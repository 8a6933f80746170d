"""Packs whose files were changed: what was written, or an error that names file and remedy."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from mutations import age, assert_clear, drawn, mutate_file
from toys import make_toy_pack

import hmtl.data.pack
from hmtl.data.pack import open_pack
from hmtl.labels import EMOTIONS, SPLITS
from hmtl.use.check import check_all

FILES = ("images.npy", "labels.csv", "pack.json")
HARMLESS = {"source", "files", "sha256"}


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """A function from a version to the folder of a small pack and the pack as it was."""
    folder = tmp_path_factory.mktemp("packs")
    made = {}
    for name in ("sealed", "older"):
        make_toy_pack(folder / name, count=16, size=32, votes=True)
        if name == "older":
            age(folder / name / "pack.json")
        pack = open_pack(folder / name)
        made[name] = folder / name, np.array(pack.images), pack.labels, pack.meta
    return lambda version: made[version]


@drawn(["sealed", "older"], FILES)
def test_packs(packs, version, name, seed):
    folder, images, labels, meta = packs(version)
    file = folder / name
    whole = file.read_bytes()
    try:
        file.write_bytes(mutate_file(np.random.default_rng(seed), whole))
        try:
            pack = open_pack(folder)
        except (ValueError, OSError) as error:
            assert_clear(error, folder)
            return
        np.testing.assert_array_equal(pack.images, images)
        pd.testing.assert_frame_equal(pack.labels, labels)
        if "sha256" in pack.meta:
            assert pack.meta == meta
        # an older record is not sealed: what does not describe the files may be another
        for field in set(meta) - HARMLESS:
            assert pack.meta.get(field) == meta[field]
    finally:
        file.write_bytes(whole)


@drawn()
def test_packs_that_vouch_for_other_labels(packs, seed):
    """A stranger's pack fits its checksums; its labels must still be ours, one an image."""
    folder, _, _, meta = packs("sealed")
    whole = {name: (folder / name).read_bytes() for name in FILES}
    try:
        (folder / "labels.csv").write_bytes(
            mutate_file(np.random.default_rng(seed), whole["labels.csv"])
        )
        hashes, fingerprint = hmtl.data.pack._hashes(folder)
        record = hmtl.data.pack.sealed({**meta, "fingerprint": fingerprint}, hashes)
        (folder / "pack.json").write_text(json.dumps(record))
        try:
            pack = open_pack(folder)
        except (ValueError, OSError) as error:
            assert_clear(error, folder)
            return
        assert len(pack.labels) == len(pack)
        assert set(pack.labels["split"]) <= set(SPLITS)
        if "emotion" in pack.labels:
            assert set(pack.labels["emotion"].dropna()) <= set(EMOTIONS)
        assert pack.labels["key"].is_unique
    finally:
        for name, content in whole.items():
            (folder / name).write_bytes(content)


# ------------------------------------------------------------------------------- when what is read


def counting(monkeypatch):
    """A list that grows by one whenever a pack's pixels are hashed."""
    reads, hashes = [], hmtl.data.pack._hashes
    monkeypatch.setattr(hmtl.data.pack, "_hashes", lambda path: reads.append(path) or hashes(path))
    return reads


def turn_bit(file):
    """Turn the last bit of a file and put its times back, as a failing disk would."""
    before = file.stat()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # some clocks of files tick every 10 ms
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_small_pack_is_read_once_a_process_until_a_file_changes(tmp_path, monkeypatch):
    folder = make_toy_pack(tmp_path / "p", count=16).path
    reads = counting(monkeypatch)
    open_pack(folder)
    assert reads == []  # as it was written, a moment ago
    hmtl.data.pack._verified.clear()  # as another process would find it
    open_pack(folder)
    open_pack(folder)
    assert len(reads) == 1
    turn_bit(folder / "images.npy")  # its time of modification says nothing, the other one does
    with pytest.raises(ValueError, match=r"images\.npy in it; pack\.json has other checksums"):
        open_pack(folder)


@pytest.mark.parametrize("aged", [False, True])
def test_a_large_pack_is_read_once_a_machine(tmp_path, monkeypatch, aged):
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hmtl.data.pack, "_LARGE", 100)
    folder = make_toy_pack(tmp_path / "p", count=16).path
    if aged:
        age(folder / "pack.json")
    open_pack(folder)
    reads = counting(monkeypatch)
    for _ in range(3):
        hmtl.data.pack._verified.clear()
        open_pack(folder)
    assert reads == []
    open_pack(folder, verify=True)
    assert len(reads) == 1
    moved = shutil.copytree(folder, tmp_path / "moved")  # the stamp is of the other folder
    open_pack(moved)
    assert len(reads) == 2
    turn_bit(folder / "images.npy")
    hmtl.data.pack._verified.clear()
    with pytest.raises(ValueError, match=r"was changed"):
        open_pack(folder)
    (found,) = check_all(folder)
    assert "was changed" in found.problem


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HMTL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(hmtl.data.pack, "_LARGE", 100)
    assert len(make_toy_pack(tmp_path / "p", count=16)) == 16
