"""Exit codes; a shell that dies of a signal has that signal's."""

DONE, FAILED, USAGE = 0, 1, 2
RUNNING = 2
"""Of `run` and `query`: the run goes on. Misuse of these two is `FAILED`, so that a script can tell."""
