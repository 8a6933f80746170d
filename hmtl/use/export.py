"""A run's network as files for others: ONNX, torch.export, timm, the Hugging Face hub.

    model.onnx            ONNX, for onnxruntime and others
    model.pt2             the same as torch.export saves it (`--format torch`)
    encoder.safetensors   the backbone alone (`--format timm`), which `timm.create_model(arch,
                          num_classes=0, checkpoint_path=...)` loads as it is, with the record's
                          `model_args` where it has some
    config.json           what its user must know: task, labels, size, crop, colour, fit; checksums
    card.md               the model card

`--format hub` writes a folder that the hub takes, and `hmtl.load` opens (`hmtl.use.networks`); it
goes alone. A network that ships is exported like a run, but for this.

Input: faces float32 (batch, 3, size, size) in [0, 1], any batch, RGB (three equal planes where
`colour` is "grey"): the central `crop` of a face's square, made by `fit` (`hmtl.data.photos`),
resized to `size`. Output: probabilities (batch, classes) in the order of `labels`, or numbers, such
as yaw, pitch and roll, in the unit that `output` names. Normalisation and activation are inside; no
pretext's head is. `model.onnx` carries config and card in its `metadata_props`, so the file alone
is enough. Every file is held against PyTorch before it is kept.

For PyTorch a run's folder is an export already: `model.safetensors` beside `spec.json`. Ours.
"""

__all__ = ["FORMATS", "TOLERANCE", "export_run"]

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtl.files import SEAL, whole_folder, write_record, write_text
from hmtl.labels import check_known
from hmtl.runs.store import Run
from hmtl.use.card import NAME, model_card
from hmtl.use.networks import open_handed, read_card, read_config, write_handed
from hmtl.use.predict import answers_of, load, run_record

FORMATS = ("onnx", "torch", "timm", "hub")
OPSET = 18
TOLERANCE = 1e-4  # of a probability, or degrees
_BATCHES = 1, 2, 5


def export_run(run: Run | Path, out: str | Path, formats: Sequence[str] = ("onnx",)) -> Path:
    """Write a network in some `FORMATS` into a new folder, whole or not at all.

    Args:
        run: A finished run, or the folder of a network that ships.
        out: The new folder.
        formats: Of `FORMATS`; "hub" alone.

    Returns:
        The folder.

    Raises:
        ValueError: an unknown format, a folder that holds something, a run without answers.
        ImportError: `pip install "hmtl[use]"` is needed.
        RuntimeError: an exported network answers otherwise than PyTorch's.
        OSError: with a remedy, if the folder cannot be written.
    """
    out = Path(out)
    for name in formats:
        check_known(f"unknown format {name};", name, FORMATS)
    if "hub" in formats and isinstance(run, Path):
        raise ValueError(f"{run} is a folder for the hub already: copy it")
    if "hub" in formats and len(formats) > 1:
        raise ValueError("format hub goes alone: it has a folder of its own")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ValueError(f"{out} is there already; choose another folder")
    if isinstance(run, Path):
        model, config = open_handed(run), read_config(run)
        card, size = read_card(run), load(run, device="cpu").size
        record = {name: value for name, value in config.items() if isinstance(value, str)}
        record.pop(SEAL)
    else:
        model, record, card = answers_of(run), run_record(run), model_card(run)
        size = run.spec.size
    with whole_folder(out) as folder:
        if "hub" in formats and isinstance(run, Run):
            write_handed(run, folder, record)
            return out
        if "onnx" in formats:
            _write_onnx(model, size, folder / "model.onnx", {**record, "card": card})
        if "torch" in formats:
            _write_torch(model, size, folder / "model.pt2", record)
        if "timm" in formats:
            record = {**record, **_write_timm(model, size, folder / "encoder.safetensors")}
        write_record(folder / "config.json", record)
        write_text(folder / NAME, card)
    return out


def _write_timm(model, size: int, file: Path) -> dict[str, Any]:
    """Write the backbone under timm's own names; return what its user must know."""
    import timm
    import torch
    from safetensors.torch import save_file

    encoder = model.model.encoder
    save_file({name: t.contiguous() for name, t in encoder.body.state_dict().items()}, file)
    told = {"num_classes": 0, "checkpoint_path": str(file), **encoder.options}
    saved = timm.create_model(encoder.arch, **told).eval()
    own = torch.no_grad()(lambda faces: saved((faces - encoder.mean) / encoder.std).numpy())
    _check(encoder, size, own, file)
    mean, std = (v.flatten().tolist() for v in (encoder.mean, encoder.std))
    options = {"model_args": encoder.options} if encoder.options else {}
    return {"arch": encoder.arch, **options, "mean": mean, "std": std}


def _faces(count: int, size: int):
    import torch

    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, 3, size, size, generator=generator)


def _check(model, size: int, answer: Callable, file: Path) -> None:
    """Raise RuntimeError unless `answer` says what the model says, for batches of any size."""
    import torch

    for count in _BATCHES:
        faces = _faces(count, size)
        with torch.inference_mode():
            wanted = model(faces).numpy()
        gap = float(np.abs(answer(faces) - wanted).max())
        if not gap <= TOLERANCE:
            raise RuntimeError(
                f"{file.name} differs from PyTorch by {gap:.2g}, more than {TOLERANCE:g}; it was "
                "not kept"
            )


def _write_onnx(model, size: int, file: Path, record: dict[str, str]) -> None:
    import torch

    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise ImportError(f'ONNX export needs {error.name}: pip install "hmtl[use]"') from error

    program = torch.onnx.export(
        model, (_faces(2, size),), dynamo=True, opset_version=OPSET, verbose=False,
        input_names=["faces"], output_names=["answers"], dynamic_shapes=({0: "batch"},),
    )  # fmt: skip
    made = program.model_proto  # type: ignore[union-attr]
    onnx.helper.set_model_props(made, record)
    onnx.checker.check_model(made)
    file.write_bytes(made.SerializeToString())
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    _check(model, size, lambda faces: session.run(None, {"faces": faces.numpy()})[0], file)


def _write_torch(model, size: int, file: Path, record: dict[str, str]) -> None:
    import torch

    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (_faces(2, size),), dynamic_shapes=({0: batch},))
    saved = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.export.save(program, saved, extra_files={"config.json": json.dumps(record)})
    file.write_bytes(saved.getvalue())
    again = torch.export.load(file).module()
    _check(model, size, lambda faces: again(faces).detach().numpy(), file)
