# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does it help to rebuild hidden parts of a face?
#
# **No gain is seen: with all labels in-painting reaches 71.6 %, labels alone 72.1, a second plain
# view 72.2 and the puzzle 74.7.** In-painting has its perceptual loss. Against labels alone it is
# 0.5 points below, [-2.1, +1.1]: undecided, so no gain is excluded. (Rendered faces, six seeds.) On
# FER+ it is 0.2 points above in mean recall, [-1.1, +1.5]: undecided too.
#
# The paper's second pretext hides parts of the picture and rebuilds them, with a perceptual loss
# in its best version (claim C3). Masks, decoder and weights are not known to us, so these are
# ours; [05_the_method_in_the_open](05_the_method_in_the_open.ipynb) builds them. This page trains
# one small network, for about a minute; with a preset it trains the tasks too and shows its own
# runs.

# %% tags=["parameters"]
preset: str = ""  # quick, study, gpu ... train; empty: $HMTL_PRESET, else smoke: the record
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # for tables and figures, runs beside it; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook, readable

here = open_notebook("12_inpainting", preset, data, root, outputs, seed)

# %% [markdown]
# ## What is hidden, and what is rebuilt
#
# Cells of a grid, 14 of 36. Hybrid training on the shipped faces; the same pictures of
# people the network never saw, after two epochs and after more.

# %% tags=["nbval-ignore-output"]
import torch
from fastai.vision.all import set_seed

from hmtl import Inpainting, face_dataloaders, hmtl_learner, load_pack
from hmtl.study.plots import show_as_jpeg, show_faces, show_in_few_colours

show_as_jpeg(45)
set_seed(seed)
mini, task = load_pack("mini"), Inpainting("grid")
faces = torch.tensor(mini.images[mini.rows("test")[:6]]).permute(0, 3, 1, 2) / 255
dls = face_dataloaders(mini, bs=32, augment="none", seed=seed, device="cpu")
learn = hmtl_learner(dls, pretexts=[task], label_views=False, seed=seed)
rows, scores = [faces, task.transform(faces, task.seeded(seed))[0]], []
for epochs in (2, 12):
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, 5e-3)
    view, (images, masks), answer = learn.hybrid.ask(faces, seed=seed)
    small = torch.nn.functional.interpolate(answer, images.shape[-2:], mode="bilinear")
    rows.append(torch.where(masks, small, images))
    scores.append(float(task.loss(answer, (images, masks))))

# %% tags=["nbval-ignore-output"]
names = ["face", "what it sees", "after 2 epochs", "after 12 more"]
figure = show_faces(torch.cat(rows).permute(0, 2, 3, 1).numpy(), columns=6, rows=names, side=1.3)
here.save_figure(
    figure, "rebuilt", "Six faces, hidden in part, and rebuilt as soft patches of colour."
)

# %%
assert scores[-1] < scores[0], "more training should rebuild more"

# %% [markdown]
# This encoder keeps a map of 2×2 positions of a 48 pixel face. So what is rebuilt is soft: patches
# of the surroundings' colour.
#
# ## What a perceptual loss sees
#
# Pixels count every error alike. The features of a frozen network trained on ImageNet do not.
# Three damages with the *same* error in pixels:

# %%
from hmtl.method.pretext.perceptual import FrozenFeatures

frozen = FrozenFeatures("tf_efficientnet_lite0")
smooth = torch.nn.functional.avg_pool2d(faces, 5, 1, 2, count_include_pad=False)
noise = torch.randn(faces.shape, generator=torch.Generator().manual_seed(seed))
error = (smooth - faces).abs().mean()
damages = {
    "blurred": smooth,
    "brighter": faces + error,
    "noisy": faces + noise * error / noise.abs().mean(),
}
distances = {name: float(frozen.distance(x, faces)) for name, x in damages.items()}
sheet = torch.cat([faces, *damages.values()]).clamp(0, 1).permute(0, 2, 3, 1).numpy()
words = ["face", *(f"{name}: {far:.2f}" for name, far in distances.items())]
figure = show_faces(sheet, columns=6, rows=words, side=1.3)
here.save_figure(figure, "damages", "Faces blurred, brighter and noisy, with their distances.")

# %%
assert distances["brighter"] < distances["blurred"] / 3, "light should matter least"

# %% [markdown]
# Beside each row is its distance in features. A change of light is nearly free, a lost edge is
# not: features ask for what makes a face.
#
# ## What is it worth?
#
# All labels of the rendered faces, at the plateau; with a preset, short trainings with other masks
# and losses. The claim is judged in [20_hmtl_emotion](20_hmtl_emotion.ipynb).


# %%
def train():
    plain = here.train(here.short(seed=s) for s in here.short_seeds)
    names = ["second_view", "puzzling_2x2", "inpainting_grid", *here.preset.inpaintings]
    specs = [here.short(pretexts=(name,), seed=s) for name in names for s in here.short_seeds]
    own = {"pretexts": ("inpainting_grid_pl",)}
    specs += [here.short(**own, features=str(run.path), seed=run.spec.seed) for run in plain]
    return plain + here.train(specs)


shown, outcomes = here.results(train()) if here.trains else here.record()

# %%
from hmtl.paths import reference_dir
from hmtl.study.plots import plot_ranking
from hmtl.study.record import read_table
from hmtl.study.tables import (
    CONTROL,
    LONGER,
    PUZZLE,
    name_trainings,
    near_chance,
    planned,
    small_variations,
)

show_in_few_colours()
ways = ("SL", LONGER, CONTROL, PUZZLE, "inpainting_grid_pl (paired)")
ranked = name_trainings(shown) if here.trains else planned(shown, "all", ways)
ranked = ranked if here.trains else ranked[ranked["data"] == "faces"]
caption = "Test accuracy by training, one dot a run."
if not here.trains:
    caption = "Accuracy by training: in-painting has the lowest mean."
here.save_figure(plot_ranking(ranked, ["SL", CONTROL, PUZZLE]), "ranking", caption)

# %%
table = here.table("inpainting" if here.trains else "decided", shown, outcomes)
if not here.trains:
    own = (table["data"] == "faces") & (table["task"] == "emotion")
    table = table[own & (table["fraction"] == 1)]
readable(table)

# %%
if told := near_chance(ranked):
    print(told)
if not here.trains:  # the sentences at the top, of the record
    means = (100 * ranked.groupby("method")["accuracy"].mean()).round(1)
    assert (means["inpainting_grid_pl (paired)"], means["SL"]) == (71.6, 72.1)
    assert (means[CONTROL], means[PUZZLE]) == (72.2, 74.7)
    assert means.idxmin() == "inpainting_grid_pl (paired)"
    real = read_table(reference_dir() / "tables" / "verdicts.csv").set_index(["claim", "faces"])
    assert real.loc[("C3", "ferplus"), "effect"] == "+0.2 [-1.1, +1.5]"
    few = name_trainings(small_variations(shown)).groupby("method")["accuracy"].mean()
    few = (100 * few).round(1)
    assert (few["inpainting_grid (paired)"], few["inpainting_grid_pl (paired)"]) == (30.3, 29.9)
    assert (few["SL"], few[PUZZLE]) == (32.9, 36.8)

# %% [markdown]
# ## What to take away
#
# - **No gain is seen: with all labels in-painting reaches 71.6 %, labels alone 72.1, a second
#   plain view 72.2 and the puzzle 74.7.** Masks, decoder and weights are ours, so the paper's may
#   do better.
# - With few labels, three seeds: 30.3 % by pixels, 29.9 with the perceptual loss. Labels alone have
#   32.9, the puzzle 36.8 ([11_puzzling](11_puzzling.ipynb) shows all tasks).
# - On FER+ with all labels it is 0.2 points above labels alone in mean recall, [-1.1, +1.5]:
#   undecided.
# - A perceptual loss minds lost edges, not light.
#
# **Where this departs from the paper:** everything but the idea; its details are not known to us.
#
# ### Exercises
#
# 1. Take the loss on all pixels (`masked_only=False`). What does the network learn first?
# 2. Use a finished run as the frozen network: `FrozenFeatures("outputs/runs/...")`. Which damage
#    does it mind most?
#
# Next: [20_hmtl_emotion](20_hmtl_emotion.ipynb).

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here).T
