"""Head pose as a rotation matrix, in the convention of 300W-LP and AFLW2000-3D."""

__all__ = ["pose_matrix"]

import numpy as np


def pose_matrix(yaw, pitch, roll) -> np.ndarray:
    """Head to camera, (..., 3, 3), of angles in degrees: R = Rx(pitch) Ry(yaw) Rz(roll).

    The convention of 300W-LP and AFLW2000-3D, with x to the right of the picture, y up and z
    towards the camera.
    """
    (sy, cy), (sp, cp), (sr, cr) = (
        (np.sin(a), np.cos(a)) for a in np.radians(np.broadcast_arrays(yaw, pitch, roll))
    )
    zero, one = np.zeros_like(sy), np.ones_like(sy)

    def matrix(*rows):
        return np.stack([np.stack(row, -1) for row in rows], -2)

    about_x = matrix((one, zero, zero), (zero, cp, sp), (zero, -sp, cp))
    about_y = matrix((cy, zero, -sy), (zero, one, zero), (sy, zero, cy))
    about_z = matrix((cr, sr, zero), (-sr, cr, zero), (zero, zero, one))
    return np.einsum("...ij,...jk,...kl->...il", about_x, about_y, about_z)
