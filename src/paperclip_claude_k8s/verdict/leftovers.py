"""What stays in the cluster when a run leaves its Job."""

from typing import Literal, TypeAlias

Leaving: TypeAlias = Literal["done", "unclear", "shutdown", "bug"]
"""How the scope of a Job is left: the run ended, its end is not established, the host goes down, our bug."""


def keeps_job(how: Leaving, *, retain: bool) -> str | None:
    """Why the Job stays, or None when it is to be deleted. The run Secret follows its owner, the Job."""
    match how:
        case "shutdown":
            return "the host is going down; the next process adopts it"
        case "unclear":
            return "its end could not be established"
        case "done" | "bug":
            return "retainJobs=true" if retain else None
