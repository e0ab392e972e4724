"""The entry of `clickhouse-scim`: finds commands, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage or wrong configuration.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from app import __version__
from app.errors import ClickHouseScimError, ConfigError

_COMMANDS = Path(__file__).parent / "commands"


class CommandFolder(click.Group):
    """The commands are the modules of `app/cli/commands`, imported when they are called.

    `deadletter.py` holds the command `deadletter` under the name `command`; the first line of
    its docstring is its line in `--help`, which is read without importing anything.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(
            path.stem.replace("_", "-") for path in _COMMANDS.glob("*.py") if path.stem[0] != "_"
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"app.cli.commands.{cmd_name.replace('-', '_')}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click proposes one of those that it knows, and of a folder it knows none.
            name, names = error.command_name, self.list_commands(ctx)
            raise click.NoSuchCommand(name, possibilities=names, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_line(name)) for name in self.list_commands(ctx)])


def _first_line(name: str) -> str:
    source = (_COMMANDS / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


@click.command(cls=CommandFolder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clickhouse-scim")
@click.option("--debug", is_flag=True, help="Show the traceback of an error that is a bug.")
def cli(*, debug: bool) -> None:
    """Keep the users and roles of ClickHouse clusters equal to what an identity provider says.

    Example: clickhouse-scim sandbox
    """
    del debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line each on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        result = cli.main(given, prog_name="clickhouse-scim", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.UsageError as error:
        return _fail(2, f"{error.format_message()} {_try_help(error)}")
    except click.ClickException as error:
        return _fail(1, error.format_message())
    except ConfigError as error:
        return _fail(2, *map(str, error.problems))
    except (click.Abort, KeyboardInterrupt):
        return _fail(1, "interrupted")
    except BrokenPipeError:
        _forget_stdout()
        return 1
    except ClickHouseScimError as error:
        return _fail(1, str(error))
    except OSError as error:
        return _fail(1, f"{error.filename or 'system'}: {error.strerror or error}")
    except Exception as error:
        if "--debug" in given:
            raise
        # The process ends here; the line says what comes next.
        advice = "run it as `clickhouse-scim --debug …` and report the traceback"
        return _fail(1, f"bug: {type(error).__name__}: {error}; {advice}")
    return result if isinstance(result, int) else 0


def _try_help(error: click.UsageError) -> str:
    return f"Try `{error.ctx.command_path if error.ctx else 'clickhouse-scim'} --help`."


def _fail(code: int, *messages: str) -> int:
    for message in messages:
        print(" ".join(message.split()), file=sys.stderr)
    return code


def _forget_stdout() -> None:
    """Keep the interpreter from flushing into a pipe that nobody reads any more."""
    sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115, PTH123 - until exit


if __name__ == "__main__":
    sys.exit(main())
