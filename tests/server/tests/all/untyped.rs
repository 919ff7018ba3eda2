//! Every call as a driver makes it that sends each parameter as text without a type, as node-postgres does.

use crate::fixture::numbers;
use postgres::Client;
use postgres::types::ToSql;
use queue_ext_server_tests::{Server, Sql, Text};

/// Prepares without types, binds text, and returns the rows as text.
fn call(db: &mut Client, sql: &str, parameters: &[&str]) -> Vec<String> {
    let values: Vec<Text> =
        parameters.iter().map(|text| if *text == "NULL" { Text(None) } else { Text::from(*text) }).collect();
    let references: Vec<&(dyn ToSql + Sync)> =
        values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let statement = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = db.query(&statement, &references).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
}

#[test]
fn every_function() {
    let server = Server::start(&[("queue_ext.databases", "")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    db.run("CREATE TABLE source (id int PRIMARY KEY)");
    let db = &mut db;
    assert_eq!(
        call(
            db,
            "SELECT queue.create_queue($1, $2, $3, $4, $5, $6, $7, $8)::text",
            &["made", "a int", "3", "1 s", "2", "1 h", "1 min", "NULL"]
        ),
        ["made"]
    );
    call(
        db,
        "SELECT queue.alter_queue($1, $2, $3, $4, $5, $6, $7)::text",
        &["made", "4", "NULL", "NULL", "NULL", "NULL", "1 day"],
    );
    let id = call(
        db,
        "SELECT queue.enqueue($1, $2, $3, $4, $5, $6, max_attempts => $7)::text",
        &["q", "{\"n\": 1}", "0", "NULL", "NULL", "k", "3"],
    )
    .remove(0);
    let many = call(
        db,
        "SELECT queue.enqueue_many($1, $2, $3, $4, $5, $6, max_attempts => $7)::text",
        &["q", r#"{"{\"n\": 2}","{\"n\": 3}"}"#, "1", "NULL", "NULL", "NULL", "NULL"],
    );
    assert_eq!(many.len(), 2);
    call(
        db,
        "SELECT queue.enqueue($1, $2, run_at => $3)::text",
        &["q", "{\"n\": 4}", "2100-01-01T00:00:00Z"],
    );
    call(db, "SELECT queue.enqueue($1, $2, delay => $3)::text", &["q", "{\"n\": 5}", "1 hour"]);
    assert_eq!(
        call(db, "SELECT id::text FROM queue.dequeue($1, $2, $3)", &["q", "1", "1 min"]),
        std::slice::from_ref(&id)
    );
    assert_eq!(
        call(db, "SELECT queue.extend_lease($1, $2, $3, $4)::text", &["q", &id, "1", "5 min"]),
        ["true"]
    );
    assert_eq!(call(db, "SELECT queue.snooze($1, $2, $3, $4)::text", &["q", &id, "1", "0"]), ["true"]);
    assert_eq!(call(db, "SELECT n::text FROM queue.dequeue_as(NULL::q, $1, $2)", &["3", "NULL"]).len(), 3);
    assert_eq!(call(db, "SELECT queue.ack($1, $2, $3)::text", &["q", &id, "1"]), ["false"]);
    assert_eq!(call(db, "SELECT queue.ack($1, $2, $3)::text", &["q", &id, "2"]), ["true"]);
    assert_eq!(
        call(db, "SELECT queue.nack($1, $2, $3, $4, $5)::text", &["q", &many[0], "1", "no", "0"]),
        ["true"]
    );
    assert_eq!(
        call(db, "SELECT queue.ack_many($1, $2, $3)::text", &["q", &format!("{{{}}}", many[1]), "{1}"]),
        [many[1].clone()]
    );
    assert_eq!(call(db, "SELECT queue.status($1, $2)", &["q", &many[1]]), [""]);
    assert_eq!(call(db, "SELECT queue.result($1, $2)::text", &["q", &many[1]]), [""]);
    assert_eq!(call(db, "SELECT payload ->> 'n' FROM queue.pop($1, $2)", &["q", "1"]), ["2"]);
    assert!(call(db, "SELECT n::text FROM queue.pop_as(NULL::q, $1)", &["1"]).is_empty());
    call(
        db,
        "SELECT queue.attach($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)::text",
        &[
            "source",
            "q",
            "insert",
            "{\"n\": \"new.id\"}",
            "new.id > 0",
            "new.id",
            "2",
            "NULL",
            "NULL",
            "false",
            "row",
        ],
    );
    db.run("INSERT INTO source VALUES (6)");
    call(db, "SELECT queue.detach($1, $2)::text", &["source", "q"]);
    call(db, "SELECT queue.pause($1)::text", &["q"]);
    call(
        db,
        "SELECT queue.register_processor($1, $2, $3, $4, $5, $6, $7)::text",
        &["q", "work(q)", "10", "1", "true", "1 min", "false"],
    );
    call(db, "SELECT queue.unregister_processor($1)::text", &["q"]);
    call(db, "SELECT queue.resume($1)::text", &["q"]);
    let six = call(db, "SELECT id::text FROM q WHERE n::text = $1", &["6"]).remove(0);
    assert_eq!(call(db, "SELECT queue.cancel($1, $2)::text", &["q", &six]), ["true"]);
    assert_eq!(call(db, "SELECT queue.resubmit($1, $2)::text", &["q", &six]), ["true"]);
    assert_eq!(call(db, "SELECT queue.resubmit_all($1, $2)::text", &["q", "true"]), ["0"]);
    assert_eq!(call(db, "SELECT queue.purge($1, $2)::text", &["q", "{ready,scheduled}"]), ["3"]);
    call(db, "SELECT queue.drop_queue($1, $2)::text", &["made", "true"]);
    // Procedures too, by the extended protocol.
    call(db, "CALL queue.wait($1, $2)", &["q", "10 ms"]);
    call(db, "SELECT queue.register_processor($1, $2)::text", &["q", "work(q)"]);
    call(db, "CALL queue.run($1, $2)", &["q", "5"]);
    call(db, "CALL queue.run($1)", &["q"]);
}
