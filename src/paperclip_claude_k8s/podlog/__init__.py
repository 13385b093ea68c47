"""The log follower: every line of a container's log once, in order, across any number of reconnects.

`follow.Follower` is the way in; `source` and `sink` are what it needs from outside; `report` is what it
answers; `cursor` explains how a position in a log is kept.
"""

from paperclip_claude_k8s.podlog.cursor import Cursor
from paperclip_claude_k8s.podlog.follow import Follower
from paperclip_claude_k8s.podlog.governor import Governor
from paperclip_claude_k8s.podlog.origin import Origin, Pace
from paperclip_claude_k8s.podlog.report import (
    ContainerChanged,
    FileUnusable,
    Gap,
    GapFilled,
    LogReport,
    Notice,
    NotLogText,
    Reconnecting,
    SinkFailed,
    Totals,
)
from paperclip_claude_k8s.podlog.sink import Ended, GapFiller, LogSink
from paperclip_claude_k8s.podlog.source import ByteStream, LogBroken, LogRefused, LogSource

__all__ = [
    "ByteStream",
    "ContainerChanged",
    "Cursor",
    "Ended",
    "FileUnusable",
    "Follower",
    "Gap",
    "GapFilled",
    "GapFiller",
    "Governor",
    "LogBroken",
    "LogRefused",
    "LogReport",
    "LogSink",
    "LogSource",
    "NotLogText",
    "Notice",
    "Origin",
    "Pace",
    "Reconnecting",
    "SinkFailed",
    "Totals",
]
