"""What a mirror does to a row of the face table, and the angles of a rotation by scipy."""

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from hmtl.faces.expressions import ACTION_UNITS

_MIRRORED = ("yaw", "roll", "light_azimuth", "fill_azimuth", "crop_x", "motion_angle", "hand_x",
             "hand_side", "hand_tilt")  # fmt: skip


def mirror(params: pd.DataFrame) -> pd.DataFrame:
    """The rows of the mirrored pictures: yaw and roll change sign, pitch does not, sides swap.

    What a horizontal flip does to labels, and to every parameter that has a side. Skin mottling and
    sensor noise have none.
    """
    swapped = {"left": "right", "right": "left"}
    names = {}
    for column in params:
        unit, _, side = column.partition("_")
        if unit in ACTION_UNITS and side:
            names[column] = f"{unit}_{swapped[side]}"
        elif column[:8] in ("shape_l-", "shape_r-"):
            names[column] = f"shape_{'r' if column[6] == 'l' else 'l'}{column[7:]}"
    names |= {"AU61": "AU62", "AU62": "AU61"}
    out = params.rename(columns=names)[list(params)].copy()
    for column in _MIRRORED:
        if column in out:
            out[column] = -out[column]
    if "background_angle" in out:
        out["background_angle"] = 180 - out["background_angle"]
    return out


def pose_angles(rotation: np.ndarray) -> np.ndarray:
    """(yaw, pitch, roll) in degrees of `hmtl.angles.pose_matrix`, as scipy reads them."""
    return -Rotation.from_matrix(rotation).as_euler("XYZ", degrees=True)[..., [1, 0, 2]]
