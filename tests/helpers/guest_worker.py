"""One of two processes of tests/method/test_guests.py: a Learner of one's own under distrib_ctx.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=1 python THIS_FILE NEW_DIR; and RANK=1 ...
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.distributed import distrib_ctx  # noqa: F401  patches Learner
from fastai.learner import Learner
from torch import nn

from hmtl import Hybrid, Inpainting, Puzzling


def trained(rank, norm, views, balance):
    """All weights and statistics of network, heads and balance."""
    torch.manual_seed(0)
    data = [(torch.rand(3, 16, 16), i % 4) for i in range(32)]
    dls = DataLoaders(*[DataLoader(data, bs=8) for _ in "ab"], device=torch.device("cpu"))
    middle = [nn.BatchNorm2d(8)] if norm else []
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), *middle, nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    torch.manual_seed(rank)  # so heads would begin elsewhere in each process
    pretexts = [Puzzling(2)] if views == "shared" else [Puzzling(2), Inpainting("grid")]
    hybrid = Hybrid(pretexts, views, balance=balance)
    learn = Learner(dls, nn.Sequential(body, head), loss_func=nn.CrossEntropyLoss(), cbs=hybrid)
    with learn.no_bar(), learn.no_logging():
        with learn.distrib_ctx(sync_bn=False, cpu=True):
            learn.fit(2, 1e-2)
        modules = [learn.model, *hybrid.trained()]
        states = [{k: v.clone() for k, v in m.state_dict().items()} for m in modules]
        learn.fit(1)  # and it trains alone again
    return {f"{i} {k}": v for i, state in enumerate(states) for k, v in state.items()}


if __name__ == "__main__":
    meeting = f"file://{Path(sys.argv[1]).resolve() / 'meeting'}"  # no port, which others may take
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", meeting, rank=rank, world_size=world)
    torch.Tensor.cuda = lambda self, *args, **options: self  # fastai's loaders ask for a GPU
    number = dist.get_rank()
    report = {
        f"{norm} {views} {balance}": trained(number, norm, views, balance)
        for norm, views, balance in (
            (False, "paired", "sum"),
            (True, "paired", "uncertainty"),
            (True, "paired", "gradnorm"),
            (False, "shared", "sum"),
        )
    }
    torch.save(report, Path(sys.argv[1]) / f"rank-{number}.pt")
    dist.destroy_process_group()
