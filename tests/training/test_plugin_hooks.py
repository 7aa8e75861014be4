"""Hooks of installed plugins hear of a run; one that fails does not cost the run."""

from __future__ import annotations

from pathlib import Path

from ofacore import Generalist, Task
from ofacore.plugin import Registry, TrainingRun, hookimpl
from ofacore.plugin.hooks import RunHooks

ROWS = [{"a": f"{k}", "b": f"{k + 1}"} for k in range(8)]


class Diary:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    @hookimpl
    def ofa_configure(self, config):
        self.told.append(("configure", config.train.steps))

    @hookimpl
    def ofa_run_start(self, run: TrainingRun):
        self.told.append(("start", run.tasks, run.folder.name))

    @hookimpl
    def ofa_step_end(self, step, metrics):
        self.told.append(("step", step, "train/turn/b" in metrics))

    @hookimpl
    def ofa_validation_end(self, step, metrics):
        self.told.append(("validation", step, sorted(metrics)))

    @hookimpl
    def ofa_checkpoint_saved(self, path: Path):
        self.told.append(("saved", path.name, path.is_dir()))

    @hookimpl
    def ofa_run_end(self):
        self.told.append("end")


class Failing:
    """Raises in every step."""

    calls = 0

    @hookimpl
    def ofa_step_end(self):
        self.calls += 1
        raise RuntimeError("no such luck")


def train(monkeypatch, folder: Path, *plugins: object) -> None:
    built = RunHooks.__init__

    def with_plugins(self, registry):
        built(self, registry)
        for number, plugin in enumerate(plugins):
            self._manager.register(plugin, f"dist:{number}")

    monkeypatch.setattr(RunHooks, "__init__", with_plugins)
    task = Task("turn", "[TEXT:a] -> [TEXT:b]", train=ROWS, valid=ROWS)
    model = Generalist.create(
        [task], preset="tiny", hidden=32, ffn=32, encoder_layers=1, decoder_layers=1
    )
    model.fit(steps=2, samples=4, out=folder)


def test_a_run_is_told_from_beginning_to_end(monkeypatch, tmp_path):
    diary = Diary()
    train(monkeypatch, tmp_path / "run", diary)
    assert diary.told == [
        ("configure", 2),
        ("start", ("turn",), "run"),
        ("step", 1, True),
        ("step", 2, True),
        ("validation", 2, ["valid/turn/b/loss"]),
        ("saved", "step-000002", True),
        "end",
    ]


def test_a_hook_that_raises_is_named_and_called_no_more(monkeypatch, tmp_path, caplog):
    failing, diary = Failing(), Diary()
    train(monkeypatch, tmp_path / "run", failing, diary)
    assert failing.calls == 1
    assert "no such luck" in caplog.text and "'dist'" in caplog.text
    assert "raised an exception" in caplog.text and "could not be imported" not in caplog.text
    assert ("step", 2, True) in diary.told
    assert Registry.discover().strict is False
