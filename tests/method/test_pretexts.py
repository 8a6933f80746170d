"""Every pretext but puzzling: a slow reference, an invariant, and that its head learns."""

import dataclasses
import itertools
import sys

import numpy as np
import pytest
import torch
from torch import nn

from hmtl import Emotion, Hybrid, face_dataloaders, hmtl_learner, load_pack
from hmtl.method.augment import LEVELS, augment
from hmtl.method.encoder import Encoder
from hmtl.method.pretext import (
    BarlowTwins,
    ImageRotation,
    Inpainting,
    Jigsaw,
    NoLoss,
    OneView,
    Pretext,
    Puzzling,
    PuzzlingRotation,
    RandomTarget,
    TileRotation,
    TransformOnly,
    make,
)
from hmtl.method.pretext.inpainting import MASKS, draw_masks
from hmtl.method.pretext.jigsaw import permutation_set
from hmtl.method.pretext.perceptual import FrozenFeatures
from hmtl.method.pretext.rotation import turn_tiles
from hmtl.method.pretext.tiles import MapPlaceHead, PlaceHead


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def faces():
    """Twelve rendered faces, float (12, 3, 48, 48)."""
    return torch.tensor(load_pack("mini").images[:12]).permute(0, 3, 1, 2) / 255


# -- rotation ---


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiles_turn_as_numpy_turns_them_one_by_one(n):
    images = torch.rand(4, 3, 6 * n, 6 * n)
    quarters = torch.randint(4, (4, n * n), generator=generator())
    turned = turn_tiles(images, quarters, n)
    for image, view, row in zip(images, turned, quarters, strict=True):
        expected = image.permute(1, 2, 0).numpy().copy()
        for place, quarter in enumerate(row.tolist()):
            top, left = 6 * (place // n), 6 * (place % n)
            tile = expected[top : top + 6, left : left + 6]
            expected[top : top + 6, left : left + 6] = np.rot90(tile, quarter)
        np.testing.assert_array_equal(view.permute(1, 2, 0).numpy(), expected)


def test_turning_back_gives_the_picture():
    images = torch.rand(5, 3, 12, 12)
    quarters = torch.randint(4, (5, 4), generator=generator())
    assert torch.equal(turn_tiles(turn_tiles(images, quarters, 2), (4 - quarters) % 4, 2), images)


def test_only_some_tiles_turn_if_asked_to():
    _, target = TileRotation(3, turned=4).transform(torch.rand(2000, 1, 9, 9), generator())
    turned = (target > 0).sum(1)
    assert turned.max() == 4
    # each of the four turns by 0 once in four times: three on average
    assert turned.float().mean() == pytest.approx(3, abs=0.1)
    assert (target > 0).any(0).all()  # any tile may be among them


def test_the_whole_picture_turns_as_one_tile(faces):
    views, target = ImageRotation().transform(faces, generator())
    for face, view, quarter in zip(faces, views, target[:, 0].tolist(), strict=True):
        assert torch.equal(view, face.rot90(quarter, (1, 2)))


def test_tiles_that_are_not_square_cannot_turn():
    with pytest.raises(ValueError, match="cannot be turned"):
        turn_tiles(torch.rand(1, 1, 4, 8), torch.zeros(1, 4, dtype=torch.long), 2)


# -- jigsaw ---


def test_the_permutations_are_far_apart():
    """All of 2 x 2; of 3 x 3 further apart in the mean than random ones."""
    assert len({tuple(p) for p in permutation_set(4, 24)}) == 24
    chosen = permutation_set(9, 50)
    assert (np.sort(chosen, 1) == np.arange(9)).all()
    distances = [(a != b).sum() for a, b in itertools.combinations(chosen, 2)]
    rng = np.random.default_rng(1)
    random = [rng.permutation(9) for _ in range(50)]
    others = [(a != b).sum() for a, b in itertools.combinations(random, 2)]
    assert np.mean(distances) > np.mean(others)
    with pytest.raises(ValueError, match="24 permutations"):
        permutation_set(4, 25)


def test_the_first_permutations_are_chosen_as_brute_force_chooses_them():
    everything = list(itertools.permutations(range(4)))
    chosen = [tuple(range(4))]
    while len(chosen) < 6:
        far = [-1 if p in chosen else sum(a != b for c in chosen for a, b in zip(p, c, strict=True))
               for p in everything]  # fmt: skip
        chosen.append(everything[int(np.argmax(far))])
    assert [tuple(p) for p in permutation_set(4, 6)] == chosen


def test_a_jigsaw_names_its_permutation(faces):
    task = Jigsaw(3, count=10)
    views, which = task.transform(faces, generator())
    from hmtl.method.pretext.puzzling import shuffle_tiles

    assert torch.equal(views, shuffle_tiles(faces, task.orders[which], 3))


# -- heads ---


def test_softmaxes_of_places_are_separate_layers_in_one_product():
    head = PlaceHead(20, 4, 9, dropout=0.0)
    features = torch.randn(7, 20)
    weights, biases = head.linear.weight.view(9, 4, 20), head.linear.bias.view(9, 4)
    separate = [nn.functional.linear(features, weights[place], biases[place]) for place in range(9)]
    torch.testing.assert_close(head(features), torch.stack(separate, 2))


def test_the_map_head_keeps_its_places_apart():
    """A place's logits depend on that place's sixteen hidden units only."""
    head = MapPlaceHead(12, 4, 9).eval()
    features = torch.randn(2, 12, 3, 3)
    before = head(features)
    assert before.shape == (2, 4, 9)
    with torch.no_grad():
        head.out.weight[2 * 4 : 3 * 4] += 1.0
    changed = (head(features) != before).any(0).any(0)
    assert changed.tolist() == [place == 2 for place in range(9)]


# -- in-painting ---


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_masks_hide_about_the_share_they_say(kind, fraction):
    masks = draw_masks(300, (48, 48), kind, fraction, 8, generator())
    share = masks.float().mean((1, 2, 3))
    if kind == "grid":
        assert (share == round(fraction * 36) / 36).all()
        cells = masks.view(300, 6, 8, 6, 8).float().mean((2, 4))
        assert set(cells.unique().tolist()) == {0.0, 1.0}
    elif kind == "block":
        torch.testing.assert_close(share, torch.full((300,), fraction), atol=0.03, rtol=0)
        for mask in masks[:20, 0]:  # one rectangle
            rows, columns = mask.any(1), mask.any(0)
            assert torch.equal(mask, rows[:, None] & columns[None])
    else:
        assert fraction * 0.5 < share.mean() < fraction * 1.02  # they may overlap
    assert masks.float().mean(0).min() < masks.float().mean(0).max()  # not always in one place


def test_hidden_pixels_are_grey_and_all_others_untouched(faces):
    views, (images, masks) = Inpainting("grid").transform(faces, generator())
    assert torch.equal(images, faces)
    wide = masks.expand_as(faces)
    assert (views[wide] == 0.5).all()
    assert torch.equal(views[~wide], faces[~wide])


def test_the_pixel_loss_by_hand():
    images, masks = torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    masks[..., :2, :] = True
    rebuilt = torch.full((1, 3, 4, 4), 0.25)
    rebuilt[..., :2, :] = 0.5
    masked, everywhere = Inpainting(), Inpainting(masked_only=False)
    assert float(masked.loss(rebuilt, (images, masks))) == pytest.approx(0.5)
    assert float(everywhere.loss(rebuilt, (images, masks))) == pytest.approx(0.375)


def test_a_perfect_picture_costs_nothing_and_scores_one(faces):
    task = Inpainting(features=FrozenFeatures())
    target = task.transform(faces, generator())[1]
    assert float(task.loss(faces, target)) == pytest.approx(0, abs=1e-6)
    assert float(task.score(faces, target)) == pytest.approx(1)
    mean = faces.mean((2, 3), keepdim=True).expand_as(faces)
    assert float(task.score(mean, target)) == pytest.approx(0, abs=1e-5)


def test_the_frozen_network_sees_what_imagenet_networks_see(faces):
    """Independent reference: timm's own network on images normalised by hand."""
    import timm

    from hmtl.method.encoder import imagenet_state_dict

    frozen = FrozenFeatures("tf_efficientnet_lite0", ["blocks.1"])
    (ours,) = frozen(faces)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    model.load_state_dict(imagenet_state_dict("tf_efficientnet_lite0"))
    model.eval()
    seen = []
    model.blocks[1].register_forward_hook(lambda m, i, output: seen.append(output))
    config = model.pretrained_cfg
    with torch.no_grad():
        model((faces - torch.tensor(config["mean"]).view(3, 1, 1))
              / torch.tensor(config["std"]).view(3, 1, 1))  # fmt: skip
    torch.testing.assert_close(ours, seen[0])


def test_the_frozen_network_stops_after_its_last_layer(faces):
    frozen = FrozenFeatures("tiny_not_loaded")
    frozen._encoder, frozen.layers = Encoder("tiny").eval(), ("layer2", "layer1")
    body, seen = frozen._encoder.body, []
    for name in frozen.layers:
        getattr(body, name).register_forward_hook(frozen._keeper(name))
    body.layer2.register_forward_hook(lambda *_: seen.append("layer2"), prepend=True)
    body.layer3.register_forward_hook(lambda *_: seen.append("layer3"))
    second, first = frozen(faces)
    assert seen == ["layer2"]
    assert second.shape[-1] * 2 == first.shape[-1]  # in the order asked for
    assert not frozen._seen


def test_the_perceptual_loss_looks_at_its_share_of_the_batch(faces):
    class Sizes:
        def __init__(self):
            self.seen = []

        def distance(self, filled, images):
            self.seen.append((tuple(filled.shape), tuple(images.shape)))
            return (filled - images).abs().mean()

    sizes = Sizes()
    task = Inpainting(features=sizes, share=0.25, perceptual=1.0)
    target = task.transform(faces, generator())[1]
    small = torch.nn.functional.avg_pool2d(faces, 2)
    task.loss(small, target)  # the decoder's own size, smaller than the pictures'
    assert sizes.seen == [((3, 3, 24, 24), (3, 3, 24, 24))]
    # only hidden pixels of that share count: a fault elsewhere costs nothing
    fault = faces.clone()
    fault[3:] = 0
    plain = Inpainting().loss(fault, target)
    assert float(task.loss(fault, target)) == pytest.approx(float(plain))
    with pytest.raises(ValueError, match="share"):
        Inpainting(share=0)


@pytest.mark.parametrize(
    ("name", "fraction", "cell"),
    [
        ("inpainting_grid", 0.4, 8),
        ("inpainting_grid_60percent", 0.6, 8),
        ("inpainting_grid_cell4", 0.4, 4),
        ("inpainting_blocks_12.5percent_pl", 0.125, 8),
        ("inpainting_grid_60percent_cell16_pl", 0.6, 16),
    ],
)
def test_a_name_says_what_is_hidden(name, fraction, cell):
    task = make(name)
    assert (task.name, task.fraction, task.cell) == (name, fraction, cell)
    assert (task.features is not None) == name.endswith("_pl")
    with pytest.raises(ValueError, match="fraction"):
        make("inpainting_grid_100percent")


def test_gradients_reach_the_picture_and_never_the_frozen_network(faces):
    frozen = FrozenFeatures("tf_efficientnet_lite0")
    picture = (faces * 0.9).requires_grad_()
    frozen.distance(picture, faces).backward()
    assert picture.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in frozen._encoder.parameters())
    assert not frozen._encoder.training


@pytest.mark.slow
def test_features_of_a_run_of_our_own(tmp_path, faces):
    from hmtl.runs.fit import fit
    from hmtl.runs.specs import RunSpec

    run = fit(RunSpec(epochs=1), store=tmp_path)
    frozen = FrozenFeatures(run.path)
    ours = frozen(faces)
    assert [tuple(f.shape[:2]) for f in ours] == [(12, f.shape[1]) for f in ours]
    encoder = Encoder("tiny", run.path).eval()
    seen = []
    encoder.body.layer2.register_forward_hook(lambda m, i, output: seen.append(output))
    with torch.no_grad():
        encoder.forward_map(faces)
    torch.testing.assert_close(ours[1], seen[0])
    with pytest.raises(ValueError, match="layer1"):
        FrozenFeatures(run.path, ["layer9"])(faces)


# -- several on one view ---


def test_both_at_once_is_one_after_the_other(faces):
    views, (order, quarters) = PuzzlingRotation(2).transform(faces, generator(3))
    puzzle, same_order = Puzzling(2).transform(faces, generator(3))
    assert torch.equal(order, same_order)
    assert torch.equal(views, turn_tiles(puzzle, quarters, 2))


def test_what_cannot_share_a_view_offers_paired_ones():
    for pair in ([Puzzling(2), Inpainting()], [Puzzling(2), TileRotation(3)],
                 [Jigsaw(2), TileRotation(2)]):  # fmt: skip
        with pytest.raises(ValueError, match="views='paired'"):
            Hybrid(pair, "shared")
        assert Hybrid(pair, "paired").pretexts == pair
    assert len(Hybrid([Puzzling(3), TileRotation(3)], "shared").pretexts) == 2
    with pytest.raises(ValueError, match="all the map"):
        OneView(Puzzling(2), TileRotation(2, on="map"))


# -- they learn, each in seconds ---

LEARN = {
    # name -> what a guess scores, what training must reach, steps, pictures a step
    "tile_rotation_2x2": (0.25, 0.45, 80, 64),
    "tile_rotation_2x2_map": (0.25, 0.5, 80, 32),
    "image_rotation": (0.25, 0.6, 80, 32),
    "puzzling_2x2_map": (0.25, 0.6, 80, 32),
    "puzzling_rotation_2x2": (0.25, 0.3, 260, 64),
    "jigsaw_2x2": (1 / 24, 0.25, 120, 64),
    "inpainting_grid": (0.0, 0.2, 80, 32),
    "inpainting_blocks_pl": (0.0, 0.1, 120, 32),
}


def train_alone(task, steps, bs):
    """The task by itself, without labels or augmentation; its score on unseen people."""
    torch.manual_seed(0)
    pack = load_pack("mini")
    images = torch.tensor(pack.images).permute(0, 3, 1, 2) / 255
    train, test = torch.tensor(pack.rows("train")), torch.tensor(pack.rows("test"))
    encoder, draw = Encoder("tiny"), generator()
    look = encoder.forward_map if task.reads == "map" else encoder
    head = task.head(encoder.num_features)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        some = train[torch.randint(len(train), (bs,), generator=draw)]
        views, target = task.transform(images[some], draw)
        optimizer.zero_grad()
        task.loss(head(look(views)), target).backward()
        optimizer.step()
        schedule.step()
    encoder.eval(), head.eval()
    with torch.no_grad():
        views, target = task.transform(images[test], generator(1))
        return float(task.score(head(look(views)), target))


def small_learner(pretexts, views="paired", fraction=0.25, **options):
    """Of three batches of training, unless a test needs all the faces."""
    torch.manual_seed(0)
    dls = face_dataloaders(
        load_pack("mini"), bs=32, augment="weak", fraction=fraction, seed=0, device="cpu"
    )
    return hmtl_learner(dls, "tiny", pretexts=pretexts, views=views, seed=0, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARN)
def test_every_task_is_learned_on_unseen_people(name):
    """Rendered faces of people the network never saw; thresholds clearly above a guess."""
    guess, reached, steps, bs = LEARN[name]
    assert reached > guess
    assert train_alone(make(name), steps, bs) > reached


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*LEARN, "barlow_twins", "probe_jigsaw_2x2", "random_target", "unlabelled_puzzling_2x2"]
)
def test_every_task_trains_beside_the_labels_and_shows_itself(name, quiet):
    """By its short name, one epoch: its losses and score are logged and finite."""
    task = make(name)
    learn = small_learner([task])
    with quiet(learn):
        learn.fit(1, 1e-3)
    row = dict(zip(learn.recorder.metric_names[1:-1], learn.recorder.values[-1], strict=True))
    for column in (f"train_{name}_loss", f"{name}_loss", f"{name}_score"):
        assert np.isfinite(row[column]), column
    assert 0 <= row[f"{name}_score"] <= 1
    pictures = load_pack("mini").images[:3]
    assert len(task.show(torch.tensor(pictures).permute(0, 3, 1, 2) / 255).axes) >= 3


@pytest.mark.parametrize("inner", ["puzzling_2x2", "image_rotation", "inpainting_grid"])
def test_other_pictures_are_any_of_the_train_split_and_have_no_label(inner):
    task, pack = make(f"unlabelled_{inner}"), load_pack("mini")
    options = {"augment": "none", "fraction": 0.1, "bs": 16, "seed": 0, "device": "cpu"}
    dls = face_dataloaders(pack, **options)
    task.attach(dls)
    images, emotions = dls.train.one_batch()
    drawn = []
    task.pretext.transform = lambda images, generator: (drawn.append(images), (images, None))[1]
    task.transform(images, generator())
    plain = dataclasses.replace(LEVELS["none"], flip=0.0)
    rows = pack.rows("train")
    pixels = torch.tensor(pack.images[rows]).permute(0, 3, 1, 2) / 255
    known = augment(pixels, plain, pack.size, generator())
    known = torch.cat([known, known.flip(-1)])
    gaps = [(known - one).abs().amax((1, 2, 3)) for one in drawn[0]]
    assert all(gap.min() < 1e-5 for gap in gaps)
    places = {int(rows[int(gap.argmin()) % len(rows)]) for gap in gaps}
    assert not places <= set(dls.train_ds.rows.tolist())
    assert task.relabel((emotions,)) == (emotions,)
    assert not Emotion().labelled([task], None)
    assert (task.turns, list(task.weight)) == (make(inner).turns, ["paired"])
    dls.valid.one_batch()  # validation shows the batch's own
    assert task.transform(images, generator())[0] is images


@pytest.mark.parametrize("views", ["shared", "paired"])
def test_several_tasks_train_together(views, quiet):
    """Two tile tasks on one shared view; puzzles and in-painting on views of their own."""
    other = TileRotation(2) if views == "shared" else Inpainting("grid")
    learn = small_learner([Puzzling(2), other], views)
    passes = []
    learn.model.register_forward_hook(lambda *a: passes.append(learn.training))
    with quiet(learn):
        learn.fit(1, 1e-3)
    row = dict(zip(learn.recorder.metric_names[1:-1], learn.recorder.values[-1], strict=True))
    assert {"puzzling_2x2_score", f"{other.name}_score"} <= set(row)
    assert sum(passes) == len(learn.dls.train) * (1 if views == "shared" else 3)


def test_a_barlow_twin_is_held_against_the_untouched_picture():
    """lightly's loss of a projection with itself: no invariance term, only redundancy."""
    task = BarlowTwins(width=8)
    z = torch.randn(64, 8, generator=generator())
    same, other = task.loss(z, z), task.loss(z, z.flip(0))
    assert float(same) < float(other)
    assert float(task.score(z, z)) == pytest.approx(1, abs=1e-5)
    assert float(task.score(z, -z)) == 0


# -- controls ---


@pytest.mark.slow
def test_random_targets_stay_with_their_pictures_over_epochs(quiet):
    seen = {}

    class Watched(RandomTarget):
        def transform(self, images, generator):
            view, target = super().transform(images, generator)
            if self.training:
                rows = self._dls.train.dataset.rows[self._dls.train.positions]
                for row, value in zip(rows.tolist(), target.tolist(), strict=True):
                    seen.setdefault(row, set()).add(value)
            return view, target

    learn = small_learner([Watched()], fraction=1)
    with quiet(learn):
        learn.fit(2, 1e-3)
    assert len(seen) > 350
    assert all(len(values) == 1 for values in seen.values())
    assert {v for values in seen.values() for v in values} == set(range(8))


def test_a_probe_trains_its_head_and_leaves_the_encoder_to_the_labels(quiet):
    """The encoder ends as with the transform alone (dropout would shift torch's global stream)."""
    states = []
    for control in (NoLoss(Puzzling(2, dropout=0)), TransformOnly(Puzzling(2, dropout=0))):
        learn = small_learner([control], label_views=False)
        with quiet(learn):
            learn.fit(1, 1e-3)
        states.append(learn.model.state_dict())
    for key in states[0]:
        torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_toy_task_is_one_short_class(quiet):
    """Nothing else changes to add a task of one's own: here, is the picture negated?"""

    class Negated(Pretext):
        name = "negated"

        def transform(self, images, generator):
            flip = torch.rand(len(images), generator=generator) < 0.5
            return torch.where(flip.view(-1, 1, 1, 1), 1 - images, images), flip.float()

        def head(self, num_features):
            return nn.Linear(num_features, 1)

        def loss(self, prediction, target):
            return nn.functional.binary_cross_entropy_with_logits(prediction[:, 0], target)

        def score(self, prediction, target):
            return ((prediction[:, 0] > 0) == (target > 0)).float().mean()

    learn = small_learner([Negated()], fraction=1)
    with quiet(learn):
        learn.fit_one_cycle(3, 3e-3)
    row = dict(zip(learn.recorder.metric_names[1:-1], learn.recorder.values[-1], strict=True))
    assert row["negated_score"] > 0.7


def test_a_task_on_the_map_says_so_where_there_is_none(quiet):
    from fastai.learner import Learner

    dls = face_dataloaders(load_pack("mini"), bs=32, seed=0, device="cpu")
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, 4))
    model = nn.Sequential(body, nn.Linear(4, dls.c))
    learn = Learner(dls, model, loss_func=nn.CrossEntropyLoss(), cbs=[Hybrid([Inpainting()])])
    with quiet(learn), pytest.raises(ValueError, match="feature map"):
        learn.fit(1)


@pytest.mark.parametrize("control", [NoLoss, TransformOnly])
def test_a_control_of_other_pictures_never_takes_the_batchs_labels(control):
    other = control(make("unlabelled_puzzling_2x2"))
    assert not Emotion().labelled([other], None)
    assert not Emotion().labelled([other], True)
    assert Emotion().labelled([control(Puzzling(2))], True)


def test_a_barlow_twin_can_be_named_where_lightly_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    twin = make("barlow_twins")  # a run's spec is opened by it, and its network needs no loss
    with pytest.raises(ImportError, match="pip install lightly"):
        small_learner([twin]).fit(1)
