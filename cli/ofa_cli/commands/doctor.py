"""``ofa doctor``."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import print_json
from ofacore.folders import cache_root
from ofacore.plugin import CONTRACT, PluginRow, Registry

LIBRARIES = ("ofacore", "torch", "megatron-core", "numpy", "pydantic", "safetensors", "typer")

app = command_app()


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report versions, processor, threads, plugins and folders; exit 1 if something needs attention."""
    rows = Registry.discover().rows
    problems = _problems(rows)
    report = {**_machine(), "libraries": _versions(), "plugins": _plugins(rows), "cache": str(cache_root())}
    if json:
        print_json({**report, "problems": problems})
    else:
        for key, value in report.items():
            typer.echo(f"{key:12}{_flat(value)}")
        for problem in problems:
            typer.echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(1)


def _machine() -> dict[str, Any]:
    import torch

    features = torch.cpu.get_capabilities()
    vectors = torch.backends.cpu.get_cpu_capability()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": f"{features.get('cpu_name', platform.machine())}, vectors {vectors}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()}",
        "bf16": "accelerated" if features.get("avx512_bf16") or features.get("amx_bf16") else "not accelerated",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _plugins(rows: Sequence[PluginRow]) -> list[str]:
    contract = f"contract {CONTRACT[0]}.{CONTRACT[1]}"
    return [contract, *(f"{row.name} ({row.distribution} {row.version}) {row.status}" for row in rows)]


def _problems(rows: Sequence[PluginRow]) -> list[str]:
    absent = [name for name, found in _versions().items() if found == "missing"]
    missing = [f"{name} is not installed: pip install {name}" for name in absent]
    bad = [row for row in rows if row.status not in ("ok", "disabled")]
    return missing + [f"plugin {row.name} is {row.status}: {row.problem}" for row in bad]


def _flat(value: Any) -> str:
    items = [f"{key} {item}" for key, item in value.items()] if isinstance(value, dict) else value
    return str(items) if isinstance(items, str) else "\n            ".join(items)
