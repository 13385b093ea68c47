"""Runs the packaged JavaScript parser of output lines as the Paperclip host does, in one process for all."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.support.programs import program

from paperclip_claude_k8s.claude.ui import ui_parser_source

TIMESTAMP = "2026-11-21T00:00:00.000Z"
"""The timestamp with which all lines are parsed."""
_WORKER = """
const { source, lines, ts } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const exports_ = {}, module_ = { exports: exports_ };
new Function("exports", "module", "self", "globalThis", '"use strict";{' + source + "}")(
  exports_, module_, undefined, undefined);
const parse = module_.exports.parseStdoutLine;
process.stdout.write(JSON.stringify(lines.map((line) => parse(line, ts))));
"""


def parsed_by_javascript(lines: Sequence[str], source: str | None = None) -> list[list[dict[str, Any]]]:
    """The parser's entries for each line. `source`: code of a parser to use instead of the packaged one."""
    given = json.dumps({"source": source or ui_parser_source(), "lines": list(lines), "ts": TIMESTAMP})
    node = [program("node"), "-e", _WORKER]
    done = subprocess.run(node, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    entries: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return entries


def as_json(value: Any) -> Any:
    """The value after a round trip through JSON, which joins the two halves of a surrogate pair."""
    return json.loads(json.dumps(value))
