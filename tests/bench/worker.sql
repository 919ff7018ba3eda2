CREATE TABLE sink (job bigint, recipient text, subject text);
CREATE FUNCTION insert_each(job mail) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.sink VALUES (job.id, job.recipient, job.subject);
END $$;
CALL fill('mail', 100);
CREATE TABLE hundred AS SELECT id, recipient, subject FROM mail;
VACUUM ANALYZE hundred;
