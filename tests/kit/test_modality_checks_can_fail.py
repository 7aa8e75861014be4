"""Every check of a modality finds the fault that it is for, and says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ofa_kit import ModalityConformance
from ofacore.plugin import Attribute, Option
from tests.kit.faulty import adapters, preprocessors
from tests.kit.faulty.touch import ATTRIBUTE, MANIFEST, touch

VALUES = [[0.1, 0.5, 0.9, 0.4], [0.3, 0.2], [0.2, 0.6, 0.1, 0.7, 1.5]]
FREE = ("tmp_path", "run_distributed")


class Good(ModalityConformance):
    plugin = MANIFEST
    values = VALUES
    bad_values = (object(), "soft", [])


def failing(manifest, **settings):
    return type("Faulty", (Good,), {"plugin": manifest, **settings})()


def built_on(preprocessor, **changes):
    """TOUCH, built on the labels of the probe."""
    first, *others = touch(preprocessor).components
    return replace(
        touch(preprocessor), components=(replace(first, builds_on=("probe",), **changes), *others)
    )


def with_option(option):
    """TOUCH, whose preprocessor has an option."""
    first, *others = touch().components
    return replace(touch(), components=(replace(first, options={"speed": option}), *others))


CASES = {
    "options_are_declared": [
        (
            with_option(Option(5, "How fast.", maximum=3)),
            "'speed' of the preprocessor 'touch': .*correct its Option",
        ),
    ],
    "found_through_its_entry_point": [(MANIFEST, "no entry point announces .* pyproject.toml")],
    "names_resolve": [
        (
            touch(sample="tests.kit.faulty.touch:nothing"),
            "the sample of TOUCH: .* cannot be imported",
        ),
        (
            touch(preprocessor=type("Gone", (), {"__module__": "no.such"})),
            "'no.such:Gone' cannot be imported",
        ),
        (
            replace(MANIFEST, components=MANIFEST.components[:2]),
            "names the head 'touch', .* `requires`",
        ),
    ],
    "attributes_are_declared_well": [
        (
            touch(attributes=(Attribute("a", "int", "8", "x"),)),
            "'a' of TOUCH: its default '8' is no int",
        ),
        (
            touch(attributes=(Attribute("a", "choice", "c", "x", choices=("b",)),)),
            "not among its choices",
        ),
        (touch(attributes=(Attribute("a"),)), "no doc"),
    ],
    "attributes_are_understood": [
        (
            touch(
                preprocessors.ForgetsAttribute,
                attributes=(Attribute("unit", "str", "bar", "unit"),),
            ),
            'with unit="bar" encode raised ValueError: .*RowError',
        ),
    ],
    "values_are_recognised": [
        (touch(is_element=preprocessors.list_is_element), "a list of values is one value"),
        (touch(is_element=preprocessors.raising_is_element), "must answer False"),
    ],
    "round_trip": [
        (touch(preprocessors.LosesScale), "not the same after encode and decode: .*decode undoes")
    ],
    "references_look_like_answers": [
        (
            touch(preprocessors.RawReference, attributes=(Attribute("double", doc="twice"),)),
            "slot with double: a faultless answer is not its reference",
        ),
        (touch(preprocessors.AnyReference), "as_decoded accepted <object"),
        (touch(preprocessors.UnlikeForms), "answer and reference in unlike form"),
    ],
    "encoding_is_deterministic": [
        (touch(preprocessors.GlobalNoise), "draw all random numbers from ctx.rng")
    ],
    "values_are_left_as_they_are": [
        (touch(preprocessors.ChangesValue), "changed the row .* copy arrays")
    ],
    "bad_values_are_refused_by_name": [
        (touch(preprocessors.BareError), "bare TypeError .* raise RowError"),
        (touch(preprocessors.AcceptsAll), "encode accepted .* raise RowError"),
    ],
    "worker_processes_encode_the_same": [
        (touch(preprocessors.HoldsLambda), "cannot be sent to a worker process.*__getstate__"),
        (touch(is_element=lambda value: isinstance(value, list)), "is_element .* no lambda"),
        (touch(preprocessors.RemembersRows), "two worker processes encode rows differently"),
    ],
    "restored_preprocessor_encodes_the_same": [
        (touch(preprocessors.LearnsInPlace), "into the artifact")
    ],
    "batches_do_not_change_losses": [
        (touch(head=preprocessors.MixingHead), "split by ctx.lengths")
    ],
    "packing_changes_nothing": [
        (touch(adapter=adapters.CountsCalls), "another loss when rows are packed")
    ],
    "absent_from_a_step": [
        (touch(adapter=adapters.HooksTheTable), "gave a gradient to .*layer.bias.*remove hooks")
    ],
    "trains_and_answers": [
        (touch(criterion=preprocessors.NotFinite), "a loss is not finite: scale")
    ],
    "positions_can_be_learned": [
        (touch(adapter=adapters.BlindToPlaces), "all positions .* the same answer.*arange")
    ],
    "values_can_be_shown": [
        (touch(preprocessors.ShowsNothing), "render returned None"),
        (touch(preprocessors.ShowsALink), "outside .*data URIs"),
    ],
    "values_can_be_saved": [
        (touch(preprocessors.SavesNothing), "wrote nothing and raised nothing: raise a ValueError"),
        (touch(preprocessors.SavesByKey), "raised KeyError.*names the endings"),
    ],
    "published_values_are_typed": [
        (touch(preprocessors.PublishesADict), "TOUCH publishes a dict: .*frozen dataclass")
    ],
    "others_get_what_they_understand": [
        (built_on(preprocessors.HandsOn), "handed_on gives nothing for 'probe'"),
        (built_on(preprocessors.HandsOnWords), "gives 'soft' for 'probe', which does not take it"),
    ],
    "growing_keeps_what_older_tasks_have": [
        (touch(preprocessors.FitsAgain), "after grow, .* is encoded differently: .*beside it")
    ],
    "components_have_what_their_protocol_asks": [
        (
            touch(adapter=adapters.NoLength),
            "the adapter 'touch' has no length: its protocol is .*Adapter",
        ),
        (
            touch(head=preprocessors.NoPositionwise),
            "the head 'touch' has no positionwise: its protocol is .*Head",
        ),
    ],
    "declared_options_are_shared_with_somebody": [
        (
            built_on(
                preprocessors.HandsOnNumbers, options={"cells": Option(3, "Cells.", shared=True)}
            ),
            "shares its option 'cells', but none of the components that it uses declares it: touch",
        ),
    ],
    "optional_members_are_what_the_core_takes": [
        (touch(adapter=adapters.OddAxes), "axes = 2; 1 for positions on a line, or 3"),
        (touch(adapter=adapters.OneAxis), "axes = 1, but its coordinates differ"),
        (touch(adapter=adapters.LooseGrid), "grid is a tuple, not a PositionGrid"),
        (touch(adapter=adapters.SmallGrid), "outside its grid of 1 rows and 1 columns"),
        (touch(adapter=adapters.MaybeCollective), "collective = 'yes'; True where"),
        (
            touch(adapter=adapters.StoresMore),
            "stored_options gives .'weights'., which its component does not declare",
        ),
        (touch(adapter=adapters.StoresInPlace), "stored_options changed what it was given"),
    ],
    "memory_does_not_grow": [
        (touch(preprocessors.Hoards), "KiB behind .*preprocessors.py.*bound every cache"),
        (touch(adapter=adapters.KeepsEverything), "KiB behind .*tensors"),
    ],
    "length_and_coordinates_are_pure_and_right": [
        (touch(adapter=adapters.WrongLength), "length says 5"),
        (touch(adapter=adapters.RandomLength), "must be pure"),
        (touch(adapter=adapters.CountsFromOne), "count from 0"),
    ],
    "batch_of_one_equals_row_of_a_batch": [
        (
            touch(adapter=adapters.BatchMean),
            "segment 0 is embedded differently beside others.*batch_coupled=True",
        ),
        (touch(adapter=adapters.BatchNorm), "normalises over the batch"),
    ],
    "order_and_padding_do_not_matter": [
        (touch(adapter=adapters.LongestFirst), "in the order of `shapes`")
    ],
    "state_dict_round_trip": [(touch(adapter=adapters.LooseTensor), "register_buffer")],
    "gradients_are_finite": [
        (touch(adapter=adapters.Detached), "remove detach"),
        (touch(adapter=adapters.InfiniteGradient), "not finite; look for sqrt"),
    ],
    "corruption_leaves_the_clean_segment": [
        (touch(corruption=preprocessors.SpoilingNoise), "changed what it was given: .*copy arrays"),
        (
            touch(corruption=preprocessors.GamblingNoise),
            "made two things of one segment .*from rng",
        ),
    ],
    "expected_targets_are_those_that_are_learned": [
        (
            touch(preprocessors.UntoldBlocks),
            r"labels come from the blocks \['touch/levels'\], TargetSpec.blocks are",
        ),
    ],
    "files_by_reference_are_not_sent_to_workers": [
        (touch(preprocessors.SendsItsFile), "bytes are sent to each worker process.*__getstate__"),
    ],
    "tensor_parallel_ranks_agree": [
        (touch(adapter=adapters.KnowsItsRank), "rank 1 of 2 .*no rank number")
    ],
}
ELSEWHERE = {
    "found_through_its_entry_point",
    "corruption_leaves_the_clean_segment",
    "files_by_reference_are_not_sent_to_workers",
}
"""Checks that ask for more than TOUCH has; plugins without fault that have it are in ``tests/contract``."""
FLAT = [
    (check, number, *case) for check, cases in CASES.items() for number, case in enumerate(cases)
]


@pytest.fixture(scope="module")
def good_bench():
    return Good().bench()


def run(suite, check, bench, request):
    """Call a check with the fixtures that it asks for."""
    method = getattr(suite, f"test_{check}")
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    method(**{name: bench if name == "bench" else request.getfixturevalue(name) for name in names})


@pytest.mark.parametrize(
    ("check", "number", "manifest", "message"), FLAT, ids=[f"{c}-{n}" for c, n, *_ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, number, manifest, message, request):
    suite = failing(manifest)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=f"(?s){message}"):
        run(suite, check, suite.bench(), request)


@pytest.mark.parametrize("check", [check for check in CASES if check not in ELSEWHERE])
def test_a_plugin_without_fault_passes(check, good_bench, request):
    run(Good(), check, good_bench, request)


def test_every_check_has_a_faulty_plugin():
    checks = {
        name.removeprefix("test_") for name in dir(ModalityConformance) if name.startswith("test_")
    }
    assert checks == set(CASES) | {"manifest_is_light"}


def test_limits_of_an_attribute_are_checked():
    manifest = touch(attributes=(Attribute("a", "int", 99, "x", maximum=9), ATTRIBUTE))
    with pytest.raises(AssertionError, match="outside its limits None to 9"):
        failing(manifest).test_attributes_are_declared_well(failing(manifest).bench())
