"""What a run adds to a fit: precision, and the memory of the best epoch."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.fp16 import MixedPrecision
from torch.utils._python_dispatch import _get_current_dispatch_mode

import hmtl.runs.callbacks
from hmtl import face_dataloaders, hmtl_learner, load_pack
from hmtl.runs.callbacks import (
    BestEpoch,
    BFloat16Products,
    MixedBFloat16,
    bfloat16_products,
    has_bfloat16_units,
    mixed_precision,
)
from hmtl.runs.fit import fit
from hmtl.runs.specs import RunSpec


class Watch(Callback):
    """Note the losses, the types in the network and the state after every epoch."""

    order = 70

    def before_fit(self):
        self.losses, self.types, self.states = [], set(), []
        self.hook = self.learn.model.encoder.body.conv1.register_forward_hook(
            lambda module, inputs, output: self.types.add(output.dtype)
        )

    def after_loss(self):
        if self.training:
            self.losses.append(self.learn.loss.detach().float().item())
            assert self.learn.loss.dtype == torch.float32

    def after_epoch(self):
        self.states.append({k: v.clone() for k, v in self.learn.model.state_dict().items()})

    def after_fit(self):
        self.hook.remove()


def trained(*callbacks, epochs=1, pretexts=(), lr=4e-3):
    dls = face_dataloaders(load_pack("mini"), bs=32, seed=0, device="cpu")
    torch.manual_seed(0)
    learn = hmtl_learner(dls, pretexts=pretexts, seed=0)
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, lr, cbs=callbacks)
    return learn


@pytest.mark.slow
@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",)])
def test_bfloat16_is_in_the_products_alone(pretexts):
    full, half = Watch(), Watch()
    trained(full, pretexts=pretexts)
    with bfloat16_products("bf16", "cpu"):
        learn = trained(half, *mixed_precision("bf16", "cpu"), pretexts=pretexts)
    assert full.types == {torch.float32}
    assert half.types == {torch.bfloat16}
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    # the same training up to eight bits of mantissa, then not the same to the bit
    np.testing.assert_allclose(half.losses[:3], full.losses[:3], rtol=0.02)
    assert half.losses != full.losses
    assert learn.model(torch.rand(2, 3, 48, 48)).dtype == torch.float32  # over with the fit


def test_precision_by_name_and_device():
    assert mixed_precision("", "cpu") == []
    assert [type(c) for c in mixed_precision("", "cuda")] == [MixedPrecision]
    assert [type(c) for c in mixed_precision("bf16", "cuda")] == [MixedBFloat16]
    with pytest.raises(ValueError, match="'bf16'"):
        mixed_precision("fp8", "cpu")


LAYERS = {
    "convolution": torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
    "depthwise": torch.nn.Conv2d(8, 8, 3, groups=8, bias=False),
    "transposed": torch.nn.ConvTranspose2d(8, 4, 4, stride=2),
    "linear": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 81, 5)),
    "linear, no bias": torch.nn.Linear(9, 5, bias=False),
    "batches": torch.nn.MultiheadAttention(9, 3, batch_first=True),
}


def answers(layer, x, *contexts):
    """What a layer gives, and the gradients of its inputs and weights."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    inputs = [x.flatten(0, 1)] * 3 if isinstance(layer, torch.nn.MultiheadAttention) else [x]
    with contexts[0], contexts[1] if len(contexts) > 1 else nullcontext():
        out = layer(*inputs)
        out = out[0] if isinstance(out, tuple) else out
        # numbers that bfloat16 holds, so that every way begins its backward pass alike
        out.backward(torch.arange(out.numel()).reshape(out.shape).remainder(7).to(out.dtype) - 3)
    return [out.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


@pytest.mark.parametrize("name", LAYERS)
def test_products_of_bfloat16_by_way_of_float32_are_those_of_units(name):
    # numbers that bfloat16 holds, so that double precision is the exact answer
    torch.manual_seed(0)
    layer = LAYERS[name]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter).bfloat16())
    x = torch.randn(4, 8, 9, 9).bfloat16().float().contiguous(memory_format=torch.channels_last)
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    ours = answers(layer, x, BFloat16Products(), half)
    exact = answers(layer.double(), x.double(), nullcontext())
    torchs = answers(layer.float(), x, torch.autocast("cpu", dtype=torch.bfloat16))
    assert ours[0].dtype == torchs[0].dtype == torch.bfloat16
    assert ours[1].dtype == torch.float32
    for mine, theirs, right in zip(ours, torchs, exact, strict=True):
        size = right.abs().max()
        away = (mine.double() - right).abs().max() / size
        # no further from the truth than torch's own bfloat16, or one rounding
        assert away <= max(2**-8, 1.5 * (theirs.double() - right).abs().max() / size)


def test_only_products_of_bfloat16_are_touched():
    torch.manual_seed(0)
    x, layer = torch.randn(2, 8, 9, 9), LAYERS["convolution"].float()
    plain, wide = answers(layer, x, nullcontext()), answers(layer, x, BFloat16Products())
    assert all(torch.equal(a, b) for a, b in zip(wide, plain, strict=True))
    half = x.bfloat16()
    with BFloat16Products():
        assert torch.equal(half.sum(), x.bfloat16().sum())
        assert torch.equal(half + 1, x.bfloat16() + 1)


def test_units_are_used_where_there_are_any(monkeypatch):
    for flags, units in (
        ({"avx2": True, "amx_bf16": False, "avx512_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({}, False),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        assert has_bfloat16_units() is units
        assert isinstance(bfloat16_products("bf16", "cpu"), BFloat16Products) is not units
        assert not isinstance(bfloat16_products("", "cpu"), BFloat16Products)
        assert not isinstance(bfloat16_products("bf16", "cuda:0"), BFloat16Products)


class ThreeBatches(Callback):
    """End the fit early: torch's own bfloat16 is slow where there are no units."""

    order = 71

    def after_batch(self):
        if self.iter == 2:
            raise CancelFitException


@pytest.mark.parametrize("pretexts", [(), ("puzzling_2x2",), ("inpainting_grid",)])
def test_a_training_by_way_of_float32_is_the_one_in_bfloat16(pretexts):
    ours, torchs = Watch(), Watch()
    half = mixed_precision("bf16", "cpu")
    with BFloat16Products():
        trained(ours, *half, ThreeBatches(), pretexts=pretexts)
    trained(torchs, *half, ThreeBatches(), pretexts=pretexts)
    assert ours.types == torchs.types == {torch.bfloat16}
    assert len(ours.losses) == 3
    np.testing.assert_allclose(ours.losses, torchs.losses, rtol=0.01)


def test_a_run_in_bfloat16_leaves_the_process_as_it_was(monkeypatch, tmp_path):
    seen = []

    def interrupted(*args):
        seen.append(_get_current_dispatch_mode())
        raise KeyboardInterrupt

    monkeypatch.setattr(hmtl.runs.callbacks, "has_bfloat16_units", lambda: False)
    monkeypatch.setattr(hmtl.runs.callbacks, "fit_scheduled", interrupted)
    spec = RunSpec(data="mini", precision="bf16", epochs=1, bs=32)
    with pytest.raises(KeyboardInterrupt):
        fit(spec, store=tmp_path)
    assert [type(mode) for mode in seen] == [BFloat16Products]
    assert _get_current_dispatch_mode() is None


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "better"), [("accuracy", max), ("valid_loss", min)])
def test_the_best_epochs_weights_are_kept_and_the_last_ones_stay(metric, better):
    keeper, watch = BestEpoch(metric, better), Watch()
    learn = trained(keeper, watch, epochs=4, lr=0.02)
    column = learn.recorder.metric_names[1:].index(metric)
    scores = [row[column] for row in learn.recorder.values]
    best = scores.index(better(scores))  # the first of equals
    assert keeper.epoch_number == best + 1
    for name, weight in watch.states[best].items():
        assert torch.equal(keeper.state[name], weight), name
    for name, weight in watch.states[-1].items():
        assert torch.equal(learn.model.state_dict()[name], weight), name


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_autocast_ends_with_a_fit_that_fails(error):
    """Else the next fit would go on with the casts of its first weights."""
    layer, x = torch.nn.Linear(4, 4), torch.rand(2, 4)

    def fail():
        with hmtl.runs.callbacks.autocast_ended("cpu"):
            torch.autocast("cpu", torch.bfloat16).__enter__()
            layer(x)
            raise error

    with pytest.raises(error):
        fail()
    assert not torch.is_autocast_enabled("cpu")
    found = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            found.append(layer(x).float())
        layer.weight.data.add_(1.0)
    torch.testing.assert_close(
        found[1] - found[0], x.sum(1, True).expand(2, 4), rtol=0.05, atol=0.05
    )
