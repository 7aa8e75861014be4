"""How the processes of a run divide the work. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from ofacore.ground.errors import UserError

_FLAGS = {"world": "--nproc", "tensor": "--tp", "pipeline": "--pp", "expert": "--ep"}


class LayoutError(UserError):
    """Sizes that do not fit together."""


@dataclass(frozen=True)
class ProcessGrid:
    """Sizes of the parallel groups; ``world = tensor * pipeline * data``.

    Ranks are numbered with the tensor group innermost, then data, then pipeline, as megatron does. Experts are spread
    over data ranks: rank d of the data group is rank ``d % expert`` of its expert group.

    Raises:
        LayoutError: The sizes do not fit together; names the numbers, by the flags of ``ofa train``, and the nearest
            that do.
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
        for name, flag in _FLAGS.items():
            if getattr(self, name) < 1:
                raise LayoutError(f"{flag} {getattr(self, name)}: at least 1")
        model = self.tensor * self.pipeline
        if self.world % model:
            near = max(self.world // model, 1) * model
            many = f"{self.world} process{'es' if self.world > 1 else ''}"
            raise LayoutError(
                f"{many} cannot be divided into groups of --tp {self.tensor} x "
                f"--pp {self.pipeline}; start --nproc {near} or {near + model}, or lower one of them"
            )
        if self.data % self.expert:
            most = min(self.expert, self.data)
            near = max(n for n in range(1, most + 1) if self.data % n == 0)
            raise LayoutError(
                f"--ep {self.expert} does not divide the {self.data} data ranks ({self.world} processes / "
                f"--tp {self.tensor} / --pp {self.pipeline}); nearest that does: --ep {near}"
            )
        self._check_choices()

    def _check_choices(self) -> None:
        if self.fsdp and self.pipeline > 1:
            raise LayoutError(
                f"--fsdp works with --pp 1 only, not --pp {self.pipeline}; use --zero 1 instead"
            )
        if self.fsdp and self.zero:
            raise LayoutError("--fsdp splits optimiser state already; leave --zero 1 out")
        if self.fsdp and self.expert > 1:
            raise LayoutError(
                f"--fsdp splits experts already; set --ep 1 instead of --ep {self.expert}"
            )

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


def described(layout: ProcessGrid) -> str:
    """A layout in the words of the command line."""
    sizes = [f"{flag} {getattr(layout, name)}" for name, flag in _FLAGS.items() if name != "world"]
    switches = {"--sp": layout.sequence, "--zero 1": layout.zero, "--fsdp": layout.fsdp}
    flags = [
        *(size for size in sizes if not size.endswith(" 1")),
        *(flag for flag, on in switches.items() if on),
    ]
    data = [f"({layout.data} data ranks)"] if layout.data > 1 else []
    return " ".join([f"{layout.world} processes:", *flags, *data])
