"""Tests of operations that no contract holds: what happens between a catalog and a storage."""
