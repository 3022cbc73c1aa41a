"""A child that works on a store with four threads, and writes each intent and each answer to a log.

Run as ``worker.py options log seed [threads [changes]]``. With *changes* each thread makes so many and ends, after a
line on standard input has come; otherwise it ends when it is killed, or when standard input closes. A line of the log
is JSON, written by one system call, so that a kill leaves whole lines.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, ArtifactStoreError

THREADS = 4


class Thread(threading.Thread):
    """One thread, with a session and artifacts of its own."""

    def __init__(self, store, log, name, seed, changes=None):
        super().__init__(daemon=True)
        self.store, self.log, self.who = store.session(name), log, name
        self.random = random.Random(f"{seed}-{name}")
        self.ids, self.number, self.contents = [], 0, {}
        self.changes, self.stopped = changes, False

    def run(self):
        """Work until it is stopped, or has made its changes."""
        while not self.stopped and (self.changes is None or self.number < self.changes):
            act = self.random.choice(
                (self.put, self.put, self.put_stream, self.many, self.update, self.note, self.drop, self.read)
            )
            try:
                act()
            except ArtifactNotFoundError as error:  # of its own artifacts, all of which exist
                self.say(error="wrong", text=repr(error))
            except ArtifactStoreError as error:
                self.say(error=type(error).__name__, text=str(error))
            except BaseException as error:
                self.say(error="wrong", text=repr(error))
                raise

    def say(self, **fields):
        """Write a line."""
        line = json.dumps({"who": self.who, "number": self.number, **fields})
        while True:
            try:
                os.write(self.log, f"{line}\n".encode())
            except OSError:  # a fault that was meant for the store
                continue
            return

    def content(self):
        """Return new content, and count."""
        self.number += 1
        return f"{self.who}/{self.number};".encode() * self.random.choice((1, 50, 5000))

    def put(self):
        data = self.content()
        self.say(op="store", filenames=[f"{self.number}"], data=[data.decode()[:200], len(data)])
        self.ids.append(self.store.store(data, filename=f"{self.number}"))
        self.contents[self.ids[-1]] = data
        self.say(done="store", ids=self.ids[-1:])

    def put_stream(self):
        data = self.content()
        self.say(op="store", filenames=[f"{self.number}"], data=[data.decode()[:200], len(data)])
        self.ids.append(self.store.store(iter([data[:7], data[7:]]), filename=f"{self.number}"))
        self.contents[self.ids[-1]] = data
        self.say(done="store", ids=self.ids[-1:])

    def many(self):
        data = self.content()
        names = [f"{self.number}.{part}" for part in range(3)]
        self.say(op="store", filenames=names, data=[data.decode()[:200], len(data)])
        made = self.store.store_batch([{"data": data, "filename": name} for name in names])
        self.ids += made
        self.say(done="store", ids=made)

    def update(self):
        if self.ids:
            one, data = self.random.choice(self.ids), self.content()
            self.contents.pop(one, None)
            self.say(op="update", id=one, data=[data.decode()[:200], len(data)])
            self.store.update_file(one, data=data, summary=f"{self.number}")
            self.contents[one] = data
            self.say(done="update", id=one)

    def read(self):
        known = [one for one in self.ids if one in self.contents]
        if known:
            one = self.random.choice(known)
            self.say(op="read", id=one)
            found = self.store.retrieve(one)
            self.say(done="read" if found == self.contents[one] else "wrong")

    def note(self):
        if self.ids:
            one = self.random.choice(self.ids)
            self.number += 1
            self.say(op="note", id=one)
            self.store.update_metadata(one, meta={"note": self.number})
            self.say(done="note", id=one)

    def drop(self):
        if len(self.ids) > 5:
            one = self.ids.pop(self.random.randrange(len(self.ids)))
            self.contents.pop(one, None)
            self.number += 1
            self.say(op="drop", id=one)
            self.store.delete(one)
            self.say(done="drop", id=one)


def main():
    """Work."""
    options, path, seed = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else THREADS
    changes = int(sys.argv[5]) if len(sys.argv) > 5 else None
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with ArtifactStore(**options) as store:
        if changes is not None:
            rehearse(store)
            print("ready", flush=True)
            sys.stdin.readline()
        threads = [Thread(store, log, f"{seed}-{number}", seed, changes) for number in range(count)]
        for thread in threads:
            thread.start()
        if changes is None:
            sys.stdin.read()
            for thread in threads:
                thread.stopped = True
        for thread in threads:
            thread.join()


def rehearse(store):
    """Call each method once, so that all that is imported late is there."""
    one = store.store(b"x", session_id="rehearsal")
    store.store(iter([b"x"]), session_id="rehearsal")
    store.store_batch([{"data": b"1"}, {"data": b"2"}], session_id="rehearsal")
    store.update_file(one, data=b"y")
    store.update_metadata(one, meta={"a": 1})
    store.delete_session("rehearsal")


if __name__ == "__main__":
    main()
