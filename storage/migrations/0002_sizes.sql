-- What a checkpoint will take in memory, known without loading it. 0 = registered before this
-- was noted.
ALTER TABLE checkpoints ADD COLUMN parameters INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN state_width INTEGER NOT NULL DEFAULT 0;
