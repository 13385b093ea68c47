"""The log follower: every line of a container's log once, in order, across any number of reconnects.

`follow.Follower` is the way in; `source` and `sink` are what it needs from outside; `report` is what it
answers; `cursor` explains how a position in a log is kept.
"""

from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.follower import Follower
from paperclip_claude_k8s.podlog.log_report import (
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
from paperclip_claude_k8s.podlog.position import Cursor
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter
from paperclip_claude_k8s.podlog.sink import Ended, GapFiller, LogSink
from paperclip_claude_k8s.podlog.source import ByteStream, LogBroken, LogRefused, LogSource

__all__ = [
    "ByteStream",
    "ContainerChanged",
    "Cursor",
    "Ended",
    "FileUnusable",
    "FollowTimings",
    "Follower",
    "Gap",
    "GapFilled",
    "GapFiller",
    "LogBroken",
    "LogRefused",
    "LogReport",
    "LogSink",
    "LogSource",
    "NotLogText",
    "Notice",
    "RateLimiter",
    "Reconnecting",
    "SinkFailed",
    "SourceInfo",
    "Totals",
]
