-- Documents that clients write, change and delete one by one, in collections.

-- next_sequence is the number of the collection's next change; documents and bytes are what lies in it.
CREATE TABLE collections (
    name          TEXT NOT NULL PRIMARY KEY,
    next_sequence BIGINT NOT NULL,
    documents     BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    created_ns    BIGINT NOT NULL
);

-- version rises by one with each change of the document, sequence is the number of the last one.
CREATE TABLE collection_documents (
    collection TEXT NOT NULL,
    id         TEXT NOT NULL,
    version    BIGINT NOT NULL,
    sequence   BIGINT NOT NULL,
    body       TEXT NOT NULL,
    bytes      BIGINT NOT NULL,
    written_ns BIGINT NOT NULL,
    PRIMARY KEY (collection, id)
);
CREATE INDEX collection_changes ON collection_documents (collection, sequence);
