"""Tests of the fsspec filesystem, and of storage on fsspec filesystems."""
