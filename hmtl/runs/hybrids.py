"""A `Hybrid` in a run: its state between two epochs, and its puzzles of others' pictures. Ours."""

__all__ = ["restore", "skip", "state"]

from typing import Any

import torch

from hmtl.method.hybrid import Hybrid


def state(hybrid: Hybrid) -> dict[str, Any]:
    """What a later `restore` needs beside model and optimizer, between two epochs of a fit."""
    count = hybrid._balanced_count
    return {
        "widths": dict(hybrid._widths),
        "heads": {name: head.state_dict() for name, head in hybrid.heads.items()},
        "losses": count,
        "balance": hybrid.balance.state_dict() if count else {},
    }


def restore(hybrid: Hybrid, state: dict[str, Any]) -> None:
    """Bring heads and balance, in a fit that has just begun, to what `state` returned.

    The optimizer has their parameters in the same order as then.
    """
    known, device = {p.name: p for p in hybrid.pretexts}, torch.device(hybrid.dls.device)
    hybrid.hand_over()
    for pretext in hybrid.pretexts:
        pretext.prepare(device)
    for name, width in state["widths"].items():
        if name not in hybrid.heads:
            hybrid.add_head(name, width, known[name].head, device)
        hybrid.heads[name].load_state_dict(state["heads"][name])
    if state["losses"]:
        hybrid.start_balance(state["losses"], device)
        hybrid.balance.load_state_dict(state["balance"])


def skip(hybrid: Hybrid, count: int) -> None:
    """Draw the puzzles of `count` validation pictures that another process sees.

    So this one's are those that they would be in a single process.
    """
    asked = [p for p in hybrid.pretexts if p.name in hybrid.heads]
    if not hybrid._attached or not asked:
        return
    others = torch.zeros_like(hybrid._pictures.plain(hybrid.xb[0][:1])).repeat(count, 1, 1, 1)
    for pretext in hybrid.pretexts if hybrid.views == "shared" else asked:
        others, _ = pretext.transform(others, hybrid._draw)
