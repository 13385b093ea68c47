"""Shows the agent's stdout to a person: as lines of a terminal, or as a page.

`ItemReader` turns lines into items by the entries of `claude.ui`, and connects them: a result to its call, a
sub-agent to the call that started it, several turns to one end. `terminal_lines` and `page` show items.
"""
