"""``ofa doctor``."""

from __future__ import annotations

import platform
from typing import Annotated, Any

import typer

from ofa_cli.environment import plugin_lines, plugin_problems, print_report, versions
from ofa_cli.lazy import command_app
from ofacore.ground.folders import cache_root
from ofacore.ground.machine import processors
from ofacore.plugin import Registry

LIBRARIES = ("ofacore", "torch", "megatron-core", "numpy", "pydantic", "safetensors", "typer")

app = command_app()


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report versions, processor, threads, plugins and folders; exit 1 if something needs attention."""
    rows, libraries = Registry.discover().rows, versions(LIBRARIES)
    report = {
        **_machine(),
        "libraries": libraries,
        "plugins": plugin_lines(rows),
        "cache": str(cache_root()),
    }
    absent = [name for name, found in libraries.items() if found == "missing"]
    missing = [f"{name} is not installed: pip install {name}" for name in absent]
    print_report(report, missing + plugin_problems(rows), json=json)


def _machine() -> dict[str, Any]:
    import torch

    from ofacore.parallel.process import described_bf16, fast_bf16

    features, cpu = torch.cpu.get_capabilities(), torch.device("cpu")
    bf16 = "accelerated" if fast_bf16(cpu) else "not accelerated"
    vectors = torch.backends.cpu.get_cpu_capability()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": f"{features.get('cpu_name', platform.machine())}, vectors {vectors}",
        "threads": f"{torch.get_num_threads()} of {processors()}",
        "bf16": f"{bf16} ({described_bf16(cpu)})",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }
