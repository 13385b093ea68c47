"""A company's own folder on the shared volume, which its agents get in place of the whole volume."""

import os
import stat
from contextlib import suppress

from paperclip_claude_k8s.volume.removal import names_in
from paperclip_claude_k8s.volume.safefs import make_folders, open_volume


def make_company_folder(volume: str, folder: str) -> str:
    """Make the folder if it is missing, with the owner and mode of the volume. Returns its path.

    `folder`: two names below the volume, `PARENT/NAME`.

    Raises:
        OSError: the folder cannot be made, or a part of the path is a link.
    """
    parent, _, name = folder.partition("/")
    with open_volume(volume) as top:
        volume_stat = os.fstat(top)
        with make_folders(top, parent) as companies:
            is_new = name not in names_in(companies)
            with make_folders(companies, name) as made:
                if is_new:
                    # only root may change the owner; any other user owns the new folder already
                    with suppress(PermissionError):
                        os.fchown(made, volume_stat.st_uid, volume_stat.st_gid)
                    os.fchmod(made, stat.S_IMODE(volume_stat.st_mode))
    return f"{volume.rstrip('/')}/{folder}"
