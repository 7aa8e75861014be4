"""The table of what is trained tells what the optimiser does."""

from __future__ import annotations

import pytest
from rich.console import Console

from ofacore.config.train_section import GroupRule, OptimizerConfig
from ofacore.runs.trained_parts import print_trained, trained_parts
from ofacore.training.training_errors import RuleError
from tests.training.test_exact_weights import made


def test_the_table_tells_parts_shares_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    model = made(lora={"rank": 2, "targets": ["decoder"]}, prefix={"length": 3}).model
    rules = (
        GroupRule(pattern="cross.*low_rank", freeze=True),
        GroupRule(pattern="low_rank", lr=0.5),
    )
    config = OptimizerConfig(name="adamw", lr=0.01, rules=rules)
    rows = {row.name: row for row in trained_parts(model, config)}
    assert sum(row.parameters for row in rows.values()) == sum(
        parameter.numel() for parameter in model.parameters()
    )
    assert rows["backbone.encoder"].told == "frozen" and not rows["embedding"].trained
    update = rows["backbone.decoder, low rank"]
    expected = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if "low_rank" in name and "cross" not in name
    )
    assert 0 < update.trained == expected < update.parameters
    assert update.told == "adamw 0.005"
    prefix = rows["backbone.encoder, prefix"]
    assert prefix.trained == prefix.parameters and prefix.told == "adamw 0.01"
    assert all(
        parameter.requires_grad for name, parameter in model.named_parameters() if "low" in name
    )

    print_trained(list(rows.values()), Console(width=80))
    printed = capsys.readouterr().out
    assert "backbone.decoder, low rank" in printed and "all of it" in printed and "%" in printed
    wrong = OptimizerConfig(rules=(GroupRule(pattern="nothing", freeze=True),))
    with pytest.raises(RuleError, match="matches no parameter"):
        trained_parts(model, wrong)
