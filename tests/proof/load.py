"""A process of the load test: it works on a store until standard input closes, then prints how long calls took.

It prints a line when it has opened all that it needs, after which nothing that it holds may grow.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time

from chuk_artifacts import ArtifactStore


def main():
    """Work, and print the milliseconds of each call."""
    options, name = json.loads(sys.argv[1]), sys.argv[2]
    dice, took, ended = random.Random(name), [], threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with ArtifactStore(**options) as store:
        mine = store.session(f"load-{name}")
        ids = []
        while not ended.is_set():
            begun = time.perf_counter()
            act = dice.randrange(6)
            if act < 2 or not ids:
                ids.append(mine.store(dice.randbytes(1000), filename=f"{dice.randrange(100)}"))
            elif act == 2:
                mine.update_file(dice.choice(ids), data=dice.randbytes(2000))
            elif act == 3:
                mine.list_files(limit=20)
            elif len(ids) > 50:
                mine.delete(ids.pop(0))
            else:
                mine.retrieve(dice.choice(ids))
            took.append((time.perf_counter() - begun) * 1000)
            if len(took) % 200 == 0:
                store.cleanup()
            if len(took) == 200:
                print("has done all of it once", flush=True)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
