"""Records that are on the disk only."""

from __future__ import annotations

import os
from pathlib import Path


def drop_page_cache(folder: Path) -> bool:
    """Has the kernel let go of the pages of all files; False if it kept some of the records (on tmpfs it must)."""
    is_gone = True
    for path in folder.rglob("*"):
        if not path.is_file() or path.stat().st_size == 0:
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.preadv(descriptor, [bytearray(1)], path.stat().st_size // 2, os.RWF_NOWAIT)
            is_gone &= path.suffix != ".log"
        except BlockingIOError:
            pass
        except OSError:
            is_gone = False  # cannot be told
        finally:
            os.close(descriptor)
    return is_gone
