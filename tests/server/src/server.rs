//! A server of the test's own: in a temporary directory, on a unix socket, gone when dropped.

use crate::{Sql, until, until_some};
use postgres::{Client, NoTls};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a test wants in postgresql.conf, beside what all have.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

const COMMON: Settings = &[
    ("listen_addresses", ""),
    ("fsync", "off"),
    ("max_worker_processes", "24"),
    ("max_connections", "60"),
    ("log_min_messages", "info"),
    ("log_line_prefix", "%m [%p] %b %u@%d "),
    ("wal_level", "replica"),
    ("max_prepared_transactions", "10"),
];

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Server {
    dir: PathBuf,
}

impl Server {
    /// With queue_ext in shared_preload_libraries.
    pub fn start(settings: Settings) -> Server {
        let server = Server::create();
        server.configure(&[("shared_preload_libraries", "queue_ext")]);
        server.configure(settings);
        server.start_again();
        server
    }

    /// Without it.
    pub fn start_without_preload(settings: Settings) -> Server {
        let server = Server::create();
        server.configure(settings);
        server.start_again();
        server
    }

    /// A standby of `primary`, streaming from it.
    pub fn standby_of(primary: &Server) -> Server {
        let server = Server::reserve();
        let source = primary.dir.to_str().unwrap();
        let target = server.dir.to_str().unwrap();
        succeed(
            as_postgres("pg_basebackup")
                .args(["-R", "-X", "stream", "-c", "fast", "-h", source, "-U", "postgres", "-D", target]),
        );
        // The primary's socket lives in its data directory, and so its lock file was copied too.
        let _ = fs::remove_file(server.dir.join(".s.PGSQL.5432.lock"));
        server.configure(&[("unix_socket_directories", target)]);
        server.start_again();
        server
    }

    fn reserve() -> Server {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("queue_ext_test.{}.{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Server { dir }
    }

    fn create() -> Server {
        let server = Server::reserve();
        let dir = server.dir.to_str().unwrap();
        match std::env::var("QUEUE_EXT_TEMPLATE") {
            Ok(template) => succeed(as_postgres("cp").args(["-a", &template, dir])),
            Err(_) => succeed(as_postgres("initdb").args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
                dir,
            ])),
        };
        server.configure(COMMON);
        server.configure(&[("unix_socket_directories", dir)]);
        server
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds settings; those that need no restart take effect with [`Server::reload`].
    pub fn configure(&self, settings: Settings) {
        let path = self.dir.join("postgresql.conf");
        let mut text = fs::read_to_string(&path).expect("postgresql.conf");
        for (name, value) in settings {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        fs::write(&path, text).expect("postgresql.conf");
    }

    pub fn reload(&self) {
        self.pg_ctl(&["reload"]);
    }

    /// Stops it as a power cut would, without a checkpoint.
    pub fn stop_immediately(&self) {
        self.pg_ctl(&["stop", "-w", "-m", "immediate"]);
    }

    /// Stops it in good order, without waiting for its clients.
    pub fn stop_fast(&self) {
        self.pg_ctl(&["stop", "-w", "-m", "fast"]);
    }

    pub fn start_again(&self) {
        self.start_within(&[]);
    }

    /// With these variables in the environment.
    pub fn start_within(&self, environment: Settings) {
        let log = self.dir.join("log");
        self.pg_ctl_within(environment, &["start", "-w", "-l", log.to_str().unwrap()]);
    }

    pub fn promote(&self) {
        self.pg_ctl(&["promote", "-w"]);
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        self.pg_ctl_within(&[], arguments);
    }

    fn pg_ctl_within(&self, environment: Settings, arguments: &[&str]) {
        // Into a file: the server inherits it, and would keep a pipe open that someone waits on.
        let output = self.dir.join("pg_ctl.out");
        let file = fs::File::create(&output).expect("pg_ctl.out");
        let status = as_postgres("pg_ctl")
            .args(["-s", "-D"])
            .arg(&self.dir)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(file.try_clone().expect("pg_ctl.out"))
            .stderr(file)
            .status();
        assert!(
            status.expect("pg_ctl").success(),
            "pg_ctl {arguments:?} failed\n{}\n{}",
            fs::read_to_string(&output).unwrap_or_default(),
            self.log_tail()
        );
    }

    /// A connection to the database as the user.
    pub fn connect_as(&self, user: &str, database: &str) -> Client {
        self.try_connect(user, database)
            .unwrap_or_else(|error| panic!("connect to {database} as {user}: {error}"))
    }

    pub fn connect(&self, database: &str) -> Client {
        self.connect_as("postgres", database)
    }

    pub fn try_connect(&self, user: &str, database: &str) -> Result<Client, postgres::Error> {
        postgres::Config::new()
            .host_path(&self.dir)
            .user(user)
            .dbname(database)
            .application_name("test")
            .connect(NoTls)
    }

    /// A connection as soon as the server takes one again, after a crash.
    pub fn reconnect(&self, database: &str) -> Client {
        until_some("the server takes connections again", || {
            let mut client = self.try_connect("postgres", database).ok()?;
            client.simple_query("SELECT 1").ok().map(|_| client)
        })
    }

    /// A database of this name with the extension, and a connection to it.
    pub fn app(&self, database: &str) -> Client {
        self.connect("postgres").run(&format!("CREATE DATABASE {database}"));
        let mut client = self.connect(database);
        client.run("CREATE EXTENSION queue_ext");
        client
    }

    /// Runs a program of Postgres against this server.
    pub fn program(&self, name: &str, arguments: &[&str]) -> Output {
        succeed(as_postgres(name).args(["-h", self.dir.to_str().unwrap(), "-U", "postgres"]).args(arguments))
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds `text` more than `before` times.
    pub fn until_logged(&self, text: &str, before: usize) {
        until(&format!("the log says {text:?}"), || self.log().matches(text).count() > before);
    }

    /// Kills a process of the server, which restarts all others. Returns when it is about to.
    pub fn crash_by_killing(&self, pid: i32) {
        let crashes = self.log().matches("reinitializing").count();
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        self.until_logged("reinitializing", crashes);
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the server's log ---\n{}\n---", self.log_tail());
        }
        let _ = as_postgres("pg_ctl")
            .args(["-s", "-w", "-m", "immediate", "stop", "-D"])
            .arg(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A program, run as the user postgres when we are root: a server refuses to run as root.
pub fn as_postgres(name: &str) -> Command {
    static ROOT: OnceLock<bool> = OnceLock::new();
    let root =
        *ROOT.get_or_init(|| Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n"));
    let mut command = Command::new(if root { "runuser".into() } else { binary(name) });
    if root {
        command.args(["-u", "postgres", "--"]).arg(binary(name));
    }
    command.current_dir(std::env::temp_dir());
    command
}

/// Of the same version as the server under test, whatever else is on the PATH.
pub fn binary(name: &str) -> PathBuf {
    static BINDIR: OnceLock<PathBuf> = OnceLock::new();
    let bindir = BINDIR.get_or_init(|| {
        let config = std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".into());
        let output = succeed(Command::new(config).arg("--bindir"));
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    });
    let ours = bindir.join(name);
    if ours.exists() { ours } else { name.into() }
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}
