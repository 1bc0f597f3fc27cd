"""A failure of the disk becomes a paragraph, wherever in a stage it arises."""

from __future__ import annotations

import errno
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reforge.config import dotted
from reforge.config.load import with_origins
from reforge.config.params import kept_origins
from reforge.errors import UserError
from reforge.frame import runs
from reforge.machine.project import command


@contextmanager
def explained(name: str, records: Path) -> Iterator[None]:
    """Turn a failure of the disk into a paragraph, wherever it arose, and keep every traceback in a file."""
    try:
        yield
    except Exception as error:
        paragraph = _disk_trouble(name, error)
        with suppress(OSError):  # this may be the same full disk
            (records / "error.log").write_text(traceback.format_exc())
        if paragraph:
            raise UserError(f"{paragraph} The whole traceback is in {records / 'error.log'}.") from error
        if isinstance(error, UserError):
            own = str(error).replace(
                f"{name.partition('@')[0]}.*.", f"{dotted(name)}."
            )  # the modules below do not know the stage
            raise UserError(with_origins(own, kept_origins(runs.PARAMS))) from error
        raise


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EMFILE}


def _disk_trouble(name: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    # Rust and C++ writers (safetensors, torch) raise their own types with the system's message.
    full = "No space left on device" in text or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full:
        free = shutil.disk_usage(".").free / 2**20
        return (
            f"Stage {name!r} stopped: no space left on the disk of {Path.cwd()} ({free:.0f} MiB free): {text}. Its "
            f"output was not touched and its finished steps are kept: free some space (`{command('reforge gc')}` lists "
            "what may go) and start it again."
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        return (
            f"Stage {name!r} stopped, it cannot use {error.filename or 'a file'}: {error.strerror}. Its output was not "
            "touched and its finished steps are kept: mend that and start it again."
        )
    return ""
