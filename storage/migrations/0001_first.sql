-- The first catalogue: checkpoints, the models that are made of them, and their aliases.
-- Released migrations are never edited: what changes comes in a new file.

-- One row a folder under checkpoints/.
CREATE TABLE checkpoints (
    digest     TEXT PRIMARY KEY CHECK (length(digest) = 64),
    family     TEXT NOT NULL,
    bytes      INTEGER NOT NULL CHECK (bytes > 0),
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A name keeps its row when its last version is deleted: numbers are never given twice.
CREATE TABLE models (
    name         TEXT PRIMARY KEY,
    version_last INTEGER NOT NULL CHECK (version_last >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    model      TEXT NOT NULL REFERENCES models (name),
    version    INTEGER NOT NULL CHECK (version >= 1),
    digest     TEXT NOT NULL REFERENCES checkpoints (digest),
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (model, version),
    UNIQUE (model, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_by_digest ON versions (digest);

-- by_hand = 0 only for a `latest` that follows the newest version.
CREATE TABLE aliases (
    model   TEXT NOT NULL,
    alias   TEXT NOT NULL,
    version INTEGER NOT NULL,
    by_hand INTEGER NOT NULL CHECK (by_hand IN (0, 1)),
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES versions (model, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_version ON aliases (model, version);

-- Shipped checkpoints that were registered once: what was deleted since is not brought back.
CREATE TABLE seeded (
    model  TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (model, digest)
) STRICT, WITHOUT ROWID;

-- Folders under checkpoints/ that are about to come or to go. One that has no row in checkpoints
-- was never acknowledged, or its deletion was: it is removed at the next start.
CREATE TABLE pending (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64)
) STRICT, WITHOUT ROWID;
