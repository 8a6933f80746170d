"""Any folder of class folders: the label of an image is the name of the folder it lies in.

    happy/1.jpg   sad/2.png   ...                     no split: a seeded one is made
    train/happy/1.jpg   val/sad/2.png   test/...      folders that say the split
    FER2013Train/happy/1.jpg   FER2013Test/...        such words in longer names
    happy/train/1.jpg   happy/test/2.jpg   ...        or each class does
    S001/happy/1.jpg    S002/sad/1.jpg   ...          people, where `person` says so
    archive/images/train/happy/1.jpg                  up to two folders around them
    train/aligned/happy/1.jpg                         or one between split and classes

Folder names may be of any case and either form ("Happy", "happiness"), with a slip ("suprise").
Numbers are refused unless the user says what they mean: 0 is anger in an alphabetical copy of
AffectNet and neutral in AffectNet's own order. Where names show people (`hmtl.data.readers.people`)
whole people are split. Ours.
"""

__all__ = [
    "SPLIT_FOLDERS", "find_classes", "holds_classes", "list_classes", "read_folders",
    "split_folders",
]  # fmt: skip

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from hmtl.data.readers.listing import folders_in, list_files, locate, with_paths
from hmtl.data.readers.names import EMOTION_WORDS, GENDER_WORDS, name_labels, plain
from hmtl.data.readers.people import draw_splits, find_person
from hmtl.data.readers.report import Drops
from hmtl.data.readers.source import Source
from hmtl.labels import check_known

_SPLIT_NAMES = {
    "train": "train training train_set training_set train_data training_data",
    "valid": "valid val validation dev val_set validation_set val_data validation_data publictest",
    "test": "test testing test_set testing_set test_data testing_data privatetest",
}
SPLIT_FOLDERS = {name: split for split, names in _SPLIT_NAMES.items() for name in names.split()}
_WORDS = {"emotion": EMOTION_WORDS, "gender": GENDER_WORDS}
_IN_NAME = re.compile(r"(?i:p(?:ublic|rivate)_?test)|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def read_folders(
    root: str | Path,
    *,
    label: str = "emotion",
    names: Mapping | None = None,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    person: str = "",
) -> pd.DataFrame:
    """Return the images under class folders: `key` ("train/happy/1.jpg"), `path`, `split`, `label`.

    Folders called train, val or valid, and test, or with one of these words in their name, give
    the split; where there is no test, the validation images are it. Without such folders, or with
    train alone, `shares` are split.

    Dropped and counted: pictures outside of the class folders (those of a class folder beside
    train/ and test/ too) or beside the split folders in these, of a test folder without classes,
    and of folders named by nothing.

    Args:
        root: The folder of the class folders, or one around it.
        label: "emotion" or "gender".
        names: Folder -> this project's name (`{"0": "anger", "joy": "happy"}`); a folder that is
            mapped to "" is left out.
        shares: Of train, valid and test, drawn class by class, or of whole people.
        seed: Of the draw.
        person: A pattern that finds the person in a name or path (`name_people`), or "none". Of
            people, "S001/", class folders may stand in their folders.

    Returns:
        The sample table; with `person` where names show people.

    Raises:
        FileNotFoundError: A root without images in folders.
        ValueError: A folder that is no known class; a pattern that fits no name; several folders
            that hold class folders, unless `person` says that they are people; a folder beside
            train/ that holds classes and says no split; split folders in some classes only.
    """
    check_known(f"label={label!r}:", label, _WORDS)
    source = Source(root)
    table = list_classes(root, source, label=label, names=names, person=person)
    return source.finish(draw_splits(table, source, shares, seed, label, person))


def split_folders(names: Iterable[str]) -> dict[str, str]:
    """Return the split of each folder that says one, by its name or by one word in it.

    Words ("FER2013Train", "val_afew") count where several splits are said, each by one folder: of
    "fold1_train", "fold2_train" and the like none does.
    """
    names = list(names)
    exact = {n: SPLIT_FOLDERS[n.lower()] for n in names if n.lower() in SPLIT_FOLDERS}
    said = dict(exact)
    for name in sorted(set(names) - set(exact)):
        words = [word.lower().replace("_", "") for word in _IN_NAME.findall(name)]
        splits = {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}
        if len(splits) == 1:
            said[name] = splits.pop()
    each = len({*said.values()}) == len(said)
    return said if each and len({*exact.values()}) < 2 <= len(said) else exact


def holds_classes(folder: Path, label: str = "emotion", names: Mapping | None = None) -> bool:
    """Whether a folder holds split or class folders; numbers of one digit may be classes."""
    known = {*SPLIT_FOLDERS, *_known(label, names)}
    return any(
        plain(name) in known or (name.isdigit() and len(name) == 1) for name in folders_in(folder)
    )


def find_classes(
    root: str | Path, label: str = "emotion", names: Mapping | None = None, person: str = ""
) -> Path:
    """Return the folder, `root` or further down, that holds split or class folders.

    It is absolute; `root` itself if there is none. Of several that lie in folders of several
    splits, or side by side in people's, whose names the pattern `person` finds ("S001/"), it is the
    one around them. Raises ValueError if there are several otherwise.
    """
    found = locate(root, lambda folder: holds_classes(folder, label, names)) or [Path(root)]
    if len(found) > 1:
        above = Path(os.path.commonpath(found))
        beside = len({folder.parent for folder in found}) == 1
        people = beside and person and all(find_person(person)(f"{f.name}/") for f in found)
        if people or split_folders({f.relative_to(above).parts[0] for f in found}):
            return above.resolve()
        inside = ", ".join(folder.relative_to(root).as_posix() for folder in found[:10])
        raise ValueError(
            f"{root}: {inside} all hold class folders; pass one of them"
            f"{_if_people() if beside else ''}"
        )
    return found[0].resolve()


def _if_people(part: str = "") -> str:
    """End an error on several folders of class folders, in the folder `part` of a split or none."""
    pattern = f"^{part}{'/' * bool(part)}([^/]+)/"
    return (
        f", or if they are people, read them by the reader folders with --option person='{pattern}'"
    )


def _known(label: str, names: Mapping | None) -> set[str]:
    """Return the names of class folders, lower case."""
    return {*_WORDS[label], *(plain(str(name)) for name in names or ())}


def list_classes(
    root: str | Path, drops: Drops, *, label: str = "emotion", names: Mapping | None = None,
    person: str = "",
) -> pd.DataFrame:  # fmt: skip
    """Return `key`, `path`, `split` and `label` of every image in a class folder under `root`.

    Without `split_folders` all is "train". Drops and errors are those of `read_folders`.
    """
    root = find_classes(root, label, names, person)
    known = _known(label, names)
    inside = folders_in(root) if root.is_dir() else []
    parts = split_folders(inside)
    worded = {name: split for name, split in parts.items() if name.lower() not in SPLIT_FOLDERS}
    if worded and {*map(plain, inside)} & known:
        parts = {name: parts[name] for name in parts if name not in worded}
    elif worded:
        said = ", ".join(f"{name} is {split}" for name, split in worded.items())
        drops.notes.append(f"splits by words in names of folders: {said}")
    for name in sorted(set(inside) - set(parts)) if parts else ():
        if {plain(below) for below in folders_in(root / name)} & known:
            raise ValueError(
                f"{root / name}: it holds class folders and lies beside {', '.join(parts)}, but "
                "says no split; call it train, val or test, or take it out"
            )
    files = list_files(root) if root.is_dir() else []
    above: dict[str, list[tuple[str, list[str]]]] = {}  # of each part: keys, folders below it
    for key in files:
        *folders, _ = key.split("/")
        part = folders.pop(0) if folders and parts else ""
        if folders and not folders[0].startswith("__") and (part in parts or not parts):
            above.setdefault(part, []).append((key, folders))
    rows, bare = [], set()
    within: dict[str, str | None] = {}
    for part, listed in above.items():
        depths = [i for i in (0, 1) if any(plain(f[i]) in known for _, f in listed if f[i:])]
        depth = min(depths, default=0)
        around = sorted({folders[0] for _, folders in listed if folders[depth:]})
        if depth and len(around) > 1 and set(parts.values()) <= {"train"} and not person:
            raise ValueError(
                f"{root / part}: {', '.join(around[:10])} all hold class folders, and no split is "
                f"said; pass one of them{_if_people(part)}"
            )
        own = [(part, folders[depth], key) for key, folders in listed if folders[depth:]]
        below = {key: "".join(folders[depth + 1 : depth + 2]).lower() for key, folders in listed}
        within |= {key: SPLIT_FOLDERS.get(name) for key, name in below.items()}
        if not depths and parts.get(part) == "test" and len({f for _, f, _ in own}) == 1:
            bare |= {key for *_, key in own}  # one folder, and no class: not labelled
        rows += own
    if len(bare) < len(rows):
        rows = [row for row in rows if row[2] not in bare]
        drops.add("test picture without a class folder", sorted(bare))
    if not rows:
        raise Source(root).lacks("images in class folders such as happy/ or train/happy/")
    rows.sort()  # by folder: "a/" before "a b/"
    table = pd.DataFrame(
        {"key": key, "split": parts.get(part, "train"), label: folder} for part, folder, key in rows
    )
    beside = set(files) - set(table["key"]) - bare
    drops.add("picture outside of the class folders", sorted(beside))
    table = with_paths(table, root).set_index("path", drop=False)
    named = {plain(folder) for folder in table[label]} - known
    for other, words in _WORDS.items():
        if named and named <= set(words):
            raise ValueError(
                f"{root}: its folders name {other}; the reader folders takes them by --option "
                f"label {other}"
            )
    table[label] = name_labels(
        table[label], f"{label} (the folder)", words=_WORDS[label], names=names, option="names "
    )
    table = drops.filter(table, table[label] == "", "folder left out by names")
    if not parts and (said := table["key"].map(within)).notna().any():
        table["split"] = said
        lacks = sorted(set(table[label]) - set(table[label][table["split"].notna()]))
        if lacks or "train" not in set(table["split"]):
            missing = f"those of {', '.join(lacks)} hold none" if lacks else "none is for training"
            raise ValueError(
                f"{root}: class folders hold folders such as train/ and test/, but {missing}; "
                "each class needs its own, or move the pictures out of these folders"
            )
        table = drops.filter(table, table["split"].isna(), "picture outside of the split folders")
    return table.reset_index(drop=True)
