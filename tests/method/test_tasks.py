"""The supervised tasks: labels under flips and turns, losses, metrics, and that they learn."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.progress import ProgressCallback
from posing import mirror, pose_angles
from scipy.spatial.transform import Rotation
from sklearn.metrics import f1_score, recall_score

from hmtl.angles import pose_matrix
from hmtl.data.pack import write_pack
from hmtl.data.sets import load_pack
from hmtl.faces.expressions import ACTION_UNIT_COLUMNS
from hmtl.faces.faceset import FaceSet
from hmtl.faces.render import render_faces
from hmtl.faces.table import draw_faces
from hmtl.method.augment import LEVELS, Level, Moves, _resample
from hmtl.method.batches import FaceDataset, face_dataloaders
from hmtl.method.learner import hmtl_learner
from hmtl.method.pretext import ImageRotation, OneView, Puzzling, TileRotation, make
from hmtl.method.tasks import TASKS, Affect, Emotion, Gender, HeadPose, HeadPoseBins, make_task
from hmtl.method.tasks.affect import AXES, AffectLoss, affect_scores, concordance
from hmtl.method.tasks.pose import (
    ANGLES,
    BinLoss,
    PoseLoss,
    bins_of,
    expectation,
    geodesic,
    turn_pose,
)

POSES = ("head_pose", "head_pose_bins")


@pytest.fixture(scope="module")
def mini():
    return load_pack("mini")


def poses(count=200, limit=85.0, seed=0):
    """Random angles in degrees, float64 (count, 3)."""
    angles = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return angles.double() * torch.tensor([limit, limit, limit])


def loaders(pack, task, **options):
    return face_dataloaders(pack, task=task, device="cpu", **{"bs": 16, **options})


# -- what a flip and a turn do to a label ---


def test_a_turn_is_a_rotation_about_the_cameras_axis():
    """Reference: scipy's matrices, and the angles it reads from them."""
    old, turned = poses(), poses(seed=1)[:, 0] * 2

    def by_scipy(angles, degrees):
        about_z = Rotation.from_euler("z", degrees.numpy()[:, None], degrees=True).as_matrix()
        return pose_angles(about_z @ pose_matrix(*angles.numpy().T))

    # the same rotation, by whichever of its two triples of angles
    off = geodesic(turn_pose(old, turned).numpy(), by_scipy(old, turned))
    np.testing.assert_allclose(off, 0, atol=1e-5)
    usual, slight = poses(limit=60), turned / 10
    np.testing.assert_allclose(turn_pose(usual, slight), by_scipy(usual, slight), atol=1e-6)


def test_a_flip_is_what_it_is_to_the_face_table(mini):
    rows = mini.labels[:50]
    task, all_of_them = HeadPose(), torch.ones(50, dtype=torch.bool)
    flipped = task.follow(task.targets(rows), all_of_them, torch.zeros(50))
    assert torch.equal(flipped, task.targets(mirror(rows)))
    # and to the rotation: mirrored before and after, M R M
    m = np.diag([-1.0, 1.0, 1.0])
    by_hand = pose_angles(m @ pose_matrix(*rows[list(ANGLES)].to_numpy().T) @ m)
    np.testing.assert_allclose(flipped, by_hand, atol=1e-4)


def test_twice_flipped_or_turned_back_is_as_before():
    task, old = HeadPose(), poses().float()
    yes, no, still = torch.ones(200, dtype=torch.bool), torch.zeros(200) > 0, torch.zeros(200)
    turn = poses(seed=2)[:, 1].float()
    assert torch.equal(task.follow(task.follow(old, yes, still), yes, still), old)
    assert torch.equal(task.follow(old, no, still), old)
    back = task.follow(task.follow(old, no, turn), no, -turn)
    np.testing.assert_allclose(geodesic(back, old), 0, atol=1e-3)
    # a mirrored turn is a turn of the mirrored picture the other way
    one, other = task.follow(old, yes, turn), task.follow(task.follow(old, yes, still), no, -turn)
    np.testing.assert_allclose(geodesic(one, other), 0, atol=1e-3)


def test_a_frontal_face_only_rolls_and_a_yaw_beyond_90_stays_there():
    frontal = torch.tensor([[0.0, 0.0, 5.0]])
    torch.testing.assert_close(
        turn_pose(frontal, torch.tensor([20.0])), torch.tensor([[0.0, 0.0, -15.0]])
    )
    profile = torch.tensor([[97.0, 3.0, -4.0]])
    turned = turn_pose(profile, torch.tensor([2.0]))
    assert 90 < turned[0, 0] < 100
    assert (turned - profile).abs().max() < 20
    about_z = Rotation.from_euler("z", 2, degrees=True).as_matrix()
    expected = pose_angles(about_z @ pose_matrix(97, 3, -4))
    assert geodesic(turned.numpy(), expected[None])[0] < 1e-4


@pytest.mark.parametrize("flipped", [False, True])
def test_points_of_a_head_move_in_the_picture_as_their_label_says(flipped):
    """Three points of the middle plane, one a colour, projected before and after augmentation."""
    size, points = 96, np.array([[0, 0.1, 0.5], [0, 0.5, 0.2], [0, -0.5, 0.3]])
    old = torch.tensor([[35.0, 12.0, 8.0]])

    def places(angles):  # pixels, x to the right and y down
        seen = points @ pose_matrix(*angles[0].tolist()).T
        return (np.stack([seen[:, 0], -seen[:, 1]], 1) + 1) * size / 2 - 0.5

    y, x = np.mgrid[:size, :size]
    blobs = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in places(old)]
    picture = torch.tensor(np.stack(blobs), dtype=torch.float32)[None]
    draw, level = torch.tensor([[0, 0.9, 0.1 if flipped else 0.9, 0.5, 0.5]]), LEVELS["strong"]
    level = dataclasses.replace(level, crop=(1, 1))
    seen = _resample(picture, level, size, draw)[0].numpy()
    new = HeadPose().follow(old, *Moves.drawn(level, draw))
    assert Moves.drawn(level, draw).turned.item() == pytest.approx(20)
    centres = [((x * b).sum() / b.sum(), (y * b).sum() / b.sum()) for b in seen]
    np.testing.assert_allclose(centres, places(new), atol=0.15)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_rendered_face_turned_by_augmentation_has_the_outline_of_its_new_label(flipped):
    face = draw_faces(FaceSet((1, 0, 0), seed=5).without("all"))[:1]
    face[list(ACTION_UNIT_COLUMNS)] = 0.0
    face = face.assign(background="plain", crop_scale=1.0, back1_r=0.0, back1_g=1.0, back1_b=0.0)
    y, x = np.mgrid[:96, :96] - 47.5
    inside = np.hypot(x, y) < 47  # the corners are filled by mirroring

    def shot(angles):
        turned = face.assign(**dict(zip(ANGLES, angles[0].tolist(), strict=True)))
        return torch.from_numpy(render_faces(turned, 96, processes=1)).permute(0, 3, 1, 2) / 255

    def outline(picture):
        return ((picture[0, 1] - picture[0, 0]).numpy() < 0.5) & inside  # before a green wall

    def overlap(one, other):
        return (one & other).sum() / (one | other).sum()

    old, level = torch.tensor([[40.0, 15.0, 10.0]]), Level(crop=(1, 1), rotate=25)
    draw = torch.tensor([[0, 1.0, 0.1 if flipped else 0.9, 0.5, 0.5]])
    seen = outline(_resample(shot(old), level, 96, draw))
    flips, turns = Moves.drawn(level, draw)
    assert overlap(seen, outline(shot(HeadPose().follow(old, flips, turns)))) > 0.99
    # roll alone is not enough, and the other way round is far off
    only_roll = HeadPose().follow(old - torch.tensor([[0, 0, 25.0]]), flips, 0 * turns)
    assert overlap(seen, outline(shot(only_roll))) < 0.975
    assert overlap(seen, outline(shot(HeadPose().follow(old, flips, -turns)))) < 0.85


@pytest.mark.parametrize("name", ["emotion", "gender", "affect"])
def test_what_a_face_shows_does_not_change(name):
    task = make_task(name)
    classes = torch.arange(2)
    assert task.changed_by == ()
    assert torch.equal(task.follow(classes, torch.tensor([True, False]), torch.ones(2)), classes)


# -- labels in batches ---


def test_batches_of_poses_carry_the_labels_of_what_they_show(mini):
    """The pixels and the order are those of emotion; only training labels follow."""
    dls, plain = (
        loaders(mini, "head_pose", augment="strong"),
        loaders(mini, "emotion", augment="strong"),
    )
    x, y = dls.train.one_batch()
    assert torch.equal(x, plain.train.one_batch()[0])
    data = dls.train.dataset
    raw = data.targets[dls.train.positions]
    assert raw.shape == (16, 3)
    moves = dls.train.after_batch[1]._moves
    torch.testing.assert_close(torch.Tensor(y), data.task.follow(raw, *moves))
    assert (torch.Tensor(y) - raw).abs().max() > 5
    kept = torch.cat([torch.Tensor(labels) for _, labels in dls.valid])
    assert torch.equal(
        kept, torch.tensor(mini.labels.loc[mini.rows("valid"), list(ANGLES)].to_numpy()).float()
    )


@pytest.mark.parametrize("name", ["second_view", "random_target", "probe_random_target"])
def test_a_second_view_carries_labels_of_its_own(mini, name):
    """It is drawn anew from the same picture, so its label follows other moves."""
    dls = loaders(mini, "head_pose")
    x, y = dls.train.one_batch()
    pretext = make(name)
    pretext.attach(dls)
    generator, same = (torch.Generator().manual_seed(7) for _ in range(2))
    pretext.transform(x, generator)
    (labels,) = pretext.relabel((y,))
    draw = torch.rand(16, 16, generator=same)
    raw = dls.train.dataset.targets[dls.train.positions]
    expected = HeadPose().follow(raw, *Moves.drawn(LEVELS["weak"], draw))
    torch.testing.assert_close(torch.Tensor(labels), expected)
    assert not torch.allclose(torch.Tensor(labels), torch.Tensor(y))
    emotions = loaders(mini, "emotion").train
    batch = emotions.one_batch()
    pretext.attach(type("Both", (), {"train": emotions, "valid": emotions}))
    assert pretext.relabel(batch[1:])[0] is batch[1]


def labelled(tmp_path, **columns):
    """A pack of 12 grey pictures, four a split, with these label columns."""
    table = pd.DataFrame(
        {"key": [f"k{i}" for i in range(12)], "split": ["train", "valid", "test"] * 4}
    )
    return write_pack(tmp_path / "p", np.zeros((12, 16, 16, 3), np.uint8), table.assign(**columns))


def test_faces_without_the_label_are_left_out_and_counted(tmp_path):
    gender = ["female", "male", None] * 3 + ["male", "female", "male"]
    angles = dict.fromkeys(ANGLES, 1.0) | {"yaw": [99.0, -99.0, 99.1, np.nan] + [3.0] * 8}
    pack = labelled(tmp_path, gender=gender, **angles)
    dls = loaders(pack, "gender", bs=2)
    assert [len(d.dataset) for d in dls.loaders] == [4, 4, 1]
    assert [d.dataset.left_out for d in dls.loaders] == [0, 0, 3]
    assert dls[2].dataset.targets.tolist() == [1]
    dls = loaders(pack, "head_pose_bins", bs=2)
    assert [d.dataset.left_out for d in dls.loaders] == [1, 0, 1]
    assert dls.train.dataset.targets[0].tolist() == [99, 1, 1]
    half = loaders(pack, "head_pose", bs=2, fraction=0.5).train.dataset
    assert (len(half), half.left_out) == (2, 1)


def test_labels_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match="k1: gender 'women' is not known"):
        labelled(tmp_path / "odd", gender=["female", "women"] * 6)
    assert not (tmp_path / "odd" / "p").exists()
    pack = labelled(tmp_path, gender=["female", "male"] * 6)
    odd = pack.labels.assign(gender=["female", "women"] * 6)
    pack = dataclasses.replace(pack, labels=odd)
    with pytest.raises(ValueError, match="yaw, pitch, roll"):
        loaders(pack, "head_pose")
    with pytest.raises(ValueError, match="'gender' needs the column gender"):
        FaceDataset(labelled(tmp_path / "other"), np.arange(3), task=Gender())
    with pytest.raises(ValueError, match="unknown gender 'women'; one of female, male"):
        loaders(pack, "gender")
    with pytest.raises(ValueError, match="none of 4 faces"):
        loaders(labelled(tmp_path / "none", gender=[None] * 12), "gender")
    with pytest.raises(ValueError, match="emotion, gender, head_pose, head_pose_bins"):
        loaders(pack, "age")


def test_what_a_task_has_not_is_refused(mini):
    for name in POSES:
        with pytest.raises(ValueError, match="no classes to balance"):
            loaders(mini, name, sampling="balanced")
    for name in ("gender", "head_pose"):
        with pytest.raises(ValueError, match="labels='probability'; one of majority"):
            loaders(mini, name, labels="probability")
    with pytest.raises(ValueError, match=r"face_dataloaders\(..., task='head_pose'\)"):
        hmtl_learner(loaders(mini, "gender"), task=HeadPose())


# -- losses and metrics ---


def test_bins_are_hopenets_and_the_ends_are_classes():
    edges = np.array(range(-99, 102, 3))
    inner = np.arange(-98.9, 98.9, 0.1)
    assert bins_of(torch.tensor(inner)).tolist() == (np.digitize(inner, edges) - 1).tolist()
    by_hand = {-99: 0, -96: 1, -3: 32, -0.5: 32, 0: 33, 2.9: 33, 3: 34, 96: 65, 98.9: 65}
    assert bins_of(torch.tensor(list(by_hand))).tolist() == list(by_hand.values())
    # np.digitize gives 67 - 1 for 99 and 0 - 1 below -99
    assert bins_of(torch.tensor([99.0, 120.0, -99.1])).tolist() == [65, 65, 0]


def test_the_expectation_is_the_middle_of_a_bin_that_is_certain():
    certain = torch.full((3, 66), -100.0)
    certain[[0, 1, 2], [0, 33, 65]] = 100
    assert expectation(certain).tolist() == [-97.5, 1.5, 97.5]
    assert expectation(torch.zeros(66)).item() == pytest.approx(0, abs=1e-4)
    two = torch.full((66,), -100.0)
    two[[10, 20]] = 3.0  # half and half
    assert expectation(two).item() == pytest.approx((-99 + 31.5 - 99 + 61.5) / 2, abs=1e-3)


def test_the_loss_of_bins_against_a_slow_one():
    logits = torch.randn(4, 3, 66, generator=torch.Generator().manual_seed(0))
    target = poses(4).float()
    parts = []
    for face in range(4):
        for angle in range(3):
            p = np.exp(logits[face, angle].double().numpy())
            p /= p.sum()
            number = int(np.digitize(target[face, angle], range(-99, 102, 3))) - 1
            middle = sum(p[i] * (-99 + 3 * i + 1.5) for i in range(66))
            parts.append(-np.log(p[number]) + 0.5 * (middle - float(target[face, angle])) ** 2)
    loss = BinLoss(alpha=0.5)
    assert loss(logits, target).item() == pytest.approx(np.mean(parts), rel=1e-4)
    loss.reduction = "none"  # as fastai does
    np.testing.assert_allclose(loss(logits, target), np.reshape(parts, (4, 3)).mean(1), rtol=1e-4)
    torch.testing.assert_close(loss.activation(logits), expectation(logits))


def test_the_loss_of_regression_is_the_mean_absolute_error_of_ten_degrees():
    outputs, target = torch.tensor([[1.0, 0.0, -2.0]]), torch.tensor([[20.0, 5.0, -20.0]])
    assert PoseLoss()(outputs, target).item() == pytest.approx((1 + 0.5 + 0) / 3)
    assert PoseLoss().activation(outputs).tolist() == [[10, 0, -20]]


def test_geodesic_is_the_angle_scipy_finds():
    one, other = poses(limit=180).numpy(), poses(limit=180, seed=5).numpy()
    turns = [Rotation.from_matrix(pose_matrix(*a.T)) for a in (one, other)]
    expected = np.degrees((turns[0] * turns[1].inv()).magnitude())
    np.testing.assert_allclose(geodesic(one, other), expected, atol=1e-5)
    assert geodesic(one, one).max() == 0
    near = one + [0, 0, 1e-4]  # where an arc cosine would have lost the angle
    np.testing.assert_allclose(geodesic(one, near), 1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", POSES)
def test_scores_of_poses_against_loops(name, mini, tmp_path):
    """As a run computes them, from the stored file."""
    task, table = make_task(name), mini.labels[:40]
    predicted = table[list(ANGLES)].to_numpy() + poses(40, 20).numpy()
    file = tmp_path / "predictions.csv"
    task.predictions(table, predicted).to_csv(file, index=False)
    scores = task.scores(pd.read_csv(file))
    by_angle = {}
    for i, angle in enumerate(ANGLES):
        errors = [abs(predicted[row, i] - table[angle].iloc[row]) for row in range(40)]
        by_angle[angle] = sum(errors) / 40
        assert scores[f"mae_{angle}"] == pytest.approx(by_angle[angle])
    assert scores["mae"] == pytest.approx(sum(by_angle.values()) / 3)
    turns = [
        Rotation.from_matrix(pose_matrix(*a.T)) for a in (predicted, table[list(ANGLES)].to_numpy())
    ]
    off = np.degrees((turns[0] * turns[1].inv()).magnitude()).mean()
    assert scores["geodesic"] == pytest.approx(off)
    assert scores["test_faces"] == 40


def test_scores_of_gender_against_sklearn(mini, tmp_path):
    table = mini.labels[:60]
    shares = np.random.default_rng(0).dirichlet([1, 1], 60)
    stored = Gender().predictions(table, shares)
    stored.to_csv(tmp_path / "p.csv", index=False)
    assert list(stored) == ["key", "target", "predicted", "p_female", "p_male"]
    scores = Gender().scores(pd.read_csv(tmp_path / "p.csv"))
    predicted = np.where(shares[:, 1] > 0.5, "male", "female")
    assert scores["accuracy"] == (predicted == table["gender"]).mean()
    for name, function in (("macro_f1", f1_score), ("mean_recall", recall_score)):
        assert scores[name] == pytest.approx(function(table["gender"], predicted, average="macro"))


# -- valence and arousal ---


def test_concordance_is_lins():
    """By correlation and moments, and what moves it."""
    rng = np.random.default_rng(0)
    target = rng.uniform(-1, 1, 300)
    said = 0.6 * target + 0.1 + rng.normal(0, 0.2, 300)
    r, sx, sy = np.corrcoef(said, target)[0, 1], said.std(), target.std()
    by_hand = 2 * r * sx * sy / (sx**2 + sy**2 + (said.mean() - target.mean()) ** 2)
    assert concordance(said, target) == pytest.approx(by_hand)
    assert concordance(target, target) == pytest.approx(1)
    assert concordance(-target, target) < -0.9
    assert concordance(said + 0.3, target) < concordance(said, target)  # unlike a correlation
    assert concordance(np.zeros(300), target) == 0
    assert (concordance([1, 1], [1, 1]), concordance([1, 1], [0, 0])) == (1, 0)


def test_scores_of_affect_against_loops(mini):
    task, table = Affect(), mini.labels[:60]
    target = table[list(AXES)].to_numpy(float)
    predicted = np.clip(target + np.random.default_rng(1).normal(0, 0.3, target.shape), -1, 1)
    scores = task.scores(task.predictions(table, predicted))
    for i, name in enumerate(AXES):
        gaps = [(p[i] - t[i]) ** 2 for p, t in zip(predicted, target, strict=True)]
        signs = [
            (p[i] > 0, p[i] < 0) == (t[i] > 0, t[i] < 0)
            for p, t in zip(predicted, target, strict=True)
        ]
        assert scores[f"rmse_{name}"] == pytest.approx(np.sqrt(sum(gaps) / 60))
        assert scores[f"sign_{name}"] == pytest.approx(sum(signs) / 60)
    assert scores["ccc"] == pytest.approx((scores["ccc_valence"] + scores["ccc_arousal"]) / 2)
    assert affect_scores(target, target)["ccc"] == pytest.approx(1)


def test_the_loss_of_affect_is_a_squared_error_and_answers_stay_in_range():
    outputs, target = torch.tensor([[1.0, -4.0]]), torch.tensor([[0.5, -1.0]])
    assert AffectLoss()(outputs, target).item() == pytest.approx((0 + 2**2) / 2)
    assert AffectLoss().activation(outputs).tolist() == [[0.5, -1.0]]
    assert AffectLoss().each(outputs, target).shape == (1,)


def test_affect_that_nobody_rated_is_no_label(tmp_path):
    valence = [0.5, -2.0, None] * 3 + [1.0, -1.0, 0.0]
    pack = labelled(tmp_path, valence=valence, arousal=[0.1] * 12)
    assert [d.dataset.left_out for d in loaders(pack, "affect", bs=2).loaders] == [0, 3, 3]
    said = pd.DataFrame({f"{kind}_{name}": [0.1, 0.2] for kind in ("target", "predicted")
                         for name in AXES})  # fmt: skip
    Affect().check_predictions(said)
    said.loc[1, "predicted_arousal"] = 1.5
    with pytest.raises(ValueError, match="line 3, column predicted_arousal: a number from -1 to 1"):
        Affect().check_predictions(said)


# -- pretexts beside them ---


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize(
    "pretext",
    [TileRotation(2), ImageRotation(), OneView(Puzzling(2), TileRotation(2)),
     make("puzzling_rotation_2x2"), make("only_tile_rotation_2x2"), make("probe_image_rotation")],
    ids=str,
)  # fmt: skip
def test_a_view_that_is_turned_never_gets_the_label_of_the_upright_one(mini, quiet, name, pretext):
    dls = loaders(mini, name)
    learn = hmtl_learner(dls, pretexts=[pretext], views="shared")
    with quiet(learn), pytest.raises(ValueError, match="use views='paired'"):
        learn.fit(1)
    learn = hmtl_learner(dls, pretexts=[pretext], label_views=True)
    with quiet(learn), pytest.raises(ValueError, match="use label_views=False"):
        learn.fit(1)
    assert not learn.model._forward_hooks
    make_task(name).check_pretexts([pretext], "paired", set())
    for other in ("emotion", "gender"):
        make_task(other).check_pretexts([pretext], "shared", {pretext.name})


@pytest.mark.slow
def test_the_controls_view_of_a_pose_is_labelled_though_a_puzzle_is_not(mini, quiet):
    labels = {}
    for pretext in ("second_view", "random_target", "barlow_twins", "puzzling_2x2"):
        dls = loaders(mini, "head_pose", bs=64, fraction=0.2)
        learn = hmtl_learner(dls, pretexts=pretext, seed=0)
        with quiet(learn):
            learn.fit(1)
        labels[pretext] = len(learn.hybrid._labelled)
    assert labels == {"second_view": 1, "random_target": 1, "barlow_twins": 1, "puzzling_2x2": 0}


def test_puzzles_of_poses_are_unlabelled_unless_one_asks(mini, quiet):
    seen = {}
    for name, label_views in (("head_pose", None), ("head_pose", True), ("emotion", None)):
        dls = loaders(mini, name, bs=64, fraction=0.2)
        learn = hmtl_learner(dls, pretexts="puzzling_2x2", label_views=label_views, seed=0)
        kept = seen[name, label_views] = []
        learn.hybrid._balanced = lambda parts, learn=learn, kept=kept: (
            kept.append(len(learn.hybrid._view_losses)) or sum(parts)
        )
        with quiet(learn):
            learn.fit(1)
    assert [set(v) for v in seen.values()] == [{0}, {1}, {1}]


def test_a_shared_second_view_is_learned_with_its_own_labels(mini, quiet):
    """`random_target` on a shared view shows the supervised head another augmentation."""
    learn = hmtl_learner(
        loaders(mini, "head_pose"), pretexts="random_target", views="shared", seed=0
    )
    pairs = []
    learn.loss_func = lambda out, y: pairs.append(torch.Tensor(y).clone()) or (out * 0).sum()
    with quiet(learn):
        learn.fit(1)
    step = learn.dls.train.after_batch[1]
    last = step.follow(step._labels, *step._moves)  # of the last view made in training
    assert any(torch.equal(torch.Tensor(last), labels) for labels in pairs)


# -- they work with fastai, and learn ---


def trained(pack, task, epochs, quiet, **options):
    torch.manual_seed(0)
    dls = loaders(pack, task, bs=32, augment=options.pop("augment", "weak"), seed=0)
    learn = hmtl_learner(dls, seed=0, wd=0.01, **options)
    learn.remove_cbs(ProgressCallback)
    with quiet(learn):
        learn.fit_one_cycle(epochs, 4e-3)
    return learn


def scores_of(learn, quiet, loader):
    with quiet(learn):
        answers = learn.get_preds(dl=loader)[0].numpy()
    data = loader.dataset
    return data.task.scores(data.task.predictions(data.pack.labels.iloc[data.rows], answers))


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_fastai_shows_and_exports_every_task(mini, quiet, tmp_path, name):
    learn = trained(mini, name, 1, quiet, pretexts="puzzling_2x2")
    learn.path = tmp_path
    learn.dls.show_batch(max_n=4)
    plt.close("all")
    learn.show_results(max_n=4, figsize=(5, 6))
    shown = plt.gcf()
    assert tuple(shown.get_size_inches()) == (5, 6)
    told = [(len(axes.images), len(axes.get_title().splitlines())) for axes in shown.axes]
    words = 2 if learn.dls.train_ds.task.columns else 0  # of a label and of an answer
    assert told == [(1, words)] * 4
    plt.close("all")
    learn.export("learner.pkl")
    task = learn.dls.train_ds.task
    assert learn.hybrid.heads
    # the metrics of fastai, over batches of unequal size, are the scores
    with quiet(learn):
        values = dict(zip([m.name for m in learn.metrics], learn.validate()[1:], strict=True))
    scores = scores_of(learn, quiet, learn.dls.valid)
    assert (task.metric in values) == bool(task.columns)  # without labels nothing is scored
    for metric, value in values.items():
        assert value == pytest.approx(scores[metric], rel=1e-4)
    exported = torch.load(tmp_path / "learner.pkl", weights_only=False)  # our own file
    assert exported.dls.train_ds.task == task
    assert all(len(d.dataset) == 0 for d in exported.dls.loaders)
    words = str(learn.dls.train_ds.decode(learn.dls.train_ds[0])[1])
    numbers = words.count("°") if task.unit == "degrees" else len(words.split())
    assert words in task.names or numbers == (len(task.names) if task.columns else 0)


@pytest.mark.slow
@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",)], ids=["alone", "hybrid"])
@pytest.mark.parametrize("name", POSES)
def test_head_pose_is_learned(mini, quiet, name, pretexts):
    """Far below the error of who always answers the median, for every angle that shows at 48 px."""
    learn = trained(mini, name, 12, quiet, pretexts=pretexts)
    scores = scores_of(learn, quiet, learn.dls[2])
    train, test = (mini.labels.loc[mini.rows(s), list(ANGLES)] for s in ("train", "test"))
    median = (test - train.median()).abs().mean()
    assert scores["mae"] < 0.75 * median.mean()
    assert scores["mae_yaw"] < 0.6 * median["yaw"]


@pytest.mark.slow
def test_gender_is_learned(mini, quiet):
    """It has 52 people to learn from: sure of them, and better than chance at 28 others."""
    learn = trained(mini, "gender", 12, quiet, augment="none")
    known = scores_of(learn, quiet, learn.dls.train.new(shuffle=False, drop_last=False))
    assert known["mean_recall"] > 0.75
    others = [scores_of(learn, quiet, loader)["mean_recall"] for loader in learn.dls.loaders[1:]]
    assert np.mean(others) > 0.58


@pytest.mark.slow
@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",)], ids=["alone", "hybrid"])
def test_affect_is_learned(toy_pack, quiet, pretexts):
    """Of pictures as bright as their valence says; a constant has a concordance of 0."""
    valence = np.random.default_rng(0).uniform(-0.9, 0.9, len(toy_pack))
    bright = (80 * valence[:, None, None, None]).astype(int)
    images = (toy_pack.images // 2 + 80 + bright).clip(0, 255).astype(np.uint8)
    labels = toy_pack.labels.assign(valence=valence, arousal=-valence / 2)
    pack = dataclasses.replace(toy_pack, images=images, labels=labels)
    learn = trained(pack, "affect", 30, quiet, augment="none", pretexts=pretexts)
    scores = scores_of(learn, quiet, learn.dls[2])
    assert scores["ccc_valence"] > 0.25
    assert scores["ccc_arousal"] > 0.25


def test_tasks_are_known_by_name_and_equal_when_alike():
    assert list(TASKS) == [
        "emotion", "gender", "head_pose", "head_pose_bins", "affect", "pretraining",
    ]  # fmt: skip
    assert make_task("emotion", weighted=True) == Emotion(weighted=True)
    assert make_task("head_pose_bins", alpha=1.0).loss(None).alpha == 1
    assert HeadPoseBins().head(5, 3)(torch.rand(2, 5)).shape == (2, 3, 66)
