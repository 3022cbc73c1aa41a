"""Ctrl-C while a service is busy: the call ends, and neither its threads nor its cleanup wait out the retries."""

from __future__ import annotations

import child
import pytest

WAITING = """
    import os, signal, sys, threading
    sys.path.insert(0, "tests")
    os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    from chuk_artifacts import ArtifactStore
    from chuk_artifacts.storage.bucket import client
    from servers.scripted import Answer, Scripted, refusal

    MIB = 1024 * 1024
    what, provider = sys.argv[1:]
    with Scripted() as service:
        options = {"storage_provider": provider, "bucket": "bucket", "endpoint_url": service.url, "max_retries": 15}
        store = ArtifactStore(**options)
        store.scope.core.identified = True
        large = what == "open"
        store.scope.core.storage._part_length = 64 * MIB if large else 8 * MIB
        old = [store.store(b"x" * (60 * MIB if large else 10), session_id="s") for _ in range(1 if large else 8)]
        seen = []

        def busy(request):
            if large and request.headers.get("range", "bytes=0-").startswith(("bytes=0-", "bytes=1048576-")):
                return None
            if what == "parts" and request.operation == "POST uploads":
                return Answer(200, b"<R><UploadId>1</UploadId></R>")
            seen.append(request.operation)
            if len(seen) == 4:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return refusal(503, "SlowDown")

        service.script = busy
        client.random.uniform = lambda _, longest: 10 if len(seen) >= 4 else 0.01
        calls = {
            "store": lambda: store.store(b"x", session_id="s"),
            "parts": lambda: store.store(b"x" * (60 * MIB), session_id="s"),
            "batch": lambda: store.store_batch([{"data": b"x"}] * 20, session_id="s"),
            "retrieve": lambda: store.retrieve_batch(old),
            "delete": lambda: store.delete_batch(old),
            "check": lambda: store.scope.core.storage.check(thorough=True),
        }
        try:
            if large:
                with store.open(old[0]) as reader:
                    while reader.read(MIB):
                        pass
            else:
                calls[what]()
        except KeyboardInterrupt:
            store.close()
            print("interrupted", len(seen), flush=True)
"""


@pytest.mark.parametrize("provider", ["s3", "ibm_cos"])
@pytest.mark.parametrize("what", ["store", "parts", "batch", "retrieve", "delete", "check", "open"])
def test_ctrl_c_does_not_wait_out_the_retries(what, provider):
    """After Ctrl-C what is under way ends, and at most one more request is made for each call and for the cleanup."""
    word, requests = child.run(WAITING, what, provider).split()
    assert word == "interrupted"
    assert int(requests) <= 4 + 2 * 32
