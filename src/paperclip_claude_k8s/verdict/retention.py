"""Whether a Job stays in the cluster when its run no longer needs it."""

from typing import Literal, TypeAlias

LeaveReason: TypeAlias = Literal["done", "end_unknown", "not_recorded", "taken_over", "shutdown", "bug"]
"""Why a run leaves its Job: it ended, its end could not be observed, its result could not be recorded,
another host process took it over, this process shuts down, or a bug ended the observation."""


def reason_to_keep(reason: LeaveReason, *, retain: bool) -> str | None:
    """Why the Job stays, or None to delete it. The garbage collector deletes the run Secret with it."""
    match reason:
        case "shutdown":
            return "this host process is shutting down; the next one adopts it"
        case "taken_over":
            return "another host process took it over while this one did not renew its Lease"
        case "end_unknown":
            return "its end could not be observed"
        case "not_recorded":
            return "its result could not be recorded"
        case "bug":
            return "a bug in the adapter ended the observation; the next process adopts it"
        case "done":
            return "retainJobs=true" if retain else None
