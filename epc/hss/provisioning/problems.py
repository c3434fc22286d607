"""Complaints about a file of subscribers."""

from __future__ import annotations

MAX_PROBLEMS = 20


class ProvisioningError(Exception):
    """The file is wrong and nothing of it was stored; ``problems`` are lines ready to print: file, line, column, what is wrong, what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        shown = problems[:MAX_PROBLEMS]
        if len(problems) > MAX_PROBLEMS:
            shown.append(f"... and {len(problems) - MAX_PROBLEMS} more")
        super().__init__("\n".join(shown))
        self.problems = problems
