"""The encoder of a network that nothing is known of, found by one pass of a batch. Ours."""

__all__ = ["FEWEST", "traced_body"]

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEWEST = 8  # channels: fewer are a picture, a mask, an attention
_NAMED = 4


@dataclass(eq=False)
class _Call:
    part: nn.Module
    inner: list["_Call"]  # what was called in it
    ended: int  # how many calls were over before
    given: Any
    output: Any

    def __post_init__(self) -> None:
        # of the graph: where the output came from, whatever is done to it in place
        self.node = getattr(self.output, "grad_fn", None)
        self.began = self.ended - len(self.inner)
        # of its own, not by its children alone
        self.weights = any(True for _ in self.part.parameters(recurse=False))


def traced_body(model: nn.Module, inputs: Sequence) -> nn.Module:
    """The part of a network that gives its last map, or pools it.

    That is certain if all of the answer comes through this part, and what has weights after it
    gives one vector a picture. The network is left as it was.

    Args:
        model: any network.
        inputs: a batch as the network is given it, float (B, C, H, W) first; empty: no pass.

    Raises:
        ValueError: it is not certain; the error names the network's last maps as Python has them.
    """
    names = {part: name for name, part in model.named_modules()}
    calls: list[_Call] = []
    dense = False
    if inputs:
        leaf = inputs[0].detach().requires_grad_()
        with _watched(model, leaf) as calls:
            answer = model(leaf.clone(), *inputs[1:])  # a clone: it may be normalised in place
        dense = any(_cells(found) > 1 for found in _tensors(answer))  # a mask, say
    head = max((call for call in calls if call.weights), key=lambda call: call.began, default=None)
    count = Counter(call.part for call in calls)
    before = [c for c in (calls[: head.began] if head else []) if count[c.part] == 1]
    single = [call for call in before if _is_map(call.output, len(leaf))]
    maps = [call for call in single if _gives_map(call)]
    if maps and _cells(maps[-1].output) == 1 and _convolves(maps[-1]):
        maps += [call for call in single if _convolves(call)][-1:]  # they end in maps of one cell
    # a decoder ends in larger maps than it was given: the representation has the fewest cells
    dense = dense and any(1 < _cells(call.output) < _cells(maps[-1].output) for call in maps)
    if maps:
        after = [c for c in calls if c.weights and c.began > maps[-1].ended and c is not head]
        alone = not dense and all(_gives_vector(call) and not _convolves(call) for call in after)
        if alone and _all_through(maps[-1].node, answer, leaf):
            return maps[-1].part
    told = [call for call in single if call in maps or _convolves(call)]
    if dense:
        told.sort(key=lambda call: -_cells(call.output))
    told += [call for call in before if _convolves(call) and _gives_tokens(call, len(leaf))][-1:]
    parts = {id(call.output): call.part for call in told}  # of one map the outermost
    said = [f"body={_in_python(names[p])} ({type(p).__name__})" for p in parts.values()][::-1]
    such = f", such as {' or '.join(said[:_NAMED])}" if said else ""
    raise ValueError(
        "cannot tell which part of this network is its encoder; pass Hybrid(..., body=), the "
        f"module whose output is the representation{such}"
    )


@contextmanager
def _watched(model: nn.Module, leaf: Tensor) -> Iterator[list[_Call]]:
    """What each part is given and gives, as at inference, in the order in which they end."""
    calls: list[_Call] = []
    begun: list[int] = []

    def enter(part, given, named):
        begun.append(len(calls))

    def leave(part, given, named, output):
        first = next(iter((*given, *named.values())), None)
        calls.append(_Call(part, calls[begun.pop() :], len(calls), first, output))

    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([leaf.device] if leaf.is_cuda else []))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        for part in model.modules():
            stack.callback(setattr, part, "training", part.training)
            part.training = False
            if isinstance(part, torch.jit.ScriptModule):  # which takes no hooks
                continue
            for hook in (
                part.register_forward_pre_hook(enter, with_kwargs=True),
                part.register_forward_hook(leave, with_kwargs=True),
            ):
                stack.callback(hook.remove)
        yield calls


def _gives_map(call: _Call) -> bool:
    """Whether a part gives a map of several cells, or makes one cell of them itself."""
    made = _cells(call.given) > 1 and all(_cells(each.output) < 2 for each in call.inner)
    return made or _cells(call.output) > 1


def _is_map(found: Any, count: int) -> bool:
    return _cells(found) > 0 and len(found) == count and found.shape[1] >= FEWEST


def _cells(found: Any) -> int:
    is_map = isinstance(found, Tensor) and found.ndim == 4
    return found.shape[2] * found.shape[3] if is_map else 0


def _convolves(call: _Call) -> bool:
    return any(weight.ndim == 4 for weight in call.part.parameters())


def _gives_vector(call: _Call) -> bool:
    found = call.output
    return isinstance(found, Tensor) and found.ndim > 1 and found[0, 0].numel() == 1


def _gives_tokens(call: _Call, count: int) -> bool:
    """Whether a part gives a vector, or several, of each picture."""
    found = call.output
    return isinstance(found, Tensor) and found.ndim in (2, 3) and len(found) == count


def _tensors(answer: Any) -> list[Tensor]:
    if isinstance(answer, dict | list | tuple):
        parts = answer.values() if isinstance(answer, dict) else answer
        return [tensor for part in parts for tensor in _tensors(part)]
    return [answer] if isinstance(answer, Tensor) else []


def _all_through(node: Any, answer: Any, leaf: Tensor) -> bool:
    """Whether every way from an answer back to the picture leads through a node of the graph."""
    rest, seen = [tensor.grad_fn for tensor in _tensors(answer)], set()
    while rest:
        at = rest.pop()
        if at is not None and at not in seen:
            seen.add(at)
            if getattr(at, "variable", None) is leaf:
                return False
            rest += [] if at is node else [before for before, _ in at.next_functions]
    return node in seen


def _in_python(path: str) -> str:
    names = path.split(".")
    if not all(name.isdigit() or name.isidentifier() for name in names):
        return f"learn.model.get_submodule({path!r})"
    return "learn.model" + "".join(f"[{n}]" if n.isdigit() else f".{n}" for n in names)
