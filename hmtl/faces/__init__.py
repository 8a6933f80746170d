"""Rendered faces: who is in the picture, what the face does, light and camera -> pixels, labels.

In: a `FaceSet` (ranges and switches) and a seed. Out: a table of faces, a row a picture with exact
labels, and uint8 pixels (N, S, S, 3). Pixels of a rendered face are made only here. Imports the
ground floor alone.
"""

from hmtl.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"hmtl.faces.faceset": ["FaceSet"]})
