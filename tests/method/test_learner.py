"""Hybrid training: what it adds while it runs, and that nothing of it remains."""

import copy
import warnings

import numpy as np
import pytest
import timm
import torch
from fastai.callback.core import Callback, CancelEpochException, CancelFitException
from fastai.callback.schedule import lr_find  # noqa: F401  patches Learner
from fastai.callback.training import GradientAccumulation
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import OptimWrapper
from torch import nn

from hmtl.method.balance import geometric_mean
from hmtl.method.batches import face_dataloaders
from hmtl.method.body import find_body
from hmtl.method.learner import AUTHORS_SCALES, Hybrid, hmtl_learner
from hmtl.method.pretext import Puzzling, SecondView, make


@pytest.fixture
def dls(toy_pack):
    return face_dataloaders(toy_pack, bs=16, device="cpu", seed=0)


def small(classes=8):
    """A network of a few thousand weights in fastai's shape: body, then head."""
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(body, head)


def learner(dls, *cbs, model=None, seed=0):
    torch.manual_seed(seed)
    return Learner(
        dls, model or small(), loss_func=CrossEntropyLossFlat(), metrics=accuracy, cbs=list(cbs)
    )


def state(learn):
    """What a fit may not leave changed: hooks, metrics, methods, optimizer groups."""
    hooks = sum(len(m._forward_hooks) for m in learn.model.modules())
    groups = [len(g) for g in learn.opt.param_lists] if learn.opt else None
    names = [m.name for m in learn.metrics]
    hidden = {"_do_epoch", "_with_events", "save"} & set(vars(learn))
    return hooks, groups, names, hidden, sorted(learn.model.state_dict())


# -- the supervised network is what is left ---


@pytest.mark.parametrize("views", ["shared", "paired"])
def test_after_training_the_model_is_the_plain_network_to_the_bit(dls, quiet, views):
    learn = hmtl_learner(dls, "tiny", pretexts=[Puzzling(2)], views=views, seed=0)
    plain = hmtl_learner(dls, "tiny")
    assert list(learn.model.state_dict()) == list(plain.model.state_dict())
    with quiet(learn):
        learn.fit(1, 1e-3)
    plain.model.load_state_dict(learn.model.state_dict())
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected = plain.model.eval()(x)
        assert torch.equal(learn.model.eval()(x), expected)
        learn.remove_cb(Hybrid)
        assert torch.equal(learn.model.eval()(x), expected)
    with quiet(learn), quiet(plain):
        assert torch.equal(learn.get_preds()[0], plain.get_preds()[0])


def test_a_plain_view_and_no_pretext_loss_change_nothing(dls, quiet):
    """With weight 0 and no labels on the puzzles, the training is the supervised one.

    Batch norm included: what it remembers of pictures is of those that inference will see.
    """
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8)),
    )
    trained = []
    for cbs in ([], [Hybrid([Puzzling(2)], weight=0.0, label_views=False, seed=0)]):
        loaders = face_dataloaders(dls.train.dataset.pack, bs=16, device="cpu", seed=0)
        learn = learner(loaders, *cbs, model=copy.deepcopy(model))
        with quiet(learn):
            learn.fit(1, 1e-3)
        trained.append(learn.model.state_dict())
    assert any("running_mean" in name for name in trained[0])
    for name, plain in trained[0].items():
        torch.testing.assert_close(trained[1][name], plain, rtol=0, atol=1e-6)


def test_labelled_views_are_remembered_by_batch_norm_and_unlabelled_ones_are_not(dls, quiet):
    def means(**options):
        loaders = face_dataloaders(dls.train.dataset.pack, bs=16, device="cpu", seed=0)
        learn = learner(loaders, *([Hybrid([Puzzling(2)], seed=0, **options)] if options else []))
        with quiet(learn):
            learn.fit(1, 0.0)  # the weights stay, the statistics move
        norm = learn.model[0][1]
        assert norm.track_running_stats
        return norm.running_mean

    plain = means()
    torch.testing.assert_close(means(label_views=False), plain)
    assert (means(label_views=True) - plain).abs().max() > 1e-4


def test_it_does_train_the_encoder(dls, quiet):
    """The pretext's gradient reaches the encoder: alone, with no emotion loss, it moves it."""
    learn = learner(dls, Hybrid([Puzzling(2)], label_views=False, seed=0))
    learn.loss_func = lambda prediction, target: prediction.sum() * 0
    before = learn.model[0][0].weight.clone()
    with quiet(learn):
        learn.fit(1, 1e-2, wd=0.0)
    assert (learn.model[0][0].weight - before).abs().max() > 1e-4


# -- everything swapped is put back ---


class Stop(Callback):
    """Ends a fit in one of the ways fits end, at the second batch."""

    order = 80

    def __init__(self, error, event="after_loss"):
        self.error = error
        setattr(self, event, self.stop)

    def stop(self):
        if self.training and self.iter == 1:
            raise self.error


@pytest.mark.parametrize(
    "error", [None, KeyboardInterrupt(), CancelFitException(), RuntimeError("no memory")]
)
@pytest.mark.parametrize("views", ["shared", "paired"])
def test_the_learner_is_as_it_was_however_a_fit_ends(dls, quiet, error, views):
    learn = learner(dls, Hybrid([Puzzling(2)], views, seed=0))
    learn.create_opt()
    before = state(learn)
    with quiet(learn):
        try:
            learn.fit(1, cbs=[Stop(error)] if error else None)
        except (KeyboardInterrupt, RuntimeError) as raised:
            assert type(raised) is type(error)  # noqa: PT017  a fit may also end without error
        assert state(learn) == before
        learn.fit(1)  # and it trains again
    assert state(learn) == before
    assert learn.recorder.metric_names[-2] == "puzzling_2x2_score"


def test_a_cancelled_epoch_does_not_end_the_hybrid_part(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    with quiet(learn):
        learn.fit(3, cbs=[Stop(CancelEpochException())])
    assert state(learn)[0] == 0
    assert learn.hybrid.heads


def test_validating_and_predicting_never_involve_the_pretext(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    with quiet(learn):
        learn.fit(1)
        calls = []
        hook = learn.model.register_forward_hook(lambda *a: calls.append(1))
        assert len(learn.validate()) == 2  # loss and accuracy alone
        learn.get_preds()
        hook.remove()
    assert len(calls) == 2 * len(dls.valid)


def test_validating_inside_a_fit_does_not_end_it(dls, quiet):
    class Peek(Callback):
        order, looked, attached = 95, False, []

        def after_epoch(self):
            if not self.looked:
                self.looked = True  # validating fires after_epoch too
                self.learn.validate()
            self.attached.append(self.learn.hybrid._attached)

    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    with quiet(learn):
        learn.fit(2, cbs=[Peek()])
    assert len(Peek.attached) == 3
    assert all(Peek.attached)


def test_heads_keep_training_over_two_fits(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    with quiet(learn):
        learn.fit(1)
        head = learn.hybrid.heads["puzzling_2x2"]
        weight = head.linear.weight.clone()
        steps = learn.hybrid._guests.states[head.linear.weight][0]["step"]
        learn.fit(1)
    assert learn.hybrid.heads["puzzling_2x2"] is head
    assert not torch.equal(head.linear.weight, weight)
    assert learn.hybrid._guests.states[head.linear.weight][0]["step"] == 2 * steps


# -- it works with the rest of fastai ---


def test_a_trained_pretext_can_be_asked_and_leaves_no_trace(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    images = torch.rand(5, 3, 32, 32)
    with pytest.raises(ValueError, match=r"learn\.fit"):
        learn.hybrid.ask(images)
    with pytest.raises(ValueError, match="puzzling_2x2"):
        learn.hybrid.ask(images, "nope")
    with quiet(learn):
        learn.fit(1)
    training = learn.model.training
    views, target, prediction = learn.hybrid.ask(images, seed=3)
    again = learn.hybrid.ask(images, seed=3)[2]
    assert views.shape == images.shape
    assert target.shape == (5, 4)
    assert prediction.shape == (5, 4, 4)
    assert torch.equal(prediction, again)
    assert learn.model.training == training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in learn.model.modules())


def test_each_loss_is_logged_by_its_own_name(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2), Puzzling(3)], seed=0))
    with quiet(learn):
        learn.fit(2)
    names = learn.recorder.metric_names
    for n in ("2x2", "3x3"):
        for name in (f"train_puzzling_{n}_loss", f"puzzling_{n}_loss", f"puzzling_{n}_score"):
            assert name in names
    rows = torch.tensor([list(map(float, row)) for row in learn.recorder.values])
    assert torch.isfinite(rows).all()
    # what it says is the loss really is that: an untrained 2x2 head starts near 4 ln 4 = 5.5
    assert 4.5 < float(rows[0, list(names).index("train_puzzling_2x2_loss") - 1]) < 7


@pytest.mark.filterwarnings("error:Could not load the optimizer state")
def test_learning_rate_finder_leaves_model_and_heads_alone(dls, quiet, tmp_path):
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    learn.path = tmp_path
    with quiet(learn):
        learn.fit(1)
        model, head = (
            copy.deepcopy(m.state_dict()) for m in (learn.model, learn.hybrid.heads["puzzling_2x2"])
        )
        learn.lr_find(show_plot=False, num_it=8)
    for module, kept in ((learn.model, model), (learn.hybrid.heads["puzzling_2x2"], head)):
        assert all(torch.equal(v, kept[k]) for k, v in module.state_dict().items())
    assert state(learn)[0] == 0


def test_a_fit_after_the_finder_or_a_load_trains(dls, quiet, tmp_path):
    """Both replace the optimizer's state before the heads exist."""
    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    learn.path = tmp_path
    with quiet(learn):
        learn.lr_find(show_plot=False, num_it=8)
        learn.fit_one_cycle(1, 1e-3)
        learn.save("trained")
    other = learner(dls, Hybrid([Puzzling(2)], seed=0))
    other.path = tmp_path
    with quiet(other):
        other.load("trained")
        other.fit_one_cycle(1, 1e-3)
    assert other.hybrid.heads


def test_a_wrapped_torch_optimizer_keeps_nothing_of_the_heads(dls, quiet, tmp_path):
    def adamw(parameters, lr):
        return OptimWrapper(parameters, torch.optim.AdamW, lr=lr)

    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    learn.opt_func, learn.path = adamw, tmp_path
    with quiet(learn):
        learn.fit(2, 1e-3)
        learn.save("with optimizer")
        learn.fit(1, 1e-3)
    own = {id(p) for p in learn.model.parameters()}
    assert {id(p) for p in learn.opt.opt.state} <= own


def test_gradient_accumulation_scales_the_whole_loss(dls, quiet):
    totals = []

    class Watch(Callback):
        order = Hybrid.order + 1

        def after_loss(self):
            if self.training and self.iter == 0:
                totals.append(self.learn.loss_grad.item())

    for extra in ([], [GradientAccumulation(64)]):
        loaders = face_dataloaders(dls.train.dataset.pack, bs=16, device="cpu", seed=0)
        learn = learner(loaders, Hybrid([Puzzling(2)], seed=0), Watch(), *extra)
        with quiet(learn):
            learn.fit(1)
    assert totals[1] == pytest.approx(totals[0] / 4, rel=1e-5)


def test_a_fit_that_fails_before_its_first_epoch_leaves_no_trace(dls, quiet):
    class Broken(Callback):
        order = 95

        def before_fit(self):
            raise LookupError("no such metric")

    learn = learner(dls, Hybrid([Puzzling(2)], seed=0))
    with quiet(learn):
        learn.fit(1)
        with pytest.raises(LookupError):
            learn.fit(1, cbs=[Broken()])
        assert len(learn.validate()) == 2


def test_show_results_and_export(dls, quiet, tmp_path):
    learn = hmtl_learner(dls, "tiny", pretexts=[Puzzling(2)], seed=0)
    learn.path = tmp_path
    with quiet(learn):
        learn.fit(1)
        learn.show_results(max_n=4)
        learn.export("learner.pkl")
    exported = torch.load(tmp_path / "learner.pkl", weights_only=False)  # our own file
    assert learn.hybrid.heads
    assert not exported.hybrid.heads  # nothing of the puzzle travels along
    assert all(len(d.dataset.pack.images) == 0 for d in exported.dls.loaders)  # and no picture
    for name, value in exported.model.state_dict().items():
        assert torch.equal(value, learn.model.state_dict()[name])


@pytest.mark.parametrize("name", ["second_view", "random_target", "inpainting_grid"])
def test_no_picture_travels_in_an_export(toy_pack, quiet, tmp_path, name):
    """The last training batch, which augmentation and controls hold, is not in the file."""
    dls = face_dataloaders(toy_pack, bs=16, seed=0, device="cpu")
    learn = hmtl_learner(dls, "tiny", pretexts=[make(name)], seed=0)
    learn.path = tmp_path
    with quiet(learn):
        learn.fit(1)
        learn.export("learner.pkl")
    held = dls.train.after_batch.fs
    (batch,) = (step._raw for step in held if getattr(step, "_raw", None) is not None)
    content = (tmp_path / "learner.pkl").read_bytes()
    assert batch.contiguous().numpy().tobytes()[:4096] not in content
    plain = sum(p.numel() * 4 for p in learn.model.state_dict().values())
    assert len(content) < plain + 150_000


def test_one_line_turns_a_timm_learner_into_a_hybrid_one(dls, quiet):
    learn = learner(dls, model=timm.create_model("test_resnet", num_classes=8))
    learn.add_cb(Hybrid([Puzzling(2)]))
    with quiet(learn):
        learn.fit_one_cycle(1, 1e-3)
    assert learn.hybrid.heads["puzzling_2x2"].linear.in_features == learn.model.num_features


def test_body_is_found_or_asked_for():
    model = small()
    assert find_body(model) is model[0]
    network = timm.create_model("test_resnet", num_classes=8)
    assert find_body(network) is network.global_pool
    for unclear in (nn.Linear(2, 2), nn.Sequential(*model[0], *model[1])):
        with pytest.raises(ValueError, match="body="):
            find_body(unclear)


# -- views and their losses ---


def test_geometric_mean_of_losses():
    assert geometric_mean([torch.tensor(2.0), torch.tensor(8.0)]).item() == pytest.approx(4)
    only = torch.tensor(3.0)
    assert geometric_mean([only]) is only


def test_paired_total_is_geometric_mean_plus_weighted_tile_losses(dls, quiet):
    """By hand: sqrt(plain x puzzled) + 0.3 x sum over the tiles."""
    seen = {}

    class Watch(Callback):
        order = Hybrid.order + 1

        def after_loss(self):
            if self.training and not seen:
                hybrid = self.learn.hybrid
                seen["plain"] = self.learn.loss.item()
                seen["view"] = hybrid._view_losses[0].item()
                seen["tiles"] = hybrid._predictions["puzzling_2x2"][0].item()
                seen["total"] = self.learn.loss_grad.item()

    learn = learner(dls, Hybrid([Puzzling(2)], seed=0), Watch())
    with quiet(learn):
        learn.fit(1)
    by_hand = (seen["plain"] * seen["view"]) ** 0.5 + 0.3 * seen["tiles"]
    assert seen["total"] == pytest.approx(by_hand, rel=1e-5)


def test_shared_view_is_what_the_supervised_head_sees(dls, quiet):
    shown = []

    class Watch(Callback):
        order = 90

        def before_batch(self):
            if self.training:
                target = self.learn.hybrid._target["puzzling_2x2"]
                shown.append((self.learn.hybrid.learn.xb[0], target))

    learn = learner(dls, Hybrid([Puzzling(2)], "shared", seed=0), Watch())
    passes = []
    learn.model.register_forward_hook(lambda *a: passes.append(learn.training))
    with quiet(learn):
        learn.fit(1)
    assert sum(passes) == len(dls.train)  # one pass a batch: the pretext is free
    view, target = shown[0]
    assert target.shape == (16, 4)
    assert view.shape == (16, 3, 32, 32)


def test_authors_three_sizes(dls, quiet):
    sizes = []
    learn = learner(dls, Hybrid([Puzzling(2)], scales=AUTHORS_SCALES, seed=0))
    learn.model.register_forward_pre_hook(lambda m, x: sizes.append(x[0].shape[-1]))
    with quiet(learn):
        learn.fit(1)
    plain, large, same, small_ = (sizes[i : 4 * len(dls.train) : 4] for i in range(4))
    assert set(plain) == set(same) == {32}
    assert all(32 <= s <= 37 for s in large)  # 113-128 of 112
    assert all(18 <= s <= 32 for s in small_)  # 64-111 of 112
    assert len(set(small_)) > 1  # drawn anew every batch


def test_second_view_is_another_augmentation_and_leaves_the_first_alone(toy_pack, quiet):
    firsts = []
    for pretexts in ([Puzzling(2)], [SecondView()]):
        dls = face_dataloaders(toy_pack, bs=16, device="cpu", seed=0)
        learn = learner(dls, Hybrid(pretexts, seed=0))
        inputs = []
        learn.model.register_forward_pre_hook(lambda m, x, keep=inputs: keep.append(x[0]))
        with quiet(learn):
            learn.fit(1)
        firsts.append(inputs[: 2 * len(dls.train) : 2])
    assert all(torch.equal(a, b) for a, b in zip(*firsts, strict=True))
    assert not torch.equal(inputs[0], inputs[1])
    assert "second_view_loss" not in learn.recorder.metric_names


# -- wrong use ---


def test_pretexts_see_pictures_whether_the_dataloaders_normalise_or_not(toy_pack, quiet):
    """The same tasks, the same views, and a model that sees what it is used to."""
    seen = {}
    for normalised in (False, True):
        dls = face_dataloaders(toy_pack, bs=16, augment="none", seed=0, device="cpu")
        stats = ([0.4, 0.5, 0.6], [0.2, 0.3, 0.25])
        if normalised:
            dls.add_tfms([Normalize.from_stats(*stats, cuda=False)], "after_batch")
        pictures, inputs = [], []

        class Watched(Puzzling):
            def transform(self, images, generator, kept=pictures):
                kept.append(images.clone())
                return super().transform(images, generator)

        learn = learner(dls, Hybrid([Watched(2)], "paired", seed=0))
        learn.model.register_forward_pre_hook(
            lambda module, x, kept=inputs: kept.append(x[0].as_subclass(torch.Tensor).clone())
        )
        with quiet(learn):
            learn.fit(1)
        seen[normalised] = pictures[0], inputs[:2]
    plain, normal = seen[False], seen[True]
    torch.testing.assert_close(plain[0], normal[0], atol=1e-5, rtol=0)
    assert plain[0].min() >= 0
    assert plain[0].max() <= 1
    mean, std = (torch.tensor(s).view(1, 3, 1, 1) for s in stats)
    for before, after in zip(plain[1], normal[1], strict=True):  # the picture, then its puzzle
        torch.testing.assert_close((before - mean) / std, after, atol=1e-5, rtol=0)


def test_two_hybrids_on_one_learner_are_refused(dls, quiet):
    learn = learner(dls, Hybrid([Puzzling(2)]))
    learn.add_cb(Hybrid([Puzzling(3)]))
    with quiet(learn), pytest.raises(ValueError, match="remove_cbs"):
        learn.fit(1)


def test_tasks_may_be_named(dls):
    assert Hybrid("puzzling_3x3").pretexts[0].n == 3
    assert Hybrid(Puzzling(2)).pretexts[0].n == 2
    for nothing in ([], [3]):
        with pytest.raises(ValueError, match="at least one"):
            Hybrid(nothing)


def test_wrong_use_says_what_to_do(dls, quiet):
    with pytest.raises(ValueError, match="shared, paired"):
        Hybrid([Puzzling(2)], "both")
    with pytest.raises(ValueError, match="views='paired'"):
        Hybrid([Puzzling(2), Puzzling(3)], "shared")
    with pytest.raises(ValueError, match="paired"):
        Hybrid([SecondView()], "shared")
    with pytest.raises(ValueError, match="twice"):
        Hybrid([Puzzling(2), Puzzling(2)])
    with pytest.raises(ValueError, match="puzzling_2x2"):
        Hybrid([Puzzling(2)], weight={"puzzle": 1.0})


NAN = float("nan")
CANNOT = {
    "weight": [-1, NAN, "a", True, [1], {"puzzling_2x2": "1"}, {"puzzling_2x2": -0.5}],
    "scales": [[], (), ("1",), [0], 0.01, (0.01,), [(0.5, NAN)], [(1, 2, 3)], [None], "1", [-1]],
    "normalize": [0.5, "ab", [[0.5]], ([0.5] * 3, [0] * 3), ([0.5] * 3, [1] * 2), ("a", "b"),
                  ([NAN], [1]), ([[1], [1, 2]], [1])],
    "body": ["5", nn.Linear, 5], "seed": ["a", -1, 1.5, True, NAN], "task": ["emotion", Puzzling],
    "label_views": ["no", 1],
}  # fmt: skip


@pytest.mark.parametrize("name", CANNOT)
def test_an_argument_that_cannot_work_is_named_when_a_hybrid_is_made(name):
    for value in CANNOT[name]:
        with pytest.raises(ValueError, match=rf"^{name}.* must "):
            Hybrid("puzzling_2x2", **{name: value})
    for weight in ({"paired": -1.0}, {"paired": "1"}, 0.3):
        pretext = Puzzling(2)
        pretext.weight = weight
        with pytest.raises(
            ValueError, match="weight of puzzling_2x2 must be|puzzling_2x2: weight must"
        ):
            Hybrid(pretext)


def test_numbers_of_numpy_and_torch_are_numbers():
    stats = (torch.zeros(1, 3, 1, 1), np.ones(3))
    weight, scales = {"puzzling_2x2": torch.tensor(0.5)}, [[0.5, np.float32(1)], 1]
    hybrid = Hybrid("puzzling_2x2", weight=weight, scales=scales, normalize=stats, seed=np.int64(3))
    assert hybrid.weights == {"puzzling_2x2": 0.5}
    assert hybrid.scales == ((0.5, 1.0), 1.0)
    assert hybrid.normalize == ((0, 0, 0), (1, 1, 1))
    assert hybrid.seed == 3


@pytest.mark.parametrize("last", [True, False])
def test_a_body_whose_output_is_the_answer_is_warned_of(dls, quiet, last):
    learn = learner(dls)
    parts = [m for m in learn.model.modules() if isinstance(m, nn.Linear)]
    learn.add_cb(Hybrid("puzzling_2x2", body=parts[-1] if last else learn.model[0], seed=0))
    with quiet(learn), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        learn.fit(1)
    assert any("body= is Linear, whose output" in str(w.message) for w in told) == last


def test_second_view_needs_our_augmentation(dls, quiet):
    learn = learner(dls, Hybrid([SecondView()]))
    learn.dls.train.after_batch.fs.clear()
    with quiet(learn), pytest.raises(ValueError, match="face_dataloaders"):
        learn.fit(1)


def test_images_are_normalised_once(toy_pack):
    dls = face_dataloaders(toy_pack, bs=16, device="cpu")
    assert hmtl_learner(dls, "tiny").model.encoder.normalize
    dls.train.after_batch.add(Normalize.from_stats([0.5] * 3, [0.5] * 3))
    assert not hmtl_learner(dls, "tiny").model.encoder.normalize


def test_loaders_that_do_not_say_how_many_classes_there_are():
    data = torch.utils.data.TensorDataset(torch.rand(16, 3, 16, 16), torch.arange(16) % 4)
    dls = DataLoaders(*[torch.utils.data.DataLoader(data, 8) for _ in "ab"], device="cpu")
    with pytest.raises(ValueError, match=r"set dls\.c"):
        hmtl_learner(dls, "tiny", pretexts="puzzling_2x2")
    dls.c = 4
    assert hmtl_learner(dls, "tiny", pretexts="puzzling_2x2")
