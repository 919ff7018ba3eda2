//! What the environment of the postmaster says is not for users.

use queue_ext_server_tests::{Server, Sql};

/// Of this extension: returned, and raised below a function of Rust's; of Postgres, on its way through Rust.
const ERRORS: [&str; 3] = [
    "SELECT queue.pause('pg_class')",
    "SELECT queue.enqueue('pg_class')",
    "SELECT queue.create_queue('q', 'n nosuchtype')",
];

fn detail_of(server: &Server, statement: &str) -> Option<String> {
    let error = server.connect("shop").simple_query(statement).expect_err(statement);
    error.as_db_error().expect("an error of the server").detail().map(str::to_owned)
}

fn no_backtraces(server: Server) {
    server.app("shop");
    server.stop_fast();
    server.start_within(&[("RUST_BACKTRACE", "1")]);
    for statement in ERRORS {
        assert_eq!(detail_of(&server, statement), None, "{statement}");
    }
    // The server itself was started with it, and what it starts finds it as it was.
    let mut db = server.connect("shop");
    db.run("CREATE TABLE environment (line text)");
    db.run("COPY environment FROM PROGRAM 'env | grep BACKTRACE'");
    assert_eq!(db.all::<String>("SELECT line FROM environment"), ["RUST_BACKTRACE=1"]);
}

#[test]
fn errors_carry_no_backtrace() {
    no_backtraces(Server::start(&[]));
}

#[test]
fn errors_carry_no_backtrace_without_preload() {
    no_backtraces(Server::start_without_preload(&[]));
}
