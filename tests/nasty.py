"""Values that no method accepts."""

from __future__ import annotations

HUGE = 10**5000


class Impostor(str):
    """A string that pretends to be another one in every way a str can."""

    __slots__ = ("other",)

    def __new__(cls, value, other):
        """Make a str that claims to be *other*."""
        self = super().__new__(cls, value)
        self.other = other
        return self

    def __eq__(self, other):
        """Return True."""
        return True

    def __hash__(self):
        """Return the number of the other one."""
        return hash(self.other)

    def __str__(self):
        """Return the other one."""
        return self.other

    def __repr__(self):
        """Fail."""
        raise AssertionError("a message runs code of an argument")

    def encode(self, *_):
        """Return the other one."""
        return self.other.encode()

    def isascii(self):
        """Return True."""
        return True


class Number(int):
    """A number that claims to equal any other."""

    def __eq__(self, other):
        """Return True."""
        return True

    __hash__ = int.__hash__

    def __repr__(self):
        """Fail."""
        raise AssertionError("a message runs code of an argument")


class Mute:
    """An object that supports no operation."""

    __hash__ = None

    def __repr__(self):
        """Fail."""
        raise AssertionError("a message runs code of an argument")


NUMBERS = [
    *(2**31, 2**63 - 1, 2**63, 2**64, HUGE, -1, -(2**63), -HUGE, 0, Number(3), True),
    *(1e300, -1e300, 0.5, float("nan"), float("inf")),
]
TEXTS = [
    *("", ".", "..", "/", "\0", "a\nb", "\ud800", "a\ud800/b", "alice/\ud800", "%ED%A0%80/a", "\u202e", "%s %d"),
    *("x" * 5000, "ü" * 3000, "\n" * 5000, Impostor("mallory", "alice"), Impostor("\ud800", "alice")),
]
THINGS = [None, b"a", [], {}, Mute(), [Mute()], {"a": Mute()}, {Impostor("b", "a"): 1}, object, ["a"], ("a", 1), [HUGE]]
VALUES = [*NUMBERS, *TEXTS, *THINGS]
