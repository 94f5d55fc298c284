-- What is known of the database itself. data_key: a sealed check value.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
