"""The loop and its callbacks on a real, small model."""

import io
import json
import logging
import os
import signal
import threading

import pytest
import torch

from ofacore.checkpoint import checkpoints, find_latest, load, read_pointer
from ofacore.config.train_section import (
    CheckpointConfig,
    FaultConfig,
    LrConfig,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)
from ofacore.ground.errors import UserError
from ofacore.protocols import Record
from ofacore.sources.data_errors import BadRow
from ofacore.training.callbacks.base import Callback
from ofacore.training.callbacks.checkpointing import Checkpointing
from ofacore.training.callbacks.fault_log import FaultLog
from ofacore.training.callbacks.progress import Progress
from ofacore.training.callbacks.speed import Speed
from ofacore.training.callbacks.tracking import Tracking
from ofacore.training.callbacks.validation import Validation
from ofacore.training.loop import Trainer
from ofacore.training.optim.ema import Ema
from ofacore.training.step.faults import FaultCounters
from ofacore.training.step.pass_report import StepReport
from ofacore.training.training_errors import FaultLimitError, RolloutMissingError, TrainingError
from tests.training.small import Sample, SmallModel, loader, make_samples, step_of


def settings(steps=10, **more):
    return TrainConfig(steps=steps, **{"lr": LrConfig(name="constant", warmup=0), **more})


def trainer_of(tmp_path, callbacks=(), model=None, source=None, **more):
    return Trainer(model or SmallModel(), source or loader(), settings(**more), tmp_path, callbacks)


class Kept(Callback):
    name = "kept"

    def __init__(self):
        self.reports, self.ended = [], False

    def on_step(self, trainer, report):
        self.reports.append(report)

    def on_end(self, trainer):
        self.ended = True


class Memory:
    def __init__(self):
        self.records: list[Record] = []
        self.closed = False

    def log(self, record):
        self.records.append(record)

    def close(self):
        self.closed = True


def test_loss_falls_on_a_learnable_task(tmp_path):
    samples = [
        Sample("a", f"{i}", s.features, s.features[:, :1] * 2.0)
        for i, s in enumerate(make_samples(32, 1))
    ]
    kept = Kept()
    source = (step_of(samples, (16,), step) for step in range(1000))
    steps = trainer_of(tmp_path, [kept], source=source, steps=200).run()
    losses = [report.values["train/a/y"] for report in kept.reports]
    assert steps == 200 and kept.ended
    assert losses[-1] < 0.1 * losses[0]
    assert [report.step for report in kept.reports] == list(range(1, 201))
    assert kept.reports[0].samples == 32 and kept.reports[0].positions == sum(
        len(s.features) for s in samples
    )


def test_best_latest_and_keep_last(tmp_path):
    scores = iter([3.0, 1.0, 2.0, 2.5])
    config = settings(
        steps=8,
        validation=ValidationConfig(every=2),
        checkpoint=CheckpointConfig(every=1, keep_last=2),
    )
    validation = Validation(
        lambda step: {"valid/a/loss": next(scores)}, config.validation, config.checkpoint
    )
    saving = Checkpointing(config.checkpoint, describe=lambda: {"plan": "p"}, validation=validation)
    Trainer(SmallModel(), loader(), config, tmp_path, [validation, saving]).run()
    assert [path.name for path in checkpoints(tmp_path)] == [
        "step-000004",
        "step-000007",
        "step-000008",
    ]
    assert read_pointer(tmp_path, "best").name == "step-000004"
    latest = load(find_latest(tmp_path))
    assert (
        latest.state["step"] == 8
        and latest.state["plan"] == "p"
        and latest.state["cursor"] == {"next": 8}
    )


@pytest.mark.parametrize(("higher", "expected"), [(True, 2), (False, 5)])
def test_early_stopping_by_patience(tmp_path, higher, expected):
    scores = iter([0.5, 0.4, 0.3, 0.35, 0.4, 0.5])
    config = settings(
        steps=50,
        validation=ValidationConfig(every=1, patience=1 if higher else 2),
        checkpoint=CheckpointConfig(best="valid/a/acc", higher_is_better=higher),
    )
    validation = Validation(
        lambda step: {"valid/a/acc": next(scores)}, config.validation, config.checkpoint
    )
    trainer = Trainer(SmallModel(), loader(), config, tmp_path, [validation])
    assert trainer.run() == expected
    assert "no improvement" in trainer.stop.reason


def test_a_run_that_goes_on_by_another_measure_chooses_its_best_anew(tmp_path):
    def validation(config):
        return Validation(
            lambda step: {"valid/a/acc": 0.9, "valid/a/loss": 2.0},
            config.validation,
            config.checkpoint,
        )

    def went_on(before, now):
        folder = tmp_path / f"{before.best}-{now.best}-{now.higher_is_better}".replace("/", "-")
        for steps, checkpoint in ((1, before), (2, now)):
            config = settings(
                steps=steps, validation=ValidationConfig(every=1), checkpoint=checkpoint
            )
            found = validation(config)
            saving = Checkpointing(checkpoint, validation=found)
            trainer = Trainer(SmallModel(), loader(steps - 1), config, folder, [found, saving])
            if steps == 2:
                trainer.restore(load(find_latest(folder)))
            trainer.run()
        return read_pointer(folder, "best").name

    by_accuracy = CheckpointConfig(best="a/acc", higher_is_better=True)
    by_loss = CheckpointConfig(best="a/loss")
    assert went_on(by_accuracy, by_loss) == "step-000002"
    assert went_on(by_loss, by_accuracy) == "step-000002"
    assert went_on(by_accuracy, CheckpointConfig(best="a/acc")) == "step-000002"
    assert went_on(by_accuracy, CheckpointConfig()) == "step-000002"
    assert went_on(by_accuracy, by_accuracy) == went_on(by_loss, by_loss) == "step-000001"


def test_an_unknown_best_is_named_before_the_first_step():
    best, known = (
        CheckpointConfig(best="a/acuracy"),
        {"valid/a/accuracy": True, "valid/a/y/loss": False},
    )
    with pytest.raises(TrainingError, match="did you mean 'a/accuracy'.*validation.generate: true"):
        Validation(lambda step: {}, ValidationConfig(), best, known)
    with pytest.raises(TrainingError, match="no task has validation rows"):
        Validation(lambda step: {}, ValidationConfig(), best, {})


def test_a_metric_says_itself_what_is_better():
    known = {"valid/a/accuracy": True, "valid/a/wer": False}
    found = [
        Validation(dict, ValidationConfig(), CheckpointConfig(best=f"a/{m}"), known)
        for m in ("accuracy", "wer")
    ]
    assert [validation.higher for validation in found] == [True, False]
    assert Validation(
        dict, ValidationConfig(), CheckpointConfig(best="a/wer", higher_is_better=True), known
    ).higher


def test_a_best_that_was_not_measured_does_not_end_the_run(tmp_path, caplog):
    config = settings(steps=2, checkpoint=CheckpointConfig(best="a/accuracy"))
    validation = Validation(
        lambda step: {"valid/a/y/loss": 1.0}, config.validation, config.checkpoint
    )
    assert Trainer(SmallModel(), loader(), config, tmp_path, [validation]).run() == 2
    assert "best='a/accuracy' was not measured" in caplog.text


def test_validation_sees_averaged_weights_and_leaves_training_as_it_was(tmp_path):
    model, seen = SmallModel(dropout=0.3), {}
    config = settings(steps=6, ema=0.5, validation=ValidationConfig(every=2))

    def validate(step):
        seen[step] = (model.first.weight.detach().clone(), model.training, torch.rand(3))
        return {"valid/a/loss": 1.0}

    trainer = Trainer(
        model,
        loader(),
        config,
        tmp_path,
        [Validation(validate, config.validation, config.checkpoint)],
    )
    trainer.run()
    plain = SmallModel(dropout=0.3)
    Trainer(plain, loader(), config, tmp_path).run()
    assert torch.equal(model.first.weight, plain.first.weight)
    assert not torch.equal(seen[6][0], model.first.weight) and not seen[6][1]
    assert torch.equal(seen[6][0], trainer.ema.average["first.weight"])


def test_average_is_that_of_the_formula():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    ema, expected = Ema({"w": weight}, 0.8, lambda name: {name: slice(None)}), 1.0
    for n in range(1, 60):
        decay = min(0.8, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
        ema.update(n, {"w": torch.tensor([float(n)])})
    assert float(ema.average["w"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_at_the_end_of_the_step_and_tells_how_to_go_on(tmp_path, caplog, number):
    class Sender(Callback):
        def on_step(self, trainer, report):
            if report.step == 3:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    saving = Checkpointing(CheckpointConfig(), resume_command="ofa train --resume")
    with caplog.at_level(logging.WARNING, "ofacore.training"):
        assert trainer_of(tmp_path, [Sender(), saving], steps=100).run() == 3
    assert find_latest(tmp_path).name == "step-000003"
    assert f"{number.name}); go on with: ofa train --resume" in caplog.text
    assert signal.getsignal(number) is before


def test_a_signal_that_comes_while_processes_agree_is_not_lost(tmp_path, monkeypatch):
    def interrupted(reason):
        if trainer.step == 3 and not reason:
            os.kill(os.getpid(), signal.SIGINT)
        return reason

    monkeypatch.setattr("ofacore.training.loop.stop_reason", interrupted)
    trainer = trainer_of(tmp_path, steps=100)
    assert trainer.run() < 5 and trainer.stop.reason == "SIGINT"


def test_runs_in_another_thread(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(trainer_of(tmp_path, steps=2).run()))
    thread.start()
    thread.join()
    assert done == [2]


def test_tracking_logs_means_and_validation(tmp_path):
    memory, kept = Memory(), Kept()
    config = settings(steps=6, validation=ValidationConfig(every=3))
    validation = Validation(
        lambda step: {"valid/a/loss": float(step)}, config.validation, config.checkpoint
    )
    speed = Speed()
    tracking = Tracking([memory], 4, speed, validation)
    Trainer(SmallModel(), loader(), config, tmp_path, [kept, speed, validation, tracking]).run()
    assert [record.step for record in memory.records] == [1, 3, 4, 6, 6] and memory.closed
    means = [report.values["train/a/y"] for report in kept.reports[1:4]]
    assert memory.records[2].values["train/a/y"] == pytest.approx(sum(means) / 3)
    assert memory.records[2].values["train/samples_per_second"] > 0
    best = {"best/a/loss": 3.0, "best_step/a/loss": 3.0}
    assert memory.records[1].values == {"valid/a/loss": 3.0, **best}
    assert memory.records[4].values == {"valid/a/loss": 6.0, **best}
    assert memory.records[0].values["run/steps"] == 6


class Deaf(Memory):
    """A tracker whose service is gone after the first record."""

    def log(self, record):
        if self.records:
            raise OSError("no connection")
        super().log(record)


def test_a_tracker_that_fails_is_told_once_and_costs_nobody_a_run(tmp_path, caplog):
    deaf, memory = Deaf(), Memory()
    trainer_of(tmp_path, [Tracking([deaf, memory], 1)], steps=4).run()
    assert [len(deaf.records), len(memory.records)] == [1, 4]
    assert deaf.closed and memory.closed
    assert caplog.text.count("tracker Deaf: log, step 2, raised OSError: no connection") == 1


def test_a_tracker_that_tells_a_way_out_ends_the_run(tmp_path):
    class Full(Memory):
        def log(self, record):
            raise UserError("the disk is full; make room, then resume")

    with pytest.raises(UserError, match="make room"):
        trainer_of(tmp_path, [Tracking([Full()], 1)], steps=4).run()


def test_a_strict_run_ends_where_a_tracker_fails(tmp_path):
    tracking = Tracking([Deaf()], 1, strict=True)
    with pytest.raises(OSError, match="no connection") as caught:
        trainer_of(tmp_path, [tracking], steps=4).run()
    assert caught.value.__notes__ == ["raised by tracker Deaf, log, step 2"]


def test_progress_prints_plain_lines_where_there_is_no_terminal(tmp_path):
    stream = io.StringIO()
    trainer_of(tmp_path, [Progress(every=4, stream=stream)], steps=9).run()
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/9", "4/9", "8/9", "9/9"]
    assert "samples/s" in lines[0] and "a/y" in lines[0] and "\x1b" not in stream.getvalue()


def test_progress_draws_a_table_on_a_terminal(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    trainer_of(tmp_path, [Progress(stream=stream)], steps=2).run()
    assert "task/slot" in stream.getvalue() and "2/2" in stream.getvalue()


@pytest.mark.parametrize("limit", ["", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_idle_threads_are_warned_of_once_where_they_may_spin(limit, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    if limit:
        monkeypatch.setenv(limit, "10000")
    trainer, speed = trainer_of(tmp_path), Speed()
    for step in range(1, 31):
        speed.on_step(trainer, StepReport(step, {}, 0.0, 1.0, 8, 80, seconds=1.0, cpu_seconds=1.05))
    assert caplog.text.count("2 threads use only 1.1 cores") == int(not limit)
    assert speed.read()["train/samples_per_second"] == pytest.approx(8)


def test_bad_rows_are_counted_logged_and_limited(tmp_path):
    def source():
        for step in range(100):
            data = step_of(make_samples(4, seed=step), (), step)
            data.bad = (BadRow("a", f"train.csv:{step}", "column 'img': no such file"),)
            yield data

    kept = Kept()
    with pytest.raises(
        FaultLimitError, match=r"train.faults.bad_row_limit=3; .*train.csv:3: column 'img'"
    ):
        trainer_of(
            tmp_path, [kept, FaultLog()], source=source(), faults=FaultConfig(bad_row_limit=3)
        ).run()
    assert len(kept.reports) == 3
    assert len((tmp_path / "faults.jsonl").read_text().splitlines()) == 3


def test_a_bad_row_counts_once_however_often_it_comes_again(tmp_path):
    def source():
        for step in range(6):
            data = step_of(make_samples(4, seed=step), (), step)
            again = BadRow("a", "train.csv:3", "no such file")
            data.bad = (again, BadRow("b", f"x:{step % 2}", "empty"))
            yield data

    trainer = trainer_of(
        tmp_path, [FaultLog()], source=source(), faults=FaultConfig(bad_row_limit=3)
    )
    trainer.run()
    assert trainer.faults.totals == {"bad_row": 3} and trainer.faults.by_task == {
        "bad_row/a": 1,
        "bad_row/b": 2,
    }
    assert len((tmp_path / "faults.jsonl").read_text().splitlines()) == 3
    again = FaultCounters(FaultConfig(bad_row_limit=3))
    again.load_state(json.loads(json.dumps(trainer.faults.state())))
    assert again.note_bad_rows(9, [BadRow("a", "train.csv:3", "no such file")]) == []
    with pytest.raises(FaultLimitError):
        again.note_bad_rows(9, [BadRow("a", "train.csv:4", "no such file")])


def test_faults_of_steps_that_are_done_again_stand_in_the_file_once(tmp_path):
    def source(begin):
        for step in range(begin, 6):
            data = step_of(make_samples(4, seed=step), (), step)
            data.bad = (BadRow("a", f"train.csv:{step}", "no such\u2028file"),)
            yield data

    def run(begin, steps, every):
        callbacks = [FaultLog(), Checkpointing(CheckpointConfig(every=every))]
        trainer = trainer_of(tmp_path, callbacks, source=source(begin), steps=steps)
        if begin:
            trainer.restore(load(find_latest(tmp_path)))
        trainer.run()

    run(0, 2, 0)
    with (tmp_path / "faults.jsonl").open("a") as file:  # of steps behind the checkpoint
        file.write('{"kind": "bad_row", "step": 2, "task": "a", "row_id": "train.csv:2"}\n{"kind')
    run(2, 4, 0)
    lines = (tmp_path / "faults.jsonl").read_text().split("\n")[:-1]
    assert [json.loads(line)["row_id"] for line in lines] == [f"train.csv:{k}" for k in range(4)]


def test_callbacks_are_closed_after_an_error_too(tmp_path):
    class Closed(Callback):
        closed = 0

        def close(self):
            self.closed += 1

    def source():
        raise TrainingError("stop")
        yield

    closed = Closed()
    with pytest.raises(TrainingError):
        trainer_of(tmp_path, [closed], source=source()).run()
    assert closed.closed == 1


def test_freezing_everything_is_refused(tmp_path):
    rules = OptimizerConfig(rules=[{"pattern": ".*", "freeze": True}])
    with pytest.raises(TrainingError, match="nothing is left to train"):
        trainer_of(tmp_path, optimizer=rules)


def test_rollout_criterion_without_a_rollout_is_named(tmp_path):
    data = step_of(
        [Sample(s.task, s.row_id, s.features, s.labels, "rollout") for s in make_samples(2, 1)]
    )
    for batch in data.batches:
        batch.terms[0].head = "score"
    with pytest.raises(RolloutMissingError, match="criterion 'rollout'"):
        trainer_of(tmp_path, source=iter([data])).run()
    trainer = Trainer(
        SmallModel(), iter([data]), settings(steps=1), tmp_path, rollout=lambda step, model: step
    )
    assert trainer.run() == 1


def test_parameters_that_saw_no_data_do_not_move(tmp_path):
    model = SmallModel()
    before = model.unused.weight.detach().clone(), model.heads["vector"].weight.detach().clone()
    trainer_of(tmp_path, model=model, optimizer=OptimizerConfig(weight_decay=0.5)).run()
    assert torch.equal(model.unused.weight, before[0]) and torch.equal(
        model.heads["vector"].weight, before[1]
    )
