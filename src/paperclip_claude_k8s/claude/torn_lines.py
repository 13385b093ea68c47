"""Recognises the beginning of an event whose end is missing.

The CLI is killed while it writes, or exits before its pipe has taken the last line. The start of the line
tells the type of the event. Before 2.1.332, all events began with `type`; a result of 2.1.332 begins with
other fields:

    {"type":"result","subtype":"success","is_err          2.1.197
    {"duration_api_ms":127,"stop_reason":"end_tu          2.1.332
"""

import re

_TYPE = re.compile(rb'\{"type":"([a-z_]{1,40})"')
_RESULT_FIELD = re.compile(
    rb'\{"(?:duration_api_ms|duration_ms|is_error|num_turns|permission_denials|stop_reason|subagent_stats'
    rb'|subtype|total_cost_usd|usage|modelUsage|result|terminal_reason|ttft_ms)":'
)


def torn_event(line: bytes) -> str:
    """The type of the event of which the line is the beginning; empty if it is none.

    Call it only for a line that is not complete JSON.
    """
    if found := _TYPE.match(line):
        return found[1].decode()
    return "result" if _RESULT_FIELD.match(line) else ""
