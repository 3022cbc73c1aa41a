"""Signatures cover every byte of a URL, and expire."""

from __future__ import annotations

import string

import pytest

from chuk_artifacts.errors import AccessDeniedError
from chuk_artifacts.signing import ARCHIVE, DOWNLOAD, UPLOAD, ArchiveGrant, Grant, Signer

ARTIFACT = "0123456789abcdef" * 2
NOW = 1_700_000_000.0
PRINTABLE = [character for character in string.printable if not character.isspace()]


@pytest.fixture
def signer():
    """Return a signer of the sandbox ``box``."""
    return Signer(["a secret"], "box")


def split(url):
    """Return path and query of a signed URL."""
    path, _, query = url.partition("?")
    return path, query


def accepts(signer, method, url):
    """Return True if a signer accepts a URL."""
    try:
        signer.check(method, *split(url), NOW)
    except AccessDeniedError:
        return False
    return True


GRANTS = [
    (DOWNLOAD, Grant(ARTIFACT)),
    (DOWNLOAD, Grant(ARTIFACT, revision=2**63 - 1)),
    (UPLOAD, Grant(ARTIFACT)),
    (UPLOAD, Grant(ARTIFACT, mime="image/svg+xml; charset=utf-8")),
    (UPLOAD, Grant(ARTIFACT, max_bytes=0)),
    (UPLOAD, Grant(ARTIFACT, mime="image/jpeg", max_bytes=10**9)),
]


@pytest.mark.parametrize(("method", "grant"), GRANTS)
def test_check_returns_the_grant(signer, method, grant):
    """A check returns the signed grant until the URL expires."""
    path, query = split(signer.sign(method, grant, NOW + 60))
    assert signer.check(method, path, query, NOW + 59.999) == grant


@pytest.mark.parametrize(("method", "grant"), GRANTS)
def test_every_changed_byte_is_refused(signer, method, grant):
    """A byte of path and query that is changed, removed or inserted makes the check fail."""
    url = signer.sign(method, grant, NOW + 60)
    for index in range(len(url)):
        for other in ["", *(character for character in PRINTABLE if character != url[index]), "ü" + url[index]]:
            assert not accepts(signer, method, url[:index] + other + url[index + 1 :])


@pytest.mark.parametrize("grant", [ArchiveGrant("user_alice"), ArchiveGrant("üser 1", "docs/&prefix=a")])
def test_url_of_an_archive(signer, grant):
    """The URL of an archive returns its grant until it expires; every changed byte of the query is refused."""
    path, query = split(signer.sign_archive(grant, NOW + 60))
    assert path == ARCHIVE
    assert signer.check_archive(query, NOW + 59.999) == grant
    with pytest.raises(AccessDeniedError):
        signer.check_archive(query, NOW + 60)
    for index in range(len(query)):
        for other in ["", *(character for character in PRINTABLE if character != query[index]), "ü" + query[index]]:
            with pytest.raises(AccessDeniedError):
                signer.check_archive(query[:index] + other + query[index + 1 :], NOW)


def test_url_of_an_archive_is_of_nothing_else(signer):
    """The URL of an archive is none of an artifact, and the other way round, whatever it is asked for."""
    path, query = split(signer.sign_archive(ArchiveGrant("user_alice"), NOW + 60))
    for method in (DOWNLOAD, UPLOAD, ARCHIVE):
        for segment in (path, ARTIFACT):
            with pytest.raises(AccessDeniedError):
                signer.check(method, segment, query, NOW)
    with pytest.raises(AccessDeniedError):
        signer.check_archive(split(signer.sign(DOWNLOAD, Grant(ARTIFACT), NOW + 60))[1], NOW)
    with pytest.raises(AccessDeniedError):
        Signer(["a secret"], "other").check_archive(query, NOW)


@pytest.mark.parametrize(
    "addition", ["&", "=", "&max=9", "&revision=1", "&expires=9999999999.000", "\n", " ", "#", "A"]
)
def test_additions_are_refused(signer, addition):
    """Text added before or after a signed query makes the check fail."""
    path, query = split(signer.sign(DOWNLOAD, Grant(ARTIFACT), NOW + 60))
    for altered in (query + addition, addition + query):
        with pytest.raises(AccessDeniedError):
            signer.check(DOWNLOAD, path, altered, NOW)


def test_url_ends(signer):
    """A URL is refused from its expiry on, to the millisecond."""
    path, query = split(signer.sign(DOWNLOAD, Grant(ARTIFACT), NOW + 0.25))
    signer.check(DOWNLOAD, path, query, NOW + 0.249)
    with pytest.raises(AccessDeniedError):
        signer.check(DOWNLOAD, path, query, NOW + 0.25)


def test_url_is_of_one_method(signer):
    """A download URL can't be used to upload, nor an upload URL to download."""
    for method, other in ((DOWNLOAD, UPLOAD), (UPLOAD, DOWNLOAD)):
        path, query = split(signer.sign(method, Grant(ARTIFACT), NOW + 60))
        with pytest.raises(AccessDeniedError):
            signer.check(other, path, query, NOW)


def test_url_is_of_one_sandbox(signer):
    """Two sandboxes with the same key do not accept each other's URLs."""
    path, query = split(signer.sign(DOWNLOAD, Grant(ARTIFACT), NOW + 60))
    with pytest.raises(AccessDeniedError):
        Signer(["a secret"], "other").check(DOWNLOAD, path, query, NOW)


def test_keys_are_rotated():
    """The first key signs; a URL signed by any of the keys is accepted, and by no other key."""
    old, new, both = Signer(["old"], "box"), Signer(["new"], "box"), Signer(["new", "old"], "box")
    by_old, by_both = (split(signer.sign(DOWNLOAD, Grant(ARTIFACT), NOW + 60)) for signer in (old, both))
    assert both.check(DOWNLOAD, *by_old, NOW) == both.check(DOWNLOAD, *by_both, NOW) == Grant(ARTIFACT)
    assert new.check(DOWNLOAD, *by_both, NOW) == Grant(ARTIFACT)
    with pytest.raises(AccessDeniedError):
        new.check(DOWNLOAD, *by_old, NOW)
    with pytest.raises(AccessDeniedError):
        old.check(DOWNLOAD, *by_both, NOW)


def test_query_needs_no_encoding(signer):
    """A URL contains only characters that no client encodes again, whatever the content type."""
    url = signer.sign(UPLOAD, Grant(ARTIFACT, mime='text/plain; charset="utf-8"; x=%7e+~', max_bytes=5), NOW + 60)
    assert set(url) <= set(string.ascii_letters + string.digits + "-._~?&=")


def test_refusals_are_alike(signer):
    """Expired, altered and malformed URLs are refused with the same message."""
    path, query = split(signer.sign(DOWNLOAD, Grant(ARTIFACT), NOW))
    words = set()
    for given in ((path, query), (path, query[:-1] + "!"), (path[::-1], query), ("", "")):
        with pytest.raises(AccessDeniedError) as caught:
            signer.check(DOWNLOAD, *given, NOW)
        words.add(str(caught.value))
    assert len(words) == 1
