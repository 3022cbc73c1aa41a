"""A store on disk, as the arguments by which pipelines name it."""

import artifact_urls

options, fs = artifact_urls.options, artifact_urls.fs
