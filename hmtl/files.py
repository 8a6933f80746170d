"""Files that may be torn, changed or a stranger's: read with errors that name file, field, remedy.

A folder of this project says in one of its `RECORDS` what its files hold: `files` maps their names
to their SHA-256, and the record has one of its own (`sealed`). `checked` compares a file with it
before it is read. Folders of older versions have no checksums and are read without. Checksums tell
accidents, not attacks: whoever can write a folder can write a record that fits. Ours.
"""

__all__ = [
    "CHECKED", "RECORDS", "SEAL", "as_kind", "check_fields", "check_place", "check_regular",
    "checked", "digest_of", "drop_lock", "has_kind", "hash_file", "hash_folder", "load_weights",
    "new_file", "read_json", "read_record", "read_table", "reading", "recorded_in", "sealed",
    "sync_files", "sync_folder", "tensors_in", "whole_folder", "write_text", "writing",
]  # fmt: skip

import errno
import hashlib
import json
import os
import re
import reprlib
import secrets
import shutil
import stat
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError

from hmtl.paths import cache_dir

CHECKED = "files"
SEAL = "sha256"
RECORDS = ("spec.json", "config.json", "pack.json")
"""Of a run, an exported network, a pack."""
_WORDS = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "bool_type": "true or false", "dict_type": "an object",
    "list_type": "a list", "tuple_type": "a list", "missing": "COUNT values",
    "too_long": "COUNT values", "too_short": "one or more values",
    "string_pattern_mismatch": "text without a zero byte",
}  # fmt: skip
"""pydantic's errors in plain words."""
_REMEDIES: dict[int | None, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO), "Free some space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Get the right to write there"),
    None: "Free some space, get the right to write there",
}
"""What to do about an error of the system's, by its number."""


@contextmanager
def reading(file: str | Path, remedy: str) -> Iterator[None]:
    """Whatever a library raises while it reads `file` becomes one error that names it.

    FileNotFoundError if it is not there, OSError if the system refuses it, else ValueError; each
    ends in `remedy`. A pipe, a socket or a device is refused before it is read: it may never end.
    """
    check_regular(file, remedy)
    try:
        yield
    except MemoryError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} is missing; {remedy}") from None
    except OSError as error:
        if isinstance(error, PermissionError):  # what is healthy is never to be deleted
            remedy = "get the right to read it"
        raise OSError(f"{file} cannot be read ({error.strerror or error}); {remedy}") from error
    except Exception as error:  # parsers raise anything on a broken file
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{file} cannot be read ({why}); {remedy}") from error


def check_regular(file: str | Path, remedy: str) -> None:
    """Raise ValueError naming `file` if it is a pipe, a socket or a device, or a link to one."""
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError):
        return  # whoever reads it will meet the error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{file} is no regular file; {remedy}")


_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


@cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind, config=_STRICT)


def as_kind(value: Any, kind: Any, name: str = "") -> Any:
    """A value as a type has it: a list becomes a tuple, a whole number a float, if one is wanted.

    Args:
        value: Anything; true and false are no numbers, and numbers are finite, numpy's and torch's
            too.
        kind: What pydantic knows: int, str, a union, tuple[str, ...], Annotated with an Interval.
        name: How an error begins.

    Raises:
        ValueError: "must be a whole number", or what else it must be, and what it is.
    """
    bare = kind.__origin__ if typing.get_origin(kind) is typing.Annotated else kind
    parts = typing.get_args(bare)
    as_tuple = any(typing.get_origin(each) is tuple for each in (bare, *parts))
    try:
        return _adapter(kind).validate_python(_plain(value, tuple if as_tuple else list))
    except ValidationError as error:
        first = error.errors()[0]
        wanted = _WORDS.get(first["type"]) or first["msg"].removeprefix("Input should be ")
        wanted += " or nothing" if type(None) in parts else ""
        wanted = wanted.replace("COUNT", str(len(parts)))
        raise ValueError(f"{name} must be {wanted}, got {reprlib.repr(value)}".lstrip()) from None


def _plain(value: Any, many: type) -> Any:
    """A value with Python's own numbers, and lists as `many` has them."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if type(value) in (list, tuple):
        return (many if type(value) is list else tuple)(_plain(each, many) for each in value)
    return value


def has_kind(value: Any, kind: Any) -> bool:
    """Whether `as_kind` takes the value."""
    try:
        as_kind(value, kind)
    except ValueError:
        return False
    return True


def read_json(
    file: str | Path, remedy: str, needed: Mapping[str, Any] | None = None,
    optional: Mapping[str, Any] | None = None,
) -> dict:  # fmt: skip
    """The object in a JSON file; `needed` and `optional` fields are of the given types.

    Raises FileNotFoundError, OSError or ValueError naming the file, the field and the `remedy`.
    """
    with reading(file, remedy):
        values = json.loads(Path(file).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds no JSON object; {remedy}")
    check_fields(values, file, remedy, needed or {}, optional or {})
    return values


def check_fields(
    values: Mapping, place: object, remedy: str, needed: Mapping[str, Any],
    optional: Mapping[str, Any],
) -> None:  # fmt: skip
    """Raise ValueError naming the `place`, the field and the `remedy` if one is of another type."""
    for name, kind in {**needed, **optional}.items():
        if name not in values and name in needed:
            raise ValueError(f"{place}: field {name!r} is missing; {remedy}")
        if name in values:
            try:
                as_kind(values[name], kind, f"{place}: field {name!r}")
            except ValueError as error:
                raise ValueError(f"{error}; {remedy}") from None


def read_table(
    file: str | Path, remedy: str, columns: Iterable[str] = (), **options
) -> pd.DataFrame:
    """The table in a csv file, which has some `columns`; `options` are those of pandas.

    Raises FileNotFoundError, OSError or ValueError naming the file, the columns and the `remedy`.
    """
    with reading(file, remedy):
        table = pd.read_csv(file, **options)
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{file}: column {', '.join(missing)} is missing; {remedy}")
    return table


# --------------------------------------------------------------------------------------- checksums


def hash_file(file: str | Path, digest=None) -> str:
    """SHA-256 of a file, hexadecimal; or of what `digest` took in before, and the file."""
    with Path(file).open("rb") as handle:
        return hashlib.file_digest(handle, lambda: digest or hashlib.sha256()).hexdigest()


def digest_of(record: Mapping) -> str:
    """SHA-256 of a record without its own, hexadecimal."""
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def hash_folder(folder: str | Path) -> dict[str, str]:
    """Name -> SHA-256 of every file in a folder but its record."""
    files = sorted(f for f in Path(folder).iterdir() if f.is_file() and f.name not in RECORDS)
    return {file.name: hash_file(file) for file in files}


def sealed(record: Mapping, hashes: Mapping[str, str]) -> dict:
    """The record of a folder with the checksums of its files, by their names, and its own."""
    whole = json.loads(json.dumps({**record, CHECKED: dict(hashes)}))
    return {**whole, SEAL: digest_of(whole)}


def write_record(file: Path, record: Mapping) -> None:
    """Write the last file of a folder: its record, with the checksums of all the others."""
    write_text(file, json.dumps(sealed(record, hash_folder(file.parent)), indent=1) + "\n")


def read_record(
    file: str | Path, remedy: str, needed: Mapping[str, Any] | None = None,
    optional: Mapping[str, Any] | None = None,
) -> dict:  # fmt: skip
    """The record of a folder (`read_json`), after comparing it with its own checksum.

    One without checksums, of an older version, passes.

    Raises:
        OSError, ValueError: As `read_json`; for a record that was changed; for names of files that
            are no plain names: a record must not lead out of its folder.
    """
    record = read_json(file, remedy, needed, {**(optional or {}), CHECKED: dict, SEAL: str})
    if (SEAL in record or CHECKED in record) and record.get(SEAL) != digest_of(record):
        raise ValueError(f"{file} was changed: it does not have its {SEAL}; {remedy}")
    hashes = record.get(CHECKED, {})
    plain = (n not in ("", ".", "..") and not set(n) & set("/\\\0") for n in hashes)
    if not (all(plain) and all(isinstance(value, str) for value in hashes.values())):
        raise ValueError(f"{file}: field {CHECKED!r} must map names of files to SHA-256; {remedy}")
    return record


def recorded_in(file: str | Path) -> str | None:
    """The name of the record beside a file that vouches for it, if there is one."""
    for beside in map(Path(file).with_name, RECORDS):
        with suppress(OSError, ValueError, TypeError, KeyError):  # of others, of any form
            if Path(file).name in read_json(beside, "")[CHECKED]:
                return beside.name
    return None


def checked(file: str | Path, remedy: str) -> Path:
    """Return `file` after comparing it with the checksum in the record beside it, if there is one.

    Raises FileNotFoundError, OSError or ValueError naming the file and the `remedy`.
    """
    file = Path(file)
    with reading(file, remedy):  # a folder may be closed to us
        there, regular = file.exists(), file.is_file()
    if there and not regular:
        raise ValueError(f"{file} is no regular file; {remedy}")
    for name in RECORDS:
        beside = file.with_name(name)
        if name == file.name or not beside.is_file():
            continue
        hashes = read_record(beside, remedy).get(CHECKED)
        if hashes is None:  # of an older version
            continue
        if file.name not in hashes:
            raise ValueError(f"{file} is not among the files that {name} vouches for; {remedy}")
        with reading(file, remedy):
            same = hash_file(file) == hashes[file.name]
        if not same:
            raise ValueError(
                f"{file} was changed: it does not have the SHA-256 in {name}; {remedy}"
            )
    if not regular:
        raise FileNotFoundError(f"{file} is missing; {remedy}")
    return file


# ----------------------------------------------------------------------------------------- weights


def tensors_in(file: str | Path, remedy: str) -> dict:
    """The tensors of a safetensors file by name, checked against the record beside it.

    Raises FileNotFoundError, OSError or ValueError naming the file and the `remedy`; numbers that
    are not finite are refused, since a network with them gives the first answer to everything.
    """
    from safetensors.torch import load_file

    file = checked(file, remedy)
    with reading(file, remedy):
        tensors = load_file(file)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{file}: {name} holds numbers that are not finite; {remedy}")
    return tensors


def load_weights(make: Callable[[], Any], file: str | Path, remedy: str) -> Any:
    """A network with the weights of a safetensors file, whose tensors must be its own.

    It is planned without memory first (torch's device "meta"), so that a small folder cannot ask
    for much.

    Args:
        make: Returns the network.
        file: Its weights; those of 16 bits are widened.
        remedy: How an error ends.

    Returns:
        What `make` returned.

    Raises:
        FileNotFoundError, OSError, ValueError: As `tensors_in`; naming the file and tensors that
            are missing on one side, or of another shape or type.
    """
    import torch

    tensors = tensors_in(file, remedy)
    try:
        with torch.device("meta"):
            own = make().state_dict()
    except NotImplementedError:  # a network that asks its own weights while it is built
        own = make().state_dict()
    with reading(file, remedy):
        shapes = [{name: t.shape for name, t in some.items()} for some in (own, tensors)]
        if odd := sorted(dict(shapes[0].items() ^ shapes[1].items())):
            raise ValueError(f"{len(odd)} missing or size mismatch: {', '.join(odd[:3])}")
        if odd := [n for n, t in tensors.items() if t.dtype not in (own[n].dtype, torch.float16)]:
            raise ValueError(f"{', '.join(odd[:3])} hold numbers of another type")
        network = make()
        network.load_state_dict(tensors)
    return network


# ----------------------------------------------------------------------------------------- writing


@contextmanager
def writing(place: object, more: str = "") -> Iterator[None]:
    """Whatever ends the writing of `place` becomes one error that names it, the cause, the remedy.

    Args:
        place: the file or folder, in words if need be.
        more: a last sentence, such as what is whole nevertheless.

    Raises:
        OSError: a full disk, a missing right, a place that cannot be; told once, by the outermost.
    """
    try:
        with _system_errors():
            yield
    except OSError as error:
        cause = error.__cause__ if hasattr(error, "told") else error
        why = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        if isinstance(cause, FileExistsError):
            why = "something else is there, or a link that leads to nothing"
        remedy = _REMEDIES.get(error.errno, "")
        remedy = f"{remedy}, or choose another place" if remedy else "Choose another place"
        with suppress(ValueError):
            if Path(str(place)).is_relative_to(cache_dir()):
                remedy += " (the cache: $HMTL_CACHE)"
        told = OSError(f"{place} cannot be written ({why}). {remedy}.{more and f' {more}'}")
        told.errno, told.told = error.errno, True  # type: ignore[attr-defined]
        raise told from cause


@contextmanager
def _system_errors() -> Iterator[None]:
    """Turn the error of safetensors' writer, whose text ends "(os error 28)", into the system's."""
    try:
        yield
    except SafetensorError as error:
        if not (number := re.search(r"os error (\d+)", str(error))):
            raise OSError(str(error)) from error
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@contextmanager
def new_file(file: str | Path, lasting: bool = True) -> Iterator[Path]:
    """Yield a temporary file beside `file` that takes its place in one step, or vanishes on error.

    Every file of this package that may be there already is written so: a reader never sees half of
    it, and a link at `file` is replaced, never followed. Missing folders are made; rights follow
    the umask.

    Args:
        file: the place; what is there may be a file, a link or nothing.
        lasting: whether to wait until it is on the disk.

    Raises:
        OSError: naming `file` and the remedy, if it cannot be written or is a device or a folder.
    """
    file = Path(file)
    with writing(file):
        if (file.exists() and not file.is_file()) or str(file.absolute().parent) == "/dev":
            raise OSError(errno.EINVAL, "no regular file")
        file.parent.mkdir(parents=True, exist_ok=True)
        ending = file.suffix if len(file.suffix) < 16 else ""
        part = file.with_name(f".tmp-{secrets.token_hex(8)}{ending}")
        try:
            part.touch(exist_ok=False)
            rights = part.stat().st_mode  # libraries may write the file anew, for the user alone
            yield part
            part.chmod(rights)
            if lasting:
                _sync(part)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)


def drop_lock(lock) -> None:
    """Take the file of a lock away while it is still ours, and release it."""
    if os.name == "nt":  # Windows keeps a file that is held
        lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


class _Unwritten(Exception):
    """Leaves `new_file` as any error does."""


def check_place(file: str | Path) -> None:
    """Raise OSError, as `new_file` does, if `file` cannot be written; what is there stays."""
    with suppress(_Unwritten), new_file(file):
        raise _Unwritten


def write_text(file: str | Path, text: str) -> Path:
    """Write `text` as the whole `file`, UTF-8, and return it (`new_file`).

    Half a character, as in a name that is no UTF-8, is written as its escape, `\\udcff`.
    """
    with new_file(file) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
    return Path(file)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` in one step, or vanishes on any error.

    A crash leaves `path` absent and at most a `.tmp-*` folder beside it. If another process made
    `path` meanwhile, its work stands and ours is dropped. Rights follow the umask, all alike.

    Raises:
        OSError: naming `path` and the remedy, if it cannot be written or is a link.
    """
    path = Path(path)
    with writing(path):
        if path.is_symlink():
            raise OSError(errno.EINVAL, "a link")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{path.name[:200]}-{secrets.token_hex(8)}")
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.iterdir():  # safetensors' are for the user alone
                file.chmod(temporary.stat().st_mode & (0o777 if file.is_dir() else 0o666))
            sync_files(temporary)
            with suppress(OSError):
                path.rmdir()  # an empty one, which Windows would not replace
            try:
                temporary.rename(path)  # atomic; refused by the system if `path` is not empty
            except OSError:
                if not path.exists():
                    raise
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sync_files(folder: Path) -> None:
    """Wait until every file of a folder is on the disk."""
    for file in folder.iterdir():
        _sync(file)


def _sync(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until what was renamed in a folder is on the disk, where the system can say so."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
