BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'catalogue','2026-11-25 02:34:14',1,X'619BA56DBF6B2DD1A33DC0FF7A2FC8416AB432446CBB878B592DF3F516695AD4E612C1D2648B75ABD8DEFA5251DF5D7C',1197495);
CREATE TABLE alerts (
    id          TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    title       TEXT NOT NULL,
    level       TEXT NOT NULL,
    state       TEXT NOT NULL,
    grouped_by  TEXT NOT NULL,
    first_ns    BIGINT NOT NULL,
    last_ns     BIGINT NOT NULL,
    occurrences BIGINT NOT NULL,
    evidence    TEXT NOT NULL,
    resolved_ns BIGINT
);
INSERT INTO "alerts" VALUES('brute','f','ssh-brute-force','Many failed logins','high','firing','{}',1000000000,2000000000,40,'[]',NULL);
CREATE TABLE documents (
    kind         TEXT NOT NULL,
    document_key TEXT NOT NULL,
    version      BIGINT NOT NULL,
    body         TEXT NOT NULL,
    updated_ns   BIGINT NOT NULL,
    PRIMARY KEY (kind, document_key)
);
INSERT INTO "documents" VALUES('rule','window',1,'{}',1090000000000);
CREATE TABLE nodes (
    id      TEXT NOT NULL PRIMARY KEY,
    role    TEXT NOT NULL,
    address TEXT,
    version TEXT NOT NULL,
    seen_ns BIGINT NOT NULL
);
INSERT INTO "nodes" VALUES('indexer/host/7702','indexer',NULL,'0.1.0',1000000000000);
CREATE TABLE notifications (
    id            TEXT NOT NULL PRIMARY KEY,
    alert_id      TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    receiver      TEXT NOT NULL,
    body          TEXT NOT NULL,
    created_ns    BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    not_before_ns BIGINT NOT NULL,
    settled_ns    BIGINT,
    problem       TEXT
);
CREATE TABLE partition_history (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    topic_id       TEXT NOT NULL,
    next_offset    BIGINT,
    owner_epoch    BIGINT NOT NULL,
    retired_ns     BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, owner_epoch)
);
CREATE TABLE partitions (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    topic_id       TEXT,
    next_offset    BIGINT,
    owner_epoch    BIGINT NOT NULL,
    owner          TEXT NOT NULL,
    acquired_ns    BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
);
INSERT INTO "partitions" VALUES('indexer','millrace.logs',0,NULL,40,1,'indexer/host/7702',1000000000000);
INSERT INTO "partitions" VALUES('indexer','millrace.logs',1,NULL,40,1,'indexer/host/7702',1000000000000);
CREATE TABLE shards (
    id             TEXT NOT NULL PRIMARY KEY,
    consumer_group TEXT NOT NULL,
    stream         TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    first_ns       BIGINT NOT NULL,
    last_ns        BIGINT NOT NULL,
    records        BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    sha256         TEXT NOT NULL,
    bundle_key     TEXT NOT NULL,
    offsets        TEXT NOT NULL,
    created_ns     BIGINT NOT NULL,
    published_ns   BIGINT NOT NULL,
    expired_ns     BIGINT
);
INSERT INTO "shards" VALUES('000000000000000000000000000000a0','indexer','logs',1,1000000000,1900000000,10,4096,'a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0','logs/000000000000000000000000000000a0.shard','[{"topic":"millrace.logs","topic_id":null,"partition":0,"from":0,"to":10}]',2400000000,1030000000000,1090000000000);
INSERT INTO "shards" VALUES('000000000000000000000000000000b0','indexer','logs',1,1000000000,1900000000,10,4096,'b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0','logs/000000000000000000000000000000b0.shard','[{"topic":"millrace.logs","topic_id":null,"partition":1,"from":0,"to":10}]',2400000000,1030000000000,1090000000000);
INSERT INTO "shards" VALUES('000000000000000000000000000000a1','indexer','logs',1,2000000000,2900000000,15,4096,'a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1','logs/000000000000000000000000000000a1.shard','[{"topic":"millrace.logs","topic_id":null,"partition":0,"from":10,"to":25}]',3400000000,1060000000000,NULL);
INSERT INTO "shards" VALUES('000000000000000000000000000000b1','indexer','logs',1,2000000000,2900000000,15,4096,'b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1','logs/000000000000000000000000000000b1.shard','[{"topic":"millrace.logs","topic_id":null,"partition":1,"from":10,"to":25}]',3400000000,1060000000000,NULL);
INSERT INTO "shards" VALUES('000000000000000000000000000000a2','indexer','logs',1,3000000000,3900000000,15,4096,'a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2','logs/000000000000000000000000000000a2.shard','[{"topic":"millrace.logs","topic_id":null,"partition":0,"from":25,"to":40}]',4400000000,1090000000000,NULL);
INSERT INTO "shards" VALUES('000000000000000000000000000000b2','indexer','logs',1,3000000000,3900000000,15,4096,'b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2','logs/000000000000000000000000000000b2.shard','[{"topic":"millrace.logs","topic_id":null,"partition":1,"from":25,"to":40}]',4400000000,1090000000000,NULL);
CREATE TABLE sources (
    consumer_group TEXT NOT NULL,
    id             TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    version        BIGINT NOT NULL,
    closed         BOOLEAN NOT NULL,
    kind           TEXT,
    path           TEXT,
    host           TEXT,
    state          TEXT NOT NULL,
    updated_ns     BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, id)
);
INSERT INTO "sources" VALUES('indexer','00000000000000000000000000000007','millrace.logs',0,3,0,'file','/var/log/app.log','web1','{"stream":"logs","sender":null,"open":{"kind":"file","path":"/var/log/app.log","host":"web1","start":0},"close":null,"covered":[{"start":0,"end":4000}],"recent":[],"records":40,"skipped":{},"duplicate_bytes":0,"reframed":0,"stray_of":null,"strays":[]}',1090000000000);
CREATE TABLE trail (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    sequence       BIGINT NOT NULL,
    entry          TEXT NOT NULL,
    hash           TEXT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, sequence)
);
INSERT INTO "trail" VALUES('indexer','millrace.logs',0,1,'{"group":"indexer","topic":"millrace.logs","partition":0,"sequence":1,"at":"1970-01-01T00:17:10.000000000Z","event":{"kind":"published","epoch":1,"from":null,"to":10,"shards":[{"id":"000000000000000000000000000000a0","sha256":"a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0","records":10}]}}','a9172aa2e1929dcb7557544f950d3a6e7ad3738544d71f9359f1a71471a0e3bd');
INSERT INTO "trail" VALUES('indexer','millrace.logs',1,1,'{"group":"indexer","topic":"millrace.logs","partition":1,"sequence":1,"at":"1970-01-01T00:17:10.000000000Z","event":{"kind":"published","epoch":1,"from":null,"to":10,"shards":[{"id":"000000000000000000000000000000b0","sha256":"b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0","records":10}]}}','dd3600ca9626f64dce66b64776ccf95be7a074bf7873a93c02d892b80a34b4f5');
INSERT INTO "trail" VALUES('indexer','millrace.logs',0,2,'{"group":"indexer","topic":"millrace.logs","partition":0,"sequence":2,"at":"1970-01-01T00:17:40.000000000Z","event":{"kind":"published","epoch":1,"from":10,"to":25,"shards":[{"id":"000000000000000000000000000000a1","sha256":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","records":15}]}}','7db053786e30c893689a34b102492a327b67dd9e1d6d20ca99aaff39868bf173');
INSERT INTO "trail" VALUES('indexer','millrace.logs',1,2,'{"group":"indexer","topic":"millrace.logs","partition":1,"sequence":2,"at":"1970-01-01T00:17:40.000000000Z","event":{"kind":"published","epoch":1,"from":10,"to":25,"shards":[{"id":"000000000000000000000000000000b1","sha256":"b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1","records":15}]}}','bd20a5deb60e22d732fab4c6301249767e9865dd73427a64d1c1e7ad6092a73c');
INSERT INTO "trail" VALUES('indexer','millrace.logs',0,3,'{"group":"indexer","topic":"millrace.logs","partition":0,"sequence":3,"at":"1970-01-01T00:18:10.000000000Z","event":{"kind":"published","epoch":1,"from":25,"to":40,"shards":[{"id":"000000000000000000000000000000a2","sha256":"a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2","records":15}]}}','3af5a7e5f15a0ac5326b72c4f90451e3df42345f1381c2066a822e6378c63321');
INSERT INTO "trail" VALUES('indexer','millrace.logs',1,3,'{"group":"indexer","topic":"millrace.logs","partition":1,"sequence":3,"at":"1970-01-01T00:18:10.000000000Z","event":{"kind":"published","epoch":1,"from":25,"to":40,"shards":[{"id":"000000000000000000000000000000b2","sha256":"b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2","records":15}]}}','36159fbc38c54ce6eba1b0a26839da2d5cb5160269b88cac3e7551c16103d8b3');
INSERT INTO "trail" VALUES('indexer','millrace.logs',0,4,'{"group":"indexer","topic":"millrace.logs","partition":0,"sequence":4,"at":"1970-01-01T00:18:10.000000000Z","event":{"kind":"expired","stream":"logs","older_than":"1970-01-01T00:00:01.950000000Z","shards":["000000000000000000000000000000a0"]}}','d1bb59a66916d342c2dedc76e3d9d2151f623520647b4db93308debf06c00a4b');
INSERT INTO "trail" VALUES('indexer','millrace.logs',1,4,'{"group":"indexer","topic":"millrace.logs","partition":1,"sequence":4,"at":"1970-01-01T00:18:10.000000000Z","event":{"kind":"expired","stream":"logs","older_than":"1970-01-01T00:00:01.950000000Z","shards":["000000000000000000000000000000b0"]}}','19c545db877bc187f0d0ac7194eb1babad88eca80bfd2eec7aa098066a6fc513');
CREATE INDEX shards_live ON shards (consumer_group, last_ns) WHERE expired_ns IS NULL;
CREATE INDEX shards_expired ON shards (expired_ns) WHERE expired_ns IS NOT NULL;
CREATE INDEX alerts_by_state ON alerts (state, last_ns);
CREATE INDEX notifications_due ON notifications (created_ns, id) WHERE settled_ns IS NULL;
CREATE INDEX notifications_by_alert ON notifications (alert_id);
COMMIT;
