"""The optimiser of a run: AdamW, or Muon on matrices with AdamW on the rest; fp32 masters for bf16 weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.schema import OptimizerConfig
from ofacore.train.muon import Muon
from ofacore.train.parameters import Treatment, freeze, treatments


class RunOptimizer:
    """Updates fp32 masters of the model's trained parameters; parameters without a gradient are left alone.

    For fp32 parameters the master is the parameter. For others, gradients of every micro-batch are added up in fp32 as
    soon as autograd has them, and the new values are rounded back after the update.

    Attributes:
        masters: Parameter name -> fp32 tensor with ``grad``.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        freeze(model, config)
        self.config = config
        self.treatments = treatments(model, config)
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
        """``parameter name|master`` and ``parameter name|<what the method keeps>`` -> tensor."""
        found = {f"{name}|master": self.masters[name] for name in self._rounded}
        names = {id(master): name for name, master in self.masters.items()}
        for optimizer in self.optimizers:
            for parameter, kept in optimizer.state.items():
                found.update({f"{names[id(parameter)]}|{key}": value for key, value in kept.items()})
        return found

    def structure(self) -> dict[str, Any]:
        """What the tensors of `state` belong to, for the reader of a checkpoint."""
        return {"methods": {name: treatment.method for name, treatment in self.treatments.items()}}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; parameters without any start afresh, unknown ones are ignored."""
        owners = {id(p): each for each in self.optimizers for group in each.param_groups for p in group["params"]}
        for key, value in state.items():
            name, _, kept = key.rpartition("|")
            master = self.masters.get(name)
            if master is not None and kept == "master":
                master.copy_(value)
            elif master is not None:
                owners[id(master)].state[master][kept] = value.to(master.device).clone()

    def _gradients(self) -> list[Tensor]:
        return [master.grad for master in self.masters.values() if master.grad is not None]


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
