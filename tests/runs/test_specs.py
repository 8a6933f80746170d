"""RunSpec and the presets: one training has one name, and what is wrong is refused at once."""

import dataclasses

import pytest

from hmtl.runs.specs import PRESETS, RunSpec, get_preset, grid
from hmtl.runs.store import run_id

SPEC = RunSpec(data="mini", epochs=1, bs=64, pretexts=("puzzling_2x2",))


def test_labels_of_views_are_the_tasks_own_unless_asked_for():
    pose = dataclasses.replace(SPEC, task="head_pose")
    assert not pose.views_are_labelled
    assert SPEC.views_are_labelled
    assert pose == dataclasses.replace(pose, label_views=False)
    faces = dataclasses.replace(pose, data="faces")
    assert dataclasses.replace(faces, label_noise=0.3) == faces  # of emotions alone
    labelled = dataclasses.replace(pose, label_views=True)
    assert labelled.method == "puzzling_2x2 (paired, labelled views)"
    assert run_id(labelled, "abc") != run_id(pose, "abc")
    for wrong, said in (
        ({"pretexts": ("image_rotation",), "views": "shared"}, "views='paired'"),
        ({"pretexts": ("image_rotation",), "label_views": True}, "label_views=False"),
        ({"weighted": True}, "no classes"),
        ({"sampling": "balanced"}, "no classes"),
        ({"labels": "probability"}, "one of majority"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(pose, **wrong)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lr": 1, "wd": 0, "fraction": 1}, {"lr": 1.0, "wd": 0.0, "fraction": 1.0}),
        ({"pretexts": ["inpainting_grid_40percent"]}, {"pretexts": ["inpainting_grid"]}),
        ({"pretexts": ["inpainting_block_cell4"]}, {"pretexts": ["inpainting_block"]}),
        ({"pretexts": ["tile_rotation_2x2_4turned"]}, {"pretexts": ["tile_rotation_2x2"]}),
        (
            {"pretexts": ["inpainting_grid_pl"], "features": "tf_efficientnet_lite0"},
            {"pretexts": ["inpainting_grid_pl"]},
        ),
        (
            {"pretexts": ["only_inpainting_grid_pl"], "features": "vgg16"},
            {"pretexts": ["only_inpainting_grid_pl"]},
        ),
    ],
)
def test_one_training_has_one_name(one, other):
    assert RunSpec(**one) == RunSpec(**other)
    assert run_id(RunSpec(**one), "abc") == run_id(RunSpec(**other), "abc")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("task", "age", "emotion, gender, head_pose, head_pose_bins"),
        ("augment", "weka", "none, weak, strong"),
        ("views", "sharde", "shared, paired"),
        ("labels", "prob", "majority, probability"),
        ("sampling", "even", "natural, balanced"),
        ("pretexts", ("puzzling",), "puzzling_NxN"),
    ],
)
def test_a_wrong_choice_is_refused_when_the_spec_is_made(field, value, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SPEC, **{field: value})


def test_methods_that_differ_have_names_that_differ():
    changes = [{}, {"label_views": False}, {"multiscale": True}, {"pretext_weight": 1.0}]
    specs = [dataclasses.replace(SPEC, **c) for c in changes]
    assert len({s.method for s in specs}) == len(changes)
    shared = dataclasses.replace(SPEC, views="shared")
    assert dataclasses.replace(shared, multiscale=True, label_views=False) == shared


def test_grid_is_the_product_in_order():
    specs = grid(RunSpec(), seed=[0, 1], method=[{}, {"pretexts": ("puzzling_2x2",)}])
    assert [(s.seed, s.method) for s in specs] == [
        (0, "SL"), (0, "puzzling_2x2 (paired)"), (1, "SL"), (1, "puzzling_2x2 (paired)"),
    ]  # fmt: skip


def test_presets_scale_and_refuse():
    assert {"smoke", "quick", "study"} <= set(PRESETS)
    assert RunSpec.preset("smoke").data == "mini"
    assert RunSpec.preset("quick", "ferplus").fraction == pytest.approx(0.1)
    assert RunSpec.preset("quick", lr=1.0).lr == 1.0
    assert RunSpec.preset("quick", "ferplus", fraction=0.2).fraction == 0.02  # to the bit
    assert PRESETS["quick"].seeds >= 2
    assert not RunSpec.preset("quick", "ferplus").fill
    study = PRESETS["study"]
    assert study.spec(fraction=0.2).fill
    assert study.spec(task="head_pose").epochs == study.spec().epochs // 2
    assert study.spec(task="head_pose").arch == study.spec().arch
    for name in ("gpu", "paper", "paper-first"):  # as the companion paper did
        chosen = PRESETS[name]
        assert chosen.spec(task="head_pose").arch == "resnet50" != chosen.spec().arch
        assert chosen.spec(task="head_pose", arch="tiny").arch == "tiny"
    with pytest.raises(ValueError, match="smoke, quick, study"):
        get_preset("fast")
    with pytest.raises(ValueError, match="mini, faces, affectnet.*ferplus"):
        RunSpec.preset("quick", "affectnot")
    with pytest.raises(TypeError, match="epoch"):
        RunSpec.preset("quick", epoch=3)


def test_a_name_fits_into_a_file_system_and_differs_all_the_same():
    columns = "+".join(f"{n}=a rather long name of a column {n}" for n in ("path", "emotion"))
    specs = [
        dataclasses.replace(SPEC, data=f"csv:columns={columns},file={'längs' * 30}{end}.csv")
        for end in "ab"
    ] + [dataclasses.replace(SPEC, data=f'folders:person=[(^S*?)"<|>],seed={i}') for i in (1, 2)]
    names = [run_id(spec, "f") for spec in specs]
    assert len(set(names)) == 4
    assert max(len(name.encode()) for name in names) <= 180
    assert not set("".join(names)) & set('*?"<>|[]/\\:')
    for spec, name in zip(specs, names, strict=True):
        assert f"-s{spec.seed}-" in name[-20:]
