"""The command line: ``epclab <command>``. Each command lives in a module of its own and is imported only when it is called."""

from epc.cli.main import main

__all__ = ["main"]
