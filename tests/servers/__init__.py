"""Servers that tests start for themselves on free ports of the loopback address, and end."""
