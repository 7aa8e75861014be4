"""Components of every kind get the options that one table of the configuration sets, and refuse wrong ones."""

from __future__ import annotations

import pytest

from ofa_kit.checks.findings import Subject
from ofa_kit.checks.references import check_names
from ofa_kit.declaration import DeclarationChecks
from ofacore import Generalist, Task
from ofacore.config import ConfigError, load, read
from ofacore.config.schema import RunConfig
from ofacore.plan.checking import check
from ofacore.plugin import (
    CONTRACT,
    ComponentManifest,
    MetricUse,
    Option,
    Registry,
    TaskManifest,
    TaskPreset,
)
from ofacore.plugin.options import declaration_fault, options_table
from ofacore.runs.train_run import changed_keys, train_run
from ofacore.setup.run_check import checked_run
from ofacore.setup.stored_description import registry_of_run
from tests.contract import chosen

ROWS = [{"a": f"red {x}", "b": f"{x} red", "l": x / 8} for x in range(8)]
SIZES = {
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
}
LINE = "[TEXT:a] -> [TEXT:b,criterion=loss,generator=search] [LEVEL:l]"
CHOSEN = {"backbone": "mine", "positions": "nowhere", "experts": "halves", "experts_number": 2}
WANTED = {
    "preprocessor": "level",
    "adapter": "level",
    "head": "level",
    "corruption": "noise",
    "criterion": "loss",
    "generator": "search",
    "metric": "right",
    "schedule": "turns",
    "router": "halves",
    "backbone": "mine",
    "positions": "nowhere",
    "tracker": "book",
    "transform": "cleaner",
    "merger": "mean",
}
TABLE = {
    f"{kind}/{name}": {"depth": number % 9 + 1}
    for number, (kind, name) in enumerate(WANTED.items())
}


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    plugins = "chosen=tests.contract.chosen:PARTS,level=tests.contract.chosen:MODALITY"
    monkeypatch.setenv("OFA_PLUGIN_DEV", plugins)
    chosen.SEEN.clear()
    return Registry.discover()


def settings(**more) -> dict:
    data = {"train": ROWS, "test": ROWS, "transforms": {"a": ["cleaner", "cut.to"]}}
    task = {"instruction": LINE, "data": data, "metrics": [{"metric": "right", "slot": "b"}]}
    train = {
        "steps": 1,
        "samples": 4,
        "schedule": {"name": "turns"},
        "trackers": ["book"],
        "precision": "fp32",
    }
    return {"tasks": {"t": task}, "model": {**SIZES, **CHOSEN}, "train": train, **more}


def configured(**more) -> RunConfig:
    return RunConfig.model_validate(settings(**more))


def told(registry: Registry, **more) -> dict[str, str]:
    return {
        problem.path: f"{problem.message}; {problem.hint}"
        for problem in check(configured(**more), registry)
    }


def used(model: Generalist, folder) -> dict[str, dict]:
    """What every component got, in a whole life of a model."""
    model.fit(out=folder, data={"t": ROWS})
    model.infer("t", {"a": "red 1"})
    model.evaluate("t", data={"t": ROWS[:2]}, baseline=False)
    model.registry.make("merger", "mean")
    return {kind: dict(options) for kind, options in chosen.SEEN.items()}


def test_every_kind_gets_what_the_table_says_and_a_loaded_model_keeps_it(plugged, tmp_path):
    table = {**TABLE, "transform/cut.to": {"letters": 4}}
    seen = used(
        Generalist.create(config=configured(options=table), registry=plugged), tmp_path / "run"
    )
    depths = {kind: seen[kind]["depth"] for kind in WANTED}
    assert depths == {kind: TABLE[f"{kind}/{name}"]["depth"] for kind, name in WANTED.items()}
    assert {seen[kind]["way"] for kind in WANTED} == {"short"}
    assert seen["row_transform"] == seen["preprocessor"] and seen["coordinates"] == seen["adapter"]
    assert seen["function"] == {"letters": 4}

    chosen.SEEN.clear()
    assert used(Generalist.from_pretrained(tmp_path / "run"), tmp_path / "on") == seen


def test_what_is_given_in_place_goes_before_the_table_and_that_before_the_manifest(plugged):
    table = {"metric/right": {"depth": 4, "way": "long"}}
    registry = plugged.pinned({("metric", "right"): table["metric/right"]})
    registry.make("metric", "right", {"depth": 2})
    assert chosen.SEEN["metric"] == {"depth": 2, "way": "long"}
    losses = [{"criterion": "loss", "hidden": "b", "options": {"depth": 2}}]
    task = Task("t", "[TEXT:a] -> [TEXT:b]", train=ROWS, losses=losses)
    Generalist.create(
        [task], registry=plugged, options={"criterion/loss": {"depth": 5, "way": "long"}}, **SIZES
    )
    assert chosen.SEEN["criterion"] == {"depth": 2, "way": "long"}


def test_label_smoothing_of_the_table_goes_before_that_of_the_run(plugged):
    task = {"instruction": "[TEXT:a] -> [TEXT:b]", "data": {"train": ROWS}}
    given = {"tasks": {"t": task}, "model": SIZES, "train": {"label_smoothing": 0.1}}
    (part,) = Generalist.create(config=RunConfig.model_validate(given)).model.needs.criteria
    assert part.options["label_smoothing"] == 0.1
    given["options"] = {"criterion/cross_entropy": {"label_smoothing": 0.2}}
    (part,) = Generalist.create(config=RunConfig.model_validate(given)).model.needs.criteria
    assert part.options["label_smoothing"] == 0.2


@pytest.mark.parametrize(("kind", "name"), WANTED.items())
def test_a_wrong_option_of_any_kind_is_refused_with_its_place(plugged, kind, name):
    key = f"{kind}/{name}"
    found = told(plugged, options={key: {"dept": 2, "depth": 12, "way": "shrt"}})
    way = (
        "found 'shrt', expected one of: short, long; the default is 'short'; did you mean 'short'?"
    )
    assert found == {
        f"options.{key}.dept": f"{kind} '{name}' has no option 'dept'; did you mean 'depth'?",
        f"options.{key}.depth": "found 12, expected 1 to 9; the default is 3; ",
        f"options.{key}.way": way,
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("metrik/right", "unknown kind of component 'metrik'; did you mean 'metric'?"),
        ("slot/TEXT", "unknown kind of component 'slot'"),
        ("metric/rihgt", "unknown metric 'rihgt'; did you mean 'right'?"),
        ("metric/book", "unknown metric 'book'; did you mean tracker/book?"),
        ("right", "found 'right', expected kind/name of a component; did you mean metric/right?"),
        ("nothing", "found 'nothing', expected kind/name of a component; such as generator/token"),
    ],
)
def test_a_component_that_is_not_there_is_refused_with_what_is_meant(plugged, key, message):
    (path, found), *others = told(plugged, options={key: {"depth": 2}}).items()
    assert path == f"options.{key}" and found.startswith(message) and not others


def test_the_table_is_merged_option_by_option_and_set_from_the_command_line(plugged, tmp_path):
    below, above = tmp_path / "below.yaml", tmp_path / "above.yaml"
    below.write_text("options: {tracker/book: {depth: 2, way: long}}\n")
    above.write_text("options: {tracker/book: {depth: 4}}\n")
    overrides = ["options.generator/search.depth=7", 'options."transform/cut.to".letters=3']
    assert load([below, above], overrides).options == {
        "tracker/book": {"depth": 4, "way": "long"},
        "generator/search": {"depth": 7},
        "transform/cut.to": {"letters": 3},
    }
    loaded = read([below], ["options.tracker/book.deep=1"])
    problems = check(loaded.config, plugged, places=loaded.places)
    (line,) = [str(problem) for problem in problems if problem.path.startswith("options")]
    assert line.startswith(
        "--set options.tracker/book.deep=1: options.tracker/book.deep: tracker 'book' has no option"
    )
    assert line.endswith("did you mean 'depth'?")
    with pytest.raises(ConfigError, match="expected key=value"):
        load([below], ['options."tracker/book.depth=1'])


def test_older_spellings_go_into_the_same_table(plugged, tmp_path):
    older = {"adapters": {"level": {"depth": 2}}, "heads_options": {"level": {"depth": 3}}}
    older |= {"preprocessors": {"level": {"depth": 4}}, "options": {"depth": 5}}
    model = {**SIZES, **CHOSEN, **older}
    made = Generalist.create(
        config=configured(model=model, options={"adapter/level": {"way": "long"}}), registry=plugged
    )
    seen = chosen.SEEN
    assert [seen[kind]["depth"] for kind in ("adapter", "head", "preprocessor", "backbone")] == [
        2,
        3,
        4,
        5,
    ]
    assert seen["adapter"]["way"] == "long"
    stored = made.assembly.state()["config"]
    assert not older.keys() & stored["model"].keys()
    assert stored["options"]["adapter/level"] == {"depth": 2, "way": "long"}
    assert stored["options"]["backbone/mine"] == {"depth": 5}
    assert changed_keys(RunConfig.model_validate(stored), made.assembly.config) == []


def test_a_contradiction_names_both_places(plugged, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "model:\n  adapters:\n    level: {depth: 2}\noptions:\n  adapter/level: {depth: 3, way: long}\n"
    )
    loaded = read([file])
    (line,) = [
        str(problem)
        for problem in check(loaded.config, plugged, places=loaded.places)
        if "adapter" in problem.path
    ]
    assert line == (
        f"{file}:5: options.adapter/level.depth: found 3, but model.adapters.level.depth ({file}:3) says 2; "
        "keep one; model.adapters.level.depth is the older spelling"
    )


def test_a_run_that_goes_on_keeps_the_model_and_takes_trackers_and_schedule_as_they_are_now(
    plugged, tmp_path, caplog
):
    table = {"tracker/book": {"depth": 2}, "adapter/level": {"depth": 2}}
    train_run(checked_run(configured(options=table), plugged), folder=tmp_path / "run")
    assert chosen.SEEN["tracker"]["depth"] == 2
    train = {**settings()["train"], "steps": 2}
    after = {"schedule/turns": {"depth": 5}, "adapter/level": {"depth": 8}}
    changed = configured(options=after, train=train)
    began_with = registry_of_run(changed, tmp_path / "run", resume=True)
    train_run(checked_run(changed, began_with), folder=tmp_path / "run", resume=True)
    depths = [chosen.SEEN[kind]["depth"] for kind in ("tracker", "schedule", "adapter")]
    assert depths == [3, 5, 2]
    assert "options.adapter/level differs from what the run began with" in caplog.text


def test_a_finished_model_is_trained_on_with_other_options_of_its_loop_and_no_others(
    plugged, tmp_path
):
    model = Generalist.create(config=configured(), registry=plugged)
    model.fit(
        out=tmp_path / "run",
        options={"tracker/book": {"depth": 5}, "schedule/turns": {"way": "long"}},
    )
    assert chosen.SEEN["tracker"]["depth"] == 5 and chosen.SEEN["schedule"] == {
        "depth": 3,
        "way": "long",
    }
    with pytest.raises(
        ConfigError, match="options.head/level: head 'level' is part of the model; only those of"
    ):
        model.fit(out=tmp_path / "other", options={"head/level": {"depth": 5}})
    with pytest.raises(ConfigError, match="options.tracker/book.deep: .* did you mean 'depth'"):
        model.fit(out=tmp_path / "other", options={"tracker/book": {"deep": 5}})
    assert model.assembly.config.options["tracker/book"] == {"depth": 5}


ILL = {
    "bare": 3,
    "outside": Option(0, "Least of all.", minimum=1),
    "no_choice": Option("c", "Which.", choices=("a", "b")),
    "no_type": Option(1, "What.", "number"),
    "textual": Option("a", "How much.", minimum=1),
    "turned": Option(2, "How much.", minimum=3, maximum=1),
    "sound": Option(None, "Where.", "str"),
}
TOLD = {
    "outside": "default 0 does not fit: expected at least 1",
    "no_choice": "default 'c' does not fit: expected one of: a, b",
    "no_type": "type 'number' does not exist; there are flag, int,",
    "textual": "bounds at least 1 are for numbers, not for type 'str'",
    "turned": "minimum 3 is more than maximum 1",
}


def test_the_static_check_tells_an_author_of_declarations_that_contradict_themselves():
    parts = (chosen.part("metric", "right", "Right", ILL),)
    manifest = ComponentManifest("ill", CONTRACT, parts)
    found = list(check_names(Subject("ill", "ill", "here"), manifest, Registry.of(manifest)))
    options = {each.message.split("'")[3]: each for each in found if each.check == "options"}
    severities = {name: each.severity for name, each in options.items()}
    assert severities == {**dict.fromkeys(TOLD, "problem"), "bare": "warning"}
    assert all(text in options[name].message for name, text in TOLD.items())
    assert "has no sentence" in options["bare"].message and "Option(" in options["bare"].remedy


def test_the_static_check_tells_options_of_a_preset_that_its_metric_refuses(plugged):
    use = MetricUse("right", "b", options={"depth": 99})
    preset = TaskPreset("p", ("[TEXT:a] -> [TEXT:b]",), metrics=(use,))
    manifest = TaskManifest("ill", CONTRACT, (preset,))
    (found,) = check_names(Subject("ill", "ill", "here"), manifest, plugged)
    assert found.message == "preset 'p': found 99, expected 1 to 9; the default is 3"


@pytest.mark.parametrize(("name", "text"), TOLD.items())
def test_the_conformance_kit_refuses_them(name, text):
    manifest = ComponentManifest(
        "ill", CONTRACT, (chosen.part("metric", "right", "Right", {name: ILL[name]}),)
    )
    suite = type("Suite", (DeclarationChecks,), {"plugin": manifest})()
    with pytest.raises(AssertionError, match=f"option '{name}' of the metric 'right': {text}"):
        suite.test_options_are_declared()


def test_the_conformance_kit_warns_of_an_option_without_a_sentence():
    manifest = ComponentManifest(
        "ill", CONTRACT, (chosen.part("metric", "right", "Right", {"bare": 3}),)
    )
    with pytest.warns(UserWarning, match="option 'bare' of the metric 'right' has no sentence"):
        type("Suite", (DeclarationChecks,), {"plugin": manifest})().test_options_are_declared()


def test_pages_show_type_bounds_default_and_sentence():
    table = options_table(chosen.PARTS.components[:1])
    assert table.splitlines()[2:] == [
        "| `criterion/loss` | `depth` | int, 1 to 9 | `3` | How deep it goes. |",
        "|  | `way` | short or long | `short` | Which way it takes. |",
    ]


def test_every_first_party_option_is_well_declared():
    registry = Registry.discover()
    parts = [
        registry.component(kind, name) for kind in registry.kinds() for name in registry.names(kind)
    ]
    declared = [
        (part.name, name, option) for part in parts for name, option in part.declared.items()
    ]
    assert declared and not [
        each for each in declared if not each[2].doc or declaration_fault(each[2])
    ]
