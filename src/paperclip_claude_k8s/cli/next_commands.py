"""Commands that a person may want next about a run."""


def next_commands(run: str, *, ended: bool, record: bool, works: bool) -> list[str]:
    """The commands, each with a word on what it does.

    Args:
        run: the run's id.
        ended: the run has ended.
        record: the run was started here, and its result is not recorded yet.
        works: a process works on the run.
    """
    if ended and record:
        return [f"claude-k8s run --run-id {run}  # takes the result"]
    if ended:
        return [f"claude-k8s logs {run}  # its output, as long as its Pod or its record exists"]
    watch = [f"claude-k8s attach {run}  # watch it", f"claude-k8s cancel {run}  # end it"]
    if record and not works:
        return [f"claude-k8s run --run-id {run}  # go on with it", *watch]
    return watch
