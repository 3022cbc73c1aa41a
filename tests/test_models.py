"""The values of the public surface: frozen, mappings, JSON both ways, and their timestamps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from chuk_artifacts import ArtifactMetadata, CleanupReport, GridKey, SessionInfo
from chuk_artifacts.models import Superseded, is_over, seconds_of, timestamp

NOW = 1_800_000_000.25
FIELDS = [
    "artifact_id",
    "session_id",
    "sandbox_id",
    "key",
    "mime",
    "summary",
    "meta",
    "filename",
    "bytes",
    "sha256",
    "stored_at",
    "updated_at",
    "expires_at",
    "ttl",
    "revision",
    "storage_provider",
    "session_provider",
]


def metadata(**fields):
    """Return the metadata of an artifact."""
    values = {
        "artifact_id": "0" * 32,
        "session_id": "üser 1",
        "sandbox_id": "box",
        "key": "grid/box/üser 1/" + "0" * 32,
        "mime": "text/plain",
        "summary": 'quote " and \u2028 and \U0001f600',
        "meta": {"a": [1, 2.5, None, True, {"b": "ü"}]},
        "filename": "docs/ä.txt",
        "bytes": 5,
        "sha256": "0" * 64,
        "stored_at": timestamp(NOW),
        "updated_at": timestamp(NOW),
        "expires_at": timestamp(NOW + 60),
        "ttl": 60.0,
        "revision": 1,
        "storage_provider": "memory",
        "session_provider": "memory",
    }
    return ArtifactMetadata(**{**values, **fields})


def session(**fields):
    """Return what is known of a session."""
    values = {
        "session_id": "alice",
        "sandbox_id": "box",
        "user_id": None,
        "created_at": timestamp(NOW),
        "expires_at": None,
        "custom_metadata": {"a": 1},
    }
    return SessionInfo(**{**values, **fields})


VALUES = {
    "metadata": metadata(),
    "session": session(),
    "key": GridKey(sandbox_id="box", session_id="alice", artifact_id="file"),
    "report": CleanupReport(sessions=1, artifacts=2, orphans=3, bytes=4),
}


@pytest.fixture(params=VALUES)
def value(request):
    """Return one value of each kind."""
    return VALUES[request.param]


# Timestamps


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000+00:00"),
        (1_800_000_000, "2027-01-15T08:00:00.000000+00:00"),
        (1_800_000_000.25, "2027-01-15T08:00:00.250000+00:00"),
        (1_799_999_999.999_999_9, "2027-01-15T08:00:00.000000+00:00"),
        (0.000_001, "1970-01-01T00:00:00.000001+00:00"),
        (0.000_001_9, "1970-01-01T00:00:00.000002+00:00"),
        (253_402_300_799, "9999-12-31T23:59:59.000000+00:00"),
    ],
)
def test_timestamp(seconds, expected):
    """A timestamp is ISO 8601 in UTC, with its offset and all microseconds."""
    assert timestamp(seconds) == expected
    assert datetime.fromisoformat(timestamp(seconds)).utcoffset() == timedelta(0)
    assert seconds_of(timestamp(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_timestamps_compare_like_moments():
    """Timestamps are of one length, and stand in the order of their moments."""
    moments = [0, 0.1, 1, 59.999999, 60, 86400, 1e9, 1_799_999_999.999999, 1_800_000_000, 2e9, 2.5e11]
    stamps = [timestamp(moment) for moment in moments]
    assert stamps == sorted(stamps)
    assert {len(stamp) for stamp in stamps} == {32}


@pytest.mark.parametrize(("moment", "over"), [(NOW - 1, True), (NOW, True), (NOW + 0.000_001, False), (NOW + 1, False)])
def test_is_over(moment, over):
    """A moment is over when it has come, and at that very moment."""
    assert is_over(timestamp(moment), NOW) is over


def test_moment_of_any_fraction_is_over_when_it_has_come():
    """The rounding of a timestamp to microseconds makes nothing live longer than it should."""
    moments = [NOW + number / 7 for number in range(1000)]
    assert [moment for moment in moments if not is_over(timestamp(moment), moment)] == []


def test_never_is_not_over():
    """What never expires is never over."""
    assert not is_over(None, 1e11)


def test_other_offsets_are_understood():
    """A timestamp of another time zone names the same moment."""
    assert seconds_of("2027-01-15T09:00:00.250000+01:00") == NOW
    assert datetime.fromtimestamp(NOW, UTC).isoformat() == timestamp(NOW)


# Mappings


def test_fields_of_metadata():
    """Metadata has the documented fields, in their order, and tells no internal one."""
    assert list(metadata()) == FIELDS
    assert list(metadata(superseded=(Superseded("k", timestamp(NOW), 1),))) == FIELDS


def test_mapping(value):
    """A value is a mapping of its fields: items are attributes, and no others."""
    assert isinstance(value, Mapping)
    assert len(value) == len(list(value)) == len(dict(value))
    for name, item in value.items():
        assert getattr(value, name) is item
        assert name in value
    assert value.get("nonsense") is None
    assert "to_json" not in value
    with pytest.raises(KeyError):
        value["nonsense"]
    with pytest.raises(KeyError):
        value["__class__"]


def test_mapping_is_json(value):
    """The mapping of a value is JSON as it is."""
    assert json.loads(json.dumps(dict(value))) == dict(value)


def test_internal_fields_are_no_items():
    """Internal fields are neither items nor shown."""
    info = session(ttl=60.0)
    record = metadata(superseded=(Superseded("secret-key", timestamp(NOW), 1),))
    assert "ttl" not in info
    assert "superseded" not in record
    assert "ttl" not in repr(info)
    assert "secret-key" not in repr(record)


def test_equal_to_a_mapping(value):
    """A value equals a mapping of the same items, and another value of them."""
    assert value == dict(value)
    assert value == type(value)(**value)
    assert value != {**value, "more": 1}


@pytest.mark.parametrize("name", ["bytes", "revision", "nonsense"])
def test_frozen(name):
    """No field can be set, and none added."""
    record = metadata()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, name, 7)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del record.bytes


def test_all_are_frozen(value):
    """Each kind of value is frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, next(iter(value)), "other")


def test_keywords_only():
    """The fields are named when a value is made, and none may be missing."""
    with pytest.raises(TypeError):
        GridKey("box", "alice", "file")
    with pytest.raises(TypeError):
        CleanupReport(sessions=1)


# JSON


def test_json_round_trip(value):
    """A value comes back from its JSON."""
    assert type(value).from_json(value.to_json()) == value


def test_json_of_internal_fields():
    """Internal fields go to JSON and back, too."""
    superseded = (Superseded("k~2", timestamp(NOW), 1), Superseded("k", timestamp(NOW), 2))
    record = metadata(superseded=superseded)
    back = ArtifactMetadata.from_json(record.to_json())
    assert back.superseded == superseded
    assert isinstance(back.superseded[0], Superseded)
    assert SessionInfo.from_json(session(ttl=60.0).to_json()).ttl == 60.0


@pytest.mark.parametrize("meta", [{}, {"": ""}, {"ü": [[], {}, 0, -1, 1e300, 10**300, "\x00\U0001f600"]}])
def test_meta_in_json(meta):
    """Whatever JSON a user attaches comes back, number for number."""
    back = ArtifactMetadata.from_json(metadata(meta=meta).to_json())
    assert back.meta == meta
    assert [type(item) for item in back.meta.values()] == [type(item) for item in meta.values()]


# What a record is due


def test_due():
    """A record is due at its expiry, or when the first of its superseded bytes is over, whichever comes first."""
    first, second = Superseded("k", timestamp(NOW + 30), 1), Superseded("k~2", timestamp(NOW + 90), 1)
    assert metadata().due == timestamp(NOW + 60)
    assert metadata(expires_at=None).due is None
    assert metadata(superseded=(first, second)).due == timestamp(NOW + 30)
    assert metadata(superseded=(second,)).due == timestamp(NOW + 60)
    assert metadata(superseded=(second,), expires_at=None).due == timestamp(NOW + 90)
    assert metadata(superseded=(first,)).all_bytes == {metadata().key: 5, "k": 1}


def test_many_records_at_once():
    """Many records are read as each is by itself; what is not one record each is an error."""
    records = [metadata(artifact_id=f"{number:032x}", summary="[{,ü") for number in range(3)]
    assert ArtifactMetadata.from_jsons([record.to_json() for record in records]) == records
    assert ArtifactMetadata.from_jsons([]) == []
    text = records[0].to_json()
    for damaged in (f"{text},{text}", "1", "", "null"):
        with pytest.raises((ValueError, TypeError)):
            ArtifactMetadata.from_jsons([text, damaged])


def test_record_of_an_earlier_version():
    """What an earlier version did not know of has its default."""
    fields = json.loads(metadata().to_json())
    del fields["released"], fields["pending"]
    assert ArtifactMetadata.from_json(json.dumps(fields)) == metadata()


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"x"', "{}{}", "{} "])
def test_no_json_object(text):
    """What is no JSON object, or more than one, is neither a record nor a session."""
    for kind in (ArtifactMetadata, SessionInfo):
        with pytest.raises((ValueError, TypeError)):
            kind.from_json(text)
