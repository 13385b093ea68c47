"""Reads the output of the Claude CLI and builds its command line."""

from paperclip_claude_k8s.claude.stream import StreamReader
from paperclip_claude_k8s.claude.transcript import Transcript

__all__ = ["StreamReader", "Transcript"]
