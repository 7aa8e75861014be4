"""The optimiser of a run: AdamW, or Muon on matrices with AdamW on the rest; fp32 masters for bf16 weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.schema import OptimizerConfig
from ofacore.train.errors import RuleError
from ofacore.train.muon import Muon
from ofacore.train.parameters import Treatment, freeze, treatments
from ofacore.train.portable import Rows, divided, gather


class RunOptimizer:
    """Updates fp32 masters of the model's trained parameters; parameters without a gradient are left alone.

    Raises:
        RuleError: A rule matches nothing, or all of them together freeze everything.

    For fp32 parameters the master is the parameter. For others, gradients of every micro-batch are added up in fp32 as
    soon as autograd has them, and the new values are rounded back after the update.

    Its state goes by the names of the model's ``portable_rows``, where it has them.

    Attributes:
        masters: Parameter name -> fp32 tensor with ``grad``.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        freeze(model, config)
        self.config = config
        self._rows: Rows = getattr(model, "portable_rows", _whole)
        self.treatments = treatments(model, config)
        if not self.treatments:
            raise RuleError("train.optimizer.rules freeze every parameter: nothing is left to train")
        self.parameters = {name: p for name, p in model.named_parameters() if name in self.treatments}
        self.masters = {name: _master(p) for name, p in self.parameters.items()}
        self._rounded = [name for name, p in self.parameters.items() if p is not self.masters[name]]
        self._hooks = [_accumulate_in_master(self.parameters[name], self.masters[name]) for name in self._rounded]
        self.optimizers = self._build()

    def _build(self) -> list[torch.optim.Optimizer]:
        groups: dict[Treatment, list[Tensor]] = {}
        for name, treatment in self.treatments.items():
            groups.setdefault(treatment, []).append(self.masters[name])
        described: dict[str, list[dict[str, Any]]] = {"muon": [], "adamw": []}
        for treatment, params in groups.items():
            rates = {"lr": treatment.lr, "base_lr": treatment.lr, "weight_decay": treatment.weight_decay}
            described[treatment.method].append({"params": params, **rates})
        built: list[torch.optim.Optimizer] = []
        if described["muon"]:
            built.append(Muon(described["muon"], momentum=self.config.muon_momentum))
        if described["adamw"]:
            built.append(
                torch.optim.AdamW(described["adamw"], betas=self.config.betas, eps=self.config.eps, fused=True)
            )
        return built

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.parameters.values(), *self.masters.values()):
            tensor.grad = None

    def gradient_norm(self) -> Tensor:
        """Norm of all gradients together, one number; 0 where there are none."""
        return torch.nn.utils.get_total_norm(self._gradients(), foreach=True)

    def non_finite(self) -> list[str]:
        """Names of the parameters whose gradient is not finite."""
        return [n for n, m in self.masters.items() if m.grad is not None and not bool(m.grad.isfinite().all())]

    @torch.no_grad()
    def clip(self, norm: float) -> None:
        """Scale gradients of total ``norm`` down to the limit of the configuration."""
        if self.config.clip and norm > self.config.clip:
            torch._foreach_mul_(self._gradients(), self.config.clip / (norm + 1e-6))

    @torch.no_grad()
    def step(self, lr_factor: float) -> None:
        """Update every parameter that has a gradient, at ``lr_factor`` times its rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * lr_factor
            optimizer.step()
        changed = [name for name in self._rounded if self.masters[name].grad is not None]
        if changed:
            torch._foreach_copy_([self.parameters[n] for n in changed], [self.masters[n] for n in changed])

    def state(self) -> dict[str, Tensor]:
        """``portable name|master`` and ``portable name|<what the method keeps>`` -> tensor."""
        found: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            kept = {"master": master} if name in self._rounded else {}
            for key, value in {**kept, **self._kept(name)}.items():
                found.update({f"{part}|{key}": rows for part, rows in divided(self._rows(name), value).items()})
        return found

    def structure(self) -> dict[str, Any]:
        """What the tensors of `state` belong to, for the reader of a checkpoint."""
        methods = {part: each.method for name, each in self.treatments.items() for part in self._rows(name)}
        return {"methods": methods}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; parameters and blocks without any start afresh, unknown ones are ignored.

        Raises:
            ValueError: A shape differs.
        """
        by_key: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, kept = key.rpartition("|")
            by_key.setdefault(kept, {})[name] = value
        for name, master in self.masters.items():
            gather(self._rows(name), by_key.get("master", {}), master)
            for kept, stored in by_key.items():
                if kept != "master":
                    self._restore(name, kept, stored)

    def _restore(self, name: str, kept: str, stored: Mapping[str, Tensor]) -> None:
        rows, master = self._rows(name), self.masters[name]
        first = next((stored[part] for part in rows if part in stored), None)
        if first is not None:
            value = first.new_zeros(() if first.ndim == 0 else master.shape, device=master.device)
            gather(rows, stored, value)
            self._owner(name).state[master][kept] = value

    def _owner(self, name: str) -> torch.optim.Optimizer:
        method = Muon if self.treatments[name].method == "muon" else torch.optim.AdamW
        return next(each for each in self.optimizers if isinstance(each, method))

    def _kept(self, name: str) -> dict[str, Tensor]:
        """What the optimiser of a parameter keeps for it; nothing before its first update."""
        return dict(self._owner(name).state.get(self.masters[name], {}))

    def _gradients(self) -> list[Tensor]:
        return [master.grad for master in self.masters.values() if master.grad is not None]


def _whole(name: str) -> dict[str, slice]:
    return {name: slice(None)}


def _master(parameter: nn.Parameter) -> Tensor:
    if parameter.dtype == torch.float32:
        return parameter
    return parameter.detach().float().requires_grad_(True)


def _accumulate_in_master(parameter: nn.Parameter, master: Tensor) -> Any:
    """Move each gradient of a rounded parameter into its master as soon as it is there."""

    def move(_: Tensor) -> None:
        if parameter.grad is None:
            return
        gradient = parameter.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return parameter.register_post_accumulate_grad_hook(move)
