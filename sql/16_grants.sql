-- Who may call what. Nothing is open to PUBLIC but what is named here; each of these functions
-- checks the caller's privileges on the queue's own table, and the views show only what their
-- reader may select.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA queue FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA queue FROM PUBLIC;
GRANT USAGE ON SCHEMA queue TO PUBLIC;
GRANT USAGE ON TYPE queue.job TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    queue.create_queue, queue.alter_queue, queue.drop_queue, queue.pause, queue.resume, queue.purge,
    queue.enqueue, queue.enqueue_many, queue.attach, queue.detach,
    queue.enqueue_from_trigger, queue.enqueue_attached, queue.before_change, queue.needs_check, queue.check_ready, queue.check_moved,
    queue.dequeue, queue.dequeue_as, queue.ack, queue.ack_many, queue.nack, queue.snooze, queue.extend_lease,
    queue.forget_key, queue.pop, queue.pop_as, queue.register_processor, queue.unregister_processor,
    queue.status, queue.result, queue.resubmit, queue.resubmit_all, queue.cancel,
    queue.schedule, queue.unschedule, queue.next_runs, queue.schedule_rows,
    queue.publish, queue.unsubscribe, queue.publish_attached,
    queue.history, queue.cancel_all, queue.reprioritize, queue.reprioritize_all, queue.move, queue.move_all,
    queue.run_now, queue.run_now_all,
    queue.trace, queue.overview_rows, queue.activity_rows, queue.error_rows
    TO PUBLIC;
GRANT EXECUTE ON PROCEDURE queue.wait, queue.run, queue.wait_for, queue.call, queue.resync TO PUBLIC;
GRANT SELECT ON queue.overview, queue.activity, queue.errors, queue.schedules, queue.topics, queue.progress,
    queue.queue_options, queue.registered_processors, queue.attached_tables TO PUBLIC;
