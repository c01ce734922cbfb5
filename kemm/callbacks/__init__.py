"""What happens beside training and evaluation: refreshed memories, progress, scores and the report.    [Lightning]"""

from kemm.callbacks.defaults import default_callbacks
from kemm.callbacks.memory import MemoryRefresh
from kemm.callbacks.progress import PlainProgress, clock
from kemm.callbacks.report import Report

__all__ = ["MemoryRefresh", "PlainProgress", "Report", "clock", "default_callbacks"]
