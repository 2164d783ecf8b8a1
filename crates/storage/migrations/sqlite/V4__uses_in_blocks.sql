-- Uses of sessions as they come. What was last known of a session is the latest of what stands here, what stands in its block
-- below, and its issue.
CREATE TABLE session_use_log (
    id   INTEGER PRIMARY KEY,
    -- For each use the number of the session and a time, of eight bytes each, the highest first.
    uses BLOB NOT NULL CHECK (length(uses) % 16 = 0)
) STRICT;

-- The last uses of sessions, 128 to a row, as far as they have been brought here from the log: in the order of the sessions'
-- numbers, so that a row is written once for many of them. Three rows stand on one page. A row is made with the first use of
-- one of its sessions, and goes with the last of them.
CREATE TABLE session_use_block (
    -- The numbers of its sessions divided by 128.
    block        INTEGER PRIMARY KEY,
    -- For each of these numbers, in their order, a time of eight bytes, the highest first; 0 where there was no use since
    -- the session was issued.
    last_used_at BLOB NOT NULL CHECK (length(last_used_at) = 1024)
) STRICT;

WITH RECURSIVE place (place) AS (SELECT 0 UNION ALL SELECT place + 1 FROM place WHERE place < 127)
INSERT INTO session_use_block (block, last_used_at)
SELECT block, (SELECT unhex(group_concat(printf('%016X', coalesce(last_used_at, 0)), '' ORDER BY place))
               FROM place LEFT JOIN session_use ON number = block * 128 + place)
FROM (SELECT DISTINCT number / 128 AS block FROM session JOIN session_use USING (number)
      WHERE last_used_at > issued_at);
DROP TABLE session_use;
