"""How the processes of a run divide the work. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from ofacore.errors import UserError


class LayoutError(UserError):
    """Sizes that do not fit together."""


@dataclass(frozen=True)
class Layout:
    """Sizes of the parallel groups; ``world = tensor * pipeline * data``.

    Ranks are numbered with the tensor group innermost, then data, then pipeline, as megatron does. Experts are spread
    over data ranks: rank d of the data group is rank ``d % expert`` of its expert group.

    Raises:
        LayoutError: The sizes do not fit together; names the numbers and the nearest that do.
    """

    world: int = 1
    """Number of processes."""
    tensor: int = 1
    """Processes that share every large matrix (Shoeybi et al. 2019)."""
    pipeline: int = 1
    """Stages that the layers are cut into."""
    expert: int = 1
    """Data ranks that feed-forward experts are spread over."""
    sequence: bool = False
    """Between the large matrices, positions are split over the tensor group (Korthikanti et al. 2022)."""
    zero: bool = False
    """Each data rank keeps the optimiser's state of a share of the parameters (ZeRO-1, Rajbhandari et al. 2019)."""
    fsdp: bool = False
    """Parameters, gradients and optimiser state are split over data ranks (torch's ``fully_shard``)."""

    def __post_init__(self) -> None:
        for name in ("world", "tensor", "pipeline", "expert"):
            if getattr(self, name) < 1:
                raise LayoutError(f"{name}={getattr(self, name)}: at least 1")
        model = self.tensor * self.pipeline
        if self.world % model:
            near = max(self.world // model, 1) * model
            raise LayoutError(
                f"{self.world} processes cannot be divided into groups of tensor={self.tensor} x "
                f"pipeline={self.pipeline}; start {near} or {near + model}, or lower one of them"
            )
        if self.data % self.expert:
            near = max(n for n in range(1, self.expert + 1) if self.data % n == 0)
            raise LayoutError(f"expert={self.expert} does not divide the {self.data} data ranks; {near} does")
        self._check_choices()

    def _check_choices(self) -> None:
        if self.fsdp and self.pipeline > 1:
            raise LayoutError(f"fsdp works with pipeline=1 only, not {self.pipeline}; use zero instead")
        if self.fsdp and self.zero:
            raise LayoutError("fsdp splits optimiser state already; leave zero off")
        if self.fsdp and self.expert > 1:
            raise LayoutError(f"fsdp splits experts already; leave expert at 1 instead of {self.expert}")

    @property
    def data(self) -> int:
        """Replicas that each take a share of the samples."""
        return self.world // (self.tensor * self.pipeline)

    @property
    def expert_data(self) -> int:
        """Replicas of each expert."""
        return self.data // self.expert

    @property
    def single(self) -> bool:
        """One process does everything."""
        return self.world == 1
