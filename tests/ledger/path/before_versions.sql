-- A SQLite ledger as the first Hansoms wrote it: no version, and none of what 0002 adds.
BEGIN TRANSACTION;
CREATE TABLE ledger_lines (
	seq INTEGER NOT NULL, 
	call_id TEXT NOT NULL, 
	request_id TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	tenant TEXT NOT NULL, 
	endpoint TEXT NOT NULL, 
	requested TEXT NOT NULL, 
	tier TEXT NOT NULL, 
	model TEXT NOT NULL, 
	route_code TEXT NOT NULL, 
	difficulty DOUBLE, 
	router_version TEXT NOT NULL, 
	price_version TEXT NOT NULL, 
	fresh_input_tokens BIGINT NOT NULL, 
	cached_input_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	cost_usd_micros BIGINT NOT NULL, 
	saved_usd_micros BIGINT NOT NULL, 
	stream BOOLEAN NOT NULL, 
	queue_s DOUBLE, 
	ttft_s DOUBLE, 
	tpot_s DOUBLE, 
	total_s DOUBLE NOT NULL, 
	outcome TEXT NOT NULL, 
	error_code TEXT, 
	cache TEXT NOT NULL, 
	created_s DOUBLE NOT NULL, 
	estimated_tokens BOOLEAN NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (call_id, attempt)
);
INSERT INTO "ledger_lines" VALUES(1,'c1','r1',0,'answer','acme','chat/completions','auto','small','qwen','',NULL,'','',100,20,30,10,40,0,NULL,NULL,NULL,1.5,'success',NULL,'miss',1700000000.0,0);
INSERT INTO "ledger_lines" VALUES(2,'c1','r1',1,'retry','acme','chat/completions','auto','small','qwen','',0.5,'','',100,20,30,10,40,0,NULL,0.25,NULL,1.5,'error','engine_unreachable','miss',1700000000.0,0);
INSERT INTO "ledger_lines" VALUES(3,'cit''s','rit''s',0,'answer','acme','chat/completions','auto','small','qwen','',NULL,'','',100,20,30,1152921504606846976,40,1,NULL,NULL,NULL,1.5,'success',NULL,'miss',1700000000.0,1);
CREATE INDEX ix_ledger_lines_request_id ON ledger_lines (request_id);
CREATE INDEX ix_ledger_lines_created_s ON ledger_lines (created_s);
COMMIT;
