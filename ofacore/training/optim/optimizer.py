"""The optimiser of a run: AdamW, or Muon on matrices with AdamW on the rest; fp32 masters for bf16 weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.train_section import OptimizerConfig
from ofacore.parallel.agreement import of_the_model
from ofacore.parallel.clipping import gradient_norm
from ofacore.parallel.gradients import sum_gradients
from ofacore.parallel.process_groups import data_group, layout, pipeline_group
from ofacore.parallel.sharded_optimizer import (
    cut,
    is_owner,
    owners,
    part_like,
    share_updates,
    whole_of,
)
from ofacore.parallel.sharding import from_all, is_sharded, local
from ofacore.training.optim.muon import Muon
from ofacore.training.optim.parameters import Treatment, freeze, thaw, treatments
from ofacore.training.optim.rounding import RoundedWeights
from ofacore.training.state.portable_state import Rows, divided, gather
from ofacore.training.training_errors import RuleError

logger = logging.getLogger("ofacore.training")


class RunOptimizer:
    """Updates fp32 masters of the model's trained parameters; parameters without a gradient are left alone.

    Raises:
        RuleError: A rule matches nothing, or all of them together freeze everything. A stage of a pipeline may have
            nothing to train as long as another has.

    For fp32 parameters the master is the parameter. For others, gradients of every micro-batch are added up in fp32 as
    soon as autograd has them, and the new values are rounded back after the update. `exact` puts fp32 values of
    everything in the place of rounded ones, `close` does so for good.

    Its state goes by the names of the model's ``portable_rows``, where it has them. Where processes share the work,
    all of them must call every method together, except where it says otherwise.

    Args:
        model: What is trained.
        config: Settings.
        dtype: Format that the weights of an fp32 model take while it trains; default: that which they have.

    Attributes:
        masters: Parameter name -> fp32 tensor with ``grad``, of what this process holds.
        precision: ``bf16`` or ``fp32``: what weights are rounded to while they are computed with.
        device: Where this process computes.
        owner_of: Parameter name -> rank that keeps its state, where data ranks share it; see `owners`.
    """

    def __init__(
        self, model: nn.Module, config: OptimizerConfig, dtype: torch.dtype | None = None
    ) -> None:
        self._frozen = freeze(model, config)
        self.config = config
        self._rows: Rows = getattr(model, "portable_rows", _whole)
        try:
            self.treatments = treatments(model, config)
        except RuleError:
            thaw(self._frozen)
            raise
        if not any(of_the_model(bool(self.treatments))):
            thaw(self._frozen)
            raise RuleError(
                "train.optimizer.rules freeze every parameter: nothing is left to train"
            )
        self.parameters = {
            name: p for name, p in model.named_parameters() if name in self.treatments
        }
        self.owner_of = owners(self.parameters)
        self._own = [
            name for name, p in self.parameters.items() if is_owner(p, self.owner_of.get(name))
        ]
        like = next(iter((*self.parameters.values(), *model.parameters())))
        self.device = like.device
        dtype = dtype or like.dtype
        self.masters = {
            name: _master(p, name in self._own, dtype) for name, p in self.parameters.items()
        }
        self._weights = self._round(model, dtype)
        self.precision = "bf16" if dtype == torch.bfloat16 else "fp32"
        self._rounded = [name for name, p in self.parameters.items() if p.dtype != torch.float32]
        stage = getattr(model, "stage", None)
        self._counted: Callable[[str], bool] = stage.owns if stage else lambda name: True
        self._hooks = [
            _accumulate_in_master(self.parameters[name], self.masters[name])
            for name in self._rounded
            if not is_sharded(self.parameters[name])
        ]
        self.optimizers = self._build()

    def _round(self, model: nn.Module, dtype: torch.dtype) -> RoundedWeights | None:
        if dtype == torch.float32:
            return None
        own = {name: self.masters[name] for name in self._own}
        return RoundedWeights(model, dtype, own, frozenset(self.parameters), self.owner_of)

    @contextmanager
    def exact(self, everywhere: bool = True) -> Iterator[None]:
        """The model with fp32 values of all weights and buffers, to be read or changed; then they are rounded anew.

        Layers that FSDP splits hold fp32 all along, and go on computing as they do. Arguments as for
        `RoundedWeights.exact`; in an fp32 run nothing happens.
        """
        if self._weights is None:
            yield
            return
        with self._weights.exact(everywhere):
            yield

    def close(self, everywhere: bool = True) -> None:
        """Leave the model to others: with fp32 values, without hooks, and trainable as it was.

        Gradients no longer reach the masters.
        """
        if self._weights is not None:
            self._weights.restore(everywhere)
        for hook in self._hooks:
            hook.remove()
        thaw(self._frozen)

    def foreign_rows(self) -> set[str]:
        """Portable names of rounded weights whose exact values other processes keep."""
        names = self._weights.foreign() if self._weights is not None else []
        return {part for name in names for part in self._rows(name)}

    def _muon_format(self) -> torch.dtype:
        asked = self.config.muon_precision
        chosen = self.precision if asked == "auto" else asked
        return torch.bfloat16 if chosen == "bf16" else torch.float32

    def _build(self) -> list[torch.optim.Optimizer]:
        groups: dict[Treatment, list[Tensor]] = {}
        for name in self._own:
            groups.setdefault(self.treatments[name], []).append(self.masters[name])
        described: dict[str, list[dict[str, Any]]] = {"muon": [], "adamw": [], "sgd": []}
        for treatment, params in groups.items():
            rates = {
                "lr": treatment.lr,
                "base_lr": treatment.lr,
                "weight_decay": treatment.weight_decay,
            }
            described[treatment.method].append({"params": params, **rates})
        built: list[torch.optim.Optimizer] = []
        if described["muon"]:
            shared = {
                self.masters[n]: p for n, p in self.parameters.items() if cut(p) != (None, False)
            }
            built.append(
                Muon(
                    described["muon"],
                    momentum=self.config.muon_momentum,
                    cut_as=shared,
                    dtype=self._muon_format(),
                )
            )
        if described["adamw"]:
            built.append(
                torch.optim.AdamW(
                    described["adamw"], betas=self.config.betas, eps=self.config.eps, fused=True
                )
            )
        if described["sgd"]:
            built.append(
                torch.optim.SGD(described["sgd"], momentum=self.config.sgd_momentum, foreach=True)
            )
        return built

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.parameters.values(), *self.masters.values()):
            tensor.grad = None

    def collect(self) -> None:
        """Take over gradients that FSDP left with the parameters."""
        for name, parameter in self.parameters.items():
            if is_sharded(parameter) and parameter.grad is not None:
                gradient, master = local(parameter.grad).float(), self.masters[name]
                master.grad = (
                    gradient.clone() if master.grad is None else master.grad.add_(gradient)
                )
                parameter.grad = None

    def sum_gradients(self) -> None:
        """Make the gradients of this process those of the whole step."""
        self.collect()
        sum_gradients(self.parameters, self.masters)

    def gradient_norm(self, everywhere: bool = True) -> Tensor:
        """Norm of all gradients together, one number; 0 where there are none.

        ``everywhere=False``: of those that this process holds, which may call it alone.
        """
        return gradient_norm(self.parameters, self.masters, self._counted, everywhere, self.device)

    @torch.no_grad()
    def clip(self, norm: float) -> None:
        """Scale gradients of total ``norm`` down to the limit of the configuration."""
        gradients = self._gradients()
        if gradients and self.config.clip and norm > self.config.clip:
            torch._foreach_mul_(gradients, self.config.clip / (norm + 1e-6))

    @torch.no_grad()
    def step(self, lr_factor: float) -> None:
        """Update every parameter that has a gradient, at ``lr_factor`` times its rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * lr_factor
            optimizer.step()
        changed = [n for n in self._rounded if n in self._own and self.masters[n].grad is not None]
        if changed:
            into = [local(self.parameters[n].detach()) for n in changed]
            torch._foreach_copy_(into, [self.masters[n] for n in changed])
        if self.owner_of:
            changed = [name for name in self.parameters if self.masters[name].grad is not None]
            share_updates({name: self.parameters[name] for name in changed}, self.owner_of)

    def state(self, masters: bool = True) -> dict[str, Tensor]:
        """``portable name|master`` and ``portable name|<what the method keeps>`` -> whole tensor, on every process.

        ``masters=False``: without those that `exact` puts into the model, for whoever stores that.
        """
        found = {
            key: value if value.ndim == 0 else whole_of(value.detach(), parameter)
            for key, (value, parameter) in self.own_parts(masters).items()
        }
        if layout().zero or layout().expert > 1:
            found = from_all(found, data_group())
        return from_all(found, pipeline_group()) if layout().pipeline > 1 else found

    def values(self) -> dict[str, Tensor]:
        """Name -> fp32 master, or the parameter where another process keeps the master; it may be called alone."""
        return {
            name: self.masters[name] if name in self._own else p
            for name, p in self.parameters.items()
        }

    def own_values(self) -> dict[str, Tensor]:
        """Name -> fp32 master, of those that this process keeps."""
        return {name: self.masters[name] for name in self._own}

    def own_parts(self, masters: bool = True) -> dict[str, tuple[Tensor, nn.Parameter]]:
        """The same names -> what this process keeps, and the parameter it is cut as; it may be called alone."""
        found: dict[str, tuple[Tensor, nn.Parameter]] = {}
        for name in self._own:
            in_model = self._weights is not None and not is_sharded(self.parameters[name])
            stored = name in self._rounded and (masters or not in_model)
            kept = {"master": self.masters[name]} if stored else {}
            for key, value in {**kept, **self._kept(name)}.items():
                parts = divided(self._rows(name), value)
                found.update(
                    {f"{part}|{key}": (rows, self.parameters[name]) for part, rows in parts.items()}
                )
        return found

    def own_rows(self) -> dict[str, tuple[Tensor, nn.Parameter]]:
        """Portable name -> rows of the masters that this process keeps, and the parameter they are cut as."""
        return {
            part: (rows, self.parameters[name])
            for name in self._own
            for part, rows in divided(self._rows(name), self.masters[name].detach()).items()
        }

    def structure(self) -> dict[str, Any]:
        """What the tensors of `state` belong to, for the reader of a checkpoint."""
        methods = {
            part: each.method for name, each in self.treatments.items() for part in self._rows(name)
        }
        return {"methods": methods}

    @torch.no_grad()
    def load_state(
        self,
        state: Mapping[str, Tensor],
        structure: Mapping[str, Any] | None = None,
        whole: bool = True,
    ) -> None:
        """Restore what `state` returned; parameters and blocks without any start afresh, unknown ones are ignored.

        Args:
            state: What `state` returned.
            structure: What `structure` returned then: what another method kept of a parameter means nothing to that of
                today, so such a parameter starts afresh, too, which is told. None: all methods are as they were.
            whole: False: ``state`` holds what this process keeps, as `own_parts` returns it.

        Raises:
            ValueError: A shape differs.
        """
        fresh = self._of_other_methods((structure or {}).get("methods", {}))
        by_key: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, kept = key.rpartition("|")
            by_key.setdefault(kept, {})[name] = value
        for name in self._own:
            gather(
                self._rows(name),
                self._parts(name, by_key.get("master", {}), whole),
                self.masters[name],
            )
            for kept, stored in by_key.items():
                if kept != "master" and name not in fresh:
                    self._restore(name, kept, self._parts(name, stored, whole))

    def _of_other_methods(self, before: Mapping[str, str]) -> set[str]:
        """Parameters that another method updated before: portable name -> method."""
        found = {
            name: before[part]
            for name in self._own
            for part in self._rows(name)
            if before.get(part, self.treatments[name].method) != self.treatments[name].method
        }
        if found:
            methods = ", ".join(sorted(set(found.values())))
            logger.warning(
                "%d of %d parameters are updated by another method than before (%s): its momentum is left behind",
                len(found),
                len(self._own),
                methods,
            )
        return set(found)

    def _parts(self, name: str, stored: Mapping[str, Tensor], whole: bool) -> dict[str, Tensor]:
        """Of stored tensors the parts of this process."""
        found = {part: stored[part] for part in self._rows(name) if part in stored}
        parameter = self.parameters[name]
        if not whole:
            return found
        return {
            part: value if value.ndim == 0 else part_like(value, parameter)
            for part, value in found.items()
        }

    def _restore(self, name: str, kept: str, stored: Mapping[str, Tensor]) -> None:
        rows, master = self._rows(name), self.masters[name]
        first = next((stored[part] for part in rows if part in stored), None)
        if first is not None:
            shape = () if first.ndim == 0 else master.shape
            value = first.new_zeros(shape, device=master.device)
            gather(rows, stored, value)
            self._owner(name).state[master][kept] = value

    def _owner(self, name: str) -> torch.optim.Optimizer:
        methods = {"muon": Muon, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        method = methods[self.treatments[name].method]
        return next(each for each in self.optimizers if isinstance(each, method))

    def _kept(self, name: str) -> dict[str, Tensor]:
        """What the optimiser of a parameter keeps for it; nothing before its first update."""
        return dict(self._owner(name).state.get(self.masters[name], {}))

    def _gradients(self) -> list[Tensor]:
        return [master.grad for master in self.masters.values() if master.grad is not None]


def _whole(name: str) -> dict[str, slice]:
    return {name: slice(None)}


def _master(parameter: nn.Parameter, own: bool, dtype: torch.dtype) -> Tensor:
    """The fp32 tensor that is updated; where another process updates it, one of no size that holds the gradient.

    It is the parameter itself, or before that is rounded to ``dtype`` the memory that it had.
    """
    if parameter.dtype == dtype == torch.float32 and not is_sharded(parameter):
        return parameter
    if not own:
        return torch.zeros((), device=parameter.device).expand(parameter.shape).requires_grad_(True)
    return local(parameter.detach()).float().requires_grad_(True)


def _accumulate_in_master(parameter: nn.Parameter, master: Tensor) -> Any:
    """Move each gradient of a rounded parameter into its master as soon as it is there."""

    def move(_: Tensor) -> None:
        if parameter.grad is None:
            return
        gradient = parameter.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return parameter.register_post_accumulate_grad_hook(move)
