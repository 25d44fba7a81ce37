-- Verdicts are copied to a topic. verdict_revision rises with each verdict that is given or taken back; verdict_copied is the last
-- one that lies there.
ALTER TABLE alerts ADD COLUMN verdict_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN verdict_copied BIGINT NOT NULL DEFAULT 0;
UPDATE alerts SET verdict_revision = 1 WHERE id IN (SELECT alert_id FROM verdicts);
CREATE INDEX alerts_uncopied ON alerts (id) WHERE verdict_copied < verdict_revision;
