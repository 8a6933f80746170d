# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Do puzzling and in-painting help to read emotions?
#
# **A puzzle does: with all labels of the rendered faces it is +2.6 [+1.0, +4.2] points above
# labels alone. It is +2.5 [+1.0, +4.1] above a second plain view and +2.4 [+0.8, +4.0] above
# twice the epochs. Claim C2 is supported there.** In-painting is 0.5 points below labels alone,
# [-2.1, +1.1]: claim C3 is undecided there. On FER+ the puzzle is 3.0 points of mean recall below
# labels alone, [-5.7, -0.4]. In-painting is 0.2 points above, [-1.1, +1.5]. C2 and C3 are
# undecided there: Holm's test of its four claims does not reject. The network that remains has
# the layers of a plain one.
#
# The paper claims that a puzzling head beside supervised training improves emotion recognition
# (claim C2), and in-painting with a perceptual loss too (C3). This page reads the recorded study,
# in seconds; with a preset it trains and shows its own runs.

# %% tags=["parameters"]
preset: str = ""  # quick, study, gpu ... train; empty: $HMTL_PRESET, else smoke: the record
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # for tables and figures, runs beside it; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook, readable

here = open_notebook("20_hmtl_emotion", preset, data, root, outputs, seed)

# %% [markdown]
# ## What is compared
#
# - **Labels alone**: supervised training. The paper compares with this only.
# - **Twice the epochs**, and **a second plain view**: two ways to spend the puzzle's compute
#   without a puzzle.
# - **A 2×2 puzzle** and **in-painting** in a second pass
#   ([05_the_method_in_the_open](05_the_method_in_the_open.ipynb)). In-painting costs more than a
#   puzzle.
#
# All share one recipe. Labels alone, the second view, the puzzle and in-painting have a learning
# rate each; twice the epochs take that of labels alone. The rates, the puzzle's weight and the
# gap between its tiles were chosen on the valid faces, with few labels.


# %%
from hmtl.study.tables import CONTROL, LONGER, PUZZLE, name_trainings, planned

INPAINTING = "inpainting_grid_pl (paired)"


def train():
    methods = here.choose_lr(
        way
        for fraction in here.preset.fractions
        for way in here.ways("inpainting_grid_pl", fraction=fraction)
    )
    return here.train(here.spec(seed=s, **method) for s in here.seeds for method in methods)


if here.trains:
    shown, outcomes = here.results(train())
    named = name_trainings(shown)
else:
    shown, outcomes = here.record()
    named = planned(shown, "all", ("SL", LONGER, CONTROL, INPAINTING, PUZZLE))
print(f"{named['run'].nunique()} runs, {named['seed'].nunique()} seeds")

# %% [markdown]
# ## All labels

# %%
from hmtl.study.plots import method_label, plot_trainings

named["labels"] = named["fraction"].map("{:.0%} of the labels".format)
caption = "Test scores by training and share of the labels."
if not here.trains:
    caption = (
        "Test scores with all labels. On rendered faces the puzzle lies above all others, on FER+ "
        "below labels alone."
    )
here.save_figure(plot_trainings(named, "labels", "primary"), "accuracy", caption)

# %% [markdown]
# Large marks are means with 95 % intervals over seeds, small dots the seeds. The 20,000 rendered
# test faces are balanced, and of 2,500 people never seen in training. FER+ is judged by mean
# recall.

# %%
table = here.table("emotion" if here.trains else "decided", shown, outcomes)
readable(table if here.trains else table[(table["fraction"] == 1) & (table["task"] == "emotion")])

# %%
from hmtl.paths import reference_dir
from hmtl.study.record import read_table

judged = here.verdicts(shown, outcomes)
own = judged[judged.index.isin(["C2", "C3"])]
own[["faces", "effect", "verdict", "− second view", "− twice the epochs", "n"]]

# %%
if not here.trains:  # the sentences of this page, of the record
    told = judged.reset_index().set_index(["claim", "faces"])
    own = told.loc[("C2", "faces")]
    assert (own["effect"], own["verdict"]) == ("+2.6 [+1.0, +4.2]", "supported")
    assert own["− second view"] == "+2.5 [+1.0, +4.1]"
    assert own["− twice the epochs"] == "+2.4 [+0.8, +4.0]"
    own = told.loc[("C3", "faces")]
    assert (own["effect"], own["verdict"]) == ("-0.5 [-2.1, +1.1]", "undecided")
    own = told.loc[("C3", "ferplus")]
    assert (own["effect"], own["verdict"]) == ("+0.2 [-1.1, +1.5]", "undecided")
    own = told.loc[("C2", "ferplus")]
    assert (own["effect"], own["verdict"]) == ("-3.0 [-5.7, -0.4]", "undecided")
    own = 100 * named[named["data"] == "ferplus"].groupby("method")["accuracy"].mean()
    scores = [round(x, 1) for x in (own[PUZZLE], own["SL"], own[PUZZLE] - own["SL"])]
    assert scores == [84.3, 83.6, 0.7]
    plateau = read_table(reference_dir() / "tables" / "plateau.csv")
    real = plateau[(plateau["data"] == "ferplus") & (plateau["fraction"] == 1)]
    assert (real["gain"].round(1).tolist(), real["reached"].tolist()) == ([4.0, 0.8], [False, True])

# %% [markdown]
# In the record accuracy and mean recall disagree on FER+. Which emotions differ?

# %%
import numpy as np
import pandas as pd

from hmtl.labels import EMOTIONS


def recall_by_emotion(runs):
    truth = outcomes.truth[runs["pack"].iloc[0], "emotion"]
    found = {
        method: [100 * np.mean([outcomes[run][truth == i] for run in own["run"]]) for i in range(8)]
        for method, own in runs.groupby("method", sort=False)
    }
    table = pd.DataFrame(found, index=EMOTIONS)[["SL", PUZZLE]].rename(columns=method_label)
    table.insert(0, "test faces", np.bincount(truth))
    return table.round(1)


recall = None if here.trains else recall_by_emotion(named[named["data"] == "ferplus"])
recall

# %%
if recall is not None:  # the sentence below
    gaps = recall["a 2×2 puzzle"] - recall["labels alone"]
    rare = ["disgust", "contempt"]
    assert recall.loc[rare, "test faces"].sum() == 31
    assert round(gaps[rare].mean(), 1) == -13.0
    assert round(gaps.drop(rare).mean(), 1) == 0.3

# %% [markdown]
# The puzzle finds fewer of disgust and contempt, 31 test faces: 13.0 points less in the mean. The
# other six emotions differ by +0.3 points. Why, these runs do not say.
#
# The 95 % intervals cover seeds and test faces, rendered ones by whole people; `n` is the
# fewest seeds of a training × test faces. The verdict is Holm's over the claims of a data set
# ([protocol](../papers/hmtl/protocol.md)). Twice the epochs add less than a point to labels
# alone, on both kinds of faces.
#
# The rule that judges the claims, and every contrast: [papers/RESULTS.md](../papers/RESULTS.md).
#
# ## Is the network at inference the same?
#
# The paper says that heads are added during training only (claim C8). That is true to the bit or
# it is not. One network is trained for an epoch without and with three pretext heads on the
# shipped faces.

# %%
import torch

from hmtl import face_dataloaders, hmtl_learner, load_pack

mini = load_pack("mini")
images = torch.tensor(mini.images[mini.rows("test")[:8]]).permute(0, 3, 1, 2) / 255


def trained(pretexts=()):
    dls = face_dataloaders(mini, bs=32, seed=seed, device="cpu")
    learn = hmtl_learner(dls, pretexts=pretexts, seed=seed)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn


plain = trained().model
learn = trained(["puzzling_2x2", "puzzling_2x2_map", "inpainting_grid"])
hybrid = learn.model
heads = sum(p.numel() for head in learn.hybrid.heads.values() for p in head.parameters())


# %%
def operations(model):
    program = torch.export.export(model.eval(), (images,))
    return [(node.op, str(node.target)) for node in program.graph.nodes]


count = sum(p.numel() for p in plain.parameters())
shapes = [{n: t.shape for n, t in model.state_dict().items()} for model in (plain, hybrid)]
assert shapes[0] == shapes[1]
assert operations(plain) == operations(hybrid)
assert not any(m._forward_hooks or m._forward_pre_hooks for m in hybrid.modules())
plain.load_state_dict(hybrid.state_dict())  # its weights in a network that never saw a puzzle
with torch.inference_mode():
    assert torch.equal(plain.eval()(images), hybrid.eval()(images))
print(f"{count:,} weights after either training; {heads:,} of the heads are dropped")
print(f"{len(operations(plain))} operations, the same in the same order; outputs equal to the bit")

# %% [markdown]
# ## What to take away
#
# - **A puzzle does: with all labels of the rendered faces it is +2.6 [+1.0, +4.2] points above
#   labels alone. It is +2.5 [+1.0, +4.1] above a second plain view and +2.4 [+0.8, +4.0] above
#   twice the epochs.**
# - In-painting is 0.5 points below labels alone, [-2.1, +1.1]: claim C3 is undecided there. On FER+
#   it is 0.2 points above, [-1.1, +1.5]: undecided too.
# - On FER+ the puzzle is 3.0 points of mean recall below labels alone, [-5.7, -0.4]. In accuracy
#   it is 0.7 points higher: 84.3 and 83.6 %.
# - Fewer labels: [21_few_labels](21_few_labels.ipynb).
# - The network that remains has as many weights as a plain one, and the same operations.
#
# **Where this departs from the paper:** data, network, 48 pixels, one puzzle size, weak
# augmentation, no class weights, Muon with a one-cycle schedule. The puzzle's weight is the
# authors' 0.3 on rendered faces, and 0.1 on FER+, by trials. In-painting's details are ours.
#
# ### Exercises
#
# 1. `python -m hmtl study --preset quick --only 20 -p seed 10 --outputs outputs/seed10` trains
#    other seeds. Do the signs stay?
# 2. Take the labels off the puzzles (`label_views=False`). Is it the puzzle or the second emotion
#    loss that works?
#
# Next: [21_few_labels](21_few_labels.ipynb).

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).T
