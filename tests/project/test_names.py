"""Wherever a name is taken, one with a slip of a letter is refused and the right one offered."""

import dataclasses

import pytest

from hmtl import Hybrid, Inpainting, face_dataloaders, load_pack
from hmtl.__main__ import main
from hmtl.data.packing import _parameters, parse_options, read_set
from hmtl.data.readers.ferplus.votes import MODES, check_mode
from hmtl.data.readers.protocols import PROTOCOLS, SOURCES, read_protocol
from hmtl.data.sets import DATA, parse_data
from hmtl.faces.faceset import BACKGROUNDS, NUISANCES, FaceSet
from hmtl.labels import PROPORTIONS, SPLITS, check_known, hint
from hmtl.method.augment import LEVELS, Augment
from hmtl.method.balance import BALANCES, make_balance
from hmtl.method.batches import LABELS
from hmtl.method.encoder import ALIASES, Encoder
from hmtl.method.optim import OPTIMIZERS
from hmtl.method.pretext import make
from hmtl.method.tasks import TASKS, make_task
from hmtl.runs.callbacks import SCHEDULES, learning_rate, mixed_precision
from hmtl.runs.specs import PRESETS, RunSpec, get_preset
from hmtl.runs.tracking import TRACKERS, check_trackers
from hmtl.use.export import FORMATS, export_run
from hmtl.use.networks import shipped
from hmtl.use.predict import find_run

FIELDS = [field.name for field in dataclasses.fields(RunSpec)]
MINI = load_pack("mini")


def slips(name):
    """The name without a letter in its middle, with one twice, and with two swapped."""
    at = len(name) // 2
    swapped = name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :]
    found = [name[:at] + name[at + 1 :], name[:at] + name[at] + name[at:], swapped]
    return [slip for slip in found if slip != name]


TAKEN = {
    "data": (parse_data, DATA),
    "data set": (lambda name: read_set(name, "."), SOURCES),
    "protocol": (lambda name: read_protocol(name, "."), PROTOCOLS),
    "choice of a protocol": (
        lambda name: read_protocol("affectnet-8", ".", chosen_on=name), ["held-out", "test"]
    ),
    "preset": (get_preset, PRESETS),
    "task": (make_task, TASKS),
    "balance": (make_balance, BALANCES),
    "balance of a Hybrid": (lambda name: Hybrid("puzzling_2x2", balance=name), BALANCES),
    "views": (lambda name: Hybrid("puzzling_2x2", name), ["paired", "shared"]),
    "weight": (
        lambda name: Hybrid(["puzzling_2x2", "second_view"], weight={name: 1.0}),
        ["puzzling_2x2", "second_view"],
    ),
    "pretext": (
        make,
        [
            "puzzling_2x2", "puzzling_5x5", "tile_rotation_3x3", "puzzling_rotation_2x2",
            "jigsaw_3x3", "image_rotation", "inpainting_block", "inpainting_grid",
            "barlow_twins", "second_view", "random_target",
        ],
    ),
    "pretext of another's views": (lambda name: make("only_" + name), ["second_view"]),
    "mask": (Inpainting, ["block", "blocks", "grid"]),
    "augmentation": (Augment, [level for level in LEVELS if len(level) > 3]),
    "backbone": (Encoder, ALIASES),
    "labels": (lambda name: face_dataloaders(MINI, labels=name), LABELS),
    "split": (MINI.rows, SPLITS),
    "optimizer": (lambda name: RunSpec(optimizer=name), [o for o in OPTIMIZERS if o]),
    "schedule": (lambda name: learning_rate(name, 1e-3, 4), ["warmup_cosine", "steps"]),
    "schedule of a run": (lambda name: RunSpec(schedule=name), [s for s in SCHEDULES if s]),
    "precision": (lambda name: mixed_precision(name, "cpu"), ["bf16"]),
    "tracker": (check_trackers, TRACKERS),
    "field of a run": (
        lambda name: RunSpec.from_dict({name: 1}), [name for name in FIELDS if len(name) > 3]
    ),
    "format": (lambda name: export_run(".", "out", [name]), FORMATS),
    "network": (find_run, shipped()),
    "background": (lambda name: FaceSet((1, 1, 1), backgrounds=(name,)), BACKGROUNDS),
    "proportions": (lambda name: FaceSet((1, 1, 1), proportions=name), PROPORTIONS),
    "nuisance": (
        lambda name: FaceSet((1, 1, 1)).without(name),
        [name.replace(" ", "-") for name in NUISANCES],
    ),
    "mode of FER+": (check_mode, MODES),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAKEN)
def test_a_name_with_a_slip_is_refused_and_the_right_one_offered(kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    take, names = TAKEN[kind]
    names = list(names)
    assert names
    for name in names:
        for slip in slips(name):
            if slip in names:
                continue
            with pytest.raises((ValueError, FileNotFoundError)) as refused:
                take(slip)
            offered = str(refused.value).partition("did you mean ")[2].partition("?")[0]
            # of two names that are as near, either
            assert hint(slip, names).startswith(f"did you mean {offered.split(', ')[0]}") or (
                name in offered.split(", ")
            ), str(refused.value)
            assert offered, str(refused.value)


@pytest.mark.parametrize("data", SOURCES)
def test_an_option_with_a_slip_is_refused_and_the_right_one_offered(data):
    options = list(_parameters(SOURCES[data]))
    for option in options:
        for slip in slips(option):
            near = f"did you mean {hint(slip, options).split()[-1]}" if slip not in options else ""
            for ask in (
                lambda slip=slip: read_set(data, ".", {slip: 7}),
                lambda slip=slip: parse_options(data, [[slip, "7"]]),
                lambda slip=slip: parse_data(f"{data}:{slip}=7"),
            ):
                with pytest.raises(ValueError, match="option") as refused:
                    ask()
                assert near in str(refused.value)
    with pytest.raises(ValueError, match="option") as refused:
        read_set(data, ".", {"zzz": 7})
    assert "did you mean" not in str(refused.value)


@pytest.mark.parametrize("field", ["pretexts", "epochs", "balance", "lr"])
def test_a_field_on_the_command_line_too(field, capsys):
    slip = field + field[-1]
    assert main(["run", "--set", slip, "1"]) == 2
    assert f"did you mean {field}?" in capsys.readouterr().err


@pytest.mark.parametrize(("other", "ours"), [("batch", "bs"), ("learning_rate", "lr")])
def test_what_others_call_a_field(other, ours, capsys):
    assert main(["run", "--set", other, "1"]) == 2
    assert f"did you mean {ours}?" in capsys.readouterr().err


@pytest.mark.parametrize("sign", "+,")
def test_several_pretexts_on_the_command_line(sign, capsys):
    assert main(["run", "--set", "pretexts", f"puzzling_2x2{sign}nothing"]) == 2
    assert "unknown pretext 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("known", [["Adam", "SGD"], {"mini": 1, "faces": 2}, ("happy", "sad")])
def test_what_is_known_passes_and_case_is_a_slip(known):
    for name in known:
        check_known("x", name, known)
        with pytest.raises(ValueError, match=f"x one of .*; did you mean {name}"):
            check_known("x", name.swapcase(), known)
    for other in (None, 3, [], {}, "zzz"):
        with pytest.raises(ValueError, match="^x one of"):
            check_known("x", other, known)
