"""Cases of anybody's own Learner: each ends in the right numbers, or in one line with the cause."""

import copy
import os
import pickle
import textwrap
from pathlib import Path

import pytest
import timm
import torch
from fastai.callback.core import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelFitException,
    CancelTrainException,
)
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.hook import summary  # noqa: F401  patches Learner
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.data.block import CategoryBlock, DataBlock, RegressionBlock
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import SGD, OptimWrapper
from fastai.vision.augment import RandomErasing
from fastai.vision.core import PILImage, TensorImage
from fastai.vision.data import ImageBlock
from fasttransform import Transform
from forked import Python
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from hmtl import Hybrid, Inpainting, Puzzling, TileRotation
from hmtl.method import checks, guest
from hmtl.method.body import find_body
from hmtl.method.guest import Guest
from hmtl.method.pretext import ImageRotation


def items(count=16, size=16, classes=4, label=None, low=0.0, high=1.0):
    """Pictures of noise with labels, of fixed seeds."""
    label = label or (lambda i: i % classes)
    pictures = [
        torch.rand(3, size, size, generator=torch.Generator().manual_seed(i)) for i in range(count)
    ]
    return [(low + (high - low) * x, label(i)) for i, x in enumerate(pictures)]


def loaders(data=None, bs=8, **options):
    data = data or items(**options)
    return DataLoaders(*[torch.utils.data.DataLoader(data, bs) for _ in "ab"], device="cpu")


def small(norm=True):
    """Body and head; the body has a map of 7 x 7 for pictures of 16."""
    middle = [nn.BatchNorm2d(8)] if norm else []
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), *middle, nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nn.Sequential(body, head)


def learner(*cbs, model=None, dls=None, **options):
    torch.manual_seed(0)
    model = model or small()
    options = {"loss_func": nn.CrossEntropyLoss(), **options}
    return Learner(dls or loaders(), model, cbs=list(cbs), **options)


def fit(learn, epochs=1, cbs=(), **options):
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, cbs=list(cbs), **options)
    return learn


def unlabelled(**options):
    pretexts = options.pop("pretexts", ["puzzling_2x2"])
    weight = options.pop("weight", 0.3)
    return Hybrid(pretexts, label_views=False, weight=weight, seed=0, **options)


class Grab(Callback):
    """Keeps the first step's gradients of the network, and ends the fit."""

    order = 100

    def before_step(self):
        self.learn.got = [p.grad.clone() for p in self.learn.model.parameters()]
        raise CancelFitException


# -- what other callbacks do to the loss ---


class Penalty(Callback):
    """Adds the weights' squares, in one of the ways callbacks do."""

    run_valid = False

    def __init__(self, how, order):
        self.how, self.order = how, order

    def after_loss(self):
        squares = 0.5 * sum(p.pow(2).sum() for p in self.learn.model.parameters())
        if self.how == "add":
            self.learn.loss_grad = self.loss_grad + squares
        elif self.how == "add in place":
            self.learn.loss_grad += squares
        elif self.how == "scale":
            self.learn.loss_grad = 3 * self.loss_grad
        elif self.how == "both":
            self.learn.loss_grad = 3 * self.loss_grad + squares
        elif self.how == "on the loss":
            self.learn.loss_grad = self.learn.loss + squares
        elif self.how == "and show it":
            self.learn.loss_grad = self.loss_grad + squares
            self.learn.loss = self.learn.loss_grad.clone()
        elif self.how == "blend":
            self.learn.loss_grad = 0.3 * self.loss_grad + 0.7 * self.pred.pow(2).mean()


@pytest.mark.parametrize("order", [-20, 0, 20])
@pytest.mark.parametrize(
    "how", ["add", "add in place", "scale", "both", "on the loss", "and show it", "blend"]
)
def test_what_callbacks_do_to_the_loss_is_done_as_without_hybrid(how, order):
    plain = fit(learner(Penalty(how, order)), cbs=[Grab()]).got
    without = fit(learner(), cbs=[Grab()]).got
    # a pretext that is asked and weighs nothing changes no gradient
    weightless = fit(learner(unlabelled(weight=0.0), Penalty(how, order)), cbs=[Grab()]).got
    for one, other in zip(weightless, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    # the classifier sees the supervised loss alone, whatever the pretext weighs
    hybrid = fit(learner(unlabelled(), Penalty(how, order)), cbs=[Grab()]).got
    for one, other in zip(hybrid[-2:], plain[-2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    # the pretext's part of the encoder's gradient is there, scaled as the loss is
    share = {"scale": 3, "both": 3, "blend": 0.3}.get(how, 1)
    alone = fit(learner(unlabelled()), cbs=[Grab()]).got
    for one, other, pretext, none in zip(hybrid, plain, alone, without, strict=True):
        torch.testing.assert_close(one - other, share * (pretext - none), rtol=1e-3, atol=1e-5)
    assert (alone[0] - without[0]).abs().max() > 1e-4


class PerPicture(Callback):
    """Weighs the losses of single pictures, `weights` (B,), and takes their mean."""

    def __init__(self, weights, of="loss_grad", order=0):
        self.weights, self.of, self.order = weights, of, order

    def after_loss(self):
        if self.training:
            self.learn.loss_grad = (self.weights * getattr(self.learn, self.of)).mean()
        self.learn.loss = self.learn.loss.mean()


@pytest.mark.parametrize("of", ["loss_grad", "loss"])
@pytest.mark.parametrize("labelled", [False, True])
def test_losses_of_single_pictures_are_weighed_by_a_callback(of, labelled):
    weights = torch.arange(8) / 4
    each = nn.CrossEntropyLoss(reduction="none")

    def got(*cbs, weights=weights, of=of, **options):
        return fit(learner(*cbs, PerPicture(weights, of), **options), cbs=[Grab()]).got

    plain = got(loss_func=each)
    for one, other in zip(got(unlabelled(weight=0.0), loss_func=each), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    # with equal weights it is the mean that torch takes, of labelled views too
    beside = {"label_views": None if labelled else False, "seed": 0}
    one = got(Hybrid([Puzzling(2)], **beside), weights=1.0, loss_func=each)
    other = fit(learner(Hybrid([Puzzling(2)], **beside)), cbs=[Grab()]).got
    for single, mean in zip(one, other, strict=True):
        torch.testing.assert_close(single, mean, rtol=1e-4, atol=1e-6)
    # the pretext's part is weighed as the loss is: by the weights' mean
    hybrid, alone = got(unlabelled(), loss_func=each), fit(learner(unlabelled()), cbs=[Grab()]).got
    without = fit(learner(), cbs=[Grab()]).got
    for one, other, pretext, none in zip(hybrid, plain, alone, without, strict=True):
        wanted = weights.mean() * (pretext - none)
        torch.testing.assert_close(one - other, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("pretext", ["puzzling_2x2", "inpainting_grid", "image_rotation"])
@pytest.mark.parametrize("labelled", [None, False])
def test_a_network_of_other_numbers_trains_with_heads_of_float32(kind, pretext, labelled):
    def trained(kind):
        dls = loaders([(x.to(kind), y) for x, y in items()])
        hybrid = Hybrid(pretext, label_views=labelled, seed=0)
        model = small().to(kind)

        def loss(answer, label):  # fastai's Recorder knows float32 only
            return F.cross_entropy(answer.float(), label)

        return fit(learner(hybrid, model=model, dls=dls, loss_func=loss))

    torch.manual_seed(0)
    learn = trained(kind)
    torch.manual_seed(0)
    plain = trained(torch.float32)
    assert {p.dtype for p in learn.model.parameters()} == {kind}
    assert {p.dtype for m in learn.hybrid.trained() for p in m.parameters()} == {torch.float32}
    near = 0.05 if kind == torch.bfloat16 else 1e-3
    got, wanted = (list(fitted.recorder.values[-1][:-1]) for fitted in (learn, plain))
    assert got == pytest.approx(wanted, rel=near)


def test_penalties_of_two_callbacks_and_accumulation_add_up():
    def got(*cbs):
        return fit(
            learner(*cbs, Penalty("add", 0), Penalty("scale", 20), GradientAccumulation(8)),
            cbs=[Grab()],
        ).got

    for one, other in zip(got(unlabelled(weight=0.0)), got(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_labelled_views_penalty_is_not_in_the_geometric_mean():
    kept = {}

    class Look(Callback):
        order = 90

        def after_loss(self):
            if self.training and not kept:
                hybrid = self.learn.hybrid
                kept.update(total=self.loss_grad.item(), parts=hybrid.losses())
                kept["plain"] = [self.learn.loss.item(), hybrid._view_losses[0].item()]
                kept["squares"] = 0.5 * sum(
                    p.pow(2).sum().item() for p in self.learn.model.parameters()
                )

    fit(learner(Hybrid([Puzzling(2)], seed=0), Penalty("add", 0), Look()))
    mean = (kept["plain"][0] * kept["plain"][1]) ** 0.5
    assert kept["parts"]["supervised"] == pytest.approx(mean, rel=1e-5)
    wanted = mean + kept["parts"]["puzzling_2x2"] + kept["squares"]
    assert kept["total"] == pytest.approx(wanted, rel=1e-5)


class Sharpness(Callback):
    """SAM: the step is taken by the gradient at the worst place near the weights."""

    order = 50

    def before_step(self):
        parameters = [p for p in self.learn.model.parameters() if p.grad is not None]
        before = [p.detach().clone() for p in parameters]
        for p in parameters:
            p.data.add_(0.05 * p.grad.sign())
        self.learn.opt.zero_grad()
        self.learn.loss_func(self.learn.model(*self.xb), *self.yb).backward()
        for p, value in zip(parameters, before, strict=True):
            p.data.copy_(value)


class Adversary(Callback):
    """FGSM: the pictures are moved along their own gradient before the pass."""

    def before_batch(self):
        if self.training:
            x = self.xb[0].clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.learn.loss_func(self.learn.model(x), *self.yb), x)
            self.learn.xb = ((x + 0.01 * slope.sign()).clamp(0, 1).detach(),)


class Teacher(Callback):
    """Distillation from the network as it was."""

    def before_fit(self):
        self.old = copy.deepcopy(self.learn.model).eval()

    def after_loss(self):
        if self.training:
            with torch.no_grad():
                wanted = self.old(*self.xb).softmax(1)
            own = F.kl_div(self.pred.log_softmax(1), wanted, reduction="batchmean")
            self.learn.loss = self.learn.loss_grad = self.loss_grad + own


class Averaged(Callback):
    """Half of the old weights and half of the new, put in for validation."""

    def before_fit(self):
        self.mean = {k: v.clone() for k, v in self.learn.model.state_dict().items()}

    def before_validate(self):
        own = {k: v.clone() for k, v in self.learn.model.state_dict().items()}
        halves = {k: (self.mean[k] + v) / 2 for k, v in own.items() if v.is_floating_point()}
        self.own, self.mean = own, own | halves
        self.learn.model.load_state_dict(self.mean)

    def after_validate(self):
        self.learn.model.load_state_dict(self.own)


class Skip(Callback):
    """Cancels the second batch at an event."""

    def __init__(self, event, error):
        self.seen, self.error = 0, error
        setattr(self, event, self.happen)

    def happen(self):
        self.seen += self.training
        if self.seen == 2 and self.training:
            raise self.error


@pytest.mark.parametrize(
    "make",
    [
        lambda: [GradientAccumulation(24), GradientClip(0.05)], lambda: [Sharpness()],
        lambda: [Adversary()], lambda: [Teacher()], lambda: [Averaged()],
        lambda: [MixedPrecision(amp_mode=AMPMode.BF16)],
        lambda: [Skip("before_step", CancelBatchException())],
        lambda: [Skip("after_pred", CancelBatchException())],
        lambda: [Skip("before_backward", CancelBackwardException())],
        lambda: [Skip("after_step", CancelTrainException())],
    ],
    ids=["accumulation", "sharpness", "adversary", "teacher", "averaged", "bfloat16",
         "no step", "no loss", "no backward", "no epoch"],
)  # fmt: skip
def test_whole_fits_with_callbacks_of_others_end_in_the_same_network(make):
    trained = []
    for cbs in ([], [unlabelled(weight=0.0)]):
        learn = learner(*cbs, *make(), loss_func=CrossEntropyLossFlat())
        torch.manual_seed(0)
        trained.append(fit(learn, 3).model.state_dict())
        assert not any(m._forward_hooks for m in learn.model.modules())
        assert len(learn.opt.all_params()) == len(list(learn.model.parameters()))
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [-5, 20])
def test_a_loss_in_the_place_of_ours_is_named(order):
    class Other(Callback):
        def after_loss(self):
            if self.training:
                self.learn.loss_grad = self.pred.pow(2).mean()

    other = Other()
    other.order = order
    with pytest.raises(ValueError, match="loss of its own in the place of learn.loss_grad"):
        fit(learner(unlabelled(), other))


@pytest.mark.parametrize("mix", [MixUp, CutMix])
def test_mixed_pictures_have_the_gradient_of_the_plain_network(mix):
    """Of the first step: later ones draw other mixtures, since a head's dropout draws too."""
    found = []
    for cbs in ([], [unlabelled(weight=0.0)]):
        learn = learner(*cbs, mix(), loss_func=CrossEntropyLossFlat())
        torch.manual_seed(0)
        found.append(fit(learn, cbs=[Grab()]).got)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class ClipByHand(Callback):
    """What a user writes who knows no GradientClip."""

    def before_step(self):
        nn.utils.clip_grad_norm_(self.learn.parameters(), 0.01)


@pytest.mark.parametrize("clip", [GradientClip(0.01), GradientClip(0.01, 2.0), ClipByHand()])
def test_clipping_and_norms_are_of_the_heads_too(clip):
    norms = []

    class Norms(Callback):
        order = 90

        def before_step(self):
            parts = [
                *self.learn.model.parameters(),
                *self.hybrid.heads["puzzling_2x2"].parameters(),
            ]
            norms.append(torch.cat([p.grad.flatten() for p in parts]).norm().item())
            assert len(list(self.learn.parameters())) == len(parts)

    learn = fit(learner(unlabelled(), clip, Norms()))
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-3)
    assert len(list(learn.parameters())) == len(list(learn.model.parameters()))


def test_any_head_can_be_a_guest():
    """A head that knows nothing of pretexts, and another beside it."""

    Brightness = documented()

    class Contrast(Brightness):
        def total(self, loss):
            return loss + 2 * self._loss

    learn = learner(Brightness(seed=0), Contrast(seed=1), unlabelled())
    learn.create_opt()
    before = len(learn.opt.all_params())
    totals = []

    class Look(Callback):
        order = 90

        def after_loss(self):
            if self.training:
                parts = [self.brightness._loss, 2 * self.contrast._loss]
                own = self.hybrid.total(self.learn.loss)
                totals.append((self.loss_grad - own - sum(parts)).abs().item())

    fit(learn, cbs=[Look()])
    assert max(totals) < 1e-5
    assert len(learn.opt.all_params()) == before
    assert not {"_with_events", "save", "export", "parameters"} & set(vars(learn))
    assert learn.cbs.map(type)[-4:-1] == [Brightness, Contrast, Hybrid]


# -- the network's map ---


class Shapes(Callback):
    """Keeps the shape of the map, and ends the fit."""

    order = Hybrid.order + 1

    def after_pred(self):
        self.learn.map_shape = tuple(self.hybrid.representation()["map"].shape)
        raise CancelFitException


def timm_model(arch, **options):
    torch.manual_seed(0)
    return timm.create_model(arch, num_classes=4, **options)


SWIN = {"img_size": 64, "window_size": 2, "depths": (1, 1, 1, 1)}
# a convolution lies between its map and its pooling
LOWFORMER = {"width_list": [4, 8, 8, 16, 16], "depth_list": [0, 1, 1, 1, 1], "attn": False}


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("mobilenetv3_small_050", {}), ("lcnet_035", {}), ("ghostnet_050", {}), ("starnet_s1", {}),
        ("test_efficientnet", {}), ("test_resnet", {}), ("test_convnext", {}),
        ("test_vit", {"img_size": 64, "patch_size": 16}), ("swin_tiny_patch4_window7_224", SWIN),
        ("lowformer_b0", LOWFORMER),
    ],
)  # fmt: skip
def test_a_timm_learner_gives_the_map_of_its_own_features(arch, options):
    model = timm_model(arch, **options).train()
    learn = learner(Hybrid(Inpainting("grid"), seed=0), model=model, dls=loaders(items(4, 64), 4))
    fit(learn, cbs=[Shapes()])
    with torch.no_grad():
        features = model.forward_features(torch.rand(4, 3, 64, 64))
    if features.ndim == 3:
        wanted = (4, features.shape[2], 4, 4)
    elif getattr(model, "output_fmt", "NCHW") == "NHWC":
        wanted = tuple(features.permute(0, 3, 1, 2).shape)
    else:
        wanted = tuple(features.shape)
    assert learn.map_shape[1] == wanted[1] or arch.startswith("mobilenet")
    assert learn.map_shape == wanted
    assert min(wanted[2:]) > 1


@pytest.mark.parametrize("body", ["global_pool", "in_conv", "stages"])
def test_the_map_before_a_convolution_and_a_pooling_is_the_networks_own(body):
    model = timm_model("lowformer_b0", **LOWFORMER)
    hybrid = Hybrid([Puzzling(2), Inpainting("grid")], body=model.get_submodule(body), seed=0)
    learn = learner(hybrid, model=model, dls=loaders(items(4, 64), 4))
    fit(learn, cbs=[Shapes()])
    wide = model.in_conv.conv.out_channels  # a body that is said is taken as it is
    assert learn.map_shape == (4, wide if body == "in_conv" else 16, 2, 2)
    fit(learn)
    assert learn.hybrid._widths["puzzling_2x2"] == (16 if body == "stages" else wide)
    for name in ("puzzling_2x2", "inpainting_grid"):  # after it, on the same layers
        learn.hybrid.ask(torch.rand(3, 3, 64, 64), name)
    assert len(learn.hybrid.show(2)) == 2
    assert "forward_features" not in vars(model)


def test_a_method_that_a_user_put_in_a_network_stays():
    model = timm_model("lowformer_b0", **LOWFORMER)
    model.forward_features = own = lambda x: type(model).forward_features(model, 2 * x)
    fit(learner(Hybrid([Puzzling(2)], seed=0), model=model, dls=loaders(items(4, 64), 4)))
    assert vars(model)["forward_features"] is own


@pytest.mark.parametrize("body", [None, "norm", "layers", "head.global_pool"])
def test_channels_last_bodies_are_understood(body):
    model = timm_model("swin_tiny_patch4_window7_224", **SWIN)
    part = None if body is None else model.get_submodule(body)
    hybrid = Hybrid([Puzzling(2), Inpainting("grid")], body=part, seed=0)
    learn = fit(learner(hybrid, model=model, dls=loaders(items(4, 64), 4)))
    assert set(learn.hybrid._widths.values()) == {model.num_features}


def test_a_channels_last_map_of_pictures_that_are_not_square():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 12, 4, 4)

        def forward(self, x):
            return self.conv(x).permute(0, 2, 3, 1)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 4)

        def forward(self, x):
            return self.linear(x.mean((1, 2)))

    data = [(torch.rand(3, 32, 48), i % 4) for i in range(8)]
    learn = learner(
        Hybrid([Puzzling(2, on="map")], seed=0),
        model=nn.Sequential(Last(), Head()),
        dls=loaders(data, 4),
    )
    fit(learn, cbs=[Shapes()])
    assert learn.map_shape == (4, 12, 8, 12)


def test_a_body_that_ends_in_its_pooling_gives_the_map_before_it():
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    learn = learner(Hybrid(Inpainting("grid"), seed=0), model=nn.Sequential(body, nn.Linear(8, 4)))
    fit(learn, cbs=[Shapes()])
    assert learn.map_shape == (8, 8, 7, 7)
    assert find_body(learn.model) is body


# -- features are those of the pass just made ---


class Swap(Callback):
    """Another network, of the same weights, in learn.model from one event to another."""

    def __init__(self, enter, leave, wrap=False):
        self.wrap = wrap
        setattr(self, enter, self.enter)
        setattr(self, leave, self.leave)

    def enter(self):
        self._old = self.learn.model
        average = torch.optim.swa_utils.AveragedModel(self._old)
        average.train(self._old.training)
        self.learn.model = average if self.wrap else average.module

    def leave(self):
        self.learn.model = self._old


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("views", ["paired", "shared"])
@pytest.mark.parametrize("given", [False, True])
def test_a_swapped_network_is_asked_about_the_pictures_it_saw(views, given, wrap):
    rows = []
    for cbs in ([], [Swap("before_validate", "after_validate", wrap)]):
        torch.manual_seed(0)
        model = small()
        hybrid = Hybrid([Puzzling(2)], views, body=model[0] if given else None, seed=0)
        learn = fit(learner(hybrid, model=model, dls=loaders(items(32))), 2, cbs)
        rows.append([list(map(float, row[:4])) for row in learn.recorder.values])
    torch.testing.assert_close(*map(torch.tensor, rows), rtol=1e-4, atol=1e-5)


def test_passes_of_other_callbacks_are_not_taken_for_the_batchs_own():
    class Again(Callback):
        """Runs the network once more, on other pictures, before and after the batch's pass."""

        def before_batch(self):
            self.again()

        def after_pred(self):
            self.again()

        def again(self):
            if self.training:
                with torch.no_grad():
                    self.learn.model.eval()(1 - self.xb[0])
                    self.learn.model.train()

    early, late = Again(), Again()
    early.order, late.order = -20, 50
    got = [
        fit(learner(Hybrid("tile_rotation_2x2", "shared", seed=0), *cbs), cbs=[Grab()]).got
        for cbs in ([], [early], [late])
    ]
    for other in got[1:]:
        for one, two in zip(got[0], other, strict=True):
            torch.testing.assert_close(one, two)


def test_a_network_without_the_body_is_an_error():
    class Other(Callback):
        def before_train(self):
            self.learn.model = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = small(), nn.Conv2d(3, 8, 3)

        def forward(self, x):
            return self.net(x)

    model = small()
    with pytest.raises(ValueError, match="no part|cannot tell"):
        fit(learner(Hybrid([Puzzling(2)], body=model[0][0], seed=0), Other(), model=model))
    model = Unused()
    with pytest.raises(ValueError, match="Conv2d, had no part in this pass.*body="):
        fit(learner(Hybrid([Puzzling(2)], body=model.spare, seed=0), model=model))


@pytest.mark.parametrize(
    "around",
    [
        lambda net: nn.Sequential(nn.Conv2d(3, 3, 1), net),
        lambda net: nn.Sequential(nn.BatchNorm2d(3), net),
        lambda net: nn.Sequential(net, nn.LogSoftmax(1)),
        lambda net: nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), net), nn.Identity()),
    ],
    ids=["colours first", "normalised first", "logarithm last", "within"],
)
def test_a_layer_beside_a_whole_network_is_not_taken_for_its_encoder_or_head(around):
    whole = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip
    hybrid = Hybrid([Puzzling(2), Inpainting("grid")], seed=0)
    fit(learner(hybrid, model=around(whole)))
    inputs = [next(m for m in h.modules() if hasattr(m, "weight")) for h in hybrid.heads.values()]
    assert [layer.weight.shape[1] for layer in inputs] == [12, 12]


@pytest.mark.parametrize("lazy", [False, True])
def test_the_first_of_two_is_the_encoder_before_a_head_of_convolutions_too(lazy):
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 16, 3))
    last = nn.LazyConv2d(4, 1) if lazy else nn.Conv2d(16, 4, 1)
    model = nn.Sequential(body, nn.Sequential(last, nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert find_body(model) is body


# -- pictures ---


@pytest.mark.parametrize(
    ("low", "high"), [(-2.1, 2.6), (-1.0, 1.0), (0.0, 255.0)], ids=["imagenet", "signed", "bytes"]
)
def test_pictures_outside_the_unit_range_are_an_error_with_a_remedy(low, high):
    dls = loaders(items(low=low, high=high))
    with pytest.raises(ValueError, match=r"pictures go from .* \[0, 1\].*normalize=\(mean, std\)"):
        fit(learner(Hybrid(Inpainting("grid"), seed=0), dls=dls))
    mean, std = [-low / (high - low)] * 3, [1 / (high - low)] * 3
    hybrid = Hybrid(Inpainting("grid"), seed=0, normalize=(mean, std))
    seen = []
    hybrid.pretexts[0].transform = lambda x, g, own=hybrid.pretexts[0].transform: (
        seen.append(x.clone()),
        own(x, g),
    )[1]
    fit(learner(hybrid, dls=dls))
    assert torch.cat(seen).min() > -1e-4
    assert torch.cat(seen).max() < 1 + 1e-4


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_few_pixels_of_noise_are_no_other_range(share):
    """fastai's RandomErasing fills squares with noise after Normalize."""
    data = items()
    for x, _ in data:
        x[:, : round(16 * share**0.5), : round(16 * share**0.5)].normal_(0.45, 0.225)
        x[0, 0, 0] = -0.6
    fit(learner(Hybrid([Puzzling(2)], seed=0), dls=loaders(data)))
    for x, _ in data:
        x[:, :4] = -0.6  # a quarter
    with pytest.raises(ValueError, match="pictures go from -0.6"):
        fit(learner(Hybrid([Puzzling(2)], seed=0), dls=loaders(data)))


@pytest.mark.parametrize("views", ["paired", "shared"])
def test_masks_are_places_whatever_their_type(views):
    """Whole numbers of the picture's own height and width: a class a pixel."""
    data = [(x, torch.randint(4, (16, 16))) for x, _ in items()]
    body = nn.Conv2d(3, 8, 3, padding=1)
    options = {"model": nn.Sequential(body, nn.Conv2d(8, 4, 1)), "dls": loaders(data)}
    remedy = f"{'views=.paired., ' if views == 'shared' else ''}label_views=False"
    with pytest.raises(ValueError, match=rf"\(8, 16, 16\) labels are places .* pass {remedy}"):
        fit(learner(Hybrid([Puzzling(2)], views, body=body, seed=0), **options))
    fit(learner(Hybrid([Puzzling(2)], label_views=False, body=body, seed=0), **options))


def test_validation_pictures_are_looked_at_too():
    dls = loaders()
    dls.loaders[1] = loaders(items(high=255.0)).valid
    with pytest.raises(ValueError, match="validation pictures go from 0"):
        fit(learner(Hybrid([Puzzling(2)], seed=0), dls=dls))


def test_bytes_are_no_pictures():
    data = [((x * 255).byte(), y) for x, y in items()]

    class Floats(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = small()[0], small()[1]

        def forward(self, x):
            return self.head(self.encoder(x.float() / 255))

    with pytest.raises(ValueError, match="torch.uint8"):
        fit(learner(Hybrid([Puzzling(2)], seed=0), model=Floats(), dls=loaders(data)))


@pytest.mark.parametrize(
    ("task", "size", "remedy"),
    [
        (TileRotation(3), (50, 35), "quarter; give square pictures.* that 3 divides$"),
        (ImageRotation(), (50, 35), "quarter; give square pictures.*face_dataloaders$"),
        ("puzzling_rotation_2x2", (33, 30), "quarter; give square pictures.* that 2 divides$"),
        ("puzzling_2x2_gap7", (9, 31), "a gap below 4, fewer tiles, or larger pictures"),
    ],
)  # fmt: skip
def test_a_picture_of_a_shape_that_will_not_do_is_told_the_remedy(task, size, remedy):
    data = [(torch.rand(3, *size), i % 4) for i in range(8)]
    with pytest.raises(ValueError, match=remedy):
        fit(learner(Hybrid(task, seed=0), dls=loaders(data)))


@pytest.mark.parametrize(
    ("task", "size", "shown"),
    [
        ("jigsaw_3x3", (50, 35), (51, 36)), ("puzzling_7x7", (33, 31), (35, 28)),
        ("puzzling_3x3_gap2", (9, 64), (9, 63)), ("tile_rotation_2x2", (33, 32), (32, 32)),
        ("inpainting_grid", (50, 35), (50, 35)), ("puzzling_16x16", (9, 9), (16, 16)),
    ],
)  # fmt: skip
def test_a_grid_need_not_divide_a_picture(task, size, shown):
    data = [(torch.rand(3, *size), i % 4) for i in range(8)]
    learn = fit(learner(Hybrid(task, seed=0), dls=loaders(data)))
    assert learn.hybrid.ask(torch.rand(2, 3, *size))[0].shape == (2, 3, *shown)


class Two(nn.Module):
    def __init__(self, order=1, joined=False):
        super().__init__()
        self.encoder, self.head, self.order, self.joined = (
            nn.Conv2d(3, 8, 3),
            nn.Linear(16, 4),
            order,
            joined,
        )

    def forward(self, a, b):
        if self.joined:
            parts = self.encoder(torch.cat([a, b])).mean((2, 3)).chunk(2)
        else:
            parts = [self.encoder(x).mean((2, 3)) for x in (a, b)[:: self.order]][:: self.order]
        return self.head(torch.cat(list(parts), 1))


@pytest.mark.parametrize("views", ["paired", "shared"])
@pytest.mark.parametrize("order", [1, -1])
def test_of_two_pictures_the_first_is_asked_about(views, order):
    data = [(a, 1 - a, y) for a, y in items()]
    dls = DataLoaders(*[DataLoader(data, bs=8, n_inp=2) for _ in "ab"], device="cpu")
    model, seen = Two(order), []
    hybrid = Hybrid([Puzzling(2)], views, seed=0)
    hybrid.pretexts[0].head = lambda width: Kept(width)

    class Kept(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.linear = nn.Linear(width, 16)

        def forward(self, x):
            seen.append(x.detach())
            return self.linear(x).view(-1, 4, 4)

    views_made = []
    own = hybrid.pretexts[0].transform
    hybrid.pretexts[0].transform = lambda x, g: (views_made.append(own(x, g)), views_made[-1])[1]
    fit(learner(hybrid, model=model, dls=dls), lr=0.0)
    with torch.no_grad():
        for view, features in zip([v for v, _ in views_made], seen, strict=True):
            torch.testing.assert_close(model.encoder(view).mean((2, 3)), features)


def test_pictures_that_go_through_as_one_batch_are_refused():
    data = [(a, 1 - a, y) for a, y in items()]
    dls = DataLoaders(*[DataLoader(data, bs=8, n_inp=2) for _ in "ab"], device="cpu")
    with pytest.raises(ValueError, match="16 rows for 8 pictures"):
        fit(learner(Hybrid([Puzzling(2)], seed=0), model=Two(joined=True), dls=dls))


class Several(nn.Module):
    """Pictures, each through the encoder, and numbers beside them."""

    def __init__(self, width):
        super().__init__()
        self.encoder, self.head = nn.Conv2d(3, 8, 3), nn.Linear(width, 4)

    def forward(self, *inputs):
        parts = [self.encoder(x).mean((2, 3)) if x.ndim == 4 else x.float() for x in inputs]
        return self.head(torch.cat(parts, 1))


def beside(*makes):
    """fastai's loaders of a picture and further inputs made of it."""
    data = [(a, *(make(a) for make in makes), y) for a, y in items()]
    many = 1 + len(makes)
    return DataLoaders(*[DataLoader(data, bs=8, n_inp=many) for _ in "ab"], device="cpu")


OTHERS = {
    "three pictures": (24, [lambda a: 1 - a, lambda a: a / 2]),
    "a number": (9, [lambda a: a.mean().view(1)]),
    "whole numbers": (10, [lambda a: torch.tensor([1, 2])]),
    "a picture and numbers": (18, [lambda a: 1 - a, lambda a: a.mean((1, 2))[:2]]),
}


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("pretext", ["puzzling_2x2", "inpainting_grid"])
def test_further_inputs_go_with_the_picture_and_with_its_views(others, pretext):
    width, makes = OTHERS[others]
    got = []
    for cbs in ([], [Hybrid(pretext, label_views=False, weight=0.0, seed=0)]):
        torch.manual_seed(0)
        got.append(fit(learner(*cbs, model=Several(width), dls=beside(*makes)), cbs=[Grab()]).got)
    for one, other in zip(*got, strict=True):
        torch.testing.assert_close(one, other)
    learn = fit(learner(Hybrid(pretext, seed=0), model=Several(width), dls=beside(*makes)), 2)
    x, *also = learn.dls.one_batch()[:-1]
    view, _, answer = learn.hybrid.ask(x, seed=3, also=also)
    other = learn.hybrid.ask(x, seed=3, also=[torch.zeros_like(part) for part in also])[2]
    assert torch.equal(answer, other)  # it is of the picture, whatever is beside it
    assert len(view) == 8


@pytest.mark.parametrize("kind", ["dict", "list", "tuple", "numbers first", "a grey plane"])
@pytest.mark.parametrize("fastais", [False, True])
@pytest.mark.parametrize("normalize", [None, ([0.5] * 3, [0.5] * 3)])
def test_a_first_input_that_is_no_picture_is_told_what_must_come_first(kind, fastais, normalize):
    def given(a):
        return {
            "dict": ({"image": a, "id": 1},), "list": ([a, 1 - a],), "tuple": ((a, 1 - a),),
            "numbers first": (torch.rand(2), a), "a grey plane": (a[0],),
        }[kind]  # fmt: skip

    data = [(*given(a), y) for a, y in items()]
    some = len(data[0]) - 1
    fastai_loader = [DataLoader(data, bs=8, n_inp=some) for _ in "ab"]
    torchs = [torch.utils.data.DataLoader(data, 8) for _ in "ab"]
    dls = DataLoaders(*(fastai_loader if fastais else torchs), device="cpu")
    found = {"dict": "a dict", "list": "a (list|tuple)", "tuple": "a (list|tuple)"}
    for views in ("paired", "shared"):
        hybrid = Hybrid([Puzzling(2)], views, seed=0, normalize=normalize)
        named = found.get(kind, r"\(8, .*torch.float32")
        with pytest.raises(ValueError, match=f"first input of the training.*: {named}; let the"):
            fit(learner(hybrid, model=Several(8), dls=dls))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool])
def test_pictures_that_are_no_floats_are_told_how_to_become_some(kind):
    dls = loaders([((255 * x).to(kind), y) for x, y in items()])
    with pytest.raises(ValueError, match=rf"training.*: \(8, .*{kind}; .*\.float\(\) / 255$"):
        fit(learner(Hybrid([Puzzling(2)], seed=0), dls=dls))


# -- labels ---


@pytest.mark.parametrize("task", ["tile_rotation_2x2", "image_rotation", "puzzling_rotation_2x2"])
@pytest.mark.parametrize("views", ["paired", "shared"])
def test_numbers_that_a_turn_may_change_are_refused(task, views):
    dls = loaders(items(label=lambda i: torch.tensor([float(i)])))
    options = {"loss_func": nn.MSELoss(), "dls": dls}

    def model():
        return nn.Sequential(small()[0], nn.Sequential(*small()[1][:2], nn.Linear(8, 1)))

    with pytest.raises(ValueError, match="labels are numbers.*label_views=True"):
        fit(learner(Hybrid(task, views, seed=0), model=model(), **options))
    fit(learner(Hybrid(task, views, label_views=True, seed=0), model=model(), **options))
    fit(learner(Hybrid("puzzling_2x2", views, seed=0), model=model(), **options))
    if views == "paired":
        fit(learner(Hybrid(task, label_views=False, seed=0), model=model(), **options))


def test_fastais_numbers_are_numbers_and_shares_of_classes_are_not():
    images = [PILImage.create((x.permute(1, 2, 0) * 255).byte().numpy()) for x, _ in items()]
    data = DataBlock(
        (ImageBlock, RegressionBlock), get_x=lambda i: images[i], get_y=lambda i: i / 2
    )
    dls = data.dataloaders(list(range(16)), bs=4, device="cpu", num_workers=0)
    model = nn.Sequential(
        small()[0], nn.Sequential(*small()[1][:2], nn.Linear(8, 1), nn.Flatten(0))
    )
    with pytest.raises(ValueError, match="labels are numbers"):
        fit(learner(Hybrid("tile_rotation_2x2", seed=0), model=model, dls=dls, loss_func=None))
    shares = loaders(items(label=lambda i: torch.eye(4)[i % 4] * 0.8 + 0.05))
    fit(learner(Hybrid("tile_rotation_2x2", seed=0), dls=shares))
    several = loaders(items(label=lambda i: torch.eye(4)[i % 4] + torch.eye(4)[(i + 1) % 4]))
    fit(learner(Hybrid("image_rotation", seed=0), dls=several, loss_func=nn.BCEWithLogitsLoss()))


# -- saving, copying, looking within a fit ---


def test_summary_before_the_first_fit(capsys):
    learn = learner(Hybrid([Puzzling(2)], seed=0), dls=numbers())
    assert "Total params" in str(learn.summary())
    assert learn.opt is None
    with learn:
        pass
    assert not any(m._forward_hooks for m in learn.model.modules())
    assert not {"_with_events", "save", "export"} & set(vars(learn))
    fit(learn)
    assert "Hybrid" in str(learn.summary())


@pytest.mark.parametrize(
    "first",
    [
        lambda learn: learn.validate(), lambda learn: learn.get_preds(),
        lambda learn: learn.freeze(),
        lambda learn: learn.load(learn.save("m").stem), lambda learn: copy.deepcopy(learn),
        lambda learn: learn.export("m.pkl"), lambda learn: learn.show_training_loop(),
        lambda learn: learn.remove_cb(Hybrid) and learn.add_cb(Hybrid([Puzzling(2)], seed=0)),
    ],
    ids=["validate", "predict", "freeze", "load", "copy", "export", "loop", "removed"],
)  # fmt: skip
def test_anything_may_come_before_the_first_fit(tmp_path, first):
    learn = learner(Hybrid([Puzzling(2)], seed=0), dls=numbers(), path=tmp_path)
    with learn.no_bar(), learn.no_logging():
        first(learn)
    assert not any(m._forward_hooks for m in learn.model.modules())
    assert not {"_with_events", "save", "export", "parameters"} & set(vars(learn))
    assert len(learn.metrics) == 0
    fit(learn)
    assert learn.hybrid.heads
    assert len(learn.opt.all_params()) == len(list(learn.model.parameters()))


class At(Callback):
    """Calls something at an event, of the first epoch's second batch or end."""

    def __init__(self, event, call, order=60):
        self.order, self.call, self.found = order, call, []
        setattr(self, event, self.happen)

    def happen(self):
        if not self.found:
            self.found.append(self.call(self.learn))


def numbers():
    """fastai's own DataLoaders, which can be exported; a fixed split and order."""
    images = [PILImage.create((x.permute(1, 2, 0) * 255).byte().numpy()) for x, _ in items()]
    data = DataBlock(
        (ImageBlock, CategoryBlock(vocab=[0, 1, 2, 3])),
        splitter=lambda numbers: (numbers[:12], numbers[12:]),
        get_x=Item(images),
        get_y=four,
    )
    return data.dataloaders(list(range(16)), bs=4, device="cpu", num_workers=0)


class Item:
    """Gives the picture of a number; fastai asks what it takes."""

    def __init__(self, images):
        self.images = images

    def __call__(self, i):
        return self.images[i]


def four(i):
    return i % 4


@pytest.mark.parametrize("how", ["export", "copy"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_learner_handed_over_in_a_fit_is_the_plain_one(tmp_path, optimizer, how):
    def hand_over(learn):
        if how == "copy":
            return copy.deepcopy(learn)
        learn.export("m.pkl")
        return torch.load(tmp_path / "m.pkl", weights_only=False)  # our own file

    options = (
        {}
        if optimizer == "adam"
        else {"opt_func": lambda p, lr: OptimWrapper(p, torch.optim.AdamW, lr=lr)}
    )
    weights = []
    look = At("before_epoch" if how == "copy" else "after_epoch", hand_over)
    for cbs in ([], [look]):
        dls = numbers()
        hybrid = Hybrid([Puzzling(2)], balance="uncertainty", seed=0)
        learn = learner(hybrid, dls=dls, path=tmp_path, **options)
        learn.dls[0].shuffle = False
        fit(learn, 2, cbs)
        modules = [learn.model, *learn.hybrid.trained()]
        weights.append([v for m in modules for v in m.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    exported = look.found[-1]
    assert not exported.hybrid.heads
    assert not exported.hybrid._attached
    assert not any(m._forward_hooks for m in exported.model.modules())
    assert len(exported.metrics) == 0
    assert len(exported.cbs) == len(learn.cbs)  # its progress bar for the look of this fit
    assert not {"_with_events", "save", "export", "parameters"} & set(vars(exported))
    exported.dls = numbers()
    fit(exported)
    assert exported.hybrid.heads


@pytest.mark.parametrize(
    "event",
    ["before_epoch", "before_batch", "after_pred", "after_loss", "after_batch", "after_epoch"],
)
@pytest.mark.parametrize("views", ["paired", "shared"])
def test_the_network_can_be_copied_and_pickled_within_a_fit(tmp_path, event, views):
    def both(learn):
        torch.save(learn.model, tmp_path / "model.pt")
        return copy.deepcopy(learn.model), pickle.loads(pickle.dumps(learn.model))

    looks = [At(event, both, order) for order in (-30, 30)]
    learn = fit(learner(Hybrid([Puzzling(2)], views, seed=0)), cbs=looks)
    x = torch.rand(2, 3, 16, 16)
    for look in looks:
        for copied in look.found[0]:
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in copied.modules())
            copied.load_state_dict(learn.model.state_dict())
            assert torch.equal(copied.eval()(x), learn.model.eval()(x))
    assert b"hmtl" not in (tmp_path / "model.pt").read_bytes()


# -- networks that are run in other ways ---


class Checkpointed(nn.Module):
    """A body whose batch norm runs again while gradients are computed."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.reentrant = nn.Conv2d(3, 8, 3, 2), reentrant
        self.rest = nn.Sequential(
            nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
        )

    def forward(self, x):
        x = self.first(x)
        return (
            checkpoint(self.rest, x, use_reentrant=self.reentrant)
            if self.training
            else self.rest(x)
        )


class InSegments(Checkpointed):
    """The same layers by torch's `checkpoint_sequential`."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        return checkpoint_sequential(self.rest, 2, self.first(x), use_reentrant=self.reentrant)


def trained_beside(make, pretexts, *others, **options):
    """A network's state after a fit: alone, beside an asked pretext, and a weighed one."""
    trained = []
    for weight in (None, 0.0, 1e-12):
        cbs = [] if weight is None else [unlabelled(weight=weight, pretexts=pretexts)]
        torch.manual_seed(0)
        learn = learner(*cbs, *others, model=make(), **options)
        trained.append(fit(learn, 2, lr=1e-3).model.state_dict())
    for other in trained[1:]:
        for name, value in trained[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5)
    return trained


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_efficientnet"])
def test_timms_gradient_checkpointing_with_unlabelled_views(arch):
    def make():
        model = timm_model(arch, **({"img_size": 32} if arch == "test_vit" else {}))
        model.set_grad_checkpointing()
        return model

    pretexts = ["image_rotation", "inpainting_grid"]
    trained_beside(make, pretexts, dls=loaders(items(8, 32), 4))


@pytest.mark.parametrize("others", [[GradientAccumulation(16)], [Sharpness()]])
def test_gradient_checkpointing_beside_other_callbacks(others):
    trained_beside(lambda: nn.Sequential(InSegments(False), small()[1]), ["puzzling_2x2"], *others)


@pytest.mark.parametrize("kind", [Checkpointed, InSegments])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("pretexts", [["puzzling_2x2"], ["puzzling_2x2", "tile_rotation_2x2"]])
def test_gradient_checkpointing_with_unlabelled_views(reentrant, pretexts, kind):
    """Weights and running statistics are those of the same training without the pretexts."""
    trained = trained_beside(lambda: nn.Sequential(kind(reentrant), small()[1]), pretexts)
    assert trained[0]["0.rest.0.num_batches_tracked"] == 8  # each pass is made twice


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["test_resnet", "test_vit"])
def test_a_compiled_network_can_be_copied_within_a_fit(arch):
    torch.compiler.reset()
    options = {"img_size": 32} if arch == "test_vit" else {}
    model = timm_model(arch, **options)
    learn = learner(Hybrid([Puzzling(2)], seed=0), model=model, dls=loaders(items(4, 32), 4))
    learn.model.compile(backend="eager")
    look = At("after_pred", lambda learn: copy.deepcopy(learn.model), 30)
    fit(learn, cbs=[look])
    copied, x = look.found[0], torch.rand(2, 3, 32, 32)
    copied.load_state_dict(model.state_dict())
    assert torch.equal(copied.eval()(x), model.eval()(x))
    torch.compiler.reset()


def test_a_network_compiled_before_hybrid_is_told_so():
    torch.compiler.reset()
    learn = learner()
    learn.model.compile(backend="eager")
    fit(learn)
    learn.add_cb(Hybrid([Puzzling(2)], seed=0))
    with pytest.raises(ValueError, match="compiled before Hybrid"):
        fit(learn)
    torch.compiler.reset()
    fit(learn)
    assert learn.hybrid.heads
    torch.compiler.reset()


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_compiled_first_trains_as_an_eager_one(wrapped):
    weights = []
    for compiled in (False, True):
        torch.compiler.reset()
        learn = learner(Hybrid([Puzzling(2), Inpainting("grid")], seed=0))
        if compiled and wrapped:
            learn.model = torch.compile(learn.model, backend="eager")
        elif compiled:
            learn.model.compile(backend="eager")
        fit(fit(learn), 2)
        weights.append(list(learn.model.state_dict().values()))
        assert not any(m._forward_hooks for m in learn.model.modules())
    torch.compiler.reset()
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "pretexts", [["inpainting_grid"], ["puzzling_2x2_map"], ["inpainting_block", "puzzling_2x2"]]
)
@pytest.mark.parametrize("count", [9, 1])
def test_a_last_batch_of_one(pretexts, count):
    """The network has no batch norm, and its map is one cell."""
    body = nn.Sequential(nn.Conv2d(3, 8, 16), nn.ReLU())
    model = nn.Sequential(body, nn.Sequential(nn.Flatten(), nn.Linear(8, 4)))
    learn = fit(learner(Hybrid(pretexts, seed=0), model=model, dls=loaders(items(count))), 2)
    assert torch.isfinite(
        torch.tensor([list(map(float, row)) for row in learn.recorder.values])
    ).all()
    assert set(learn.hybrid.heads) == set(pretexts)


class Normed(Puzzling):
    """A user's head: batch norm, before or after a pooling of its own."""

    def __init__(self, reads, norm):
        super().__init__(2)
        self.reads, self.norm = reads, norm

    def head(self, width):
        pool = [nn.AdaptiveAvgPool2d(1)] if self.reads == "map" else []
        norm = [nn.BatchNorm2d(width)] if self.norm == 2 else []
        end = [nn.BatchNorm1d(16)] if self.norm == 1 else []
        parts = [*pool, *norm, nn.Flatten(), nn.Linear(width, 16), *end, nn.Unflatten(1, (4, 4))]
        return nn.Sequential(*parts)


@pytest.mark.parametrize("count", [9, 1])
@pytest.mark.parametrize(("reads", "norm"), [("pooled", 1), ("map", 1), ("map", 2)])
@pytest.mark.parametrize("labelled", [None, False])
def test_a_users_head_is_asked_of_one_picture_as_at_inference(count, reads, norm, labelled):
    """The network's map has several cells, and it has no batch norm."""
    hybrid = Hybrid(Normed(reads, norm), label_views=labelled, seed=0)
    learn = fit(learner(hybrid, model=small(norm=False), dls=loaders(items(count))), 2)
    (own,) = [m for m in hybrid.heads["puzzling_2x2"].modules() if hasattr(m, "running_mean")]
    assert own.num_batches_tracked == 2 * (count // 8)
    assert torch.isfinite(torch.tensor(learn.recorder.values[-1])).all()


@pytest.mark.slow
def test_heads_stay_equal_on_two_processes_of_fastais_own(tmp_path):
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    worker = Path(__file__).parents[1] / "helpers" / "guest_worker.py"
    ours = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "WORLD_SIZE": "2"}  # asked for, unused
    both = [
        Python(worker, tmp_path, env=os.environ | ours | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    for process in both:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in (0, 1))
    for name, found in first.items():
        assert len(found) >= 6
        for key, value in found.items():
            assert torch.equal(value, second[name][key]), f"{name} {key}"


# -- what others switch off, freeze, replace or ask in between ---


def documented():
    """The guest in the documentation of `hmtl.method.guest`."""
    names = {"Guest": Guest, "nn": nn, "F": F}
    exec(textwrap.dedent("    class" + guest.__doc__.partition("    class")[2]), names)
    return names["Brightness"]


def test_a_guest_is_not_asked_when_others_validate():
    class Between(Callback):
        order = 70

        def after_train(self):
            self.learn.validate()
            self.learn.get_preds(dl=self.dls.valid)

    dls = DataLoaders(*[DataLoader(items(), bs=8) for _ in "ab"], device="cpu")
    learn = fit(learner(documented()(seed=0), Between(), dls=dls))
    alone = learner(model=learn.model, dls=dls)
    with learn.no_bar(), alone.no_bar():
        assert learn.validate() == alone.validate()
        assert torch.equal(*(each.get_preds(dl=each.dls.valid)[0] for each in (learn, alone)))


@pytest.mark.parametrize("name", ["run", "run_train"])
def test_a_hybrid_that_was_switched_off_is_not_there(name):
    class Off(Callback):
        order = 60

        def after_step(self):
            setattr(self.learn.hybrid, name, False)

    class Stop(Callback):
        def after_step(self):
            raise CancelFitException

    options = {"dls": loaders(items(8)), "opt_func": SGD}
    first = fit(learner(unlabelled(), Stop(), **options))  # one step of both
    first.model.zero_grad()
    plain = fit(learner(model=first.model, **options))
    again = learner(unlabelled(), Off(), **options)
    with again.no_bar(), again.no_logging():
        again.fit(2)  # one step of both, one without
    for one, other in zip(again.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("balance", ["sum", "pcgrad", "gradnorm"])
def test_heads_learn_beside_a_network_that_is_frozen(balance):
    hybrid = unlabelled(balance=balance)
    learn = learner(hybrid)
    learn.create_opt()  # fastai's takes no network without a trainable weight
    learn.model.requires_grad_(False)
    before = copy.deepcopy(learn.model.state_dict())
    fit(learn)
    head = copy.deepcopy(hybrid.heads["puzzling_2x2"].state_dict())
    fit(learn)
    assert any(
        not torch.equal(w, head[n]) for n, w in hybrid.heads["puzzling_2x2"].state_dict().items()
    )
    kept = (n for n in before if "running" not in n and "num_batches" not in n)
    assert all(torch.equal(learn.model.state_dict()[name], before[name]) for name in kept)


@pytest.mark.parametrize("arch", ["test_vit", "test_convnext", "mobilenetv3_small_050"])
def test_losses_are_balanced_by_weights_that_both_reach(arch):
    model = timm_model(arch, **({"img_size": 32} if arch == "test_vit" else {}))
    hybrid = unlabelled(balance="gradnorm")
    fit(learner(hybrid, model=model, dls=loaders(items(size=32))))
    own = [id(p) for p in model.get_classifier().parameters()]
    assert id(hybrid.balance._last) not in own
    assert any(hybrid.balance._last is p for p in model.parameters())


def test_a_balance_that_is_replaced_leaves_the_optimizer():
    hybrid = unlabelled(
        pretexts=["puzzling_2x2", "tile_rotation_2x2"], balance="uncertainty",
        weight={"puzzling_2x2": 0.3, "tile_rotation_2x2": 0.3},
    )  # fmt: skip
    learn = fit(learner(hybrid))
    hybrid.weights["tile_rotation_2x2"] = 0.0
    fit(learn)
    assert len(learn.opt.all_params()) == len([*learn.model.parameters()])


def test_one_hybrid_begins_anew_beside_another_network():
    """Folds of a cross-validation do not depend on each other; another Learner goes on."""
    shared = unlabelled()
    folds = [fit(learner(), cbs=[shared]) for _ in range(2)]
    for one, other in zip(folds[0].model.parameters(), folds[1].model.parameters(), strict=True):
        assert torch.equal(one, other)
    head = shared.heads["puzzling_2x2"]
    torch.manual_seed(0)
    fit(Learner(loaders(), folds[1].model, loss_func=nn.CrossEntropyLoss()), cbs=[shared])
    assert shared.heads["puzzling_2x2"] is head


@pytest.mark.parametrize(
    ("label", "shape"),
    [(lambda: torch.rand(5, 8, 8), (5, 8, 8)), (lambda: torch.randint(4, (8, 8)), (4, 8, 8)),
     (lambda: torch.rand(3, 32, 32), (3, 32, 32))],
    ids=["heatmaps", "masks at a stride", "pictures"],
)  # fmt: skip
def test_maps_of_another_size_are_places_too(label, shape):
    data = [(x, label()) for x, _ in items()]
    body, scale = nn.Conv2d(3, 8, 3, padding=1), shape[-1] / 16
    model = nn.Sequential(body, nn.Conv2d(8, shape[0], 1), nn.Upsample(scale_factor=scale))
    loss = nn.MSELoss() if data[0][1].is_floating_point() else nn.CrossEntropyLoss()
    options = {"model": model, "dls": loaders(data), "loss_func": loss}
    with pytest.raises(ValueError, match=r"labels are places .* pass label_views=False"):
        fit(learner(Hybrid([Puzzling(2)], body=body, seed=0), **options))
    fit(learner(Hybrid([Puzzling(2)], label_views=False, body=body, seed=0), **options))


def test_pictures_of_four_channels():
    data = [(torch.rand(4, 16, 16), y) for _, y in items()]
    net = nn.Sequential(nn.Conv2d(4, 8, 3, 2), nn.ReLU())
    model = nn.Sequential(
        net, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    )
    with pytest.raises(ValueError, match="1 or 3 channels, these have 4; use another pretext"):
        fit(learner(Hybrid([Inpainting()], seed=0), model=model, dls=loaders(data)))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(1024, 8), nn.ReLU())
    model = nn.Sequential(flat, nn.Linear(8, 4))
    with pytest.raises(ValueError, match="needs the encoder's feature map, and none was found"):
        fit(learner(Hybrid("puzzling_2x2_map", body=flat, seed=0), model=model, dls=loaders(data)))


@pytest.mark.parametrize("lowest", [0.0, 100.0])
def test_random_erasing_without_normalisation(lowest):
    images = [PILImage.create((x.permute(1, 2, 0) * 255).byte().numpy()) for x, _ in items()]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=[*"abcd"])), get_x=lambda i: images[i],
        get_y=lambda i: "abcd"[i % 4], splitter=lambda i: (i[:8], i[8:]),
        batch_tfms=[RandomErasing(p=1.0, sl=0.3, sh=0.3), *([Darker()] if lowest else [])],
    )  # fmt: skip
    dls = block.dataloaders(list(range(16)), bs=8, device="cpu", num_workers=0)
    if not lowest:
        fit(learner(Hybrid([Puzzling(2)], seed=0), dls=dls))
        return
    with pytest.raises(ValueError, match="training pictures go from"):
        fit(learner(Hybrid([Puzzling(2)], seed=0), dls=dls))


class Darker(Transform):
    """Another range, without saying so."""

    order = 200

    def encodes(self, x: TensorImage):
        return x * 4 - 2


def test_a_users_task_is_no_task_of_ours():
    dls = loaders(type("Own", (list,), {"task": "emotion"})(items()))
    assert dls.train_ds.task == "emotion"
    fit(learner(Hybrid([Puzzling(2)], seed=0), dls=dls))


def test_a_network_of_one_size_by_its_last_layer_is_told_so():
    data = [(torch.rand(3, 28, 28), y) for _, y in items()]
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    model = nn.Sequential(body, nn.Sequential(nn.Flatten(), nn.Linear(4 * 26 * 26, 4)))
    with pytest.raises(ValueError, match=r"pictures of \[27, 27\], the loader's are \[28, 28\]"):
        fit(learner(Hybrid([Puzzling(3)], seed=0), model=model, dls=loaders(data)))


def test_an_error_of_ours_is_none_of_the_networks_size():
    data = [(torch.rand(3, 28, 28), y) for _, y in items()]
    pooled = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1)]
    unknown = nn.Sequential(*pooled, nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
    for views in ("paired", "shared"):
        with pytest.raises(ValueError, match="cannot tell which part"):
            fit(learner(Hybrid([Puzzling(3)], views, seed=0), model=unknown, dls=loaders(data)))


def test_a_head_of_maps_on_an_encoder_is_no_decoder():
    parts = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU()]
    batch = [torch.rand(2, 3, 32, 32)]
    for head in (nn.Conv2d(16, 4, 1), nn.ConvTranspose2d(16, 4, 4, 4)):
        model = nn.Sequential(*parts, head)
        assert find_body(model, batch) is model[3]
    model = nn.Sequential(
        *parts, nn.Upsample(scale_factor=4), nn.Conv2d(16, 8, 3), nn.Conv2d(8, 4, 1)
    )
    with pytest.raises(ValueError, match=r"such as body=learn\.model\[3\] \(ReLU\)"):
        find_body(model, batch)


def test_a_dense_network_without_a_map_of_many_channels_is_told_so():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with pytest.raises(ValueError, match="cannot tell which part"):
        find_body(model, [torch.rand(2, 3, 16, 16)])


def test_a_picture_that_the_network_resizes_is_no_map_of_its():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.ReLU())
    model = nn.Sequential(nn.AdaptiveAvgPool2d(8), flat, nn.Linear(8, 4))
    with pytest.raises(ValueError, match="needs the encoder's feature map, and none was found"):
        fit(learner(Hybrid("puzzling_2x2_map", body=flat, seed=0), model=model))


def test_a_learner_goes_on_with_a_copy_of_its_network():
    hybrid = unlabelled()
    learn = fit(learner(hybrid))
    head, state = hybrid.heads["puzzling_2x2"], pickle.loads(pickle.dumps(hybrid)).__dict__
    learn.model = copy.deepcopy(learn.model)
    fit(learn)
    assert hybrid.heads["puzzling_2x2"] is head
    older = Hybrid.__new__(Hybrid)  # as exported before these were known
    older.__dict__.update({k: v for k, v in state.items() if k not in ("_beside", "_reached")})
    fit(learner(older))


@pytest.mark.filterwarnings("error:You are shadowing")
def test_a_network_may_have_heads_of_its_own():
    model = small()
    model.heads = nn.Identity()
    hybrid = Hybrid([Puzzling(2)], body=model[0], seed=0)
    copy.deepcopy(fit(learner(hybrid, model=model)))
    fit(learner(), cbs=[Hybrid([Puzzling(2)], seed=0)])
    fit(learner(model=model), cbs=[hybrid])


@pytest.mark.parametrize(
    ("shape", "whole", "dense"),
    [((2, 16, 16), True, True), ((2, 8, 8), True, True), ((2, 5, 7), True, False),
     ((2, 8, 8), False, False), ((2, 3, 4, 4), False, True), ((2, 16, 1), True, False)],
)  # fmt: skip
def test_which_labels_are_maps(shape, whole, dense):
    labels = torch.zeros(shape, dtype=torch.int64 if whole else torch.float32)
    assert checks._is_dense(labels, torch.rand(2, 3, 16, 16)) == dense
