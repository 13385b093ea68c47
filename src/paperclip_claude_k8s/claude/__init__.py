"""Claude Code's language."""

from paperclip_claude_k8s.claude.stream import StreamReader
from paperclip_claude_k8s.claude.transcript import Transcript

__all__ = ["StreamReader", "Transcript"]
