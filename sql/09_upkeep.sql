-- What the extension does by itself when tables are dropped or extensions come and go.
CREATE FUNCTION queue.forget_dropped()
RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped oid;
BEGIN
    FOR dropped IN SELECT d.objid FROM pg_event_trigger_dropped_objects() d
                   WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.object_type = 'table'
    LOOP
        DELETE FROM queue.attachments WHERE source = dropped;
        DELETE FROM queue.queues WHERE queue = dropped;
        IF FOUND THEN
            PERFORM queue.announce_change();
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION queue.forget_dropped IS 'Event trigger: DROP TABLE of a queue or of an attached table removes what was remembered about it';

CREATE FUNCTION queue.announce_change()
RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'announce_change_wrapper';
COMMENT ON FUNCTION queue.announce_change IS 'Tells launcher and scheduler, when the transaction commits, to look at this database again';

CREATE EVENT TRIGGER queue_ext_forget_dropped ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION', 'DROP TYPE')
    EXECUTE FUNCTION queue.forget_dropped();
COMMENT ON EVENT TRIGGER queue_ext_forget_dropped IS 'queue_ext: forgets queues and attachments whose table is dropped';

SELECT queue.announce_change();
