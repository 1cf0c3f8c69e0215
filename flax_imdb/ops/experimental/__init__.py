"""Implementations that have not yet run on the hardware they are written for."""
