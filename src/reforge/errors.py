"""The two kinds of failure that are not bugs. `exit_code` is what the command line leaves with."""


class UserError(Exception):
    """Bad input or setting. The message is one paragraph: what was wrong, where, and what to do."""

    exit_code = 2


class InfrastructureError(Exception):
    """A part of the machinery failed (a server, a process, a disk). Never scored as a wrong answer; worth a retry."""

    exit_code = 75  # EX_TEMPFAIL
