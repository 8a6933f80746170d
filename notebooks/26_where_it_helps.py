# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where does it help, and where does it cost?
#
# *The gain of hybrid training by slices: weak and strong expressions, turned heads, side light,
# covered faces, age, skin tone, gender.*
#
# A mean over all faces can hide that some pay for others. Rendered faces know every parameter that
# shaped them, so each question gets its own slices, with intervals that hold for all of them
# together. This notebook trains nothing new: it reads the runs of
# [`20_hmtl_emotion`](20_hmtl_emotion.ipynb), of the recorded study at notebook defaults.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("26_where_it_helps", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## The slices
#
# Test faces are of people never seen in training. How many there are of each:

# %%
from hmtl.study.slices import SLICES, slice_gains, sliced_faces
from hmtl.study.tables import CONTROL, PUZZLE, name_trainings

source = "20_hmtl_emotion"
recorded, outcomes = here.recorded()
own = recorded[(recorded["study"] == source) & (recorded["data"].isin(["faces", "mini"]))]
assert len(own), "no runs on rendered faces: run notebook 20 with this preset first"
own = own[own["data"] == own["data"].iloc[0]]
own = own[own["fraction"] == own["fraction"].min()]
named = name_trainings(own)
faces = sliced_faces(own)
{name: faces[name].value_counts(sort=False).to_dict() for name in SLICES}

# %% [markdown]
# ## Gain of the puzzle by slice
#
# With the smaller share of the labels of notebook 20, in points: against supervised training, then
# against the second plain view, which costs the same. `base` is the accuracy of what it is held
# against; `says` speaks only where the interval leaves zero out. The intervals cover other seeds
# and other people, and those of both tables hold together.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from hmtl.study.plots import plot_gains


def by_seed(method):
    """Seed -> outcomes of the runs of a method at its usual length."""
    runs = named[(named["method"] == method) & named["run"].isin(set(outcomes))]
    return {row.seed: outcomes[row.run] for row in runs.itertuples()}


tables, bases = {}, ("SL", CONTROL)
for base in bases:
    tables[base] = slice_gains(faces, by_seed(PUZZLE), by_seed(base), tables=len(bases))
    figure = plot_gains(tables[base], f"puzzle − {base.split(' ')[0]}")
    here.save_figure(figure, f"against-{base.split(' ')[0]}")
    plt.show()

# %%
table = pd.concat([t.assign(against=base) for base, t in tables.items()], ignore_index=True)
here.save(table, "slices")
tables["SL"]

# %% [markdown]
# ## What it says
#
# Written by the numbers, not by us:

# %%
for base, own_table in tables.items():
    for word in ("gains", "costs"):
        rows = own_table[own_table["says"] == word]
        named = [f"{row.column} {row.slice}" for row in rows.itertuples()]
        print(f"against {base}, the puzzle {word}: {', '.join(named) or 'nowhere that is sure'}")

# %% [markdown]
# Means that differ between slices are no finding while their intervals overlap. Rendered skin
# tones, ages and genders say how *this* generator's pictures are read; nothing here may be taken as
# a check of fairness on photographs of people.
#
# ### Exercises
# 1. Hold twice the epochs against the second view: which faces does longer training help?
# 2. Add a slice of your own to `SLICES` in `hmtl/slices.py`: beards, say, or JPEG quality.
#
# Next: [`27_rendered_to_real`](27_rendered_to_real.ipynb).
