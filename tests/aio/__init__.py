"""Tests of the async face. A package, because pytest could not tell its conftest from the one above."""
