"""Tests of buckets. A package, because pytest could not tell its conftest from the one above."""
