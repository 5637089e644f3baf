-- Sessions that outlive the daemon. A row is replaced as a whole by each change of its session;
-- what the blobs mean is the daemon's affair, each ends in the CRC-32C of what is before.
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY CHECK (length(id) = 32),
    digest     TEXT NOT NULL CHECK (length(digest) = 64), -- of its checkpoint, which may be gone
    request_id TEXT NOT NULL,                             -- that opened it, or ''
    step_id    INTEGER NOT NULL,                          -- committed
    opened_ms  INTEGER NOT NULL,                          -- Unix time
    expires_ms INTEGER NOT NULL,                          -- Unix time
    about      BLOB NOT NULL,                             -- what it was opened with
    state      BLOB NOT NULL,                             -- its rows
    reply      BLOB NOT NULL                              -- of the committed step id
) STRICT;
