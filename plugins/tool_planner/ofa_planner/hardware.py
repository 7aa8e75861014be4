"""What a layout runs on. Defaults: nodes of eight 80 GiB GPUs of the A100 kind; nothing is measured."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """Equal GPUs in equal nodes."""

    memory: float = 80.0
    """GiB of each GPU."""
    reserve: float = 0.08
    """Share of the memory that is left free: CUDA's own, communication buffers, fragmentation."""
    flops: float = 312e12
    """Operations a second of matrix products at best."""
    efficiency: float = 0.45
    """Share of this that large products reach in training."""
    memory_bandwidth: float = 1.6e12
    """Bytes a second between processor and memory."""
    node: int = 8
    """GPUs of a node."""
    bandwidth: float = 250e9
    """Bytes a second that a GPU sends within a node."""
    network: float = 25e9
    """Bytes a second that a GPU sends to other nodes."""
    latency: float = 20e-6
    """Seconds that each call between processes costs besides."""
    launch: float = 150e-6
    """Least seconds of the forward pass of an encoder layer: starting its kernels."""

    @property
    def usable(self) -> float:
        """Bytes."""
        return self.memory * GIB * (1 - self.reserve)

    def rate(self, span: int) -> float:
        """Bytes a second of a group that spans so many ranks; one that leaves its node is as fast as the network."""
        return self.bandwidth if span <= self.node else self.network
