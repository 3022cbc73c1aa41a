"""Tests with those who open artifacts by URL."""
