//! A queue's table: one partition for each state, with just the index that state needs.

use super::{HEADER, STATES, indexes, quoted};
use crate::error::{Error, SqlResult};
use crate::pg::{Oid, catalog, failure, parse, role, spi};

pub fn creation_schema() -> Result<String, Error> {
    spi::run("SELECT pg_catalog.current_schema()::pg_catalog.text", &[], &[])
        .get(0, 1)
        .ok_or_else(|| Error::out_of_range("no schema has been selected to create the queue in"))
}

/// The table with its partitions, made by the caller, under the caller's search_path: the queue's own
/// columns may be of any type the caller can name.
pub fn create(schema: &str, name: &str, columns: Option<&str>) -> SqlResult<Oid> {
    let table = pgrx::spi::quote_qualified_identifier(schema, name);
    let own = columns.map(str::trim).filter(|c| !c.is_empty());
    let default = if own.is_some() { "" } else { " DEFAULT '{}'" };
    let create = format!(
        "CREATE TABLE {table} (
             id bigint GENERATED ALWAYS AS IDENTITY,
             state pg_catalog.text NOT NULL DEFAULT 'ready',
             priority smallint NOT NULL DEFAULT 5,
             run_at pg_catalog.timestamptz,
             enqueued_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
             attempt integer NOT NULL DEFAULT 1,
             max_attempts integer,
             key pg_catalog.text,
             group_key pg_catalog.text,
             payload pg_catalog.jsonb{default},
             lease_until pg_catalog.timestamptz,
             errors pg_catalog.jsonb,
             result pg_catalog.jsonb,
             finished_at pg_catalog.timestamptz,
             correlation_id pg_catalog.text,
             topic pg_catalog.text,
             once pg_catalog.interval,
             after bigint[],
             after_failure pg_catalog.text,
             keep_result boolean{}
         ) PARTITION BY LIST (state)",
        own.map(|text| format!(",\n{text}\n")).unwrap_or_default()
    );
    if !parse::is_one_create_table(&create) {
        return Err(
            Error::out_of_range("columns must be a list of column definitions and nothing else").into()
        );
    }
    make(&create)?;
    let oid = catalog::relation_by_name(&table);
    role::pinned(|| {
        for state in STATES {
            create_partition(oid, schema, name, &table, state);
        }
        note_changes_of(&table);
        comment(&table);
    });
    Ok(oid)
}

/// Says more than Postgres could where somebody's own columns do not fit a queue.
fn make(create: &str) -> Result<(), Error> {
    let twice = parse::columns_of_create(create)
        .into_iter()
        .skip(HEADER.len())
        .find(|column| HEADER.contains(&column.as_str()));
    match twice {
        Some(column) => Err(Error::ColumnOfEveryQueue(column)),
        None if !mentions_unique(create) => {
            spi::run(create, &[], &[]);
            Ok(())
        }
        None => failure::in_subtransaction(|| spi::run(create, &[], &[])).map(|_| ()).or_else(|failure| {
            if failure.sqlstate == NOT_SUPPORTED {
                Err(Error::UniqueColumn(failure))
            } else {
                failure.raise()
            }
        }),
    }
}

const NOT_SUPPORTED: &str = "0A000";

fn mentions_unique(create: &str) -> bool {
    let create = create.to_ascii_lowercase();
    create.contains("unique") || create.contains("primary")
}

/// So that plain SQL lowers the floor and wakes the workers.
fn note_changes_of(table: &str) {
    let sql = format!(
        "CREATE TRIGGER queue_ext_wake BEFORE INSERT OR UPDATE OR DELETE ON {table}
         FOR EACH STATEMENT EXECUTE FUNCTION queue.before_change()"
    );
    spi::run(&sql, &[], &[]);
    tie_to_extension("queue_ext_wake", table);
}

/// DROP EXTENSION then takes the trigger with it, without CASCADE, and leaves the table.
pub fn tie_to_extension(trigger: &str, table: &str) {
    spi::run(&format!("ALTER TRIGGER {trigger} ON {table} DEPENDS ON EXTENSION queue_ext"), &[], &[]);
}

/// A partition with just the index its state needs. Each has a unique index as replica identity, so that
/// a publication of all tables does not make claims fail.
fn create_partition(parent: Oid, schema: &str, name: &str, table: &str, state: &str) {
    let partition = pgrx::spi::quote_qualified_identifier(
        schema,
        &catalog::free_relation_name(name, state, catalog::schema_of(parent)),
    );
    // The partitions that jobs pass through are vacuumed by rows, not by share of the table.
    let storage = match state {
        "ready" => "WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
        "scheduled" | "running" => "WITH (autovacuum_vacuum_scale_factor = 0.05)",
        _ => "",
    };
    let mut statements =
        vec![format!("CREATE TABLE {partition} PARTITION OF {table} FOR VALUES IN ('{state}') {storage}")];
    if state == "ready" {
        statements.push(format!("CREATE UNIQUE INDEX ON {partition} USING {}", indexes::identity(state)));
        // Not CHECKs: Postgres reads their text at every statement, and so it does with this one.
        statements.push(format!(
            "CREATE TRIGGER queue_ext_check AFTER INSERT OR UPDATE ON {partition} FOR EACH ROW
             WHEN (queue.needs_check(new.id, new.run_at, new.priority, new.max_attempts, new.key, new.after,
                                     new.group_key, new.correlation_id, new.after_failure, new.attempt,
                                     new.lease_until, new.errors, new.result, new.finished_at))
             EXECUTE FUNCTION queue.check_ready()"
        ));
    } else {
        statements.push(format!("ALTER TABLE {partition} ADD PRIMARY KEY (id)"));
        statements.push(format!(
            "CREATE TRIGGER queue_ext_check BEFORE INSERT ON {partition} FOR EACH ROW
             EXECUTE FUNCTION queue.check_moved()"
        ));
    }
    for statement in &statements {
        spi::run(statement, &[], &[]);
    }
    tie_to_extension("queue_ext_check", &partition);
    if state == "ready" {
        // A statement may name the partition itself, as pg_restore does.
        note_changes_of(&partition);
        let index = catalog::only_index_of(&partition);
        let name = quoted(&catalog::relation_name(index).unwrap_or_default());
        spi::run(&format!("ALTER TABLE {partition} REPLICA IDENTITY USING INDEX {name}"), &[], &[]);
    }
    for definition in indexes::others(state) {
        spi::run(&format!("CREATE INDEX ON {partition} USING {definition}"), &[], &[]);
    }
}

fn comment(table: &str) {
    const COMMENTS: [&str; HEADER.len()] = [
        "Number of the job",
        "ready, scheduled, blocked, running, failed or done; changed by the functions of queue_ext only",
        "0 to 9; lower runs first",
        "Not to be started before this time; null: at once",
        "Start of the transaction that enqueued it",
        "The attempt the job is on, counted from 1",
        "After so many failed attempts it becomes an error row; null: as the queue says",
        "What the job is about, in the application's words",
        "Jobs of a group run one at a time, in the order of their ids; null: in none",
        "Content besides the queue's own columns",
        "A leased job returns to the queue then",
        "Each failed attempt: attempt, sqlstate, message, detail, hint, context, failed_at",
        "What the processor returned",
        "When it was done or finally failed",
        "Of the request that the job belongs to: travels with it to further queues",
        "The topic it was published to; null: it was not",
        "Once it is done, its key is refused for so long",
        "It waits until the jobs with these ids have ended",
        "If one of those fails: fail, too (the default), or run (release)",
        "Its result is kept for who asked for it, even if the queue keeps no done jobs",
    ];
    spi::run(&format!("COMMENT ON TABLE {table} IS 'Job queue (queue_ext)'"), &[], &[]);
    for (column, text) in HEADER.iter().zip(COMMENTS) {
        let text = pgrx::spi::quote_literal(text);
        spi::run(&format!("COMMENT ON COLUMN {table}.{column} IS {text}"), &[], &[]);
    }
}
