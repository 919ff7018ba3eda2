//! Every error this extension raises by itself, with its SQLSTATE and, where there is a remedy, a hint.

use crate::pg::failure::Failure;
use crate::queue::limits::OutOfRange;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::ErrorReport;

/// What went wrong. Converted to a Postgres error at the edge, in one place.
#[derive(Debug)]
pub enum Error {
    /// The relation exists but was not made by `create_queue`.
    NotAQueue(String),
    /// A column that every queue has was dropped or changed.
    HeaderChanged {
        queue: String,
        column: String,
        definition: String,
    },
    /// The table was changed while the statement waited for it.
    ChangedMeanwhile(String),
    /// Attaching would lend the caller's rights to the source's owner.
    AttachRights {
        source: String,
        role: String,
    },
    /// An argument that may not be null is.
    NullArgument(&'static str),
    /// A column of one's own with the name of one that every queue has.
    ColumnOfEveryQueue(String),
    /// A unique constraint over jobs in all states.
    UniqueColumn(Failure),
    /// An argument is outside its range; the text says what it must be.
    OutOfRange(String),
    /// Arrays that belong together differ in length or shape.
    ArrayMismatch(String),
    /// A name is taken or reserved.
    ReservedSchema,
    /// The caller lacks a privilege on the queue's table.
    Privilege {
        table: String,
        needs: &'static str,
    },
    /// The caller may not do what only an owner may.
    NotOwner(String),
    /// An id that the queue's sequence never reached.
    NeverIssued {
        queue: String,
        id: i64,
    },
    /// A job that waits for others of its queue cannot leave it.
    WaitsForOthers {
        queue: String,
        id: i64,
    },
    /// A job would wait for one that does not come before it.
    AfterNotBefore {
        queue: String,
        id: i64,
        after: i64,
    },
    /// `on_conflict => 'error'`, and a job with the key waits.
    KeyTaken {
        queue: String,
        key: String,
        id: i64,
    },
    /// The same, and one with the key was done. `call`: what allows it again.
    KeyDone {
        queue: String,
        key: String,
        id: i64,
        until: String,
        call: String,
    },
    /// A job may stand for work that this transaction does not see.
    StaleView(String),
    /// What runs cannot be counted in this transaction.
    StaleCount(String),
    /// The attempt is the last that can be counted.
    NoAttemptLeft {
        queue: String,
        id: i64,
    },
    /// The payload is larger than `queue_ext.max_payload`.
    PayloadTooLarge {
        bytes: usize,
        limit: usize,
    },
    /// A typed queue needs an object to take its columns from.
    PayloadNotObject(String),
    /// The processor does not take what the queue holds.
    ProcessorSignature {
        processor: String,
        wants: String,
    },
    /// A procedure, an aggregate or a set-returning function was offered as processor.
    ProcessorKind {
        processor: String,
        reason: &'static str,
        hint: &'static str,
    },
    /// The role may not execute the function.
    ProcessorPrivilege {
        processor: String,
        role: String,
    },
    /// Before Postgres 17 a background worker cannot connect as a NOLOGIN role.
    RoleCannotLogin(String),
    AlreadyRegistered(String),
    NotRegistered(String),
    /// Only the role that registered a processor runs it.
    OtherRole {
        queue: String,
        role: String,
    },
    /// `target`: the queue or the topic, with its kind.
    AlreadyAttached {
        source: String,
        target: String,
    },
    NotAttached {
        source: String,
        target: String,
    },
    /// Only plain and partitioned tables have the triggers that attach needs.
    NotATable(String),
    UnknownColumn {
        column: String,
        relation: String,
        hint: String,
    },
    /// An option of attach or of a trigger's argument list is malformed.
    BadOption {
        message: String,
        hint: String,
    },
    /// A SQL expression given by the user does not parse or does not fit; carries the cause's SQLSTATE.
    BadExpression {
        what: String,
        cause: String,
        sqlstate: i32,
        /// Another one than to qualify names.
        hint: Option<&'static str>,
    },
    /// A condition is of this type.
    NotBoolean(String),
    /// A text that should be one statement or one expression is something else.
    NotOneExpression(String),
    /// `drop_queue` would lose running jobs.
    JobsRunning {
        queue: String,
        count: i64,
    },
    /// `drop_queue` would leave triggers that feed nothing.
    StillAttached {
        queue: String,
        sources: String,
    },
    /// `drop_queue` could not drop the table.
    CannotDrop {
        queue: String,
        failure: Failure,
    },
    /// The registered function is gone.
    /// `why`: what is there instead.
    ProcessorGone {
        queue: String,
        why: Option<String>,
    },
    /// A job was waited for in vain.
    NotEnded {
        queue: String,
        id: i64,
        seconds: f64,
        /// Its last attempt that failed.
        failed: Option<String>,
        /// Of the queue.
        problem: Option<String>,
    },
    /// Row security hides a job from who wants to wait for its end.
    JobHidden {
        queue: String,
        id: i64,
        role: String,
    },
    /// What changes of a queue enqueue would come back to it; the queues on the way.
    AttachLoop {
        queue: String,
        way: String,
    },
    /// Jobs made triggers enqueue jobs that made triggers enqueue jobs, too often.
    TooNested {
        queue: String,
        levels: u32,
    },
    /// A pipeline would come back to where it began; the queues on the way.
    PipelineLoop {
        queue: String,
        way: String,
    },
    /// `drop_queue` would leave processors whose results go nowhere.
    StillFed {
        queue: String,
        feeders: String,
    },
    /// The queue that a processor feeds is gone.
    NextQueueGone(String),
    /// A procedure that commits was called inside a transaction block.
    InTransactionBlock(&'static str),
    /// A trigger of attach without its attachment. `remedy`: the statements that drop it.
    UnknownAttachment {
        table: String,
        remedy: String,
    },
    /// A trigger function was called in a way it does not support.
    TriggerUse(String),
    /// A row inserted by hand in another state than ready; the queue's name.
    ForeignState(String),
    /// A row inserted by hand with a value that only the extension sets.
    ForeignValue {
        queue: String,
        column: &'static str,
    },
    /// A topic or a pattern of topics that cannot be; `what` is it.
    BadTopic {
        what: &'static str,
        text: String,
        reason: &'static str,
        hint: &'static str,
    },
    AlreadySubscribed {
        queue: String,
        pattern: String,
    },
    NotSubscribed {
        queue: String,
        pattern: String,
    },
    /// Another session runs the same resync.
    ResyncRunning {
        source: String,
        queue: String,
    },
    /// What was interrupted was begun with another condition.
    ResyncCondition {
        source: String,
        queue: String,
    },
    /// No background worker could be started.
    NoWorkerSlot,
    /// `queue_ext.databases` leaves this database out.
    DatabaseNotServed(String),
    NoSchedule(String),
    /// The name is used by a schedule that the caller may not change.
    ForeignSchedule(String),
    /// The role of a schedule lost the right that it needs.
    ScheduleRole {
        queue: String,
        role: String,
    },
    /// Policies are not checked at a tick, so nobody may schedule whom they apply to.
    ScheduleRowSecurity {
        queue: String,
        role: String,
    },
}

impl Error {
    pub fn out_of_range(text: impl Into<String>) -> Self {
        Error::OutOfRange(text.into())
    }
}

impl From<OutOfRange> for Error {
    fn from(out: OutOfRange) -> Self {
        Error::OutOfRange(out.0)
    }
}

impl From<OutOfRange> for ErrorReport {
    fn from(out: OutOfRange) -> Self {
        Error::from(out).into()
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let (code, message, hint): (Code, String, Option<String>) = match error {
            Error::NotAQueue(name) => (
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a queue"),
                Some("Queues are made by queue.create_queue; queue.overview lists them.".into()),
            ),
            Error::HeaderChanged { queue, column, definition } => (
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("column \"{column}\" of queue \"{queue}\" is missing or not of the type it was made with"),
                Some(format!("It must be {definition}, as queue.create_queue makes it.")),
            ),
            Error::ChangedMeanwhile(queue) => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("queue \"{queue}\" was changed while this statement waited for it"),
                Some("Try again.".into()),
            ),
            Error::AttachRights { source, role } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("the owner of table \"{source}\" does not have the rights of role \"{role}\""),
                Some("Attach as the owner of the table: what its owner puts on it runs with the rights of the role that attaches.".into()),
            ),
            Error::NullArgument(name) => {
                (Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, format!("argument \"{name}\" must not be null"), None)
            }
            Error::OutOfRange(text) => (Code::ERRCODE_INVALID_PARAMETER_VALUE, text, None),
            Error::ArrayMismatch(text) => (Code::ERRCODE_ARRAY_ELEMENT_ERROR, text, None),
            Error::ReservedSchema => (
                Code::ERRCODE_RESERVED_NAME,
                "schema \"queue\" is reserved for the extension".into(),
                Some("Make the queue in a schema of your own.".into()),
            ),
            Error::Privilege { table, needs } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied for queue {table}"),
                Some(format!("This needs {needs} on the table.")),
            ),
            Error::NotOwner(name) => {
                (Code::ERRCODE_INSUFFICIENT_PRIVILEGE, format!("must be owner of table {name}"), None)
            }
            Error::NeverIssued { queue, id } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("queue \"{queue}\" has never issued job id {id}"),
                Some("The id may belong to another queue.".into()),
            ),
            Error::WaitsForOthers { queue, id } => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("job {id} of queue \"{queue}\" waits for other jobs of that queue"),
                Some("It can be moved once it does not wait for them any more.".into()),
            ),
            Error::AfterNotBefore { queue, id, after } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("job {id} of queue \"{queue}\" cannot wait for job {after}: after in a circle"),
                Some("A job waits for jobs with lower ids than its own only.".into()),
            ),
            Error::KeyTaken { queue, key, id } => (
                Code::ERRCODE_UNIQUE_VIOLATION,
                format!("key \"{key}\" of queue \"{queue}\" is taken by job {id}"),
                Some("With another on_conflict the jobs coalesce: skip, replace, debounce or merge.".into()),
            ),
            Error::ColumnOfEveryQueue(column) => (
                Code::ERRCODE_DUPLICATE_COLUMN,
                format!("\"{column}\" is a column of every queue"),
                Some("Choose another name.".into()),
            ),
            Error::UniqueColumn(failure) => {
                return failure.report().set_hint(
                    "What is unique in a queue must include the column state. For one job for each thing use key with on_conflict, or once.",
                );
            }
            Error::KeyDone { queue, key, id, until, call } => {
                let message = format!("key \"{key}\" of queue \"{queue}\" was done by job {id}");
                return ErrorReport::new(Code::ERRCODE_UNIQUE_VIOLATION, message, "queue_ext")
                    .set_detail(format!("once refuses it until {until}."))
                    .set_hint(format!(
                        "{call} allows it again; with on_conflict => 'skip' the id of that job is returned."
                    ));
            }
            Error::StaleView(queue) => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("jobs of queue \"{queue}\" that coalesce cannot be run in this isolation level"),
                Some("Such a job may stand for work that this transaction's snapshot does not show: use READ COMMITTED, or dequeue and commit first.".into()),
            ),
            Error::StaleCount(queue) => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("jobs of queue \"{queue}\", which has a limit, cannot be taken in this isolation level"),
                Some("This transaction's snapshot does not show what runs now: use READ COMMITTED.".into()),
            ),
            Error::NoAttemptLeft { queue, id } => (
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("job {id} of queue \"{queue}\" is on the last attempt that can be counted"),
                Some("Set its column \"attempt\" to a lower number while nobody holds the job.".into()),
            ),
            Error::PayloadTooLarge { bytes, limit } => (
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("payload of {bytes} bytes exceeds the limit of {limit} bytes"),
                Some("Keep large data in a table and enqueue its key, or raise queue_ext.max_payload.".into()),
            ),
            Error::PayloadNotObject(name) => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("payload for queue \"{name}\" must be a JSON object"),
                Some("The queue has typed columns, which are filled from the object's fields.".into()),
            ),
            Error::ProcessorSignature { processor, wants } => (
                Code::ERRCODE_UNDEFINED_FUNCTION,
                format!("processor {processor} does not take a job of this queue"),
                Some(format!("Its only argument must be of type {wants} (one job) or {wants}[] (a batch).")),
            ),
            Error::ProcessorKind { processor, reason, hint } => (
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("{processor} cannot be a processor: {reason}"),
                Some(hint.into()),
            ),
            Error::ProcessorPrivilege { processor, role } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied for function {processor}"),
                Some(format!("Grant EXECUTE on it to role \"{role}\", as which it is to run.")),
            ),
            Error::RoleCannotLogin(role) => (
                Code::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                format!("role \"{role}\" is not permitted to log in"),
                Some("Workers connect as the role that registers a processor: ALTER ROLE … LOGIN, or register as another owner.".into()),
            ),
            Error::AlreadyRegistered(name) => (
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("queue \"{name}\" already has a processor"),
                Some("Pass replace => true, or call queue.unregister_processor first.".into()),
            ),
            Error::NotRegistered(name) => (
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("queue \"{name}\" has no processor"),
                Some("Register one with queue.register_processor.".into()),
            ),
            Error::OtherRole { queue, role } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("the processor of queue \"{queue}\" runs as role \"{role}\" only"),
                Some(format!("Connect as \"{role}\".")),
            ),
            Error::AlreadyAttached { source, target } => (
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("table \"{source}\" is already attached to {target}"),
                Some("Call queue.detach first.".into()),
            ),
            Error::NotAttached { source, target } => (
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("table \"{source}\" is not attached to {target}"),
                None,
            ),
            Error::NotATable(name) => (
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a table"),
                Some("Only ordinary and partitioned tables can be attached.".into()),
            ),
            Error::UnknownColumn { column, relation, hint } => (
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{column}\" of \"{relation}\" does not exist or cannot be set"),
                Some(hint),
            ),
            Error::BadOption { message, hint } => {
                (Code::ERRCODE_INVALID_PARAMETER_VALUE, message, Some(hint))
            }
            Error::BadExpression { what, cause, sqlstate, hint } => (
                Code::from(sqlstate),
                format!("invalid expression for {what}: {cause}"),
                Some(hint.unwrap_or("It is resolved under search_path pg_catalog, over the columns it may use: qualify other names.").into()),
            ),
            Error::NotBoolean(found) => (
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("condition must be boolean, not {found}"),
                Some("For example 'id < 1000'.".into()),
            ),
            Error::NotOneExpression(what) => (
                Code::ERRCODE_SYNTAX_ERROR,
                format!("{what} is not a single SQL expression"),
                None,
            ),
            Error::JobsRunning { queue, count } => (
                Code::ERRCODE_OBJECT_IN_USE,
                format!("queue \"{queue}\" has {count} running jobs"),
                Some("Wait for them, or pass force => true to lose them.".into()),
            ),
            Error::StillAttached { queue, sources } => (
                Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop queue \"{queue}\" because tables are attached to it: {sources}"),
                Some("Call queue.detach for each, or pass force => true.".into()),
            ),
            Error::CannotDrop { queue, failure } => {
                let report = ErrorReport::new(
                    Code::from(failure.code),
                    format!("cannot drop queue \"{queue}\": {}", failure.message),
                    "queue_ext",
                )
                .set_hint("Drop what depends on it first (its processor, for example), or pass force => true to drop that too.");
                return match failure.detail {
                    Some(detail) => report.set_detail(detail),
                    None => report,
                };
            }
            Error::ProcessorGone { queue, why } => {
                let message = match why {
                    Some(_) => format!("the processor of queue \"{queue}\" cannot be run"),
                    None => format!("the processor of queue \"{queue}\" does not exist any more"),
                };
                let report = ErrorReport::new(Code::ERRCODE_UNDEFINED_FUNCTION, message, "queue_ext")
                    .set_hint("Register one with queue.register_processor(…, replace => true).");
                return match why {
                    Some(why) => report.set_detail(format!("What keeps the queue from running: {why}.")),
                    None => report,
                };
            }
            Error::NotEnded { queue, id, seconds, failed, problem } => {
                let report = ErrorReport::new(
                    Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("job {id} of queue \"{queue}\" has not ended after {seconds} s"),
                    "queue_ext",
                )
                .set_hint("The job goes on. Ask later with queue.status, queue.result or CALL queue.wait_for.");
                let problem = problem.map(|problem| format!("What keeps the queue from running: {problem}."));
                let detail: Vec<String> = failed.into_iter().chain(problem).collect();
                return if detail.is_empty() { report } else { report.set_detail(detail.join(" ")) };
            }
            Error::JobHidden { queue, id, role } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("row security of queue \"{queue}\" hides job {id} from role \"{role}\", which therefore cannot wait for its end"),
                Some("The role needs a policy for SELECT that shows the job in every state, done and failed included.".into()),
            ),
            Error::AttachLoop { queue, way } => (
                Code::ERRCODE_INVALID_OBJECT_DEFINITION,
                format!("what changes of queue \"{queue}\" enqueue would come back to it: {way}"),
                Some("A job's own moves between states are inserts and deletes, and would enqueue again, without end.".into()),
            ),
            Error::TooNested { queue, levels } => (
                Code::ERRCODE_STATEMENT_TOO_COMPLEX,
                format!("jobs on queue \"{queue}\" make triggers enqueue further jobs more than {levels} levels deep"),
                Some("Triggers on queues, or on what they feed, lead back to the same queue: queue.attached_tables and pg_trigger list them.".into()),
            ),
            Error::PipelineLoop { queue, way } => (
                Code::ERRCODE_INVALID_OBJECT_DEFINITION,
                format!("what queue \"{queue}\" feeds would come back to it: {way}"),
                Some("A processor that is to put jobs on its own queue again calls queue.enqueue.".into()),
            ),
            Error::StillFed { queue, feeders } => (
                Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop queue \"{queue}\" because processors feed it: those of {feeders}"),
                Some("Register them again without then_queue, or pass force => true, which stops them.".into()),
            ),
            Error::NextQueueGone(name) => (
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("the queue that the processor of queue \"{name}\" feeds does not exist any more"),
                Some("Its jobs stay on the queue. Register it with queue.register_processor(…, then_queue => …, replace => true).".into()),
            ),
            Error::InTransactionBlock(name) => (
                Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
                format!("CALL {name} cannot run inside a transaction block"),
                Some("It commits as it goes: call it by itself, at the top level. Set autocommit in the driver.".into()),
            ),
            Error::ForeignState(queue) => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("jobs are enqueued on \"{queue}\" in no other state than ready"),
                Some("Leave the column state to its default; for a later start set run_at.".into()),
            ),
            Error::ForeignValue { queue, column } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("column \"{column}\" of queue \"{queue}\" is set by queue_ext only"),
                Some("Leave it to its default. Only the owner may set it, to restore a dump.".into()),
            ),
            Error::UnknownAttachment { table, remedy } => (
                Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                format!("table \"{table}\" has a trigger of queue.attach that queue_ext knows nothing of"),
                Some(format!("An incomplete restore leaves one, or it was put there by hand: {remedy} then call queue.attach again.")),
            ),
            Error::TriggerUse(text) => (
                Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                text,
                Some("See the comment on queue.enqueue_from_trigger.".into()),
            ),
            Error::NoSchedule(name) => (
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("schedule \"{name}\" does not exist"),
                Some("queue.schedules lists them.".into()),
            ),
            Error::ForeignSchedule(name) => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("schedule \"{name}\" belongs to another role"),
                Some("Only that role and the owner of its queue may change or remove it. For a new schedule choose another name.".into()),
            ),
            Error::ScheduleRole { queue, role } => (
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("role \"{role}\" may not insert into queue \"{queue}\""),
                None,
            ),
            Error::ScheduleRowSecurity { queue, role } => (
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("row security of queue \"{queue}\" applies to role \"{role}\", which therefore cannot schedule"),
                Some("Schedule as a role that it does not apply to, the owner of the queue for example.".into()),
            ),
            Error::BadTopic { what, text, reason, hint } => (
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid {what} \"{text}\": {reason}"),
                Some(hint.into()),
            ),
            Error::AlreadySubscribed { queue, pattern } => (
                Code::ERRCODE_DUPLICATE_OBJECT,
                format!("queue \"{queue}\" is already subscribed to \"{pattern}\""),
                None,
            ),
            Error::NotSubscribed { queue, pattern } => (
                Code::ERRCODE_UNDEFINED_OBJECT,
                format!("queue \"{queue}\" is not subscribed to \"{pattern}\""),
                Some("A subscription ends by the pattern it was made with: queue.topics lists them.".into()),
            ),
            Error::ResyncRunning { source, queue } => (
                Code::ERRCODE_OBJECT_IN_USE,
                format!("table \"{source}\" is already being resynced to queue \"{queue}\""),
                Some("queue.progress shows how far it is, and its process.".into()),
            ),
            Error::ResyncCondition { source, queue } => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("an interrupted resync of table \"{source}\" to queue \"{queue}\" had another condition"),
                Some("Pass the same condition to go on with it, or restart => true to begin anew.".into()),
            ),
            Error::NoWorkerSlot => (
                Code::ERRCODE_INSUFFICIENT_RESOURCES,
                "could not start a background worker".into(),
                Some("Raise max_worker_processes.".into()),
            ),
            Error::DatabaseNotServed(name) => (
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("queue_ext.databases does not name \"{name}\""),
                Some("Add it there, reload the configuration, and call this again.".into()),
            ),
        };
        let report = ErrorReport::new(code, message, "queue_ext");
        match hint {
            Some(hint) => report.set_hint(hint),
            None => report,
        }
    }
}

/// What the thin SQL-callable shells return: an `Error` becomes a report by `?`.
pub type SqlResult<T> = Result<T, ErrorReport>;

/// Unwraps an argument that may not be null.
pub fn required<T>(name: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::NullArgument(name))
}
