"""From files to one sorted, integer-coded, columnar log: the only room that knows column names."""

from engagex_sim.log.data import Log
from engagex_sim.log.quality import DataQuality, FileQuality
from engagex_sim.log.read import read_log
from engagex_sim.log.source import TableSource

__all__ = ["DataQuality", "FileQuality", "Log", "TableSource", "read_log"]
