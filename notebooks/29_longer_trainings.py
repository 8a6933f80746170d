# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is it only a matter of length?
#
# *The same trainings for twice as long.*
#
# With all labels the study's trainings are short: twice the epochs still add several points to
# supervised training ([`21_few_labels`](21_few_labels.ipynb)). A puzzle must be learned before it
# can teach, and a second plain view need not: what looks worse after a few epochs may be better
# after many. So claim C2 is asked again of trainings twice as long (C2c), each against the same
# bases at that length. At notebook defaults a small training runs, in under a minute, and the
# tables show the recorded study.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("29_longer_trainings", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## The runs
#
# The trainings of [`20_hmtl_emotion`](20_hmtl_emotion.ipynb) with all labels, each for twice its
# epochs there; so what is `SL` here was `SL, 2× epochs` there, and is read from it. Each gets the
# learning rate that serves it best on the valid split, at its length.

# %% tags=["nbval-ignore-output"]
from hmtl.runs.store import runs_table

methods = here.choose_lr(here.ways(epochs=2 * here.spec().epochs))
runs = here.train(here.spec(seed=s, **method) for s in here.seeds for method in methods)
runs_table(runs)[["method", "epochs", "seed", "accuracy", "macro_f1", "cpu_seconds"]].round(3)

# %% [markdown]
# ## Accuracy on unseen faces
#
# Columns as in [`20_hmtl_emotion`](20_hmtl_emotion.ipynb); `2× epochs` is twice this notebook's
# length, four times that one's.

# %%
from hmtl.study.tables import gap_lines, split_gaps, study_tables

recorded, outcomes = here.results(runs)
table = here.save(study_tables(recorded, outcomes)["lengths"], "accuracy")
scores, gaps = split_gaps(table)
scores

# %%
gaps

# %% [markdown]
# Over the passes of a face, the measure of compute: a pass is an epoch of one view. The shorter
# trainings are those of [`20_hmtl_emotion`](20_hmtl_emotion.ipynb).

# %%
import matplotlib.pyplot as plt
import pandas as pd

from hmtl.study.plots import plot_lengths

everything, _ = here.recorded()  # with what other notebooks made
shorter = everything["study"].eq("20_hmtl_emotion") & everything["fraction"].eq(1)
shorter &= everything["method"].isin(recorded["method"])
both = pd.concat([everything[shorter], recorded]).drop_duplicates("run")
here.save_figure(plot_lengths(both), "lengths")
plt.show()

# %% [markdown]
# ## Claim C2c, judged
#
# The record's intervals are wide enough for all claims of the study together; at other presets, for
# those of this notebook.

# %%
here.verdicts(recorded, outcomes)

# %% [markdown]
# ## What the runs say
#
# Written by the numbers, not by us: what still more epochs add to supervised training, and where
# the puzzle stands beside the others.

# %%
print(gap_lines(table, "^SL, 2"))
print(gap_lines(table, "^puzzling"))

# %% [markdown]
# ## Had they converged?
#
# The score on the valid split after every epoch.

# %% tags=["nbval-ignore-output"]
from hmtl.study.plots import plot_learning, show_in_few_colours

show_in_few_colours()  # keeps this file small
curves = here.curves(recorded)
if len(curves):
    here.save_figure(plot_learning(curves), "curves")
    plt.show()

# %% [markdown]
# **Where we depart from the paper:** the authors' scripts train for 80 to 200 epochs, of far more
# faces. Where the longest row above still gains on the one before it, the end of these trainings is
# not in the table either.
#
# ### Exercises
# 1. `python -m hmtl run --preset quick --set epochs 100 --set pretexts puzzling_2x2`: does the
#    pretext's own score still rise when the emotions' no longer does?
# 2. Which training profits most from the best epoch on the valid split, and why that one?
#
# Next: [`30_results`](30_results.ipynb), everything on one page.
