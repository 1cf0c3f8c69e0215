"""The commands: flags become a configuration, and errors one line."""

from flax_imdb.cli.program import COMMANDS, command, main, run, script

__all__ = ["COMMANDS", "command", "main", "run", "script"]
