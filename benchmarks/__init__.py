"""Methods of the store beside the bare calls under them, in one run; see ``benchmarks/README.md``."""

import os

os.environ.setdefault("ARTIFACT_INSTRUMENTATION", "none")  # some drivers import OpenTelemetry
