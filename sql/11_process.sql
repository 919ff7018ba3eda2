-- Process jobs, inside the database.
CREATE FUNCTION queue.register_processor(
    queue regclass, processor regprocedure, batch_size integer DEFAULT 100, parallelism integer DEFAULT 1,
    load_balanced boolean DEFAULT true, timeout interval DEFAULT NULL, replace boolean DEFAULT false,
    then_queue regclass DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'register_processor_wrapper';
COMMENT ON FUNCTION queue.register_processor IS
'Background workers now run this function over the jobs of the queue, connected as the caller''s role. processor: f(mail) for one job or f(mail[]) for a batch; it raises to fail; what it returns is the result (kept where the queue keeps done jobs, and for whoever asks: keep_result, queue.call). batch_size (100): most jobs in one transaction. parallelism (1): most workers at once. load_balanced (true): both follow the load within these bounds. timeout (none): longest run of one job. replace: take the place of the registered one. then_queue (none): what the function returns becomes a job of that queue, in the same transaction: as its payload, so that fields (of jsonb or of a composite type) named like its columns fill those; null: nothing follows; a set: one job for each element; f(mail[]): one job for each element of the set or array.
Errors: 42P17 then_queue would lead back to the queue, 42809 not a queue, or no function that can be a processor, 42883 wrong argument type, 42710 one is registered, 42501 not the owner or no EXECUTE, 28000 the role may not log in, 22023 out of range. Who: the owner of the queue.';

CREATE FUNCTION queue.unregister_processor(queue regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'unregister_processor_wrapper';
COMMENT ON FUNCTION queue.unregister_processor IS 'Workers stop taking jobs of the queue; batches under way are finished. Errors: 42704 none registered. Who: the owner of the queue.';

CREATE PROCEDURE queue.run(queue regclass DEFAULT NULL, max_jobs bigint DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'run';
COMMENT ON PROCEDURE queue.run IS 'Runs what is due in this session, batch by batch, each committed: no worker needed. Without a queue: all queues whose processor the caller registered. max_jobs: stop after so many. Errors: 25001 inside a transaction block, 42704 no processor, or what it feeds is gone, 42883 its function is gone, 0A000 at REPEATABLE READ or above a job that coalesces or a queue with a limit, 42501 registered by another role. Who: the role that registered the processor, as the session''s own user. Where a superuser became that by SET SESSION AUTHORIZATION, processors run in a security-restricted operation, which refuses SET ROLE, temporary tables and deferred triggers (42501).';

CREATE FUNCTION queue.start_workers()
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'start_workers_wrapper';
COMMENT ON FUNCTION queue.start_workers IS 'Starts the scheduler of this database, which starts its workers: for a server without queue_ext in shared_preload_libraries (they end with the server), or after stop_workers. False when it runs already. Errors: 53000 no free worker slot; 55000 queue_ext.databases leaves this database out; 25006 on a standby. Who: superusers, and whom they grant EXECUTE.';

CREATE FUNCTION queue.stop_workers()
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'stop_workers_wrapper';
COMMENT ON FUNCTION queue.stop_workers IS 'Stops the scheduler and workers of this database: batches under way are rolled back and their jobs stay on the queue. With preload they stay stopped until start_workers or a restart of the server. False when none ran. Who: superusers, and whom they grant EXECUTE.';
