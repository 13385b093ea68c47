"""What stays in the cluster when a run leaves its Job."""

from typing import Literal, TypeAlias

LeaveReason: TypeAlias = Literal["done", "unclear", "unwritten", "lost", "shutdown", "bug"]
"""How a Job is left: it ended, its end is not known, its result could not be written down, another host has
it, our host goes down, a bug."""


def reason_to_keep(how: LeaveReason, *, retain: bool) -> str | None:
    """Why the Job stays, or None when it is to be deleted. The run Secret follows its owner, the Job."""
    match how:
        case "shutdown":
            return "the host is going down; the next process adopts it"
        case "lost":
            return "another host process took it over while this one could not be heard of"
        case "unclear":
            return "its end could not be established"
        case "unwritten":
            return "its result could not be written down"
        case "bug":
            return "a bug in the adapter ended its watch over it; the next process adopts it"
        case "done":
            return "retainJobs=true" if retain else None
