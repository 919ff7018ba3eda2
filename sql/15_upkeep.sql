-- What the extension does by itself when tables are dropped or extensions come and go.
CREATE FUNCTION queue.forget_dropped()
RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped oid;
    feeding record;
BEGIN
    FOR dropped IN SELECT d.objid FROM pg_event_trigger_dropped_objects() d
                   WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.object_type = 'table'
    LOOP
        -- Triggers that fed a dropped queue go with it: the tables they are on are to work on.
        FOR feeding IN SELECT t.tgname, t.tgrelid::regclass AS source
                       FROM queue.attachments a
                       JOIN pg_trigger t ON t.tgrelid = a.source AND t.tgparentid = 0
                                        AND t.tgname LIKE 'queue\_ext\_' || a.id || '\_%'
                       WHERE a.queue = dropped
        LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', feeding.tgname, feeding.source);
        END LOOP;
        -- A processor that fed it does not run any more, rather than losing what it returns.
        UPDATE queue.processors SET then_queue = 0 WHERE then_queue = dropped;
        IF FOUND THEN
            PERFORM queue.announce_change();
        END IF;
        DELETE FROM queue.attachments WHERE source = dropped;
        PERFORM queue.forget_queue(dropped);
        DELETE FROM queue.queues WHERE queue = dropped;
        IF FOUND THEN
            PERFORM queue.announce_change();
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION queue.forget_dropped IS 'Event trigger: DROP TABLE of a queue or of an attached table removes what was remembered about it, and the triggers that fed a dropped queue';

CREATE FUNCTION queue.forget_queue(queue oid)
RETURNS void LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'forget_queue_wrapper';
COMMENT ON FUNCTION queue.forget_queue IS 'Deletes what is remembered about a queue whose table was just dropped: attachments, processor, schedules, subscriptions, keys, starts. Errors: 40001 at REPEATABLE READ and above, if something came that the transaction does not see. Who: queue.forget_dropped only';

CREATE FUNCTION queue.announce_change()
RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'announce_change_wrapper';
COMMENT ON FUNCTION queue.announce_change IS 'Tells launcher and scheduler, when the transaction commits, to look at this database again';

CREATE EVENT TRIGGER queue_ext_forget_dropped ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION', 'DROP TYPE')
    EXECUTE FUNCTION queue.forget_dropped();
COMMENT ON EVENT TRIGGER queue_ext_forget_dropped IS 'queue_ext: forgets queues and attachments whose table is dropped';

SELECT queue.announce_change();
