"""``ofa explain "<instruction>"``."""

from __future__ import annotations

from typing import Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import echo, print_json

app = command_app()


@app.command()
def explain(
    instruction: Annotated[str, typer.Argument(help="Such as '[TEXT:question] -> [TEXT:answer]'.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Build the model; add shapes, parameters, FLOPs.")] = False,
) -> None:
    """Show the plan of an instruction: which components serve each slot."""
    from ofacore.plan import as_dict, as_text, attention_needs, compile_task
    from ofacore.plugin import Registry

    registry = Registry.discover()
    plan = compile_task("task", instruction, registry)
    needs = attention_needs(plan, registry)
    model = _model(instruction) if full else None
    if json:
        templates = [as_dict(template) for template in plan.templates]
        told = {"attention": {name: list(layers) for name, layers in needs.items()}}
        print_json({"templates": templates, "needs": told} | ({"model": model} if model is not None else {}))
        return
    echo(as_text(plan, needs))
    for key, value in (model or {}).items():
        echo(f"{key}  {value}")


def _model(instruction: str) -> dict[str, object]:
    from ofacore.inspection import describe_model

    return describe_model(instruction)
