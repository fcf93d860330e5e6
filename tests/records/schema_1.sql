-- The database schema of the first release, with records. Never change it: databases with this schema exist.
CREATE TABLE "schema_version" ("id" INTEGER NOT NULL PRIMARY KEY, "version" INTEGER NOT NULL);
CREATE TABLE "analysis" ("id" INTEGER NOT NULL PRIMARY KEY, "stream_id" VARCHAR(64) NOT NULL, "session_id" VARCHAR(128) NOT NULL, "owner" VARCHAR(64) NOT NULL, "idempotency_key" VARCHAR(255), "fingerprint" VARCHAR(64) NOT NULL, "started_at" INTEGER NOT NULL, "finished_at" INTEGER NOT NULL, "processing_ms" INTEGER NOT NULL, "verdict" VARCHAR(32), "authentic" INTEGER, "rating" INTEGER, "confidence" REAL, "pin_id" TEXT, "pin_name" TEXT, "degraded" TEXT NOT NULL, "missing" TEXT NOT NULL, "error_code" VARCHAR(32));
CREATE TABLE "image" ("sha256" VARCHAR(64) NOT NULL PRIMARY KEY, "size" INTEGER NOT NULL, "path" TEXT NOT NULL);
CREATE TABLE "analysis_image" ("analysis_id" INTEGER NOT NULL, "view" VARCHAR(16) NOT NULL, "image_id" VARCHAR(64) NOT NULL, PRIMARY KEY ("analysis_id", "view"), FOREIGN KEY ("analysis_id") REFERENCES "analysis" ("id"), FOREIGN KEY ("image_id") REFERENCES "image" ("sha256"));
CREATE TABLE "packet" ("analysis_id" INTEGER NOT NULL, "sequence" INTEGER NOT NULL, "body" BLOB NOT NULL, PRIMARY KEY ("analysis_id", "sequence"), FOREIGN KEY ("analysis_id") REFERENCES "analysis" ("id"));
CREATE TABLE "feedback" ("id" INTEGER NOT NULL PRIMARY KEY, "analysis_id" INTEGER NOT NULL, "agreement" VARCHAR(16) NOT NULL, "comment" TEXT NOT NULL, "created_at" INTEGER NOT NULL, FOREIGN KEY ("analysis_id") REFERENCES "analysis" ("id"));
CREATE TABLE "api_key" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(100) NOT NULL, "prefix" VARCHAR(16) NOT NULL, "digest" VARCHAR(64) NOT NULL, "created_at" INTEGER NOT NULL, "revoked_at" INTEGER);
CREATE UNIQUE INDEX "analysis_stream_id" ON "analysis" ("stream_id");
CREATE INDEX "analysis_owner_session_id_fingerprint" ON "analysis" ("owner", "session_id", "fingerprint");
CREATE INDEX "analysis_owner_idempotency_key" ON "analysis" ("owner", "idempotency_key");
CREATE INDEX "analysis_owner_id" ON "analysis" ("owner", "id");
CREATE INDEX "analysisimage_image_id" ON "analysis_image" ("image_id");
CREATE INDEX "feedback_analysis_id" ON "feedback" ("analysis_id");
CREATE UNIQUE INDEX "apikey_digest" ON "api_key" ("digest");
INSERT INTO schema_version VALUES (1, 1);
INSERT INTO analysis (id, stream_id, session_id, owner, idempotency_key, fingerprint, started_at, finished_at,
 processing_ms, verdict, authentic, rating, confidence, pin_id, pin_name, degraded, missing, error_code) VALUES
 (7, 'old-stream', '260101000000', '1', NULL, 'f', 1767225600000, 1767225601500,
  1500, 'authentic', 1, 80, 0.5, 'P1', 'Unconfirmed Fox', '[]', '[]', NULL),
 (8, 'confirmed', '260101000001', '1', 'key', 'g', 1767225600000, 1767225601500,
  1500, 'counterfeit', 0, 12, 0.7, 'P1', 'Confirmed Fox', '[]', '["pricing"]', NULL),
 (9, 'failed', '260101000002', '1', NULL, 'h', 1767225600000, 1767225601500,
  1500, NULL, NULL, NULL, NULL, NULL, NULL, '[]', '[]', 'processing_error');
INSERT INTO packet VALUES (7, 0, CAST('{"old":0}' AS BLOB)), (7, 1, CAST('{"old":1}' AS BLOB));
INSERT INTO image VALUES ('a', 10, 'aa/a.jpg');
INSERT INTO analysis_image VALUES (7, 'front', 'a'), (8, 'front', 'a');
INSERT INTO feedback VALUES (1, 8, 'agree', 'yes', 1767225700000);
INSERT INTO api_key VALUES (1, 'old phone', 'pin_abcd', '0', 1767225700000, NULL);
