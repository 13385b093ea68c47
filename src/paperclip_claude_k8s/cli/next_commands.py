"""The commands that `describe` proposes for a run."""

from shlex import quote


def next_commands(
    run_id: str, *, ended: bool, may_continue: bool, is_held: bool, namespace: str = ""
) -> list[str]:
    """The commands, each with a comment that describes its effect.

    Args:
        run_id: the run's id.
        ended: the run has ended.
        may_continue: the run was started here, and its record has no outcome yet.
        is_held: a process works on the run.
        namespace: where the Job of a run without a record here is.
    """
    run_id = quote(run_id)  # it may be a label, which a server can send with any characters
    run = f"{run_id} -n {namespace}" if namespace else run_id
    if ended and may_continue:
        return [f"claude-k8s run --run-id {run_id}  # its result"]
    if ended:
        return [f"claude-k8s logs {run}  # its output"]
    watch = [f"claude-k8s attach {run}  # watch the run", f"claude-k8s cancel {run}  # end the run"]
    if may_continue and not is_held:
        return [f"claude-k8s run --run-id {run_id}  # continue", *watch]
    return watch
