"""Shows the agent's stdout to a person: as lines of a terminal, or as a page.

`ItemReader` turns lines into items by the entries of `claude.ui`, and connects them: a tool's result to its
call, a sub-agent to the call that started it, and all `result` events of a run to one last item.
`terminal_lines` and `page` show items.
"""
