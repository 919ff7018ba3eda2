//! Through pgbouncer in transaction mode: no call depends on the session it came by.

use crate::fixture::numbers;
use postgres::{Client, NoTls};
use queue_ext_server_tests::{Server, as_postgres, until_some};
use std::fs;
use std::process::{Child, Stdio};

struct Bouncer {
    process: Child,
    dir: std::path::PathBuf,
}

impl Bouncer {
    /// With two server connections for all clients, so that each statement may come by another one.
    fn before(server: &Server) -> Bouncer {
        let dir = server.dir().to_path_buf();
        let ini = dir.join("pgbouncer.ini");
        let own = dir.join("bouncer");
        assert!(as_postgres("mkdir").arg(&own).status().unwrap().success());
        let text = format!(
            "[databases]\nshop = host={0} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {1}\nauth_type = trust\n\
             pool_mode = transaction\ndefault_pool_size = 2\nlogfile = {1}/log\nauth_file = {1}/users\nignore_startup_parameters = extra_float_digits\n",
            dir.display(),
            own.display()
        );
        fs::write(&ini, text).unwrap();
        fs::write(own.join("users"), "\"postgres\" \"\"\n").unwrap();
        let process = as_postgres("pgbouncer")
            .arg(&ini)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer");
        Bouncer { process, dir: own }
    }

    fn connect(&self) -> Client {
        until_some("pgbouncer takes connections", || {
            postgres::Config::new()
                .host_path(&self.dir)
                .port(6432)
                .user("postgres")
                .dbname("shop")
                .connect(NoTls)
                .ok()
        })
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // runuser passes SIGTERM on; SIGKILL it could not.
        let _ = std::process::Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// Text of one row by the simple protocol: prepared statements do not survive transaction mode.
fn ask(client: &mut Client, sql: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
        if let postgres::SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("")).collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

#[test]
fn every_call_of_a_client_works_in_transaction_mode() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    let bouncer = Bouncer::before(&server);
    // Many clients over two connections, taking turns in the middle of their work.
    let mut clients: Vec<Client> = (0..6).map(|_| bouncer.connect()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        ask(client, &format!("SELECT queue.enqueue('q', '{{\"n\": {i}}}')"));
    }
    let leased: Vec<String> = clients
        .iter_mut()
        .flat_map(|client| ask(client, "SELECT id, attempt FROM queue.dequeue('q', 1, '1 day')"))
        .collect();
    assert_eq!(leased.len(), 6);
    for (client, job) in clients.iter_mut().zip(&leased) {
        let (id, attempt) = job.split_once(' ').unwrap();
        assert_eq!(ask(client, &format!("SELECT queue.extend_lease('q', {id}, {attempt}, '2 days')")), ["t"]);
    }
    // Acked by another client than the one that dequeued.
    for (client, job) in clients.iter_mut().rev().zip(&leased) {
        let (id, attempt) = job.split_once(' ').unwrap();
        assert_eq!(ask(client, &format!("BEGIN; SELECT queue.ack('q', {id}, {attempt}); COMMIT")), ["t"]);
        assert_eq!(ask(client, &format!("SELECT queue.ack('q', {id}, {attempt})")), ["f"]);
    }
    assert_eq!(ask(&mut clients[0], "SELECT count(*) FROM q"), ["0"]);
    // pop in a transaction that rolls back, seen by the others.
    ask(&mut clients[0], "INSERT INTO q (n) VALUES (7)");
    ask(&mut clients[0], "BEGIN");
    assert_eq!(ask(&mut clients[0], "SELECT n FROM queue.pop_as(NULL::q)"), ["7"]);
    assert!(ask(&mut clients[1], "SELECT n FROM queue.pop_as(NULL::q)").is_empty());
    ask(&mut clients[0], "ROLLBACK");
    assert_eq!(ask(&mut clients[1], "SELECT n FROM queue.pop_as(NULL::q)"), ["7"]);
    // wait and run commit by themselves, each within one server connection.
    ask(&mut clients[2], "INSERT INTO q (n) VALUES (8)");
    ask(&mut clients[3], "CALL queue.wait('q', '1 h')");
    ask(&mut clients[4], "SELECT queue.register_processor('q', 'work(q)')");
    crate::fixture::until_done(&mut db, "q", 1);
}
