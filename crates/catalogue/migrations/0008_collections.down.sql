DROP TABLE collection_documents;
DROP TABLE collections;
