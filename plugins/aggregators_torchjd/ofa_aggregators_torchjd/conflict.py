"""Aggregators that keep gradients of tasks from working against each other; their weights are torchjd's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd.aggregation import (
    CAGradWeighting,
    MGDAWeighting,
    NashMTL,
    PCGradWeighting,
    UPGradWeighting,
)
from torchjd.linalg import DualConeProjector

from ofa_aggregators_torchjd.gramian import Weighted
from ofacore.plugin import UserError
from ofacore.protocols import AggregatorContext, Options

_SOLVING = 100
"""Iterations for each task: 3, as scipy has it, do not reach the solution where gradients differ much in length."""


class UPGrad(Weighted):
    """Each gradient is projected so that it harms no task, then they are summed (Quinton and Rey 2024)."""

    def __init__(self, options: Options) -> None:
        self._weighting = UPGradWeighting(projector=_LeastSquares())

    def weights(self, gramian: Tensor, tasks: Sequence[str], ctx: AggregatorContext) -> Tensor:
        """See `Weighted`."""
        found: Tensor = self._weighting(gramian)
        return found


class _LeastSquares(DualConeProjector):
    """min v'Gv with v >= u, as non-negative least squares: v = u + w, G = A'A, so |A w + A u| with w >= 0."""

    def __call__(self, U: Tensor, G: Any) -> Tensor:
        values, vectors = np.linalg.eigh(np.asarray(G, dtype=np.float64))
        root = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
        wanted = np.asarray(U, dtype=np.float64)
        most = _SOLVING * len(root)
        rows = wanted.reshape(-1, len(root))
        found = [row + nnls(root, -root @ row, maxiter=most)[0] for row in rows]
        return torch.from_numpy(np.stack(found).reshape(wanted.shape)).to(U)


class MGDA(Weighted):
    """The shortest gradient between those of the tasks, which helps all equally (Sener and Koltun 2018)."""

    def __init__(self, options: Options) -> None:
        self._weighting = MGDAWeighting(epsilon=1e-6, max_iters=options["iterations"])

    def weights(self, gramian: Tensor, tasks: Sequence[str], ctx: AggregatorContext) -> Tensor:
        """See `Weighted`."""
        found: Tensor = self._weighting(gramian)
        return found


class PCGrad(Weighted):
    """Of each gradient, what works against another task's is taken away (Yu et al. 2020)."""

    def __init__(self, options: Options) -> None:
        self._weighting = PCGradWeighting()

    def weights(self, gramian: Tensor, tasks: Sequence[str], ctx: AggregatorContext) -> Tensor:
        """See `Weighted`; the order of projections is drawn from the step's generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(ctx.rng.integers(2**62)))
            found: Tensor = self._weighting(gramian)
        return found


class CAGrad(Weighted):
    """Near the mean gradient, the one that helps the worst-off task most (Liu et al. 2021).

    Raises:
        UserError: Its solver is not installed.
    """

    def __init__(self, options: Options) -> None:
        _needs("cagrad", "cvxpy", "clarabel")
        self._weighting = CAGradWeighting(c=options["c"])

    def weights(self, gramian: Tensor, tasks: Sequence[str], ctx: AggregatorContext) -> Tensor:
        """See `Weighted`."""
        found: Tensor = self._weighting(gramian)
        return found


class Nash(Weighted):
    """The bargaining solution between tasks (Navon et al. 2022).

    Raises:
        UserError: Its solver is not installed.
    """

    def __init__(self, options: Options) -> None:
        _needs("nash_mtl", "cvxpy", "ecos")
        self._iterations = options["iterations"]
        self._before: dict[str, float] = {}

    def weights(self, gramian: Tensor, tasks: Sequence[str], ctx: AggregatorContext) -> Tensor:
        """See `Weighted`; it goes on from the weights of the step before."""
        values, vectors = torch.linalg.eigh(gramian)
        rows = vectors * values.clamp(min=0).sqrt()  # rows @ rows.T is the Gramian again
        solver = NashMTL(len(tasks), max_norm=0.0, optim_niter=self._iterations)
        begun = [self._before.get(task, 1.0) for task in tasks]
        solver.weighting.prvs_alpha = np.array(begun, dtype=np.float32)
        # torchjd writes the problem so that cvxpy warns, and divides by what a task may lack; where no
        # solution is found, it goes on from the weights before
        quiet = np.errstate(divide="ignore", invalid="ignore")
        with warnings.catch_warnings(), quiet:
            warnings.filterwarnings("ignore", ".*is not DPP", UserWarning)
            found: Tensor = solver.weighting(rows)
        self._before.update(zip(tasks, found.tolist(), strict=True))
        return found

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"before": self._before}

    def load_state(self, state: Any) -> None:
        """Take over what `state` gave."""
        self._before = dict(state["before"])


def _needs(name: str, *packages: str) -> None:
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        raise UserError(
            f"aggregator '{name}' needs {' and '.join(lacking)}: pip install {' '.join(lacking)}; "
            "upgrad, mgda and pcgrad need nothing more"
        )
