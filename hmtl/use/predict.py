"""A trained run in use: pictures -> the faces in them -> a table of answers.

    network = hmtl.load("outputs/runs/NAME")        # or a run's name, or an exported folder
    table = network.predict(["photo.jpg"])          # or a folder, PIL images, arrays

A row a face: file, `face` (1, 2, ... the largest first), its box x0, y0, x1, y1 in pixels of the
upright picture, and the run's answer: `predicted` and a probability `p_<name>` of each class, or
`predicted_<angle>` in degrees. **A picture without a face has one row with face 0** and nothing
else. Files that cannot be read are no rows; `table.attrs["unreadable"]` names them.

A face goes the way of a test face: the square is cut out and resized as packing does
(`hmtl.data.photos`), then its centre is cut out (`hmtl.method.augment.center_crop`). With
`detect=False` pictures are faces already. Networks of grey packs see grey. A set that was packed
larger than the run's size loses a little sharpness that its test faces kept.

A stranger's folder cannot run code here: weights are safetensors or ONNX, all else JSON, and a
folder that holds a pickle is refused. Ours.
"""

__all__ = ["Network", "answers_of", "find_run", "load", "run_record", "trained_runs"]

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from hmtl import __version__
from hmtl.data.packing import GREY_SETS
from hmtl.data.photos import FITS, cut_square, describe_problem, open_photo, square_box
from hmtl.files import checked, load_weights, reading
from hmtl.method.tasks import Task, make_task
from hmtl.paths import show_progress
from hmtl.runs.store import Run, default_store, load_run

_PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill"}
_BOX = ["x0", "y0", "x1", "y1"]
_REMEDY = "train or export the run again, or copy its folder anew from where it came"


@dataclass(frozen=True)
class Network:
    """A trained network and what it must be given; `load` makes it.

    `answer` maps faces float32 (B, 3, size, size) in [0, 1] to probabilities (B, classes) or
    degrees (B, 3), float32. `crop` is the share of a face's square that it sees, `fit` one of
    `hmtl.data.photos.FITS`: how the pack it learned from made squares of pictures.
    """

    name: str
    task: Task
    size: int  # pixels
    crop: float
    grey: bool
    answer: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    fit: str = "cover"

    def predict(
        self,
        images,
        *,
        detect: bool = True,
        batch: int = 64,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """The answers about a picture, several of them, or a folder; the table described above.

        A picture is a path, a PIL image, or uint8 (H, W, 3) or (H, W); those without a path are
        taken upright as they are, and named by their place. `detect=False`: each is one face, of
        which the square by `fit` is used. `batch` faces are asked about at once. Raises ValueError
        for an empty folder, for arrays of another kind and for a batch below 1, ImportError where
        the detector is not installed.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1 face, got {batch}")
        pictures = list(_named(images))
        progress = show_progress() if progress is None else progress
        rows, faces, answers, unreadable = [], [], [], {}
        for name, source in tqdm(pictures, unit="picture", delay=2, disable=not progress):
            try:
                picture = _open(source)
                boxes = _boxes(picture, detect, self.fit)
                how = self.size, self.grey, self.fit
                squares = [cut_square(picture, box, *how)[0] for box in boxes]
            except (ImportError, MemoryError):
                raise
            except Exception as error:  # decoders raise anything on a broken file
                unreadable[name] = describe_problem(error, name)
                continue
            rows += [(name, i + 1, *map(int, box)) for i, box in enumerate(boxes)]
            rows += [(name, 0, *[None] * 4)] * (len(boxes) == 0)
            faces += squares
            while len(faces) >= batch:
                answers.append(self.answer(self.see(faces[:batch])))
                faces = faces[batch:]
        answers += [self.answer(self.see(faces))] if faces else []
        table = self._table(rows, answers)
        table.attrs["unreadable"] = unreadable
        return table

    def see(self, faces: list[np.ndarray]) -> np.ndarray:
        """What the network is given: squares uint8 (S, S) or (S, S, 3) -> (B, 3, size, size)."""
        import torch

        from hmtl.method.augment import center_crop

        pixels = torch.from_numpy(np.stack(faces)).float() / 255
        images = pixels[..., None].expand(-1, -1, -1, 3) if pixels.ndim == 3 else pixels
        return center_crop(images.permute(0, 3, 1, 2), self.crop, self.size).numpy()

    def _table(self, rows: list[tuple], answers: list[np.ndarray]) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=["file", "face", *_BOX])
        table = table.astype(dict.fromkeys(_BOX, "Int64"))
        asked = np.flatnonzero(table["face"] > 0)
        width = len(self.task.names)
        predicted = np.concatenate([*answers, np.empty((0, width), np.float32)])
        blank = pd.DataFrame(index=asked, columns=["key", *self.task.columns], dtype=object)
        said = self.task.predictions(blank, predicted).filter(regex="^p")
        return table.join(said.set_axis(asked))


def _named(images) -> Iterator[tuple[str, object]]:
    """Yield the name and the source of each picture."""
    one = isinstance(images, str | Path | Image.Image | np.ndarray)
    for i, image in enumerate([images] if one else images):
        if isinstance(image, str | Path):
            files = _pictures_in(Path(image)) if Path(image).is_dir() else [Path(image)]
            yield from ((str(file), file) for file in files)
        else:
            yield str(i), _checked(image, i)


def _pictures_in(folder: Path) -> list[Path]:
    """The files below a folder whose ending Pillow knows, in order."""
    known = Image.registered_extensions()
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in known)
    if not files:
        raise ValueError(f"{folder} holds no pictures")
    return files


def _checked(image, place: int):
    if isinstance(image, Image.Image):
        return image
    shape = getattr(image, "shape", ())
    grey_or_colour = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if getattr(image, "dtype", None) != np.uint8 or not grey_or_colour:
        raise ValueError(
            f"image {place}: paths, PIL images and arrays uint8 (H, W, 3) or (H, W) are taken, not "
            f"{type(image).__name__} {getattr(image, 'dtype', '')} {shape or ''}"
        )
    return Image.fromarray(image)


def _open(source) -> Image.Image:
    return open_photo(str(source))[0] if isinstance(source, Path) else source


def _boxes(picture: Image.Image, detect: bool, fit: str) -> Iterable[tuple]:
    if not detect:
        return [square_box((0, 0, *picture.size), fit)]
    from hmtl.use.detect import find_faces

    return find_faces(picture)


# ----------------------------------------------------------------------------------- where from


def find_run(run: str | Path, store: str | Path | None = None) -> Path:
    """The folder of a run: its path, its name in the store or how that begins, or "latest".

    Raises FileNotFoundError if there is none, ValueError if several begin like this, or if the
    folder holds a pickle.
    """
    store = Path(store or default_store())
    if str(run) == "latest":
        folders = trained_runs(store)[:1]
    else:
        folders = [folder for folder in (Path(run), store / run) if folder.is_dir()][:1]
        folders = folders or [f for f in trained_runs(store) if f.name.startswith(str(run))]
    if len(folders) > 1:
        some = ", ".join(folder.name for folder in folders[:4])
        raise ValueError(f"{len(folders)} runs in {store} begin with {run}: {some} ...; say more")
    if not folders:
        raise FileNotFoundError(
            f"{run} is no folder and no run in {store}; give a run's folder, its name (`python -m "
            "hmtl runs` lists them), or a folder that `python -m hmtl export` made"
        )
    (folder,) = folders
    if pickles := sorted(f.name for f in folder.iterdir() if f.suffix in _PICKLES):
        raise ValueError(
            f"{folder / pickles[0]} may be a pickle, which can run code when it is read; "
            "only folders of safetensors, ONNX and JSON are opened"
        )
    return folder


def trained_runs(store: Path) -> list[Path]:
    """The folders of the runs in a store that have a trained network, the newest first."""
    found = store.glob("[!.]*/model.safetensors")
    return [f.parent for f in sorted(found, key=lambda f: f.stat().st_mtime_ns, reverse=True)]


def load(run: str | Path, *, store: str | Path | None = None, device: str | None = None) -> Network:
    """The trained network of a run: its folder, its name in the `store`, or an exported folder.

    It runs on `device`, by default a GPU where there is one; an exported one on "cpu" or "cuda".
    Raises FileNotFoundError and ValueError naming the folder and what is wrong with it, or a device
    that is not there, and ImportError where an exported network needs onnxruntime.
    """
    folder = find_run(run, store)
    if (folder / "model.onnx").is_file():
        return _load_onnx(folder / "model.onnx", device)
    if (folder / "model.pt2").is_file() and not (folder / "spec.json").is_file():
        raise ValueError(
            f"{folder} holds a network as torch.export saves it (model.pt2), and of exports only "
            "ONNX is opened for prediction: export the run with --format onnx, or give its own "
            "folder"
        )
    return _load_trained(load_run(folder), device)


def _load_trained(run: Run, device: str | None) -> Network:
    import torch
    from fastai.torch_core import default_device

    place = torch.device(device) if device else default_device()
    model = answers_of(run).to(place)

    @torch.inference_mode()
    def answer(faces: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(faces).to(place)).float().cpu().numpy()

    return _network(run_record(run), answer, run.path)


def answers_of(run: Run):
    """The plain network of a run with its activation, in evaluation mode
    (`hmtl.method.learner.Answers`).

    Raises ValueError for a run that failed or has no answers, or whose weights do not fit,
    FileNotFoundError for one without weights.
    """
    from hmtl.method.learner import Answers, build_model

    weights = run.weights
    if not run.spec.make_task().columns:
        raise ValueError(
            f"{run.path}: a pre-training answers nothing; train a run that starts from it "
            "(--set init FOLDER)"
        )
    task = make_task(run.spec.task)  # without the weights of classes, which only training needs
    model = build_model(run.spec.arch, len(task.names), task)
    load_weights(model, weights, _REMEDY)
    return Answers(model, task).eval()


def run_record(run: Run) -> dict[str, str]:
    """What whoever uses a run's network must know, as text: it goes into exported files."""
    from hmtl.method.augment import VALID_CROP

    task = make_task(run.spec.task)
    # runs of older versions do not say what their packs were
    colour = "grey" if run.spec.data in GREY_SETS else "colour"
    return {
        "hmtl": __version__,
        "run": run.id,
        "task": task.name,
        "labels": json.dumps(list(task.names)),
        "output": "probabilities" if task.has_classes else "degrees",
        "input": "images, float32 in [0, 1], (batch, 3, size, size), RGB",
        "size": str(run.spec.size),
        "crop": str(VALID_CROP),
        "colour": run.record.get("colour", colour),
        "fit": run.record.get("fit", "cover"),
    }


def _network(record: Mapping[str, str], answer: Callable, source: Path) -> Network:
    with reading(source, _REMEDY):
        if missing := {"task", "labels", "size", "crop", "colour", "run"} - set(record):
            raise ValueError(f"metadata {', '.join(map(repr, sorted(missing)))} is missing")
        task = make_task(record["task"])
        labels, colour = json.loads(record["labels"]), record["colour"]
        size, crop = int(record["size"]), float(record["crop"])
        fit = record.get("fit", "cover")  # exports of older versions have none
        if labels != list(task.names):
            raise ValueError(f"labels {labels} are not those of the task {task.name!r}")
        known = colour in ("grey", "colour") and fit in FITS
        if not (0 < crop <= 1 and size > 0 and known):
            said = f"size {size}, crop {crop}, colour {colour!r}, fit {fit!r}"
            raise ValueError(f"{said}: no face is seen so")
        return Network(record["run"], task, size, crop, colour == "grey", answer, fit)


def _load_onnx(file: Path, device: str | None) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            'an exported network needs onnxruntime: pip install "hmtl[use]"'
        ) from error

    on_gpu = device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = ["CUDAExecutionProvider"] * on_gpu + ["CPUExecutionProvider"]
    with reading(checked(file, _REMEDY), _REMEDY):  # bytes: then it cannot name another file
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=providers)
        asked = session.get_inputs()[0].name
    # asked after it was made: a provider that finds no GPU is left out without an error
    used = {"cpu", *(["cuda"] * ("CUDAExecutionProvider" in session.get_providers()))}
    if device is not None and device not in used:
        raise ValueError(
            f"{file} cannot run on device {device!r}: onnxruntime has {' and '.join(sorted(used))} "
            "here; cuda needs a GPU and the package onnxruntime-gpu"
        )

    def answer(faces: np.ndarray) -> np.ndarray:
        with reading(file, _REMEDY):
            answers = session.run(None, {asked: faces})[0]
            shape = (len(faces), len(network.task.names))
            if answers.shape != shape or not np.isfinite(answers).all():
                raise ValueError(f"finite answers {shape} are needed, it gave {answers.shape}")
        return answers

    network = _network(session.get_modelmeta().custom_metadata_map, answer, file)
    return network
