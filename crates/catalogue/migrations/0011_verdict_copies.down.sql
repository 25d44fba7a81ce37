-- Which verdicts were copied is forgotten; all of them are copied again by a later version.
DROP INDEX alerts_uncopied;
ALTER TABLE alerts DROP COLUMN verdict_copied;
ALTER TABLE alerts DROP COLUMN verdict_revision;
