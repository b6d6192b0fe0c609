-- Each table holds one kind of resource: the columns that the database must know to keep names unique and to refuse
-- the removal of what is in use, and the resource itself as JSON.

CREATE TABLE kernels (
	id   TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	doc  TEXT NOT NULL CHECK (json_valid(doc))
) STRICT;

CREATE TABLE images (
	id     TEXT PRIMARY KEY,
	name   TEXT NOT NULL UNIQUE,
	kernel TEXT NOT NULL, -- a name, perhaps of a kernel yet to be pulled; '': the configured default
	doc    TEXT NOT NULL CHECK (json_valid(doc))
) STRICT;

CREATE TABLE vms (
	id        TEXT PRIMARY KEY,
	name      TEXT NOT NULL UNIQUE,
	image_id  TEXT NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
	kernel_id TEXT NOT NULL REFERENCES kernels (id) ON DELETE RESTRICT,
	doc       TEXT NOT NULL CHECK (json_valid(doc))
) STRICT;

-- A foreign key's child columns are searched whenever a parent row is deleted.
CREATE INDEX vms_image ON vms (image_id);
CREATE INDEX vms_kernel ON vms (kernel_id);
