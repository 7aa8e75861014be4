"""Schedules: exact sums, purity, and the shares they promise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.components import schedules
from ofacore.components.manifest import MANIFEST
from ofacore.components.schedules import ScheduleError
from ofacore.config.schema import RunConfig
from ofacore.plan.checking import check
from ofacore.plugin import Registry
from ofacore.protocols import TaskShare

KINDS = [
    schedules.All,
    schedules.Proportional,
    schedules.Temperature,
    schedules.ByWeights,
    schedules.RoundRobin,
    schedules.Curriculum,
]
TASKS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.builds(TaskShare, st.integers(1, 10**6), st.floats(0.01, 100)),
    min_size=1,
)


@settings(max_examples=150)
@given(
    st.sampled_from(KINDS), TASKS, st.integers(1, 500), st.integers(0, 2**31), st.integers(0, 10**6)
)
def test_every_step_has_exactly_its_samples_and_depends_on_seed_and_step_alone(
    kind, tasks, samples, seed, step
):
    one = kind(tasks, samples, seed, {})
    one.counts(step + 1)
    counts = one.counts(step)
    assert sum(counts.values()) == samples
    assert set(counts) <= set(tasks) and all(count > 0 for count in counts.values())
    assert kind(tasks, samples, seed, {}).counts(step) == counts


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.001, 1000), min_size=1),
    st.integers(1, 300),
)
def test_largest_remainder(weights, samples):
    counts = schedules.largest_remainder(weights, samples)
    assert sum(counts.values()) == samples
    total = sum(weights.values())
    if samples >= len(weights):
        assert set(counts) == set(weights)
    if all(samples * weight / total >= 1 for weight in weights.values()):
        assert all(
            abs(counts[name] - samples * weight / total) < 1 + 1e-9
            for name, weight in weights.items()
        )


def test_all_follows_weights():
    tasks = {"a": TaskShare(9, 2.5), "b": TaskShare(10**6, 1.0), "c": TaskShare(5, 0.5)}
    assert schedules.All(tasks, 64, 1, {}).counts(7) == {"a": 40, "b": 16, "c": 8}


def test_tiny_weights_get_one_sample():
    tasks = {"a": TaskShare(9, 1000.0), "b": TaskShare(9, 0.001)}
    assert schedules.All(tasks, 8, 1, {}).counts(0) == {"a": 7, "b": 1}


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (schedules.Proportional, {}, {"a": 0.9, "b": 0.1}),
        (schedules.Temperature, {"temperature": 2}, {"a": 0.75, "b": 0.25}),
        (schedules.Temperature, {"temperature": 1e9}, {"a": 0.5, "b": 0.5}),
        (schedules.ByWeights, {}, {"a": 0.5, "b": 0.5}),
        (schedules.ByWeights, {"weights": {"a": 3}}, {"a": 0.75, "b": 0.25}),
        (schedules.RoundRobin, {}, {"a": 0.5, "b": 0.5}),
    ],
)
def test_expected_shares(kind, options, expected):
    tasks = {"a": TaskShare(900), "b": TaskShare(100)}
    shares = schedules.expected_shares(kind(tasks, 64, 1, options), 1000)
    assert shares == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("steps", [2000, 30_000])
def test_expected_shares_of_long_runs_see_every_turn(steps):
    tasks = {name: TaskShare(9) for name in "abcd"}
    shares = schedules.expected_shares(schedules.RoundRobin(tasks, 4, 1, {}), steps)
    assert shares == pytest.approx(dict.fromkeys("abcd", 0.25), abs=0.02)


def test_drawn_counts_differ_between_steps_and_seeds():
    tasks = {"a": TaskShare(900), "b": TaskShare(100)}
    drawn = [
        schedules.Proportional(tasks, 64, seed, {}).counts(step)["a"]
        for seed in (1, 2)
        for step in range(20)
    ]
    assert len(set(drawn)) > 4 and drawn[:20] != drawn[20:]


def test_round_robin_spreads_turns():
    tasks = {"a": TaskShare(9, 1.0), "b": TaskShare(9, 2.0)}
    order = [next(iter(schedules.RoundRobin(tasks, 4, 1, {}).counts(step))) for step in range(6)]
    assert order == ["b", "a", "b", "b", "a", "b"]


def test_curriculum_joins_ramps_and_leaves():
    tasks = {"a": TaskShare(9), "b": TaskShare(9)}
    schedule = schedules.Curriculum(
        tasks, 60, 1, {"start": {"b": 10}, "until": {"a": 30}, "ramp": 1}
    )
    assert schedule.counts(9) == {"a": 60}
    assert schedule.counts(10) == {"a": 40, "b": 20}
    assert schedule.counts(11) == {"a": 30, "b": 30}
    assert schedule.counts(30) == {"b": 60}


@pytest.mark.parametrize(
    ("kind", "tasks", "options", "words"),
    [
        (schedules.All, {"a": TaskShare(5, 0.0)}, {}, "nothing to train on"),
        (
            schedules.ByWeights,
            {"caption": TaskShare(5)},
            {"weights": {"captoin": 2}},
            "did you mean 'caption'",
        ),
        (
            schedules.ByWeights,
            {"a": TaskShare(5), "b": TaskShare(5)},
            {"weights": {"a": 0, "b": 0}},
            "give one of a, b more than 0",
        ),
        (schedules.Temperature, {"a": TaskShare(5)}, {"temperature": 0}, "must be above 0"),
        (
            schedules.Curriculum,
            {"a": TaskShare(5)},
            {"start": {"a": 5}},
            "no task is active at step 0",
        ),
    ],
)
def test_mistakes_are_named(kind, tasks, options, words):
    with pytest.raises(ScheduleError, match=words):
        kind(tasks, 8, 1, options).counts(0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("temperature", {"temperature": 3.0}),
        ("weights", {"weights": {"a": 2.0}}),
        ("curriculum", {"start": {"a": 5}, "until": {"a": 50}, "ramp": 4}),
    ],
)
def test_options_of_schedules_are_declared_and_their_defaults_change_nothing(name, options):
    registry = Registry.of(MANIFEST)
    config = RunConfig.model_validate({"train": {"schedule": {"name": name, "options": options}}})
    assert not [
        problem for problem in check(config, registry) if problem.path.startswith("train.schedule")
    ]
    wrong = RunConfig.model_validate(
        {"train": {"schedule": {"name": name, "options": {"temprature": 1}}}}
    )
    assert [p.path for p in check(wrong, registry) if "schedule" in p.path] == [
        "train.schedule.options.temprature"
    ]
    declared, build = registry.component("schedule", name).options, registry.load("schedule", name)
    tasks = {"a": TaskShare(100, 1.0), "b": TaskShare(10, 2.0)}
    plain, given = build(tasks, 16, 1, {}), build(tasks, 16, 1, declared)
    assert set(declared) == set(options)
    assert all(plain.counts(step) == given.counts(step) for step in range(20))
