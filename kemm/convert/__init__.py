"""Converters: one file for each family of published checkpoints, with one function of its name from their state dict to kemm's, and how
its checkpoints are recognised; `load` reads any of them."""

from kemm.convert.loading import load
from kemm.convert.tool import main

__all__ = ["load", "main"]
