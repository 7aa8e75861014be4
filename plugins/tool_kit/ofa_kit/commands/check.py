"""``ofa plugins check``."""

from __future__ import annotations

from typing import Annotated

import typer

from ofa_cli.output import echo, print_json
from ofa_kit.checks.checking import check_plugins


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Plugins or distributions; none: all."),
    ] = None,
    imports: Annotated[
        bool, typer.Option("--imports", help="Also import their code, in processes of its own.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is a problem too.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="--imports: seconds that one import may take.")
    ] = 20.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find what is wrong with plugins, one line each; exit 1 if there is a problem."""
    report = check_plugins(*(names or ()), imports=imports, timeout=timeout)
    bad = report.findings if strict else report.problems
    if json:
        print_json(
            {
                "plugins": report.plugins,
                "ok": not bad,
                "findings": [vars(found) for found in report.findings],
            }
        )
    else:
        for finding in report.findings:
            echo(str(finding))
        warnings = len(report.findings) - len(report.problems)
        echo(f"{len(report.plugins)} checked, {len(report.problems)} problems, {warnings} warnings")
    if bad:
        raise typer.Exit(1)
