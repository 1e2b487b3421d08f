"""From files to one sorted, integer-coded, columnar log: the only room that knows column names."""

from engagex_sim.log.blocks import LogBlocks
from engagex_sim.log.data import Log, LogFacts
from engagex_sim.log.quality import DataQuality, FileQuality
from engagex_sim.log.read import read_blocks, read_log
from engagex_sim.log.source import TableSource

__all__ = ["DataQuality", "FileQuality", "Log", "LogBlocks", "LogFacts", "TableSource", "read_blocks", "read_log"]
