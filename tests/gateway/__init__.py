"""Tests of the gateway and of the server behind it."""
