"""Converters: one file for each family of published checkpoints, with one function of its name from their state dict to kemm's."""

from kemm.convert.tool import main

__all__ = ["main"]
