"""Commands that distributions add to ``ofa``: listed without their code, imported when called, told apart when bad."""

from __future__ import annotations

import importlib
import json

import pytest
import typer

import ofacore.plugin
from ofacore.plugin import CONTRACT, CommandManifest, PluginError, Registry
from ofacore.plugin.commands import PluginCommands
from ofacore.plugin.first_party import SUBCOMMANDS

CALL = "from ofa_cli.main import main; main({!r})"
CALLS = """
import contextlib, io, json
from ofa_cli.main import main
told = []
for arguments in {!r}:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            told.append([end.code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""


def add_command(site, name, app, distribution="", doc="A command.", manifest=""):
    """A distribution with one command; its manifest and its code are modules of their own."""
    distribution = distribution or f"dist-{name}"
    module = distribution.replace("-", "_")
    announced = manifest or (
        "from ofacore.plugin import CONTRACT, CommandManifest\n"
        f"MANIFEST = CommandManifest({name!r}, CONTRACT, '{module}_app:app', {doc!r})\n"
    )
    points = f"[ofa.command]\n{name} = {module}_manifest:MANIFEST\n"
    site.install(distribution, points, {f"{module}_manifest": announced, f"{module}_app": app})


TYPER = """
import typer
app = typer.Typer()
@app.command()
def hello(name: str):
    print('hello', name)
@app.command()
def bye():
    print('bye')
"""
FUNCTION = """
def app(number: int = 2):
    "Counts."
    print('count', number)
"""
USER_ERROR = """
from ofacore.plugin import UserError
def app():
    raise UserError('give more')
"""
LOUD = "print('imported app')\ndef app(): pass\n"


@pytest.fixture(scope="module")
def commands(shared_site):
    site = shared_site
    add_command(site, "greet", TYPER, doc="Says\nhello.")
    add_command(site, "count", FUNCTION)
    add_command(site, "fail", "def app():\n    raise RuntimeError('boom')\n")
    add_command(site, "refuse", USER_ERROR)
    add_command(site, "absent", "import not_there\n")
    add_command(site, "leave", "raise SystemExit(5)\n")
    add_command(site, "number", "app = 3\n")
    add_command(site, "odd", "import typer\napp = typer.Typer()\n")
    add_command(site, "gone", "")
    add_command(site, "loud", LOUD)
    add_command(site, "train", LOUD, "dist-trainer")
    add_command(site, "same", FUNCTION, "dist-a")
    add_command(site, "same", FUNCTION, "dist-b")
    add_command(site, "broken", "", manifest="import nothing_of_that_name\n")
    add_command(site, "direct", "", manifest="def MANIFEST():\n    pass\n")
    add_command(
        site,
        "future",
        FUNCTION,
        manifest=(
            "from ofacore.plugin import CONTRACT, CommandManifest\n"
            "MANIFEST = CommandManifest('future', (CONTRACT[0] + 1, 0), 'x:app', '')\n"
        ),
    )
    return site


@pytest.fixture(scope="module")
def rows(commands):
    return commands.rows()


def calls(site, *lines, **environment):
    """[exit code, standard output, standard error] of each line of arguments, in one process."""
    told = json.loads(
        site.run(CALLS.format([line.split() for line in lines]), **environment).stdout
    )
    assert not any("Traceback" in err for _, _, err in told)
    return told


def call(site, line, **environment):
    (told,) = calls(site, line, **environment)
    return told


def test_every_command_is_a_row_with_a_status(rows):
    assert (rows["dist-greet"]["kind"], rows["dist-greet"]["status"]) == ("command", "ok")
    assert rows["dist-trainer"]["status"] == "conflict"
    assert (
        rows["dist-trainer"]["problem"]
        == "'ofa train' is a command of ofa's own, which always wins: rename yours"
    )
    for owner in ("dist-a", "dist-b"):
        assert rows[owner]["status"] == "conflict"
        assert rows[owner]["problem"] == (
            "command 'same' is announced by 'dist-a' and 'dist-b'; uninstall one, or decide by "
            "OFA_PREFER=command/same=dist-a"
        )
    assert (rows["dist-broken"]["status"], rows["dist-future"]["status"]) == (
        "broken",
        "incompatible",
    )


def test_help_lists_them_without_importing_them(commands, rows):
    code = "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    done = commands.run(code + CALL.format(["--help"]))
    listed = " ".join(done.stdout.split("Commands of plugins:")[1].split())
    assert "greet Says hello. (dist-greet)" in listed
    assert "same (conflict: 'ofa plugins list' says why)" in listed
    assert "broken (broken: 'ofa plugins list' says why)" in listed
    assert "imported app" not in done.stdout and "trainer" not in done.stdout
    imported = set(done.stderr.split())
    assert "dist_greet_manifest" not in imported, "known from the cache"
    assert not imported & {"dist_greet_app", "torch", "numpy", "rich", "pydantic"}


def test_an_application_offers_no_completion_of_its_own(commands):
    code, shown, _ = call(commands, "greet --help")
    assert code == 0 and "hello" in shown and "completion" not in shown


def test_help_keeps_what_is_known_of_other_plugins(site):
    site.install_modality("seen", "SEEN", extra="import sys; print('imported', file=sys.stderr)")
    add_command(site, "count", FUNCTION)
    site.rows()
    assert "imported" not in site.run(CALL.format(["--help"])).stderr
    add_command(site, "later", FUNCTION)
    assert "later" in call(site, "--help")[1]
    assert (
        "imported"
        not in site.run("from ofacore.plugin import Registry; Registry.discover()").stderr
    )


def test_an_application_and_a_function_are_called_with_their_arguments(commands):
    greet, bye, count, help_page, train = calls(
        commands, "greet hello you", "greet bye", "count --number 5", "count --help", "train --help"
    )
    assert (greet[:2], bye[:2], count[:2]) == ([0, "hello you\n"], [0, "bye\n"], [0, "count 5\n"])
    assert help_page[1].startswith("Usage: ofa count")
    assert train[1].startswith("Usage: ofa train"), "ofa's own command wins"


REFUSED = {
    "absent": (
        2,
        "command 'absent' of plugin 'absent' (distribution 'dist-absent')",
        "No module named 'not_there'",
    ),
    "leave": (2, "command 'leave'", "dist-leave", "SystemExit: 5"),
    "gone": (2, "command 'gone'", "dist-gone", "has no attribute 'app'"),
    "number": (
        2,
        "command 'number' of plugin 'number' (dist-number 1.0) is of type int, not a Typer application",
    ),
    "odd": (2, "command 'odd'", "dist-odd", "RuntimeError"),
    "broken": (
        2,
        "command 'broken' of distribution 'dist-broken' is broken",
        "nothing_of_that_name",
    ),
    "direct": (2, "is a function, not a manifest: announce a CommandManifest whose target it is"),
    "future": (2, "is incompatible", "pip install --upgrade ofacore"),
    "same": (2, "'dist-a' and 'dist-b'", "OFA_PREFER=command/same=dist-a"),
    "fail": (1, "RuntimeError: boom", "raised by command 'fail' of plugin 'fail' (dist-fail 1.0)"),
    "refuse": (2, "give more"),
    "cuont": (2, "no command 'cuont'; did you mean 'count'?"),
    "tain": (2, "no command 'tain'; did you mean 'train'?"),
    "zzzzzz": (2, "no command 'zzzzzz'; ofa --help lists them"),
}


@pytest.fixture(scope="module")
def refusals(commands):
    return dict(zip(REFUSED, calls(commands, *REFUSED), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_called_says_why(refusals, name):
    code, *reasons = REFUSED[name]
    assert refusals[name][0] == code
    assert all(reason in refusals[name][2] for reason in reasons), refusals[name]


@pytest.mark.parametrize("setting", ["command/same=dist-b", "same=dist-b"])
def test_a_setting_decides_between_two(commands, setting):
    called, listed = calls(commands, "same", "plugins list --json", OFA_PREFER=setting)
    assert called[1] == "count 2\n"
    rows = {row["distribution"]: row for row in json.loads(listed[1])}
    assert (rows["dist-a"]["status"], rows["dist-b"]["status"]) == ("disabled", "ok")
    assert "chooses dist-b" in rows["dist-a"]["problem"]


def test_commands_can_be_left_out(commands):
    told, bye = calls(commands, "count", "greet bye", OFA_PLUGINS="greet")
    assert (
        "command 'count' of distribution 'dist-count' is disabled: not listed in OFA_PLUGINS"
        in told[2]
    )
    assert bye[1] == "bye\n"
    code, out, _ = call(commands, "--help", OFA_PLUGINS="great")
    assert code == 0 and "train" in out and "OFA_PLUGINS" in out, "help is printed whatever is set"


@pytest.mark.parametrize("line", ["--no-plugins count", "count --no-plugins"])
def test_no_plugins_leaves_their_commands_out(commands, line):
    called, listed = calls(commands, line, "--help --no-plugins")
    assert called[0] == 2 and "is disabled" in called[2]
    assert "Commands:" in listed[1] and "dist-" not in listed[1]


def test_a_command_in_development_needs_no_installation(site):
    site.write("work_app", FUNCTION)
    code = "from ofacore.plugin import *\nMANIFEST = CommandManifest('work', (2, 0), 'work_app:app', 'Works.')"
    site.write("work", code)
    listed, called, broken = calls(
        site,
        "--help",
        "work",
        "bad",
        OFA_PLUGIN_DEV="work=work:MANIFEST,bad=nowhere_at_all:MANIFEST",
    )
    assert "work Works. (dev:work)" in " ".join(listed[1].split()) and called[1] == "count 2\n"
    assert "is broken" in broken[2] and "nowhere_at_all" in broken[2]


def test_a_first_party_command_that_is_not_installed_names_its_distribution(monkeypatch):
    table = {"summarise": "ofa-command-summarise"}
    monkeypatch.setattr("ofacore.plugin.commands.COMMAND_DISTRIBUTIONS", table)
    with pytest.raises(PluginError, match="is not installed: pip install ofa-command-summarise"):
        PluginCommands().load("summarise")
    with pytest.raises(PluginError, match="did you mean 'summarise'"):
        PluginCommands().load("sumarise")


def test_check_and_show_know_commands(commands):
    shown, data, checked = calls(
        commands, "plugins show count", "plugins show count --json", "plugins check gone"
    )
    assert (
        "count: command plugin of dist-count 1.0" in shown[1] and "dist_count_app:app" in shown[1]
    )
    assert json.loads(data[1])[0]["manifest"]["target"] == "dist_count_app:app"
    assert checked[0] == 1 and "command 'gone' is not at 'dist_gone_app:app'" in checked[1]


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("Upper", "a:b", "no name in small letters"),
        ("-flag", "a:b", "no name in small letters"),
        ("two words", "a:b", "'ofa two' has no commands below it"),
        ("three small words", "a:b", "no name in small letters"),
        (None, "a:b", "no name in small letters"),
        ("fine", "a", "not 'package.module:app'"),
        ("fine", None, "not 'package.module:app'"),
    ],
)
def test_a_malformed_manifest_is_refused(name, target, reason):
    with pytest.raises(PluginError, match=reason):
        Registry.of(CommandManifest(name, CONTRACT, target, ""))


def test_a_command_may_stand_below_one_of_ofa(site):
    tidy = "def app():\n    print('tidied')\n"
    add_command(site, "data tidy", tidy, "dist-tidy", "Tidies.")
    add_command(site, "data check", tidy, "dist-taken")
    helped, called, unknown, own = calls(site, "data --help", "data tidy", "data tidi", "--help")
    assert "tidy Tidies. (dist-tidy)" in " ".join(helped[1].split())
    assert called[1] == "tidied\n"
    assert "no command 'data tidi'; did you mean 'data tidy'?" in unknown[2]
    assert "Tidies" not in own[1]
    row = site.rows()["dist-taken"]
    assert (
        row["status"] == "conflict"
        and "'ofa data check' is a command of ofa's own" in row["problem"]
    )


def test_a_command_of_two_words_comes_before_the_command_of_its_first(site):
    """``report`` takes arguments, so it is no group; a plugin's ``report sums`` is found all the same."""
    sums = "def app(number: int = 1):\n    print('sums', number)\n"
    add_command(site, "report sums", sums, doc="Adds up.", distribution="dist-sums")
    called, unknown, listed = calls(site, "report sums --number 3", "report sumz", "--help")
    assert (called[0], called[1]) == (0, "sums 3\n")
    assert unknown[0] == 2 and "sumz" in unknown[2]
    assert "report sums" in listed[1] and "Adds up. (dist-sums)" in listed[1]


def test_commands_below_those_of_ofa_are_known_by_name():
    """What the registry refuses to plugins is what ``ofa`` has."""
    for group, names in SUBCOMMANDS.items():
        app = importlib.import_module(f"ofa_cli.commands.{group}").app
        assert set(names) == set(typer.main.get_command(app).commands), group


def test_entry_point_and_command_have_one_name(site):
    site.install(
        "dist-x",
        "[ofa.command]\nother = x_manifest:MANIFEST\n",
        {
            "x_manifest": (
                "from ofacore.plugin import CommandManifest\nMANIFEST = CommandManifest('x', (2, 0), 'x:app', 'X.')\n"
            )
        },
    )
    assert "its entry point is called 'other', its command 'x'" in site.rows()["dist-x"]["problem"]


def test_a_command_is_no_part_of_a_model():
    registry = Registry.of(CommandManifest("tidy", CONTRACT, "fractions:Fraction", "Tidies."))
    assert registry.lock() == () and registry.names("command") == ("tidy",)
    assert "CommandManifest" in ofacore.plugin.__all__
