"""What a step holds depends on seed, cursor and schedule, not on workers, threads or where training was resumed."""

import json
import multiprocessing
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from ofacore.batching.cursor import Cursor
from ofacore.batching.steps import BadRowError, LoaderSettings, StepLoader, TaskData, WorkerError
from ofacore.sources import ListSource, SourceError
from tests.batching.toy import Letters, encoder

LETTERS = "abcdefghijklmnopqrstuvwxy"


class Turns:
    """A schedule whose counts change from step to step."""

    def counts(self, step):
        return {"one": 2 + step % 2, "two": 3 * (step % 3)}


def rows(count, bad=()):
    texts = [LETTERS[k % 25] * (1 + k % 7) + LETTERS[k // 25] for k in range(count)]
    return [
        {"a": text if k not in bad else text.upper(), "t": text} for k, text in enumerate(texts)
    ]


def tasks(bad=()):
    return {
        "one": TaskData(
            ListSource(rows(7, bad), "one"), encoder("[WORD:a] -> [WORD:t]", name="one")
        ),
        "two": TaskData(
            ListSource(rows(40), "two"),
            encoder(
                "[WORD:a] -> [WORD:t] ||| say [WORD:a] -> [WORD:t]", name="two", drop_prompt=0.2
            ),
        ),
    }


def steps(stop, start=0, cursor=None, bad=(), **settings):
    loader = StepLoader(
        tasks(bad), Turns(), LoaderSettings(seed=3, **settings), cursor, start, stop
    )
    return list(loader)


def seen(found):
    return [
        (
            s.number,
            s.cursor,
            dict(s.counts),
            s.bad,
            s.numbers,
            [(e.row_id, repr(e.source), repr(e.terms)) for e in s.examples],
        )
        for s in found
    ]


def test_a_step_holds_what_the_schedule_says():
    for step in steps(6):
        assert step.samples == {
            task: count for task, count in Turns().counts(step.number).items() if count
        }
        assert (
            len(step.examples)
            == sum(step.samples.values())
            == sum(len(batch.samples) for batch in step.batches)
        )
        assert step.counts["one/t"] == sum(
            item.count for e in step.examples for item in e.terms if item.term == "one/t"
        )


def test_an_epoch_uses_each_row_once():
    names = [e.row_id for step in steps(20) for e in step.examples if e.task == "one"]
    assert sorted(names[:7]) == sorted(names[7:14]) == [f"one[{k}]" for k in range(7)]


class Fatal(ListSource):
    """Ends the process that receives it."""

    def __reduce__(self):
        return os._exit, (1,)


@pytest.mark.slow
def test_a_worker_that_ends_is_told_with_what_may_be_the_cause():
    fatal = {"one": TaskData(Fatal(rows(7), "one"), encoder("[WORD:a] -> [WORD:t]", name="one"))}
    with pytest.raises(WorkerError, match="exited unexpectedly. .*__main__.*train.workers"):
        list(StepLoader(fatal, Turns(), LoaderSettings(workers=1), None, 0, 1))


class Single:
    """A schedule of one task."""

    def counts(self, step):
        return {"one": 2}


class Raises(Letters):
    """A plugin's preprocessor with a bug."""

    def encode(self, value, slot, ctx):
        raise KeyError("values")


def test_an_error_of_a_plugin_in_a_worker_is_told_with_its_place_and_ends_the_workers():
    sound = encoder("[WORD:a] -> [WORD:t]", name="one")
    broken = {
        "one": TaskData(
            ListSource(rows(7), "one"), replace(sound, preprocessors={"letters": Raises()})
        )
    }
    others = multiprocessing.active_children()
    with pytest.raises(KeyError, match="values") as caught:
        list(StepLoader(broken, Single(), LoaderSettings(workers=1), None, 0, 3))
    told = " ".join(caught.value.__notes__)
    assert "raised by preprocessor 'letters' of plugin 'toy' (toy 0), encode, slot 'a'" in told
    assert "while encoding one[" in told and "of task 'one'" in told
    assert "in a worker process" in str(caught.value.__cause__)
    assert set(multiprocessing.active_children()) <= set(others)


def test_an_error_beside_the_loader_ends_the_workers():
    others = set(multiprocessing.active_children())
    steps = iter(StepLoader(tasks(), Turns(), LoaderSettings(workers=1)))
    next(steps)
    assert set(multiprocessing.active_children()) > others
    steps.close()
    for left in set(multiprocessing.active_children()) - others:
        left.join(60)
    assert set(multiprocessing.active_children()) <= others


def test_resuming_gives_the_same_steps():
    straight = steps(9)
    resumed = steps(9, start=4, cursor=Cursor.from_state(straight[3].cursor.state()))
    assert seen(resumed) == seen(straight[4:])


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing_for_the_data_or_the_caller():
    torch.manual_seed(5)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert seen(steps(12, bad={2, 3}, workers=2)) == seen(steps(12, bad={2, 3}))
    assert (
        torch.equal(torch.get_rng_state(), state)
        and (np.random.get_state()[1] == numpy_state).all()
    )


def test_micro_batches_keep_every_sample_under_any_limit():
    for settings in ({"positions": 40}, {"samples": 2}, {"packing": False, "positions": 60}):
        for step in steps(4, **settings):
            found = sorted((s.task, s.number) for batch in step.batches for s in batch.samples)
            assert found == sorted(
                (e.task, n) for e, n in zip(step.examples, step.numbers, strict=True)
            )
            counts = {}
            for group in (group for batch in step.batches for group in batch.terms):
                for term, count in zip(group.terms, group.counts, strict=True):
                    counts[term] = counts.get(term, 0) + count
            assert counts == step.counts


def test_ranks_share_a_step_without_overlap():
    whole = [[(e.task, n) for e, n in zip(s.examples, s.numbers, strict=True)] for s in steps(5)]
    parts = [steps(5, rank=rank, ranks=3) for rank in range(3)]
    for number, wanted in enumerate(whole):
        found = [
            (e.task, n)
            for part in parts
            for e, n in zip(part[number].examples, part[number].numbers, strict=True)
        ]
        assert sorted(found) == sorted(wanted)
        assert parts[0][number].cursor == parts[2][number].cursor


def test_a_run_goes_on_with_another_number_of_ranks_where_it_stopped():
    def taken(step):
        return [(example.row_id, repr(example.source)) for example in step.examples]

    def stored(step):
        return Cursor.from_state(json.loads(json.dumps(step.cursor.state())))

    begun = [steps(2, rank=rank, ranks=8) for rank in range(8)]
    assert any(not step.batches for part in begun for step in part)
    rest = [
        steps(4, 2, stored(part[-1]), rank=rank, ranks=2) for rank, part in enumerate(begun[:2])
    ]
    last = steps(7, 4, stored(rest[0][-1]))
    for number, whole in enumerate(steps(7)):
        parts = (
            [part[number] for part in begun]
            if number < 2
            else [part[number - 2] for part in rest if number < 4]
        )
        parts = parts or [last[number - 4]]
        assert sorted(sample for part in parts for sample in taken(part)) == sorted(taken(whole))
        assert all(part.cursor == whole.cursor for part in parts)


def test_bad_rows_are_replaced_recorded_and_shrink_nothing():
    found = steps(10, bad={2, 3})
    bad = [row for step in found for row in step.bad]
    assert {row.row_id for row in bad} == {"one[2]", "one[3]"}
    assert all("small letters" in row.reason and row.task == "one" for row in bad)
    assert [len(step.examples) for step in found] == [
        sum(Turns().counts(k).values()) for k in range(10)
    ]
    assert seen(steps(10, start=5, cursor=found[4].cursor, bad={2, 3})) == seen(found[5:])


def test_a_bad_row_stops_the_run_if_the_policy_says_so():
    with pytest.raises(BadRowError, match=r"one\[2\].*bad_rows: replace"):
        steps(10, bad={2}, bad_rows="raise")


def test_a_task_whose_rows_are_all_bad_stops_with_the_reason():
    with pytest.raises(BadRowError, match=r"small letters.*ofa data check"):
        steps(3, bad=set(range(7)))


def test_a_task_without_rows_is_named():
    empty = {"none": TaskData(ListSource([]), encoder("[WORD:a] -> [WORD:t]"))}
    with pytest.raises(SourceError, match="task 'none' has no rows"):
        StepLoader(empty, Turns())


def test_stopping_early_leaves_no_thread_behind():
    before = threading.active_count()
    for step in StepLoader(tasks(), Turns()):
        if step.number == 2:
            break
    del step
    assert threading.active_count() == before


def test_what_cannot_reach_a_worker_says_what_and_how():
    broken = {
        "one": TaskData(
            ListSource([{"a": "x", "t": "y", "f": lambda: 1}]),
            encoder("[WORD:a] -> [WORD:t]", name="one"),
        )
    }
    with pytest.raises(SourceError, match=r"task 'one': its data cannot be sent.*workers: 0"):
        next(iter(StepLoader(broken, Turns(), LoaderSettings(workers=1))))


class TinyNumbers:
    """Rows of numbers whose halves are denormal, computed where the row is read."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        halves = torch.full((3,), torch.finfo(torch.float32).tiny) * 0.5
        return {"n": halves.tolist(), "t": "ab"}

    def name(self, index):
        return f"tiny[{index}]"


@pytest.mark.parametrize("flush", [False, True])
def test_workers_treat_denormal_numbers_like_the_main_process(flush):
    data = {"one": TaskData(TinyNumbers(), encoder("[NUMS:n] -> [WORD:t]", name="one"))}

    class Two:
        def counts(self, step):
            return {"one": 2}

    def features(workers):
        (step,) = StepLoader(data, Two(), LoaderSettings(workers=workers), stop=1)
        return [value for call in step.batches[0].source.calls for value in call.features.values()]

    torch.set_flush_denormal(flush)
    try:
        here, there = features(0), features(1)
    finally:
        torch.set_flush_denormal(False)
    assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))
    assert any(bool((value != 0).any()) for value in here if value.is_floating_point()) != flush


def test_features_lie_where_torch_would_put_them():
    data = {"one": TaskData(TinyNumbers(), encoder("[NUMS:n] -> [WORD:t]", name="one"))}

    class Growing:
        def counts(self, step):
            return {"one": 1 + step}

    for step in StepLoader(data, Growing(), stop=8):
        calls = [call for batch in step.batches for call in batch.source.calls]
        assert all(value.data_ptr() % 64 == 0 for call in calls for value in call.features.values())
