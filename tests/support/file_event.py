"""Files by which a test tells an agent in a Pod to go on, whatever the speed of the machine."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.support.runs import Site


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event that a test sets, and that scripts in Pods wait for. It is set when its file exists."""

    file: Path
    """On this machine."""
    in_pod: str
    """The same file in a Pod."""

    @classmethod
    def on_volume(cls) -> "FileEvent":
        """An event on the shared volume of the real cluster."""
        folder = Path(os.environ["SHARED_VOLUME_FOR_TESTS"]) / "events"
        folder.mkdir(mode=0o755, exist_ok=True)
        name = uuid.uuid4().hex
        return cls(folder / name, f"/paperclip/events/{name}")

    @classmethod
    def of(cls, site: Site, folder: Path) -> "FileEvent":
        """An event for Pods of this site. `folder`: where Pods look for it on the development cluster."""
        if site.name == "real":
            return cls.on_volume()
        return cls.in_folder(folder)

    @classmethod
    def in_folder(cls, folder: Path) -> "FileEvent":
        """An event for Pods of the development cluster, which see the folders of this machine."""
        file = folder / uuid.uuid4().hex
        return cls(file, str(file))

    def set(self) -> None:
        self.file.touch()

    @property
    def wait_command(self) -> str:
        """Shell command that waits for the event."""
        return f"until [ -e '{self.in_pod}' ]; do sleep 0.1; done"
