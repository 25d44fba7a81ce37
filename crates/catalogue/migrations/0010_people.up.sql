-- What people do with alerts, what is found out when they are to be told of one, and what a notification is about.

-- marks and triage are JSON: why nobody is told, and what people did. is_open: somebody may still have to be told of it.
-- revision rises with each change that history tells of; recorded is the last one that lies in the stream of alerts.
ALTER TABLE alerts ADD COLUMN marks TEXT NOT NULL DEFAULT '{}';
ALTER TABLE alerts ADD COLUMN triage TEXT NOT NULL DEFAULT '{}';
ALTER TABLE alerts ADD COLUMN closed_ns BIGINT;
ALTER TABLE alerts ADD COLUMN is_open BIGINT NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE alerts ADD COLUMN recorded BIGINT NOT NULL DEFAULT 0;
UPDATE alerts SET recorded = 1;
UPDATE alerts SET is_open = 1 WHERE state <> 'resolved';
CREATE INDEX alerts_open ON alerts (id) WHERE is_open = 1;
CREATE INDEX alerts_unrecorded ON alerts (id) WHERE recorded < revision;

-- What somebody found an alert to be. grouped_by is the alert's; expires_ns NULL: without an end.
CREATE TABLE verdicts (
    alert_id    TEXT NOT NULL PRIMARY KEY REFERENCES alerts (id) ON DELETE CASCADE,
    rule_id     TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    grouped_by  TEXT NOT NULL,
    verdict     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    scope       TEXT NOT NULL,
    expires_ns  BIGINT,
    given_ns    BIGINT NOT NULL,
    given_by    TEXT NOT NULL
);
CREATE INDEX verdicts_by_kind ON verdicts (verdict, rule_id);

-- Those of one receiver about one thing go in the order of their numbers.
ALTER TABLE notifications ADD COLUMN about TEXT NOT NULL DEFAULT '';
ALTER TABLE notifications ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
CREATE INDEX notifications_waiting ON notifications (receiver, about, sequence) WHERE settled_ns IS NULL;
CREATE INDEX notifications_settled ON notifications (settled_ns) WHERE settled_ns IS NOT NULL;
