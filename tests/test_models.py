"""The public values: frozen, mappings, JSON in both directions, and timestamps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from chuk_artifacts import ArtifactMetadata, ArtifactVersion, CleanupReport, GridKey, SessionInfo, models
from chuk_artifacts.models import Origin, Pending, Superseded, is_over, seconds_of, timestamp
from chuk_artifacts.usual import plain_fields

WITHOUT_META = {"meta": {}, "summary": "ä", "session_id": "s", "key": "grid/box/s/" + "0" * 32}
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
    """Return the metadata of a session."""
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
    "version": ArtifactVersion(
        revision=1, bytes=5, sha256="0" * 64, mime="a/b", filename=None, stored_at=timestamp(NOW), current=True
    ),
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
    """Timestamps have the same length, and sort in the order of time."""
    moments = [0, 0.1, 1, 59.999999, 60, 86400, 1e9, 1_799_999_999.999999, 1_800_000_000, 2e9, 2.5e11]
    stamps = [timestamp(moment) for moment in moments]
    assert stamps == sorted(stamps)
    assert {len(stamp) for stamp in stamps} == {32}


@pytest.mark.parametrize(("moment", "over"), [(NOW - 1, True), (NOW, True), (NOW + 0.000_001, False), (NOW + 1, False)])
def test_is_over(moment, over):
    """A moment is over from that moment on."""
    assert is_over(timestamp(moment), NOW) is over


def test_moment_with_any_fraction_is_over_in_time():
    """Rounding a timestamp to microseconds does not extend a life."""
    moments = [NOW + number / 7 for number in range(1000)]
    assert [moment for moment in moments if not is_over(timestamp(moment), moment)] == []


def test_never_is_not_over():
    """None, for no expiry, is never over."""
    assert not is_over(None, 1e11)


def test_other_offsets_are_understood():
    """A timestamp of another time zone names the same moment."""
    assert seconds_of("2027-01-15T09:00:00.250000+01:00") == NOW
    assert datetime.fromtimestamp(NOW, UTC).isoformat() == timestamp(NOW)


# Mappings


def test_fields_of_metadata():
    """Metadata has the documented fields, in order, and shows no internal ones."""
    assert list(metadata()) == FIELDS
    assert list(metadata(superseded=(Superseded("k", timestamp(NOW), 1),))) == FIELDS


def test_mapping(value):
    """A value is a mapping whose items are its public fields."""
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
    """``json.dumps`` accepts the mapping of a value."""
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
    """Fields can't be set or added."""
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
    """The constructor takes keywords only, and requires every field."""
    with pytest.raises(TypeError):
        GridKey("box", "alice", "file")
    with pytest.raises(TypeError):
        CleanupReport(sessions=1)


# JSON


def test_json_round_trip(value):
    """Decoding the JSON of a value returns an equal value."""
    assert type(value).from_json(value.to_json()) == value


def test_json_of_internal_fields():
    """The JSON includes internal fields."""
    key = metadata().key
    superseded = (Superseded(f"{key}~2", timestamp(NOW), 1), Superseded(key, timestamp(NOW), 2))
    record = metadata(superseded=superseded)
    back = ArtifactMetadata.from_json(record.to_json())
    assert back.superseded == superseded
    assert isinstance(back.superseded[0], Superseded)
    assert SessionInfo.from_json(session(ttl=60.0).to_json()).ttl == 60.0


@pytest.mark.parametrize("meta", [{}, {"": ""}, {"ü": [[], {}, 0, -1, 1e300, 10**300, "\x00\U0001f600"]}])
def test_meta_in_json(meta):
    """Any JSON in ``meta`` is decoded to the same values and number types."""
    back = ArtifactMetadata.from_json(metadata(meta=meta).to_json())
    assert back.meta == meta
    assert [type(item) for item in back.meta.values()] == [type(item) for item in meta.values()]


# When a record is due


def test_due():
    """A record is due at its expiry or when its first superseded bytes may be deleted, whichever is earlier."""
    first, second = Superseded("k", timestamp(NOW + 30), 1), Superseded("k~2", timestamp(NOW + 90), 1)
    assert metadata().due == timestamp(NOW + 60)
    assert metadata(expires_at=None).due is None
    assert metadata(superseded=(first, second)).due == timestamp(NOW + 30)
    assert metadata(superseded=(second,)).due == timestamp(NOW + 60)
    assert metadata(superseded=(second,), expires_at=None).due == timestamp(NOW + 90)
    assert metadata(superseded=(first,)).all_bytes == {metadata().key: 5, "k": 1}


def test_many_records_at_once():
    """Reading many records gives the same as reading each; a text that is not exactly one record is an error."""
    ids = [f"{number:032x}" for number in range(3)]
    records = [metadata(artifact_id=one, key=f"grid/box/üser 1/{one}", summary="[{,ü") for one in ids]
    assert ArtifactMetadata.from_jsons([record.to_json() for record in records]) == records
    assert ArtifactMetadata.from_jsons([]) == []
    text = records[0].to_json()
    for damaged in (f"{text},{text}", "1", "", "null"):
        with pytest.raises((ValueError, TypeError)):
            ArtifactMetadata.from_jsons([text, damaged])


def test_record_of_an_earlier_version():
    """A field that an earlier version did not write has its default."""
    fields = json.loads(metadata().to_json())
    del fields["released"], fields["pending"]
    assert ArtifactMetadata.from_json(json.dumps(fields)) == metadata()


KEY = metadata().key
EARLIER = Superseded(KEY, timestamp(NOW), 5, True, 1, 1, "0" * 64, "text/plain", "a.txt", timestamp(NOW))
SOUND = {
    "later": {"key": f"{KEY}~{10**17}", "revision": 2},
    "upload": {"key": f"{KEY}~upload", "revision": 0, "sha256": "", "pending": Pending(timestamp(NOW), True, None)},
    "limited": {"key": f"{KEY}~upload", "revision": 0, "sha256": "", "pending": Pending(timestamp(NOW), False, 5)},
    "superseded": {"key": f"{KEY}~2", "superseded": (Superseded(KEY, timestamp(NOW), 0),)},
    "released": {"released": True},
    "origin": {"key": f"{KEY}~2", "revision": 3, "origin": Origin(2, timestamp(NOW), None)},
    "number": {"origin": Origin(1, timestamp(NOW), 5)},
    "kept": {"key": f"{KEY}~2", "revision": 3, "origin": Origin(2, timestamp(NOW), 5), "superseded": (EARLIER,)},
    "kept without a name": {"key": f"{KEY}~2", "superseded": (EARLIER._replace(filename=None),)},
    "shared key": {"superseded": (EARLIER, EARLIER._replace(key=f"{KEY}~2", revision=2, last=2))},
    "for ever": {"expires_at": None, "ttl": None},
    "whole seconds": {"ttl": 60},
    "no name": {"filename": None},
    "a drive's letter": {"filename": "docs/c:x"},
    "dots": {"filename": "a..b/..c"},
    "a long name": {"filename": "ä" * 512},
    "a tab": {"mime": "text/plain;\tcharset=utf-8"},
    "quotes": {"summary": '"a": "b" \\', "filename": 'a"b', "meta": {'"': '\\"'}},
    "controls": {"summary": "a\nb\0\u2028\ufffe"},
    "astral": {"summary": "\U0001f600", "filename": "\U0001f600", "meta": {"\U0001f600": ["\U0001f600"]}},
    "nested": {"meta": {"a": [{"b": {}}, [], [[1.5]]], "c": {"d": {"e": None}}}},
    "no numbers": {"meta": {"NaN": "Infinity"}},
    "large": {"bytes": 2**63 - 1, "revision": 2**63 - 1},
    "last": {"expires_at": timestamp(253_402_300_799), "ttl": 253_402_300_799.0},
}


@pytest.mark.parametrize("name", SOUND)
def test_valid_record(name):
    """A record that a store may have written is decoded, read separately or together with others."""
    record = metadata(**SOUND[name])
    text = record.to_json()
    plain = metadata()
    assert vars(ArtifactMetadata.from_json(text)) == vars(record)
    found = ArtifactMetadata.from_jsons([plain.to_json(), text, plain.to_json()])
    assert [vars(one) for one in found] == [vars(plain), vars(record), vars(plain)]


def test_a_record_without_metadata_is_neither_decoded_nor_checked_slowly(monkeypatch):
    """Records as most are need no JSON decoder, which takes three times as long."""
    records = [metadata(**WITHOUT_META), metadata(**WITHOUT_META, filename=None, expires_at=None, ttl=None)]
    monkeypatch.setattr(models, "decode", None)
    assert [vars(ArtifactMetadata.from_json(record.to_json())) for record in records] == list(map(vars, records))
    assert list(map(vars, ArtifactMetadata.from_jsons([record.to_json() for record in records]))) == [
        vars(record) for record in records
    ]


@pytest.mark.parametrize("new", ["", '"', "\\", "\n", "\0", "/", "0", "1.0", "Z", "ä", "\u2028", "\ud800", "-", "null"])
def test_a_damaged_record_is_read_as_the_complete_check_reads_it(new):
    """Wherever a character of a plain record is another one, the quick way finds what the complete check finds."""

    def outcome(read):
        try:
            return vars(read(text))
        except (ValueError, TypeError) as error:
            return type(error)

    for record in (metadata(**WITHOUT_META), metadata(**WITHOUT_META, filename=None, expires_at=None, ttl=None)):
        whole = record.to_json()
        for at in range(len(whole)):
            text = whole[:at] + new + whole[at + 1 :]
            if plain_fields(text) is not None:
                assert outcome(ArtifactMetadata.from_json) == outcome(ArtifactMetadata._careful), text


@pytest.mark.parametrize("name", ["kept", "kept without a name", "shared key", "origin"])
def test_a_usual_record_with_earlier_contents_is_quickly_decoded(name, monkeypatch):
    """Earlier contents in the usual form do not need the complete check of a record, which takes far longer."""
    record = metadata(**SOUND[name])
    monkeypatch.setattr(ArtifactMetadata, "_careful", None)
    assert vars(ArtifactMetadata.from_json(record.to_json())) == vars(record)


def damaged(**fields):
    """Return the JSON of a record with fields of any kind."""
    return json.dumps({**json.loads(metadata().to_json()), **fields})


OTHERS = ("signing.key", "catalog.sqlite3", "identity/box/a", "", "grid/box", f"{KEY}/../x", f"{KEY}~", f"{KEY}~02")
OTHER_KEYS = (*OTHERS, KEY.replace("box", "bix"), KEY.replace("üser 1", "bob"), f"{KEY[:-1]}1", f"{KEY}\n", f" {KEY}")
UNTIL = timestamp(NOW)
WEEK, LONG = "2027-W01-1T08:00:00.000000+00:00", "2027-01-15T080000.25000000+00:00"
WRONG = {
    **{name: (None, 1, True, 1.5, [], {}, ["a"]) for name in ("artifact_id", "session_id", "sandbox_id", "key")},
    **{name: (None, 1, True, 1.5, [], {}) for name in ("mime", "summary", "sha256", "stored_at", "updated_at")},
    **{name: (None, 1, True, [], {}) for name in ("storage_provider", "session_provider")},
    **{name: (None, True, 1.0, "1", [], {}, -1, 2**63, 10**400) for name in ("bytes", "revision")},
    "ttl": (True, "1", [], -1, -0.5, 1e300, 10**400),
    "meta": (None, [], "", 1, True),
    "filename": (1, True, [], {}, ["a"]),
    "expires_at": (1, True, [], {}),
    "released": (None, 0, 1, "", "false", [], {}),
}
WRONG_EARLIER = {
    "key": OTHER_KEYS,
    "until": ("", None, 1, "never"),
    "bytes": (-1, True, 1.0, "1", None, 2**63),
    "kept": (None, 0, 1, "", "true"),
    "revision": (0, -1, True, 1.0, "1", None, 2, 2**63),
    "last": (0, -1, True, 1.0, "1", None, 2**63),
    "sha256": ("", None, 1, "0" * 63, "g" * 64),
    "mime": ("", "text", None, 1, "text/html\r\nSet-Cookie: a=b"),
    "filename": ("", "/a", "../x", "a\r\nb", 1, True, []),
    "stored_at": ("", "never", None, 1),
}
FOREIGN = {
    "artifact_id": ("", "0" * 31, "f" * 32, f"{'0' * 31}g", f"{'0' * 31} ", "../x", "A" * 32),
    "session_id": ("", ".", "..", "bob", "a/b", "a\\b", "a\0", "\ud800", "a" * 256),
    "sandbox_id": ("", ".", "..", "bix", "a/b", "\ud800"),
    "key": OTHER_KEYS,
    "mime": ("", "text", "text/html\r\nSet-Cookie: a=b", "text/\0", "text/ä", "text/\u2028", "text/\ud800"),
    "summary": ("\ud800", "a\udfff"),
    "filename": (
        "",
        "/a",
        "\\a",
        "a/",
        "..",
        "../../x",
        "a/../b",
        "C:\\x",
        "a\r\nb",
        "a\0",
        "\x85",
        "a" * 1025,
        "\ud800",
    ),
    "sha256": ("", "0" * 63, "0" * 65, "g" * 64, f"{'0' * 62}  "),
    **dict.fromkeys(
        ("stored_at", "updated_at", "expires_at"),
        ("", "never", "2027-01-15", "2027-13-01T00:00:00.000000+00:00", WEEK, LONG),
    ),
    "superseded": (
        *([[key, UNTIL, 1]] for key in OTHER_KEYS),
        *([[KEY, UNTIL, size]] for size in (-1, True, 1.0, "1", None, 2**63)),
        *([[KEY, until, 1]] for until in ("", None, 1, "never")),
        *("abc", 1, {"a": 1}, ["abc"], [[]], [[KEY, UNTIL]], [[KEY, UNTIL, 1, 1]], [{"a": 1, "b": 2, "c": 3}], [None]),
        *([[*EARLIER[:3], *values]] for values in (EARLIER[3:-1], [*EARLIER[3:], 1])),
        [list(EARLIER._replace(sha256="0" * length)) for length in (63, 65)],
        [list(EARLIER), [*EARLIER, 1]],
        *(
            [list(EARLIER), list(EARLIER._replace(**{name: value}))]
            for name, values in WRONG_EARLIER.items()
            for value in values
        ),
        *([list(EARLIER._replace(**{name: value}))] for name, values in WRONG_EARLIER.items() for value in values),
    ),
    "origin": (
        *("abc", 0, False, {}, [], [1], [1, UNTIL], [1, UNTIL, None, 1], {"a": 1, "b": 2, "c": 3}),
        *([number, UNTIL, None] for number in (-1, True, 1.0, "1", None, 2**63)),
        *([1, moment, None] for moment in ("", "never", None, 5)),
        *([1, UNTIL, number] for number in (-1, True, 1.0, "1", 2**63)),
    ),
    "pending": (
        *("abc", 0, False, {}, [], [UNTIL, True], [UNTIL, True, None, 1], {"a": 1, "b": 2, "c": 3}),
        *(["never", True, None], [None, True, None], [UNTIL, 1, None], [UNTIL, True, -1], [UNTIL, True, True]),
    ),
    "meta": ({"a": "\ud800"}, {"\ud800": 1}),
}


def test_record_without_versions_is_as_short_as_before():
    """A record that has no earlier content, and no number of its own, has nothing about versions in its JSON."""
    assert "origin" not in json.loads(metadata().to_json())


def test_earlier_contents_of_an_earlier_version():
    """The superseded contents that an earlier version wrote, of three values, are read, and written with all."""
    text = damaged(superseded=[[f"{KEY}~2", UNTIL, 7]], key=f"{KEY}~3")
    record = ArtifactMetadata.from_json(text)
    assert record.superseded == (Superseded(f"{KEY}~2", UNTIL, 7),)
    assert record.all_bytes == {f"{KEY}~2": 7, f"{KEY}~3": 5}
    assert ArtifactMetadata.from_json(record.to_json()) == record


def test_due_of_kept_contents():
    """Contents that are kept for good are never due; their bytes count once for each key."""
    kept = EARLIER._replace(until=timestamp(NOW - 90))
    record = metadata(key=f"{KEY}~2", superseded=(kept, kept._replace(revision=3, last=4)), expires_at=None)
    assert record.due is None
    assert record.all_bytes == {KEY: 5, f"{KEY}~2": 5}
    hourly = kept._replace(kept=False, until=timestamp(NOW + 30))
    assert record.changed(superseded=(kept, hourly)).due == timestamp(NOW + 30)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for kind in (WRONG, FOREIGN) for name in kind for value in kind[name]]
)
def test_damaged_record(name, value):
    """A record with a field that no store writes is refused, read separately or together with others."""
    text = damaged(**{name: value})
    with pytest.raises((ValueError, TypeError)):
        ArtifactMetadata.from_json(text)
    compact = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    with pytest.raises((ValueError, TypeError)):
        ArtifactMetadata.from_jsons([metadata().to_json(), compact])


PLAIN = metadata(summary="", meta={}).to_json()
TEXTS = {
    "twice": PLAIN.replace('"bytes":5', '"bytes":5,"bytes":5'),
    "twice and hidden": PLAIN.replace('"bytes":5', '"bytes" :5,"bytes":5,"meta":{}'),
    "twice among others": PLAIN.replace('"meta":{}', '"meta":{"a":1,"a":2}'),
    "twice among escapes": PLAIN.replace('"summary":""', '"summary":"\\\\","summary":"\\\\"'),
    "no number": PLAIN.replace('"ttl":60.0', '"ttl":NaN'),
    "no number in it": PLAIN.replace('"meta":{}', '"meta":{"a":[Infinity]}'),
    "too large": PLAIN.replace('"ttl":60.0', '"ttl":1e999'),
    "too large in it": PLAIN.replace('"meta":{}', '"meta":{"a":-1e999}'),
    "too many digits": PLAIN.replace('"bytes":5', f'"bytes":{"9" * 5000}'),
    "nested": PLAIN.replace('"meta":{}', f'"meta":{{"a":{"[" * 64}{"]" * 64}}}'),
    "nested very deep": PLAIN.replace('"meta":{}', f'"meta":{{"a":{"[" * 100_000}{"]" * 100_000}}}'),
}


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_json(name):
    """JSON that no store writes is refused, read separately or together with others."""
    assert TEXTS[name] != PLAIN
    for texts in ([TEXTS[name]], [PLAIN, TEXTS[name]]):
        with pytest.raises((ValueError, TypeError, RecursionError)):
            ArtifactMetadata.from_jsons(texts)
    with pytest.raises((ValueError, TypeError, RecursionError)):
        ArtifactMetadata.from_json(TEXTS[name])


@pytest.mark.parametrize("number", range(len(FIELDS)))
def test_missing_field(number):
    """A record without a field of the first version is refused."""
    fields = json.loads(PLAIN)
    del fields[FIELDS[number]]
    with pytest.raises(ValueError, match="missing"):
        ArtifactMetadata.from_json(json.dumps(fields))


def test_record_of_a_later_version():
    """A field of a later version is ignored, and does not replace a missing field."""
    found = ArtifactMetadata.from_json(damaged(changed=1, due="x", more={"a": 1}))
    assert found == metadata()
    assert found.changed(bytes=6).bytes == 6
    assert "more" not in vars(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("session_id", value) for value in ("", "..", "a/b", "a\0", 1, None, "\ud800")),
        *(("sandbox_id", value) for value in ("", "..", "a/b", 1, None)),
        *(("user_id", value) for value in (1, True, [], "\ud800")),
        *(("created_at", value) for value in (None, 1, "", "never")),
        *(("expires_at", value) for value in (1, "", "never")),
        *(("custom_metadata", value) for value in (None, [], "a", 1, {"a": "\ud800"})),
        *(("ttl", value) for value in (True, "1", -1, 1e300, 10**400)),
    ],
)
def test_damaged_session(name, value):
    """A session with a field that no store writes is refused."""
    fields = json.loads(session().to_json())
    with pytest.raises((ValueError, TypeError)):
        SessionInfo.from_json(json.dumps({**fields, name: value}))


@pytest.mark.parametrize(
    "custom", ['{"a":1,"a":2}', '{"a":NaN}', '{"a":1e999}', f'{{"a":{"[" * 64}{"]" * 64}}}', f'{{"a":{"[" * 10**5}']
)
def test_damaged_json_of_a_session(custom):
    """JSON that no store writes is not a session."""
    with pytest.raises((ValueError, RecursionError)):
        SessionInfo.from_json(session().to_json().replace('{"a":1}', custom))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"x"', "{}{}", "{} "])
def test_no_json_object(text):
    """A text that is not exactly one JSON object is neither a record nor a session."""
    for kind in (ArtifactMetadata, SessionInfo):
        with pytest.raises((ValueError, TypeError)):
            kind.from_json(text)
