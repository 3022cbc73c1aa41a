"""Tests of one catalog each; tests/contract holds what every catalog does."""
