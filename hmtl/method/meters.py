"""Means over an epoch, by name: the losses and scores that a Hybrid shows beside the Learner's."""

__all__ = ["Meters"]

from collections.abc import Iterable

from torch import Tensor


class Meters:
    """Weighted means of numbers by name; sums stay on the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, list] = {}

    def clear(self) -> None:
        """Forget all numbers: an epoch begins."""
        self._sums.clear()

    def add(self, name: str, value: Tensor, count: int) -> None:
        """Count a mean over `count` pictures."""
        # reading the number here would make a GPU wait
        entry = self._sums.setdefault(name, [0.0, 0])
        entry[0] = entry[0] + value.detach().float() * count
        entry[1] += count

    def mean(self, name: str) -> float:
        """The mean so far; nan of nothing."""
        total, count = self._sums.get(name, (0.0, 0))
        return float(total) / count if count else float("nan")

    def sums(self) -> dict[str, tuple[float, int]]:
        """name -> (sum, count), as plain numbers."""
        return {name: (float(total), count) for name, (total, count) in self._sums.items()}

    def replace(self, parts: Iterable[dict[str, tuple[float, int]]]) -> None:
        """Hold the sums of all `parts` together, such as every process's `sums`."""
        self.clear()
        for part in parts:
            for name, (total, count) in part.items():
                entry = self._sums.setdefault(name, [0.0, 0])
                entry[0], entry[1] = entry[0] + total, entry[1] + count
