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
    full: Annotated[
        bool, typer.Option("--full", help="Build the model; add shapes, parameters, FLOPs.")
    ] = False,
) -> None:
    """Show the plan of an instruction: which components serve each slot."""
    from ofacore.plan import as_dict, as_text, attention_needs, compile_task
    from ofacore.plan.explain import options_as_text
    from ofacore.plan.resolved_options import options_of_plan
    from ofacore.plugin import Registry

    registry = Registry.discover()
    plan = compile_task("task", instruction, registry)
    needs = attention_needs(plan, registry)
    model = _model(plan.templates[0].text) if full else None
    options = options_of_plan(plan, registry)
    if json:
        templates = [as_dict(template) for template in plan.templates]
        told = {"attention": {name: list(layers) for name, layers in needs.items()}}
        found = {"templates": templates, "needs": told, "options": options}
        print_json(found | ({"model": model} if model is not None else {}))
        return
    echo(as_text(plan, needs))
    if options:
        echo(f"\n{options_as_text(options)}")
    for key, value in (model or {}).items():
        echo(f"{key}  {value}")


def _model(instruction: str) -> dict[str, object]:
    from ofacore.runs.inspection import describe_model

    return describe_model(instruction)
