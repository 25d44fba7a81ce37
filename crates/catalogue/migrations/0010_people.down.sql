-- What people did with alerts is forgotten; alerts and what is still to be sent stay.
DROP INDEX notifications_settled;
DROP INDEX notifications_waiting;
ALTER TABLE notifications DROP COLUMN sequence;
ALTER TABLE notifications DROP COLUMN about;
DROP TABLE verdicts;
DROP INDEX alerts_unrecorded;
DROP INDEX alerts_open;
ALTER TABLE alerts DROP COLUMN recorded;
ALTER TABLE alerts DROP COLUMN revision;
ALTER TABLE alerts DROP COLUMN is_open;
ALTER TABLE alerts DROP COLUMN closed_ns;
ALTER TABLE alerts DROP COLUMN triage;
ALTER TABLE alerts DROP COLUMN marks;
