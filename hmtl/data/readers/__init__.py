"""Readers: one module a public data set, each turning its folders into a checked sample table.

A sample table has a row an image: `key` (unique, relative, with "/" between), `path` (absolute),
`split` (train, valid or test) and the labels the set has, named as in `hmtl.labels`: `emotion`,
`gender`, `yaw, pitch, roll` (degrees), `valence, arousal` (-1..1), `person`; and, where the face
must be cut out, the box `left, top, right, bottom` in pixels, which may reach outside of the
picture. `table.attrs["report"]` says what was dropped, and the counts found beside those published
(see `hmtl.data.readers.report`).

`READERS` has every reader by the name of its data set: `READERS["biwi"](root, protocol=2)`.
"""

__all__ = ["READERS"]

from collections.abc import Callable

import pandas as pd

from hmtl.data.readers.adience import read_adience
from hmtl.data.readers.affectnet import read_affectnet
from hmtl.data.readers.affectnet.folders import read_affectnet_folders
from hmtl.data.readers.affectnet.lists import read_affectnet_csv
from hmtl.data.readers.affectnet.npy import read_affectnet_npy
from hmtl.data.readers.affectnet.plus import read_affectnet_plus
from hmtl.data.readers.affectnet.yolo import read_affectnet_yolo
from hmtl.data.readers.affwild2 import read_affwild2
from hmtl.data.readers.aflw2000 import read_aflw2000
from hmtl.data.readers.any_csv import read_csv
from hmtl.data.readers.biwi import read_biwi
from hmtl.data.readers.celeba import read_celeba
from hmtl.data.readers.ckplus import read_ckplus
from hmtl.data.readers.expw import read_expw
from hmtl.data.readers.fairface import read_fairface
from hmtl.data.readers.fei import read_fei
from hmtl.data.readers.fer2013 import read_fer2013
from hmtl.data.readers.ferplus import read_ferplus
from hmtl.data.readers.ferplus.lists import read_ferplus_csv
from hmtl.data.readers.folders import read_folders
from hmtl.data.readers.pose_npz import read_pose_npz
from hmtl.data.readers.posed import read_jaffe, read_kdef
from hmtl.data.readers.rafdb import read_rafdb
from hmtl.data.readers.utkface import read_utkface
from hmtl.data.readers.w300lp import read_w300lp

READERS: dict[str, Callable[..., pd.DataFrame]] = {
    "affectnet": read_affectnet,  # whichever of the next five forms is there
    "affectnet-csv": read_affectnet_csv,
    "affectnet-npy": read_affectnet_npy,
    "affectnet-plus": read_affectnet_plus,
    "affectnet-yolo": read_affectnet_yolo,
    "affectnet-folders": read_affectnet_folders,
    "rafdb": read_rafdb,
    "fer2013": read_fer2013,
    "ferplus": read_ferplus,
    "ferplus-csv": read_ferplus_csv,
    "expw": read_expw,
    "ckplus": read_ckplus,
    "kdef": read_kdef,
    "jaffe": read_jaffe,
    "affwild2": read_affwild2,
    "300w-lp": read_w300lp,
    "aflw2000": read_aflw2000,
    "biwi": read_biwi,
    "pose-npz": read_pose_npz,
    "fei": read_fei,
    "utkface": read_utkface,
    "celeba": read_celeba,
    "fairface": read_fairface,
    "adience": read_adience,
    "folders": read_folders,
    "csv": read_csv,
}
