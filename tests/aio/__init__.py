"""Tests of the async store. A package, because pytest would confuse its conftest with the one above."""
