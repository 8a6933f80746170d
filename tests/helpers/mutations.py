"""Mutations: what a torn disk, a careless editor or a stranger makes of a file or of values.

Each is drawn from a seeded generator, so that a failing one can be made again by its seed. Tests
draw the same 500 each time; with HMTL_MUTATIONS=5000 other ones, and as many.
"""

import functools
import inspect
import json
import os

import numpy as np
from hypothesis import HealthCheck, settings

COUNT = int(os.environ.get("HMTL_MUTATIONS", 500))
MANY = settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    derandomize=COUNT == 500,
    suppress_health_check=list(HealthCheck),
)
FEW = COUNT if "HMTL_MUTATIONS" in os.environ else 25
"""For cases that take long: 25 of them, or as many as HMTL_MUTATIONS says."""


def drawn(*choices, count=COUNT):
    """Call a test `count` times, each time with one of each of `choices` and a seed, drawn anew.

    They are its last arguments. Hypothesis draws other values when other modules are loaded; these
    are the same on every machine, whatever was tested before.
    """

    def decorate(test):
        own = list(inspect.signature(test).parameters.values())
        fixtures, names = own[: -len(choices) - 1], [p.name for p in own[-len(choices) - 1 :]]

        @functools.wraps(test)
        def many(**given):
            for i in range(count):
                rng = np.random.default_rng([count, i])
                values = [c[rng.integers(len(c))] for c in choices] + [int(rng.integers(2**32))]
                try:
                    test(**given, **dict(zip(names, values, strict=True)))
                except BaseException as error:
                    error.add_note(f"drawn: {dict(zip(names, values, strict=True))}")
                    raise

        many.__signature__ = inspect.Signature(fixtures)
        return many

    return decorate


SPLICES = (
    b"", b"\x00", b"\xff\xfe", b"\n", b"\r", b",", b'"', b" ", b";", b"-1", b"7", b"nan", b"inf",
    b"1e999", b"../", b"/etc/passwd", b"{}", b"null", b"\xef\xbb\xbf", b"\x80\x04\x95",
    b"PK\x03\x04",
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 3, 2**70, 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "x",
    "1", "../../etc/passwd", "a\0b", "é" * 300, [], [1], ["a", 2], [[]], {}, {"a": None},
)  # fmt: skip


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """`data` with one to three things done to it."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        end = min(len(data), at + int(rng.integers(1, 9)))
        match rng.integers(0, 8):
            case 0 if data:  # a bit that turned
                data[min(at, len(data) - 1)] ^= 1 << int(rng.integers(0, 8))
            case 1 if data:  # another byte
                data[min(at, len(data) - 1)] = int(rng.integers(0, 256))
            case 2:  # torn
                del data[at:]
            case 3:  # a few bytes lost
                del data[at:end]
            case 4:  # a stretch of zeros, as after a crash
                data[at:end] = bytes(end - at)
            case 5:  # a line lost, or there twice
                lines = bytes(data).splitlines(keepends=True) or [b""]
                line = int(rng.integers(0, len(lines)))
                lines[line : line + 1] = [lines[line]] * int(rng.choice([0, 2]))
                data = bytearray(b"".join(lines))
            case 6:  # one digit for another: the mutation that is hardest to see
                digits = [i for i, byte in enumerate(data[:20_000]) if chr(byte).isdigit()]
                if digits:
                    data[int(rng.choice(digits))] = ord(str(rng.integers(0, 10)))
            case _:
                data[at:end] = SPLICES[int(rng.integers(0, len(SPLICES)))]
    return bytes(data)


def mutate_object(rng: np.random.Generator, values: dict) -> dict:
    """A JSON object with one or two of its fields, at any depth, lost, added or changed."""
    values = json.loads(json.dumps(values))
    for _ in range(rng.integers(1, 3)):
        place = values
        while isinstance(place, dict):
            name = str(rng.choice([*place, "new"]))
            inner = place.get(name)
            if isinstance(inner, dict) and inner and rng.random() < 0.7:
                place = inner
            elif rng.random() < 0.3:
                place.pop(name, None)
                break
            else:
                place[name] = VALUES[int(rng.integers(0, len(VALUES)))]
                break
    return values


def mutate_file(rng: np.random.Generator, data: bytes) -> bytes:
    """`mutate`, or of a JSON object half of the time `mutate_object`."""
    if data[:1] == b"{" and rng.random() < 0.5:
        return json.dumps(mutate_object(rng, json.loads(data)), indent=1).encode()
    return mutate(rng, data)


def age(file) -> None:
    """Make a record, spec.json or pack.json, one of an older version: without checksums."""
    record = json.loads(file.read_text(encoding="utf-8"))
    del record["files"], record["sha256"]
    file.write_text(json.dumps(record), encoding="utf-8")


def assert_clear(error: BaseException, *names) -> None:
    """An error of ours: of a plain type, in one sentence, that has at least one of the names."""
    kinds = (ValueError, FileNotFoundError, OSError, NotADirectoryError, IsADirectoryError)
    assert type(error) in kinds, f"{type(error).__name__} from a library's depth: {error}"
    text = str(error)
    assert any(str(name) in text for name in names), f"{text!r} names none of {names}"
    assert "Traceback" not in text
