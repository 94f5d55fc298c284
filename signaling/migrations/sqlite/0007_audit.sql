-- A hash tree per project, and one for the operator (RFC 9162 section 2.1; leaves in the order of seq
-- from 0). What could tell of somebody stands in audit_openings, which can be erased: leaves hold a
-- salted commitment to it.
CREATE TABLE audit_trees (
    tree TEXT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL
);

CREATE TABLE audit_entries (
    tree TEXT NOT NULL REFERENCES audit_trees (tree),
    seq BIGINT NOT NULL,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    commitment BLOB NOT NULL,
    PRIMARY KEY (tree, seq)
);

-- before, after: salted digests of the object's state.
CREATE TABLE audit_openings (
    tree TEXT NOT NULL,
    seq BIGINT NOT NULL,
    salt BLOB NOT NULL,
    object TEXT NOT NULL,
    before BLOB,
    after BLOB,
    PRIMARY KEY (tree, seq),
    FOREIGN KEY (tree, seq) REFERENCES audit_entries (tree, seq)
);
CREATE INDEX audit_openings_object ON audit_openings (tree, object);

-- Roots of complete subtrees of 2^level leaves, the idx-th of their level.
CREATE TABLE audit_nodes (
    tree TEXT NOT NULL,
    level BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tree, level, idx)
);

-- note: a signed note (C2SP tlog-checkpoint).
CREATE TABLE audit_checkpoints (
    tree TEXT NOT NULL,
    size BIGINT NOT NULL,
    time BIGINT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (tree, size)
);

-- What signs checkpoints; private_key: PKCS #8, sealed.
CREATE TABLE audit_keys (
    id TEXT NOT NULL PRIMARY KEY,
    private_key BLOB NOT NULL,
    public_key BLOB NOT NULL,
    created_at BIGINT NOT NULL
);
