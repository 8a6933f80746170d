"""Another package's answers about faces; `bench_predict.py` runs this with that package's Python.

    python peers.py fer FACES.bin ROUNDS SIDE

Faces are uint8 (n, SIDE, SIDE), grey, one after another. Each is answered once and then ROUNDS
times more. Prints JSON: the classes named, and CPU seconds of each further round.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np


def fer():
    """PyPI's fer as it comes: its small network, told that the face is the whole picture."""
    from fer.fer import FER

    network = FER(offsets=(0, 0))

    def answer(face):
        whole = [(0, 0, face.shape[1], face.shape[0])]
        (found,) = network.detect_emotions(np.dstack([face] * 3), face_rectangles=whole)
        return found["emotions"]

    return answer


def facex():
    """PyPI's facex: what it does with a face that its own detector has cut out in grey."""
    import facex as package
    from facex.core import EmotionClassifier

    folder = Path(package.__file__).parent / "assets"
    return EmotionClassifier(str(folder / "model_optimized.tflite")).detect_emotion


def main() -> None:
    """Answer, and print."""
    package, file, rounds, side = sys.argv[1:]
    faces = np.fromfile(file, np.uint8).reshape(-1, int(side), int(side))
    answer = {"fer": fer, "facex": facex}[package]()
    said = [answer(face) for face in faces]
    seconds = []
    for _ in range(int(rounds)):
        start = time.process_time()
        for face in faces:
            answer(face)
        seconds.append(time.process_time() - start)
    print(json.dumps({"said": [max(one, key=one.get) for one in said], "seconds": seconds}))


if __name__ == "__main__":
    main()
