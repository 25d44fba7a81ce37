DROP TABLE access_version;
DROP TABLE sessions;
DROP TABLE tokens;
