"""Shows the agent's stdout to a person: as lines of a terminal, or as a page.

`ItemReader` turns each line into entries (`claude.ui`), and entries into items. It connects a tool's result
with its call, and a sub-agent with the call that started it. All `result` events become one last item.
`terminal_lines` and `page` show items.
"""
