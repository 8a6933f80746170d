# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does it depend on the network?
#
# *The same trainings in another network.*
#
# The paper shows its tables for EfficientNet-B0 and B2, and what a pretext adds differs between
# them. Another network learns more from the same faces, or less, or learns them by heart; a pretext
# may matter more, or less. Each preset names siblings of its own network: here they are asked what
# claim C2b asks, whether a puzzle helps where labels are few. At notebook defaults a small training
# runs, in about a minute, and the tables show the recorded study.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("28_other_networks", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## The networks
#
# The preset's own and its siblings, with the head for eight emotions. Operations are
# multiply-accumulates for one face at the preset's size, counted by PyTorch.

# %% tags=["nbval-ignore-output"]
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from hmtl.method.encoder import Encoder

networks = [here.spec().arch, *here.preset.networks]
face, rows = torch.zeros(1, 3, here.spec().size, here.spec().size), []
for arch in networks:
    network = Encoder(arch).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(face)
    weights = sum(p.numel() for p in network.parameters()) + 8 * (network.num_features + 1)
    operations = counter.get_total_flops() / 2 / 1e6  # a multiply-accumulate is two
    rows.append({"arch": arch, "weights (M)": weights / 1e6, "operations (M)": operations})
pd.DataFrame(rows).set_index("arch").round(2)

# %% [markdown]
# ## The runs
#
# As in [`20_hmtl_emotion`](20_hmtl_emotion.ipynb), with the fewest labels of that notebook: the
# preset's own network is read from there. Each training of each network gets the learning rate that
# serves it best on the valid split.

# %% tags=["nbval-ignore-output"]
from hmtl.runs.store import runs_table

few = here.preset.fractions[0]
siblings = [{}] + [{"arch": arch} for arch in networks[1:]]
methods = here.choose_lr([way for own in siblings for way in here.ways(**own)], fraction=few)
runs = here.train(here.spec(fraction=few, seed=s, **m) for s in here.seeds for m in methods)
columns = ["arch", "method", "epochs", "seed", "accuracy", "macro_f1", "cpu_seconds"]
runs_table(runs)[columns].round(3)

# %% [markdown]
# ## Accuracy on unseen faces
#
# Columns as in [`20_hmtl_emotion`](20_hmtl_emotion.ipynb): gaps are within one network.

# %%
from hmtl.study.tables import gap_lines, split_gaps, study_tables

recorded, outcomes = here.results(runs)
table = here.save(study_tables(recorded, outcomes)["networks"], "accuracy")
scores, gaps = split_gaps(table)
scores

# %%
gaps

# %%
import matplotlib.pyplot as plt

from hmtl.study.plots import plot_ranking
from hmtl.study.tables import CONTROL, LONGER, name_trainings, near_chance

named = name_trainings(recorded)
for (name, arch), group in named.groupby(["data", "arch"], sort=False):
    bases = [base for base in ("SL", CONTROL, LONGER) if base in set(group["method"])]
    figure = plot_ranking(group, bases)
    figure.suptitle(f"{name}, {arch}")
    here.save_figure(figure, f"accuracy-{name}-{arch}")
    plt.show()

# %% [markdown]
# ## What the runs say
#
# The puzzle's mean gap to each baseline, network by network, and trainings that never began to
# learn.

# %%
print(gap_lines(table, "^puzzling"))
print(near_chance(named))

# %% [markdown]
# ## How to read this
#
# - No verdict is computed here: the paper makes no claim on sizes. What a row says of its network,
#   it says against three baselines, or not at all.
# - Every network is trained for as many epochs, on the same faces; only its learning rate is its
#   own.
#
# **Where we depart from the paper:** its siblings are EfficientNet-B0 and B2, those of the presets
# `paper` and `paper-first`; where there is no GPU, timm's smallest EfficientNet stands in for them
# beside the small ResNet of the other notebooks.
#
# ### Exercises
# 1. `python -m hmtl run --preset quick --set arch resnet18 --set pretexts puzzling_2x2`: how large
#    may a network be before the valid split says that it learns its faces by heart?
# 2. Give the other network strong augmentation (`--set augment strong`). Which of the two does it
#    serve better, the puzzle or the second view?
#
# Next: [`29_longer_trainings`](29_longer_trainings.ipynb).
