"""Reads, judges and shows recorded output of the Claude CLI, without a cluster.

    from pathlib import Path
    from paperclip_claude_k8s.replay import judge, read_stream, render

    recorded = Path("captured.ndjson")
    print(read_stream(recorded).summary)
    print(judge(recorded, exit_code=137, pod_state={"reason": "OOMKilled"}).error_code)
    print(render(recorded, width=80))

`claude-k8s replay` and `claude-k8s report` use the same functions. `paperclip_claude_k8s.testing` has
recorded output of two versions of the CLI.
"""

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.replay.judging import Recording, judge, read_stream
from paperclip_claude_k8s.replay.pod_states import ReplayInvalid
from paperclip_claude_k8s.replay.recorded_transcripts import render, render_page

__all__ = ["Recording", "ReplayInvalid", "Transcript", "judge", "read_stream", "render", "render_page"]
