ALTER TABLE processed DROP CONSTRAINT not_under_audit;

SELECT queue.resubmit_all('history_work');
