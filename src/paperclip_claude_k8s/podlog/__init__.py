"""The log follower: delivers every line of a container's log once and in order, whatever breaks.

Start at `follower.Follower`. `interfaces` lists what the follower needs from outside, `log_report` lists what
it reports, and `position` explains how it resumes without losing or repeating a line. `docs/log-following.md`
follows one line of a log through all modules.
"""

from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.follower import Follower
from paperclip_claude_k8s.podlog.interfaces import (
    ByteStream,
    Ended,
    LogBroken,
    LogRefused,
    LogSink,
    LogSource,
    RelayFile,
)
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
    TimestampsMissing,
    Totals,
)
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter

__all__ = [
    "ByteStream",
    "ContainerChanged",
    "Ended",
    "FileUnusable",
    "FollowTimings",
    "Follower",
    "Gap",
    "GapFilled",
    "LogBroken",
    "LogRefused",
    "LogReport",
    "LogSink",
    "LogSource",
    "NotLogText",
    "Notice",
    "RateLimiter",
    "Reconnecting",
    "RelayFile",
    "SinkFailed",
    "SourceInfo",
    "TimestampsMissing",
    "Totals",
]
