"""Tests of buckets on real servers."""
