# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The same network at inference?
#
# *What is left of a hybrid training when it is over: parameters, operations, bits and
# milliseconds.*
#
# The paper's method adds heads during training only (claim C8): whoever uses the trained network
# gets the plain one, at its old cost. Here that is no matter of statistics: it is true to the bit
# or it is not. At notebook defaults this takes seconds.

# %% tags=["parameters"]
preset: str = ""  # smoke, quick, study, gpu ...; empty: $HMTL_PRESET, else smoke
data: str = ""  # mini, faces or ferplus; empty: the preset's own
root: str = ""  # folder of a real data set, e.g. the one that holds data/FER2013Train
outputs: str = ""  # folder for tables and figures; empty: outputs/<preset>
seed: int = 0  # the first seed

# %%
from hmtl.study.notebook import open_notebook

here = open_notebook("25_same_model_at_inference", preset, data, root, outputs, seed)

# %% tags=["nbval-ignore-output"]
from hmtl.study.notebook import versions

versions(here)

# %% [markdown]
# ## Two trainings of one network
#
# Supervised, and hybrid with every kind of head there is: on the representation, on the feature
# map, with a decoder. Same data, same seed, one epoch each.

# %% tags=["nbval-ignore-output"]
import torch
from fastai.callback.progress import ProgressCallback

from hmtl import face_dataloaders, hmtl_learner
from hmtl.method.learner import Hybrid

pack = here.load()
images = torch.tensor(pack.images[pack.rows("test")[:32]]).permute(0, 3, 1, 2)[:, :3] / 255
images = images.expand(-1, 3, -1, -1).contiguous()


def trained(pretexts=()):
    dls = face_dataloaders(pack, bs=32, seed=seed, device="cpu")
    learn = hmtl_learner(dls, pretexts=pretexts, seed=seed)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn


plain = trained()
hybrid = trained(["puzzling_2x2", "puzzling_2x2_map", "inpainting_grid"])

# %% [markdown]
# ## The same parameters

# %%
import pandas as pd


def parameters(model):
    return {name: tuple(p.shape) for name, p in model.state_dict().items()}


heads = sum(p.numel() for h in hybrid.hybrid.heads.values() for p in h.parameters())
count = sum(p.numel() for p in plain.model.parameters())
assert parameters(hybrid.model) == parameters(plain.model)
print(f"network: {count:,} parameters, after either training; pretext heads: {heads:,}, dropped")

# %% [markdown]
# ## The same function of the weights
#
# The hybrid network's weights in a network that never saw a pretext: the same outputs to the bit,
# and no hook or head is left in either. So nothing of the training runs at inference.

# %%
fresh = hmtl_learner(face_dataloaders(pack, bs=32, device="cpu")).model
fresh.load_state_dict(hybrid.model.state_dict())
with torch.inference_mode():
    ours, theirs = hybrid.model.eval()(images), fresh.eval()(images)
assert torch.equal(ours, theirs)
for model in (hybrid.model, plain.model):
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [type(m) for m in model.modules()] == [type(m) for m in fresh.modules()]
print("outputs equal to the bit:", torch.equal(ours, theirs))

# %% [markdown]
# ## The same operations
#
# Traced for export, the two graphs are one list of operations.


# %%
def operations(model):
    program = torch.export.export(model.eval(), (images[:2],))
    return [(node.op, str(node.target)) for node in program.graph.nodes]


assert operations(hybrid.model) == operations(plain.model)
print(len(operations(plain.model)), "operations, the same in the same order")

# %% [markdown]
# ## The same time
#
# Quartiles of repeats in alternating order on this machine, after first ones that are not counted:
# what differs here is noise, and the two sections above say why.

# %% tags=["nbval-ignore-output"]
from time import perf_counter


def milliseconds(model):
    started = perf_counter()
    with torch.inference_mode():
        model(images)
    return 1000 * (perf_counter() - started) / len(images)


models = {"SL": plain.model, "HMTL": hybrid.model}
rows = [
    {name: milliseconds(models[name]) for name in sorted(models, reverse=repeat % 2)}
    for repeat in range(64)
]
times = pd.DataFrame(rows[4:])[list(models)]  # milliseconds a face
quartiles = times.quantile([0.25, 0.5, 0.75]).rename_axis("quantile").reset_index()
here.save(quartiles, "latency").round(3)

# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt
import seaborn as sns

names = [f"{name}, {when}" for when in ("training", "inference") for name in models]
parts = pd.DataFrame({"network": count, "pretext heads": [0, heads, 0, 0]}, index=names)
figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 2.6), layout="constrained")
(parts[::-1] / 1e6).plot.barh(stacked=True, ax=left)
left.set_xlabel("parameters (millions)")
sns.boxplot(times, orient="h", fliersize=2, ax=right)
right.set_xlabel("inference (ms a face)")
here.save_figure(figure, "cost")
plt.show()

# %% [markdown]
# And if a fit is cut off halfway? The network is left plain then too.

# %% tags=["nbval-ignore-output"]
from fastai.callback.core import Callback


class Stop(Callback):
    """Interrupt the fit at its third batch."""

    def after_batch(self):
        if self.iter == 2:
            raise KeyboardInterrupt


stopped = hmtl_learner(face_dataloaders(pack, bs=32, device="cpu"), pretexts=["puzzling_2x2"])
stopped.remove_cbs(ProgressCallback)
try:
    stopped.fit(1, cbs=Stop())
except KeyboardInterrupt:
    print("interrupted")
assert not any(m._forward_hooks for m in stopped.model.modules())
assert parameters(stopped.model) == parameters(plain.model)
stopped = stopped.remove_cb(Hybrid)

# %% [markdown]
# **What the paper reports:** that inference is unchanged, without numbers known to us.
#
# ### Exercises
# 1. Save `hybrid.model` by `learn.export` and open the file's size. Where would a head have gone?
# 2. Repeat with `"tf_efficientnet_lite0"`. Which share of a training step was the heads', and which
#    the second view?
#
# Next: [`26_where_it_helps`](26_where_it_helps.ipynb).
