-- The first part is the schema of the published seamless-database 2.1, name for name, so that either
-- server opens the file of the other; but for indices by which nobody searches (see schema.py), which
-- the published server makes again.  The second part is ours; the published server ignores it.

CREATE TABLE IF NOT EXISTS "transformation" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "result" CHAR(64) NOT NULL
);

CREATE TABLE IF NOT EXISTS "rev_transformation" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "result" CHAR(64) NOT NULL,
    "checksum" CHAR(64) NOT NULL
);
CREATE INDEX IF NOT EXISTS "rev_transformation_result" ON "rev_transformation" ("result");

CREATE TABLE IF NOT EXISTS "buffer_info" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "buffer_info" TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS "syntactic_to_semantic" (
    "syntactic" CHAR(64) NOT NULL,
    "celltype" TEXT NOT NULL,
    "subcelltype" TEXT NOT NULL,
    "semantic" CHAR(64) NOT NULL,
    PRIMARY KEY ("syntactic", "celltype", "subcelltype", "semantic")
);
CREATE INDEX IF NOT EXISTS "syntactic_to_semantic_semantic"
    ON "syntactic_to_semantic" ("semantic");

CREATE TABLE IF NOT EXISTS "expression" (
    "input_checksum" CHAR(64) NOT NULL,
    "path" VARCHAR(100) NOT NULL,
    "celltype" VARCHAR(20) NOT NULL,
    "target_celltype" VARCHAR(20) NOT NULL,
    "validator" CHAR(64),
    "validator_language" VARCHAR(20),
    "result" CHAR(64) NOT NULL,
    PRIMARY KEY ("input_checksum", "path", "celltype", "target_celltype")
);
CREATE INDEX IF NOT EXISTS "expression_result" ON "expression" ("result");

CREATE TABLE IF NOT EXISTS "meta_data" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "result" CHAR(64) NOT NULL,
    "metadata" TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS "bucket_probe" (
    "bucket_kind" VARCHAR(20) NOT NULL,
    "label" TEXT NOT NULL,
    "bucket_checksum" CHAR(64) NOT NULL,
    "captured_at" TEXT NOT NULL,
    "freshness_tokens" TEXT NOT NULL,
    PRIMARY KEY ("bucket_kind", "label")
);

CREATE TABLE IF NOT EXISTS "irreproducible_transformation" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "result" CHAR(64) NOT NULL,
    "checksum" CHAR(64) NOT NULL,
    "metadata" TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS "irreproducible_transformation_checksum"
    ON "irreproducible_transformation" ("checksum");

-- Ours.

-- Small buffers and recipes; a recipe's checksum is the checksum of its transformation.
CREATE TABLE IF NOT EXISTS "buffer" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "content" BLOB NOT NULL
);

-- What people want to know about a cached task; "checksum" is its transformation.
-- WITHOUT ROWID: every batch lookup joins this table, and that saves one of its two searches.
CREATE TABLE IF NOT EXISTS "cache_entry" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "result" CHAR(64) NOT NULL,
    "function" TEXT,
    "key_prefix" TEXT,
    "seconds" REAL,
    "nbytes" INTEGER,
    "created" REAL,
    "format" TEXT
) WITHOUT ROWID;

-- When the result of a transformation was last used, in seconds since 1970; where it was told.
CREATE TABLE IF NOT EXISTS "last_use" (
    "checksum" BLOB(32) NOT NULL PRIMARY KEY,
    "at" INTEGER NOT NULL
) WITHOUT ROWID;

-- Which files a computation was seen to read, and their states: a result counts only while they are so.
-- They stay a condition when another program overwrites the result: at worst it is computed again.
CREATE TABLE IF NOT EXISTS "files_read" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "result" CHAR(64) NOT NULL,
    "files" TEXT NOT NULL
);

-- Recipes by function; their texts are in "buffer", "created" is when they were last stored or seen.
CREATE TABLE IF NOT EXISTS "recipe" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "function" TEXT NOT NULL,
    "created" REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "recipe_function" ON "recipe" ("function", "created");

-- What is known about the thing that a checksum names, such as the source of a function; a JSON object.
CREATE TABLE IF NOT EXISTS "note" (
    "checksum" CHAR(64) NOT NULL PRIMARY KEY,
    "document" TEXT NOT NULL
);

-- Early cutoff: "checksum" is a transformation whose inputs are named by their content, "skeleton" the
-- same recipe with its inputs blanked. A row whose result is NULL saw two different results: uncertain.
-- Checksums as bytes: graphs ask for many rows, and this table has a row for every computation.
CREATE TABLE IF NOT EXISTS "cutoff" (
    "skeleton" BLOB(32) NOT NULL,
    "checksum" BLOB(32) NOT NULL,
    "result" BLOB(32),
    "nbytes" INTEGER,
    "seconds" REAL,
    PRIMARY KEY ("skeleton", "checksum")
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "cutoff_result" ON "cutoff" ("result");

-- What running code cost so far; "seconds" and "nbytes" are sums over "runs", "load_seconds" over "loads".
CREATE TABLE IF NOT EXISTS "cost" (
    "code" BLOB(32) NOT NULL PRIMARY KEY,
    "runs" INTEGER NOT NULL,
    "seconds" REAL NOT NULL,
    "nbytes" REAL NOT NULL,
    "load_seconds" REAL NOT NULL,
    "loads" INTEGER NOT NULL
) WITHOUT ROWID;

-- A second, different result of a transformation; the first one stays in force.
CREATE TABLE IF NOT EXISTS "divergence" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "checksum" CHAR(64) NOT NULL,
    "result" CHAR(64) NOT NULL,
    "created" REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS "divergence_checksum" ON "divergence" ("checksum");
