"""Implementations that have not been run on their target hardware yet."""
