"""Storage in a bucket: S3, IBM COS with HMAC keys and IBM COS with IAM.

Importing this package loads neither SDK; making a ``BucketStorage`` does.
"""

from __future__ import annotations

from chuk_artifacts.storage.bucket.storage import BucketStorage

__all__ = ["BucketStorage"]
