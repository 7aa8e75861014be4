"""From instructions to plans: every slot resolved to its components, validated before any data is read. No torch."""

from ofacore.plan.compile import compile_instruction, compile_task
from ofacore.plan.configured import plan_task
from ofacore.plan.criterion_needs import attention_needs
from ofacore.plan.explain import as_dict, as_text
from ofacore.plan.plan_error import PlanError
from ofacore.plan.types import LossPlan, TaskPlan, TemplatePlan, criterion_key

__all__ = [
    "LossPlan",
    "PlanError",
    "TaskPlan",
    "TemplatePlan",
    "as_dict",
    "as_text",
    "attention_needs",
    "compile_instruction",
    "compile_task",
    "criterion_key",
    "plan_task",
]
