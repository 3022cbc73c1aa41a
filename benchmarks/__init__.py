"""Methods of the store beside the bare calls under them, in one run; see ``benchmarks/README.md``."""
