"""FER+: FER2013's faces, each labelled by ten people (arXiv 1608.01041).

`images` reads the picture files with their label.csv, `lists` the two csv files without pictures,
`votes` turns ten votes into a label.
"""

from hmtl.data.readers.ferplus.images import FERPLUS_COUNTS, FERPLUS_TRAIN_EMOTIONS, read_ferplus
from hmtl.data.readers.ferplus.votes import COLUMNS, MODES

__all__ = ["COLUMNS", "FERPLUS_COUNTS", "FERPLUS_TRAIN_EMOTIONS", "MODES", "read_ferplus"]
