"""The command line: one file per verb."""

from __future__ import annotations

import typer

from .. import __version__
from . import serve

app = typer.Typer(
    name="switchroom",
    help="A telephone exchange in one Python package.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"switchroom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """What stands before the verb."""


def main() -> None:
    """The `switchroom` command."""
    app()
