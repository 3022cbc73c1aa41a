BEGIN TRANSACTION;
CREATE TABLE artifacts (
    artifact_id TEXT PRIMARY KEY,
    sandbox_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    expires_at TEXT,
    due TEXT,
    record TEXT NOT NULL
);
INSERT INTO "artifacts" VALUES('90d8a398000000000000000000000001','box','alice','f1',10,1,'2027-01-16T08:00:00.000000+00:00','2027-01-16T08:00:00.000000+00:00','{"artifact_id":"90d8a398000000000000000000000001","session_id":"alice","sandbox_id":"box","key":"grid/box/alice/90d8a398000000000000000000000001","mime":"text/plain","summary":"","meta":{"tag":"q3"},"filename":"f1","bytes":10,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","stored_at":"2027-01-15T08:00:00.000000+00:00","updated_at":"2027-01-15T08:00:00.000000+00:00","expires_at":"2027-01-16T08:00:00.000000+00:00","ttl":86400.0,"revision":1,"storage_provider":"memory","session_provider":"sqlite","superseded":[],"released":false,"pending":null}');
INSERT INTO "artifacts" VALUES('90d8a398000000000000000000000002','box','alice','f2',7,2,'2027-01-16T08:00:00.000000+00:00','2027-01-15T09:00:00.000000+00:00','{"artifact_id":"90d8a398000000000000000000000002","session_id":"alice","sandbox_id":"box","key":"grid/box/alice/90d8a398000000000000000000000002","mime":"image/png","summary":"","meta":{},"filename":"f2","bytes":7,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","stored_at":"2027-01-15T08:00:00.000000+00:00","updated_at":"2027-01-15T08:00:00.000000+00:00","expires_at":"2027-01-16T08:00:00.000000+00:00","ttl":86400.0,"revision":2,"storage_provider":"memory","session_provider":"sqlite","superseded":[["grid/box/alice/90d8a398000000000000000000000002~22","2027-01-15T09:00:00.000000+00:00",20]],"released":false,"pending":null}');
INSERT INTO "artifacts" VALUES('90d8a398000000000000000000000003','box','alice','f3',100,2,'2027-01-15T08:01:00.000000+00:00','2027-01-15T09:01:00.000000+00:00','{"artifact_id":"90d8a398000000000000000000000003","session_id":"alice","sandbox_id":"box","key":"grid/box/alice/90d8a398000000000000000000000003","mime":"text/plain","summary":"","meta":{},"filename":"f3","bytes":100,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","stored_at":"2027-01-15T08:00:00.000000+00:00","updated_at":"2027-01-15T08:00:00.000000+00:00","expires_at":"2027-01-15T08:01:00.000000+00:00","ttl":60.0,"revision":2,"storage_provider":"memory","session_provider":"sqlite","superseded":[],"released":true,"pending":null}');
INSERT INTO "artifacts" VALUES('90d8a398000000000000000000000004','box','alice','f4',0,0,'2027-01-16T08:00:00.000000+00:00','2027-01-15T08:01:00.000000+00:00','{"artifact_id":"90d8a398000000000000000000000004","session_id":"alice","sandbox_id":"box","key":"grid/box/alice/90d8a398000000000000000000000004~upload","mime":"text/plain","summary":"","meta":{},"filename":"f4","bytes":0,"sha256":"","stored_at":"2027-01-15T08:00:00.000000+00:00","updated_at":"2027-01-15T08:00:00.000000+00:00","expires_at":"2027-01-16T08:00:00.000000+00:00","ttl":86400.0,"revision":0,"storage_provider":"memory","session_provider":"sqlite","superseded":[],"released":false,"pending":["2027-01-15T08:01:00.000000+00:00",true,null]}');
INSERT INTO "artifacts" VALUES('16fc3eee000000000000000000000005','box','bob','f5',1099511627776,1,NULL,NULL,'{"artifact_id":"16fc3eee000000000000000000000005","session_id":"bob","sandbox_id":"box","key":"grid/box/bob/16fc3eee000000000000000000000005","mime":"text/plain","summary":"","meta":{},"filename":"f5","bytes":1099511627776,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","stored_at":"2027-01-15T08:00:00.000000+00:00","updated_at":"2027-01-15T08:00:00.000000+00:00","expires_at":null,"ttl":null,"revision":1,"storage_provider":"memory","session_provider":"sqlite","superseded":[],"released":false,"pending":null}');
INSERT INTO "artifacts" VALUES('99d5da83000000000000000000000006','box','carol','f6',3,1,NULL,NULL,'{"artifact_id":"99d5da83000000000000000000000006","session_id":"carol","sandbox_id":"box","key":"grid/box/carol/99d5da83000000000000000000000006","mime":"text/plain","summary":"","meta":{},"filename":"f6","bytes":3,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","stored_at":"2027-01-15T08:00:00.000000+00:00","updated_at":"2027-01-15T08:00:00.000000+00:00","expires_at":null,"ttl":null,"revision":1,"storage_provider":"memory","session_provider":"sqlite","superseded":[],"released":false,"pending":null}');
CREATE TABLE identities (sandbox_id TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID
;
INSERT INTO "identities" VALUES('box','iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii');
CREATE TABLE sessions (
    sandbox_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    custom_metadata TEXT NOT NULL,
    ttl REAL,
    PRIMARY KEY (sandbox_id, session_id)
) WITHOUT ROWID;
INSERT INTO "sessions" VALUES('box','alice','ann','2027-01-15T08:00:00.000000+00:00','2027-01-16T08:00:00.000000+00:00','{}',86400.0);
INSERT INTO "sessions" VALUES('box','bob','ben','2027-01-15T08:00:00.000000+00:00',NULL,'{}',NULL);
INSERT INTO "sessions" VALUES('box','carol','ann','2027-01-15T08:00:00.000000+00:00',NULL,'{}',86400.0);
INSERT INTO "sessions" VALUES('box','empty','ann','2027-01-15T08:00:00.000000+00:00',NULL,'{}',NULL);
CREATE INDEX artifacts_by_place ON artifacts (sandbox_id, session_id, filename, artifact_id);
CREATE INDEX artifacts_by_due ON artifacts (sandbox_id, due) WHERE due IS NOT NULL;
CREATE INDEX sessions_by_expiry ON sessions (sandbox_id, expires_at) WHERE expires_at IS NOT NULL;
COMMIT;
PRAGMA user_version = 1;
