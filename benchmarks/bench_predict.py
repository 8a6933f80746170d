"""The networks that ship beside ready-made recognisers, on FER+'s test faces; `make bench-predict`.

    HMTL_FERPLUS=DIR python benchmarks/bench_predict.py

All see the same 3,137 faces (majority mode), 48 pixels, as they are: nothing is looked for in them.
Each package prepares and answers a face as its own code does. The others name seven emotions, so
`accuracy_7` and `mean_recall_7` leave out the faces of contempt; in `accuracy` they count, and the
others have them wrong. `faces_a_second` is of CPU time on one core, the best of five rounds over
the first 200 faces, so that it holds on a loaded machine too; `load` is that machine's load then.
`--accuracy` or `--speed` measures these columns alone, `--only` these rows; the recorded others
stay. Other packages are installed into `--peers`, a folder of their own, at the versions below.
Writes `outputs/reference/tables/peers.csv`, and the table in README.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import hmtl
from hmtl.data.sets import load_pack
from hmtl.labels import EMOTIONS
from hmtl.paths import reference_dir, show_progress
from hmtl.study.record import between_marks
from hmtl.study.tables import markdown
from hmtl.use.networks import network_table, read_config, shipped

HERE = Path(__file__).parent
FILE = reference_dir() / "tables" / "peers.csv"
FIRST, ROUNDS, BATCH = 200, 5, 64
NAMES = {
    "angry": "anger", "disgusted": "disgust", "fearful": "fear", "sadness": "sad",
    "surprised": "surprise",
}  # fmt: skip
"""Their words for our classes."""
PYTHON = ("fer==25.10.3", "facex==1.1.0")
NEEDED = (
    "tensorflow-cpu==2.21.0", "opencv-contrib-python-headless<5", "setuptools<81", "moviepy<2",
    "ffmpeg-python", "matplotlib", "pandas", "requests", "scikit-image", "tqdm",
)  # fmt: skip
"""What they import. By themselves they would bring CUDA, and versions that they fail with."""
NODE = ("@vladmandic/face-api@1.7.15", "@tensorflow/tfjs@4.22.0",
        "@tensorflow/tfjs-backend-wasm@4.22.0")  # fmt: skip
PEERS = {
    "face-api": ("npm, @vladmandic/face-api 1.7.15", "public sets and the web",
                 "node_modules/@vladmandic/face-api/model/face_expression_model.bin"),
    "fer": ("PyPI, fer 25.10.3", "FER-2013's own labels",
            "lib/*/site-packages/fer/data/emotion_model_quantized.tflite"),
    "facex": ("PyPI, facex 1.1.0", "not said",
              "lib/*/site-packages/facex/assets/model_optimized.tflite"),
}  # fmt: skip
"""Name -> where it comes from, what it learned from by its authors' words, where its weights lie.

face-api's tutorial says so; fer's network is that of github.com/oarriaga/face_classification, whose
README says "fer2013", of which FER+'s pictures are.
"""


def install(folder: Path) -> None:
    """Install the others into a folder, where they are not there yet."""
    if not (folder / "bin").is_dir():
        python = ["--python", str(folder)]
        subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(folder)], check=True)
        pip = [sys.executable, "-m", "uv", "pip", "install", "-q", *python]
        subprocess.run([*pip, *NEEDED], check=True)
        subprocess.run([*pip, "--no-deps", *PYTHON], check=True)
    if not (folder / "node_modules").is_dir():
        if not shutil.which("npm"):
            raise FileNotFoundError("npm is needed for face-api: install Node.js")
        (folder / "package.json").write_text("{}", encoding="utf-8")
        npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run([*npm, *NODE], check=True, cwd=folder)


def ask_peer(name: str, folder: Path, faces: np.ndarray, rounds: int) -> dict:
    """What a package says about grey faces uint8 (n, S, S), and CPU seconds of each round."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        faces.tofile(file.name)
        given = [file.name, str(rounds), str(faces.shape[1])]
        command = (
            ["node", str(HERE / "peers.js"), *given]
            if name == "face-api"
            else [str(folder / "bin" / "python"), str(HERE / "peers.py"), name, *given]
        )
        done = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "said": [NAMES.get(word, word) for word in found["said"]]}


def ask_ours(name: str, faces: np.ndarray, rounds: int) -> dict:
    """The same of a network that ships."""
    network = hmtl.load(name, device="cpu")
    how = {"detect": False, "batch": BATCH, "progress": False}
    answers, seconds = network.predict(list(faces), **how), []
    for _ in range(rounds):
        start = time.process_time()
        network.predict(list(faces), **how)
        seconds.append(time.process_time() - start)
    return {"said": list(answers.get("predicted", [])), "seconds": seconds}


def scores(said, labels: pd.Series) -> dict[str, float]:
    """Accuracy of all faces; accuracy and mean recall of those that are not contempt; in %."""
    right = labels.to_numpy() == np.asarray(said)
    known = (labels != "contempt").to_numpy()
    recalls = [right[labels == emotion].mean() for emotion in EMOTIONS if emotion != "contempt"]
    shares = right.mean(), right[known].mean(), np.mean(recalls)
    names = "accuracy", "accuracy_7", "mean_recall_7"
    return {name: round(100 * share, 1) for name, share in zip(names, shares, strict=True)}


def readme_networks() -> str:
    """README's table in Markdown: the networks that ship, then the others, on FER+ side by side."""
    own, measured = network_table(), pd.read_csv(FILE).set_index("name")
    rows = []
    for name in [*own["name"], *measured.index.difference(own["name"], sort=False)]:
        speed = measured["faces_a_second"].get(name)
        speed = "" if pd.isna(speed) else f"{speed:.0f}"
        if pd.notna(measured["accuracy"].get(name)):
            row = measured.loc[name]
            said = (
                f"FER+: accuracy {row['accuracy']:.1f} %, mean recall {row['mean_recall_7']:.1f} %"
            )
            task, learned, size = "emotion", row["trained_on"], row["weights_kB"]
        else:
            row = own.set_index("name").loc[name]
            task, learned, said, size = row["task"], row["data"], row["scores"], row["kB"]
        rows.append((name, task.replace("_", " "), learned, said, size, speed))
    columns = ["network", "answers", "trained on", "test faces", "kB", "faces a second"]
    return markdown(pd.DataFrame(rows, columns=columns))


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=Path("outputs/peers"), help="their folder")
    parser.add_argument("--accuracy", action="store_true", help="measure accuracy alone")
    parser.add_argument("--speed", action="store_true", help="measure speed alone")
    parser.add_argument("--only", nargs="+", help="these alone; the others' recorded rows stay")
    options = parser.parse_args()
    if not os.environ.get("HMTL_FERPLUS"):
        raise SystemExit("set HMTL_FERPLUS to the folder of FER+")
    folder = options.peers.resolve()
    install(folder)
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if hasattr(os, "sched_setaffinity"):  # the others inherit it: one core for each
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pack = load_pack("ferplus", os.environ["HMTL_FERPLUS"])
    test = pack.rows("test")
    faces, labels = np.asarray(pack.take(test))[..., 0], pack.labels["emotion"].iloc[test]
    whole = shipped()
    learned_from = {name: read_config(path)["spec"]["data"] for name, path in whole.items()}
    old = pd.read_csv(FILE, index_col="name").to_dict("index") if FILE.is_file() else {}
    rows = []
    for name in tqdm([*whole, *PEERS], disable=not show_progress()):
        if name in PEERS:
            source, learned, weights = PEERS[name]
            (place,) = folder.glob(weights)
        else:
            source, place = "hmtl", whole[name] / "model.safetensors"
            learned = "FER+, train" if learned_from[name] == "ferplus" else "rendered faces"
        row = {"name": name, "from": source, "trained_on": learned,
               "weights_kB": place.stat().st_size // 1000, "faces": len(test)}  # fmt: skip
        kept = old.get(name, {})
        if options.only and name not in options.only:
            rows += [{"name": name, **kept}] * bool(kept)
            continue
        for wanted, columns, (part, rounds) in (
            (options.accuracy or not options.speed, ("accuracy", "accuracy_7", "mean_recall_7"),
             (faces, 0)),
            (options.speed or not options.accuracy, ("faces_a_second", "load"),
             (faces[:FIRST], ROUNDS)),
        ):  # fmt: skip
            if not rounds and learned_from.get(name, "ferplus") != "ferplus":
                row |= dict.fromkeys(columns)  # of rendered faces: they are asked for speed alone
                continue
            if not wanted:
                row |= {column: kept.get(column) for column in columns}
                continue
            load = round(os.getloadavg()[0], 1)
            ask = ask_peer if name in PEERS else ask_ours
            found = ask(name, *([folder] if name in PEERS else []), part, rounds)
            row |= (
                {"faces_a_second": round(len(part) / min(found["seconds"])), "load": load}
                if rounds
                else scores(found["said"], labels)
            )
        rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(FILE, index=False)
    between_marks(HERE.parent / "README.md", "networks", readme_networks())
    print(table.to_string(index=False))
    print(FILE)


if __name__ == "__main__":
    main()
