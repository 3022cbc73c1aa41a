"""Tests that try to break the library: models, crashes, faults, histories, fuzz and load."""
