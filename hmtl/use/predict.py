"""A trained run in use: pictures -> the faces in them -> a table of answers.

    network = hmtl.load("ferplus")                  # it ships (`hmtl.use.networks`)
    network = hmtl.load("outputs/runs/NAME")        # or a run's name, or an exported folder
    table = network.predict(["photo.jpg"])          # or a folder, a video, PIL images, arrays
    table, vectors = network.embed(["photo.jpg"])   # and the representation of each face

A row a face: file, `face` (1, 2, ... the largest first), its box x0, y0, x1, y1 in pixels of the
upright picture, and the run's answer: `predicted` and a probability `p_<name>` of each class, or
`predicted_<name>` of each number: degrees of a pose, valence and arousal in -1..1. Of a video there
is a row a frame and face, with `frame`, counted from 0, and `seconds`. **A picture without a face
has one row with face 0** and nothing else. Files that cannot be read are no rows;
`table.attrs["unreadable"]` names them.

A face goes the way of a test face: the square is cut out and resized as packing does
(`hmtl.data.photos`), then its centre is cut out (`hmtl.method.augment.center_crop`). With
`detect=False` pictures are faces already. Networks of grey packs see grey. A set that was packed
larger than the run's size loses a little sharpness that its test faces kept.

A stranger's folder cannot run code here: weights are safetensors or ONNX, all else JSON, and a
folder that holds a pickle is refused. Ours.
"""

__all__ = [
    "Network", "answers_of", "find_run", "load", "run_record", "save_embeddings",
    "trained_runs",
]  # fmt: skip

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from hmtl import __version__
from hmtl.data.packing import GREY_SETS
from hmtl.data.photos import FITS, cut_square, describe_problem, square_box
from hmtl.files import checked, load_weights, new_file, reading
from hmtl.labels import hint
from hmtl.method.tasks import Task, make_task
from hmtl.paths import show_progress
from hmtl.runs.store import Run, default_store, load_run
from hmtl.use.detect import FRAME, FRAMES, find_faces
from hmtl.use.pictures import Drawer, Picture, count_pictures, pictures_in, several

_PICKLES = re.compile(r"\.(pkl|pickle|pt\d*|pth|ckpt|bin|joblib|dill|h5|hdf5)$", re.I)
_RECORDS = ("spec.json", "config.json", "model.onnx")  # one of which a network's folder holds
_MOST_SIDE = 2048  # pixels of a network's input: more is a mistake, or asks for all memory
_BOX = ["x0", "y0", "x1", "y1"]
_WAITING = 16  # pictures that wait to be drawn at most, so that memory stays bounded
_REMEDY = "train or export the run again, or copy its folder anew from where it came"


@dataclass(frozen=True)
class Network:
    """A trained network and what it must be given; `load` makes it.

    Args:
        name: The run's.
        task: What it answers.
        size: Side of what it sees, pixels.
        crop: Share of a face's square that it sees.
        grey: Whether it sees grey.
        answer: Faces float32 (B, 3, size, size) in [0, 1], RGB -> probabilities (B, classes) or
            numbers (B, n), float32.
        fit: One of `hmtl.data.photos.FITS`: how the pack it learned from made squares of pictures.
        represent: The same faces -> representations (B, C), float32; None of an exported network.
        frame: How its training faces lie in their squares (`hmtl.use.detect.FRAMES`).
    """

    name: str
    task: Task
    size: int
    crop: float
    grey: bool
    answer: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    fit: str = "cover"
    represent: Callable[[np.ndarray], np.ndarray] | None = field(default=None, repr=False)
    frame: tuple[float, float] = FRAME

    def predict(
        self, images, *, detect: bool = True, batch: int = 64, progress: bool | None = None,
        every: int = 1, draw: str | Path | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Answer about pictures.

        Args:
            images: A picture, several, a folder or a video (`hmtl.use.pictures`): paths, PIL
                images, arrays uint8 (H, W, 3), RGB (OpenCV's are BGR: `[..., ::-1]`), or (H, W).
                What has no path is taken upright as it is, and named by its place.
            detect: Find the faces. False: each picture is one face, of which the square by `fit` is
                used.
            batch: Faces asked about at once.
            progress: A bar; None: `hmtl.paths.show_progress`.
            every: Of a video one frame in so many.
            draw: A folder for copies with boxes and answers.

        Returns:
            The table that the module describes; of videos with `frame` and `seconds`.
            `attrs["unreadable"]` maps what could not be read to why, `attrs["undrawn"]` the first
            that could not be drawn, after which none is.

        Raises:
            ValueError: an empty folder, an array of another kind, `batch` or `every` below 1.
            OSError: nothing can be written into the folder for copies.
            ImportError: the detector or the reader of videos is not installed.
        """
        return self._answer(images, detect, batch, progress, every, draw)[0]

    def embed(self, images, **options) -> tuple[pd.DataFrame, np.ndarray]:
        """Answer about pictures, and give the representation of each face.

        Args:
            images: As in `predict`.
            options: Those of `predict`.

        Returns:
            The table of `predict`, and float32 (n, C): the pooled features of the encoder, a row
            for each of the table's n rows with a face, in their order.

        Raises:
            ValueError: as `predict`, and for an exported network, which gives answers alone.
            ImportError: as `predict`.
        """
        if self.represent is None:
            raise ValueError(
                f"{self.name}: an exported network gives answers alone; give the run's own folder"
            )
        return self._answer(images, vectors=True, **options)

    def _answer(self, images, detect=True, batch=64, progress=None, every=1, draw=None,
                vectors=False) -> tuple:  # fmt: skip
        if batch < 1:
            raise ValueError(f"batch must be at least 1 face, got {batch}")
        images = several(images)
        progress = show_progress() if progress is None else progress
        total = count_pictures(images, every) if progress else None
        unreadable: dict[str, str] = {}
        seen = self._cut(pictures_in(images, every), detect, unreadable)
        rows: list[tuple] = []
        answers, features = [np.empty((0, len(self.task.names)), np.float32)], []
        bar = tqdm(unit="picture", delay=2, total=total, disable=not progress)
        with Drawer(draw, every, images) if draw else nullcontext() as drawer, bar:
            for group in _grouped(seen, batch, bool(draw)):
                faces, before = [face for *_, squares in group for face in squares], len(answers)
                for start in range(0, len(faces), batch):
                    given = self.see(faces[start : start + batch])
                    answers.append(self.answer(given))
                    if vectors and self.represent is not None:
                        features.append(self.represent(given))
                texts = self._texts(row for part in answers[before:] for row in part)
                for picture, pixels, boxes, _ in group:
                    where = picture.name, picture.frame, picture.seconds
                    rows += [(*where, i + 1, *map(int, box)) for i, box in enumerate(boxes)]
                    rows += [(*where, 0, *[None] * 4)] * (len(boxes) == 0)
                    if drawer:
                        drawer.write(picture, pixels, boxes, list(islice(texts, len(boxes))))
                bar.update(len(group))
        table = self._table(rows, np.concatenate(answers))
        table.attrs |= {"unreadable": unreadable, "undrawn": drawer.undrawn if drawer else {}}
        return table, np.concatenate(features or [np.empty((0, 0), np.float32)])

    def _cut(self, pictures, detect: bool, unreadable: dict[str, str]) -> Iterator[tuple]:
        """Yield every picture that can be read, its pixels, its faces' boxes and squares."""
        for picture in pictures:
            try:
                if not isinstance(picture, Picture):
                    raise picture[1]
                pixels = picture.open()
                full = 0, 0, *pixels.size
                found = find_faces(pixels, self.frame) if detect else [square_box(full, self.fit)]
                boxes = [tuple(box) for box in found]
                squares = [cut_square(pixels, b, self.size, self.grey, self.fit)[0] for b in boxes]
            except ImportError:
                raise
            except Exception as error:  # decoders raise anything on a broken file
                unreadable[picture[0]] = describe_problem(error, picture[0])
                continue
            yield picture, pixels, boxes, squares

    def _texts(self, answers: Iterable[np.ndarray]) -> Iterator[str]:
        """What is written beside each face."""
        import torch

        for row in answers:
            sure = f" {row.max():.0%}" * self.task.has_classes
            yield f"{self.task.decode(torch.from_numpy(row))}{sure}"

    def see(self, faces: list[np.ndarray]) -> np.ndarray:
        """What the network sees of squares uint8 (S, S) or RGB (S, S, 3): (B, 3, size, size)."""
        import torch

        from hmtl.method.augment import center_crop

        pixels = torch.from_numpy(np.stack(faces)).float() / 255
        images = pixels[..., None].expand(-1, -1, -1, 3) if pixels.ndim == 3 else pixels
        return center_crop(images.permute(0, 3, 1, 2), self.crop, self.size).numpy()

    def _table(self, rows: list[tuple], predicted: np.ndarray) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=["file", "frame", "seconds", "face", *_BOX])
        table = table.astype(dict.fromkeys(["frame", *_BOX], "Int64") | {"seconds": float})
        if table["frame"].isna().all():
            table = table.drop(columns=["frame", "seconds"])
        asked = np.flatnonzero(table["face"] > 0)
        blank = pd.DataFrame(index=asked, columns=["key", *self.task.columns], dtype=object)
        said = self.task.predictions(blank, predicted).filter(regex="^p")
        return table.join(said.set_axis(asked))


def _grouped(pictures: Iterable[tuple], batch: int, drawn: bool) -> Iterator[list[tuple]]:
    """Yield pictures together that have a batch of faces; their pixels are kept for drawing."""
    group: list[tuple] = []
    faces = 0
    for picture, pixels, boxes, squares in pictures:
        group.append((picture, pixels if drawn else None, boxes, squares))
        faces += len(boxes)
        if faces >= batch or (drawn and len(group) >= _WAITING):
            yield group
            group, faces = [], 0
    if group:
        yield group


def save_embeddings(file: str | Path, table: pd.DataFrame, vectors: np.ndarray) -> None:
    """Write what `Network.embed` returns as a new .npz file.

    Args:
        file: Its place.
        table: Of n rows with a face.
        vectors: Float32 (n, C).

    Raises:
        OSError: it cannot be written.

    The arrays: `embeddings` (n, C), `picture` (n,) its name, `face` (n,), and of videos `frame`
    (n,), NaN where it is a picture.
    """
    found = table[table["face"] > 0]
    where = {"picture": found["file"].astype(str).to_numpy(str), "face": found["face"].to_numpy()}
    if "frame" in found:
        where["frame"] = found["frame"].to_numpy(float, na_value=np.nan)
    with new_file(file) as part, part.open("wb") as handle:
        np.savez_compressed(handle, embeddings=vectors, **where)


# ----------------------------------------------------------------------------------- where from


def find_run(run: str | Path, store: str | Path | None = None, *, handed: bool = True) -> Path:
    """Find the folder of a trained network.

    Args:
        run: Its folder, the name of a network that ships (`hmtl.use.networks`), a run's name in
            the store or how that begins, or "latest".
        store: Where runs lie; None: `outputs/runs`.
        handed: Whether an error offers exported folders and networks that ship too.

    Returns:
        The folder. A folder that only happens to have the name of a network that ships, a data
        set's say, does not hide it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: none is named, several runs begin like this, or the folder holds a pickle.
    """
    from hmtl.use.networks import shipped

    run, inside = os.path.expanduser(run), shipped()
    store = Path(os.path.expanduser(store or default_store()))
    if not run:  # an empty variable of a shell: not the folder one is in
        raise ValueError("no run is named: give its folder, its name, or latest")
    with reading(run, "give a run's folder, or its name"):  # too long, or closed to us
        here = [Path(run)] if Path(run).is_dir() else []
    if run == "latest":
        folders = trained_runs(store, needed=True)[:1]
    elif run in inside and not any((Path(run) / name).is_file() for name in _RECORDS):
        folders = [inside[run]]
    else:
        folders = here or [folder for folder in [store / run] if folder.is_dir()]
        folders = folders or [f for f in trained_runs(store) if f.name.startswith(run)]
    if len(folders) > 1:
        some = ", ".join(folder.name for folder in folders[:4]) + " ..." * (len(folders) > 4)
        raise ValueError(f"{len(folders)} runs in {store} begin with {run}: {some}; say more")
    if not folders:
        known = [*(inside if handed else ()), *(folder.name for folder in trained_runs(store))]
        near = hint(run, known, 0.75)  # other projects' networks have names like these
        also = " a folder that `python -m hmtl export` made, or a network that ships: "
        raise FileNotFoundError(
            f"{run} is no folder and no run in {store}; {near}give a run's folder or its name "
            f"(`python -m hmtl runs` lists them){f',{also}' + ', '.join(inside) if handed else ''}"
        )
    (folder,) = folders
    own = re.compile(r"model\.pt2|epoch-\d+-[0-9a-f]+\.pt")  # written here, and not read here
    pickles = (f for f in folder.rglob("*") if _PICKLES.search(f.name))
    if pickle := min((f for f in pickles if not own.fullmatch(f.name)), default=None):
        raise ValueError(
            f"{pickle} may be a pickle, which can run code when it is read; "
            "only folders of safetensors, ONNX and JSON are opened"
        )
    return folder


def trained_runs(store: Path, needed: bool = False) -> list[Path]:
    """The folders of a store's runs that have a trained network, the newest first.

    Those that are closed to us come before all: any may be the newest.

    Raises FileNotFoundError if some are `needed` and none is there.
    """
    names: list[str] = []
    if store.is_dir():
        with reading(store, "get the right to read it"):
            names = [n for n in os.listdir(store) if n[0] != "." and n != "lost+found"]
    folders = [(_made(store / name), store / name) for name in names]
    dated = [(age, folder) for age, folder in folders if age is not None]
    found = [folder for _, folder in sorted(dated, reverse=True)]
    if needed and not found:
        remedy = "make one: python -m hmtl run; then latest is the newest"
        raise FileNotFoundError(f"no trained run yet in {store}; {remedy}")
    return found


def _made(folder: Path) -> float | None:
    """When a folder's network was made, None of none; infinite if closed to us: maybe newest."""
    try:
        return (folder / "model.safetensors").stat().st_mtime_ns
    except PermissionError:
        return math.inf
    except OSError:
        return None


def load(run: str | Path, *, store: str | Path | None = None, device: str | None = None) -> Network:
    """Open a trained network.

    Args:
        run: Its folder, exported ones too, the name of a network that ships, or a run's name in
            the store (`find_run`).
        store: Where runs lie; None: `outputs/runs`.
        device: Where it runs; None: a GPU where there is one. An exported one takes "cpu" or
            "cuda".

    Returns:
        The `Network`, which answers by `predict` and `embed`.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: Naming the folder and what is wrong with it, or a device that is not there.
        ImportError: An exported network needs onnxruntime.

    Example:
        >>> import numpy as np
        >>> import hmtl
        >>> network = hmtl.load("ferplus", device="cpu")
        >>> table = network.predict(np.zeros((48, 48, 3), np.uint8), detect=False)
        >>> len(table), [name for name in table if name.startswith("p_")][:2]
        (1, ['p_neutral', 'p_happy'])
    """
    from hmtl.use.networks import is_handed, open_handed, read_config

    folder = find_run(run, store)
    if (folder / "model.onnx").is_file():
        return _load_onnx(folder / "model.onnx", device)
    if is_handed(folder):
        return _in_torch(open_handed(folder), read_config(folder), folder, device)
    others = [name for name in ("model.pt2", "encoder.safetensors") if (folder / name).is_file()]
    if others and not (folder / "spec.json").is_file():
        raise ValueError(
            f"{folder} holds {others[0]}, and of exports only ONNX is opened for prediction: "
            "export the run with --format onnx, or give its own folder"
        )
    trained = load_run(folder)
    return _in_torch(answers_of(trained), run_record(trained), folder, device)


def _in_torch(model, record: Mapping, source: Path, device: str | None) -> Network:
    import torch
    from fastai.torch_core import default_device

    place = torch.device(device) if device else default_device()
    try:
        model = model.to(place)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise ValueError(f"device={str(device)!r}: {error}; cpu is always there") from None

    @torch.inference_mode()
    def said(module, faces: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(faces).to(place)).float().cpu().numpy()

    return _network(record, partial(said, model), source, partial(said, model.model.encoder))


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
    build = partial(build_model, run.spec.arch, len(task.names), task)
    return Answers(load_weights(build, weights, _REMEDY), task).eval()


def run_record(run: Run) -> dict[str, str]:
    """What whoever uses a run's network must know, as text: it goes into exported files."""
    from hmtl.method.augment import VALID_CROP

    task = make_task(run.spec.task)
    # runs of older versions do not say what their packs were
    colour = "grey" if run.spec.data in GREY_SETS else "colour"
    return {
        "hmtl": __version__, "run": run.id, "task": task.name,
        "labels": json.dumps(list(task.names)), "output": task.unit or "probabilities",
        "input": "images, float32 in [0, 1], (batch, 3, size, size), RGB",
        "size": str(run.spec.size), "crop": str(VALID_CROP),
        "colour": run.record.get("colour", colour), "fit": run.record.get("fit", "cover"),
        "frame": json.dumps(FRAMES.get(run.spec.data.partition(":")[0], FRAME)),
    }  # fmt: skip


def _network(
    record: Mapping[str, str], answer: Callable, source: Path, represent: Callable | None = None
) -> Network:
    with reading(source, _REMEDY):
        if missing := {"task", "labels", "size", "crop", "colour", "run"} - set(record):
            raise ValueError(f"metadata {', '.join(map(repr, sorted(missing)))} is missing")
        task = make_task(record["task"])
        labels, colour = json.loads(record["labels"]), record["colour"]
        size, crop = int(record["size"]), float(record["crop"])
        fit = record.get("fit", "cover")  # exports of older versions have none
        wider, lower = map(float, json.loads(record.get("frame", json.dumps(FRAME))))
        if labels != list(task.names):
            raise ValueError(f"labels {labels} are not those of the task {task.name!r}")
        known = colour in ("grey", "colour") and fit in FITS
        known &= 0.1 < wider < 10 and -1 < lower < 1
        if not (0 < crop <= 1 and 0 < size <= _MOST_SIDE and known):
            said = (
                f"size {size}, crop {crop}, colour {colour!r}, frame {wider} {lower}, fit {fit!r}"
            )
            raise ValueError(f"{said}: no face is seen so")
        return Network(record["run"], task, size, crop, colour == "grey", answer, fit, represent,
                       (wider, lower))  # fmt: skip


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
