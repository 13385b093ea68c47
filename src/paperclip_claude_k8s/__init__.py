"""Claude Code agents as isolated Kubernetes Jobs, for Paperclip-style hosts."""

__version__ = "0.1.0"
