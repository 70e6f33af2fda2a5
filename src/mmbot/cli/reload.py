"""`mmbot reload`: a running daemon loads its configuration again."""

from __future__ import annotations

import msgspec
import typer

from mmbot.cli.asked import Overrides, Run, RunConfig, find, print_kept, say
from mmbot.cli.options import AsJson, echo
from mmbot.errors import ConfigError, Exit
from mmbot.runtime.asking import LIVE, ask, read_files

_LOAD_S = 20.0
"""A file is read and checked within a moment; a slow disk takes longer."""


def reload(
    run: Run = None,
    config: RunConfig = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """
    Have a running daemon load its own file again, with the --set of its start; as SIGHUP does.

    What may change while it runs is taken between two decisions. A file that is wrong, or that
    changes anything else, changes nothing: exit 2. --config and --set only say which daemon. Exit 1
    where none answers.
    """
    run_dir = find(run, config, overrides or ())
    heard = ask(run_dir, "reload", timeout_s=_LOAD_S)
    if heard.how != LIVE or heard.reply is None:
        print_kept(read_files(run_dir, heard), as_json=as_json)
        raise typer.Exit(Exit.FAILED)
    if not heard.reply.get("ok"):
        raise ConfigError(str(heard.reply.get("error")))
    changes = heard.reply["changes"]
    if as_json:
        say({"changes": changes, "reloads": heard.reply["reloads"]})
        return
    if not changes:
        echo("unchanged  the file says what is in force")
    for it in changes:
        old, new = (msgspec.json.encode(it[key]).decode() for key in ("old", "new"))
        echo(f"reloaded   {it['key']} = {old} -> {new}")
