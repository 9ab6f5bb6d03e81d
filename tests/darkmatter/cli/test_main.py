"""The command itself: exit status, errors, lazy imports."""

import json
import subprocess
import sys

import click
import pytest

from darkmatter import __version__
from darkmatter.cli import main as cli_main
from darkmatter.cli.lazy import LazyCommand
from darkmatter.cli.main import COMMANDS, main
from darkmatter.errors import DarkmatterError, UsageError

HEAVY = ("torch", "pandas", "transformers", "transformer_lens", "scipy", "numpy")


def run(arguments, capsys):
    """Exit status, stdout and stderr of one command line."""
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def failing(monkeypatch):
    """A command ``boom`` that raises what it is told to."""
    raised = []

    @click.command()
    def boom():
        """Fail."""
        raise raised[0]

    monkeypatch.setattr(sys.modules[__name__], "boom", boom, raising=False)
    monkeypatch.setitem(sys.modules, "boom_module", sys.modules[__name__])
    monkeypatch.setitem(COMMANDS, "boom", LazyCommand("boom_module:boom", "Fail."))
    return raised.append


def test_version(capsys):
    """The version is printed and the status is 0."""
    assert run(["--version"], capsys) == (0, f"darkmatter {__version__}\n", "")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UsageError("no such evaluator"), 2, "error: no such evaluator"),
        (DarkmatterError("cache is broken"), 1, "error: cache is broken"),
        (click.UsageError("bad option"), 2, "error: bad option"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division"), 1, "error: ZeroDivisionError: division"),
    ],
)
def test_every_error_is_one_paragraph_with_its_status(failing, capsys, error, status, message):
    """Nobody sees a traceback; stdout stays empty; the status says what kind of error it was."""
    failing(error)
    found, out, err = run(["boom"], capsys)

    assert (found, out) == (status, "")
    assert err.lstrip().startswith(message)
    assert "Traceback" not in err


def test_debug_shows_the_traceback(failing, capsys):
    """With --debug the same error has its traceback."""
    failing(ZeroDivisionError("division"))
    status, _, err = run(["--debug", "boom"], capsys)

    assert status == 1
    assert "Traceback" in err


def test_errors_cannot_steer_the_terminal(failing, capsys):
    """Escape sequences in a message from a file are removed."""
    failing(DarkmatterError("bad name \x1b]0;owned\x07\x1b[2J!"))

    assert run(["boom"], capsys)[2] == "error: bad name !\n"


def test_an_unknown_command_names_the_nearest(capsys):
    """A misspelt command is usage, with a hint."""
    status, _, err = run(["tabel"], capsys)

    assert status == 2
    assert "Did you mean 'table'" in err


def test_an_unknown_option_is_usage(capsys):
    """Wrong options exit with 2 and say where help is."""
    status, _, err = run(["schema", "--nope"], capsys)

    assert status == 2
    assert "darkmatter schema --help" in err


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_has_help(name, capsys):
    """The table of commands points to commands that exist and explain themselves."""
    status, out, _ = run([name, "--help"], capsys)

    assert status == 0
    assert out.startswith(f"Usage: darkmatter {name}")
    assert COMMANDS[name].help.endswith(".")


def test_a_blocked_plugin_is_not_loaded():
    """-p no:builtin leaves nothing, and other forms are usage errors."""
    code = "from darkmatter.cli.main import main; main(['-p', 'no:builtin', 'plugins', '--json'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "builtin" not in [plugin["name"] for plugin in json.loads(done.stdout)]
    assert main(["-p", "builtin", "plugins"]) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["plugins"], ["describe", "reconstruction"]])
def test_light_commands_import_nothing_heavy(arguments):
    """Help, list, describe and plugins load no tensor or table library."""
    code = (
        "import sys; from darkmatter.cli.main import main; status = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )

    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_help_imports_little():
    """What makes help slow is imports: a bound on their number holds it where a clock would flake."""
    code = "import sys; from darkmatter.cli.main import main; main(['list']); print(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(done.stdout.splitlines()[-1]) < 700


def test_a_closed_pipe_is_no_error():
    """``darkmatter schema | head -1`` ends quietly."""
    code = "from darkmatter.cli.main import main; raise SystemExit(main(['schema']))"
    command = f'{sys.executable} -c "{code}" | head -1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert done.stdout == "{\n"


def test_main_is_the_entry_point():
    """The console script names this function."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="darkmatter")

    assert script.load() is cli_main.main
