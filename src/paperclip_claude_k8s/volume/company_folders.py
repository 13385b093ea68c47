"""A company's own folder on the shared volume, which its agents get in place of the whole volume."""

import os
import stat
from contextlib import suppress

from paperclip_claude_k8s.volume.removal import names_in
from paperclip_claude_k8s.volume.safefs import make_folders, open_volume


def make_company_folder(volume: str, folder: str) -> str:
    """Make the folder if it is missing, for the same users as the volume itself. Returns its path.

    Raises:
        OSError: it cannot be made, or a part of the path is a link.
    """
    parent, _, name = folder.partition("/")
    with open_volume(volume) as top:
        whole = os.fstat(top)
        with make_folders(top, parent) as companies:
            is_new = name not in names_in(companies)
            with make_folders(companies, name) as made:
                if is_new:
                    with suppress(
                        PermissionError
                    ):  # only root may give it away; else it is ours as the volume is
                        os.fchown(made, whole.st_uid, whole.st_gid)
                    os.fchmod(made, stat.S_IMODE(whole.st_mode))
    return f"{volume.rstrip('/')}/{folder}"
