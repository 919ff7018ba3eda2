//! 100,000 jobs through kills and restarts: each took effect exactly once.

use queue_ext_server_tests::{DEADLINE, Server, Sql, within};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const JOBS: i64 = 100_000;
const FAILING: i64 = JOBS / 1000;

/// Each job adds a row; each thousandth fails always. One queue by jobs, the other by batches.
const QUEUES: &str = "
    CREATE TABLE done (n int);
    CREATE TABLE accepted (n int PRIMARY KEY);
    SELECT queue.create_queue('single', 'n int', max_attempts => 2, backoff => '10 ms');
    SELECT queue.create_queue('batch', 'n int', max_attempts => 2, backoff => '10 ms');
    CREATE FUNCTION work(job single) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.done VALUES (job.n); PERFORM 1 / (job.n % 1000); END $$;
    CREATE FUNCTION work(jobs batch[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.done SELECT n FROM unnest(jobs); PERFORM 1 / (n % 1000) FROM unnest(jobs); END $$;
    SELECT queue.register_processor('single', 'work(single)', parallelism => 2);
    SELECT queue.register_processor('batch', 'work(batch[])', parallelism => 2);
    ";

/// Enqueues what is not yet accepted, over whatever happens to the server. The mark of acceptance
/// commits with the jobs, so an accepted number has been put exactly once.
fn enqueue_all(server: &Server) {
    for chunk in 0..JOBS / 500 {
        let (from, to) = (chunk * 500 + 1, chunk * 500 + 500);
        let table = if chunk % 2 == 0 { "single" } else { "batch" };
        loop {
            let mut db = server.reconnect("shop");
            match db.query_one("SELECT EXISTS (SELECT FROM accepted WHERE n = $1)", &[&(chunk as i32)]) {
                Ok(row) if row.get(0) => break,
                Ok(_) => {}
                Err(_) => continue,
            }
            let _ = db.batch_execute(&format!(
                "BEGIN; INSERT INTO accepted VALUES ({chunk}); INSERT INTO {table} (n) SELECT generate_series({from}, {to}); COMMIT"
            ));
        }
    }
}

/// Kills a worker or stops the server, as long as there is work.
fn disturb(server: &Server, round: usize) {
    if round % 3 == 2 {
        server.stop_immediately();
        server.start_again();
        return;
    }
    let pid = within(DEADLINE, || {
        let mut db = server.try_connect("postgres", "shop").ok()?;
        let pids = db.query("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'queue_ext%' AND datname = 'shop' ORDER BY random() LIMIT 1", &[]).ok()?;
        pids.first().map(|row| row.get::<_, i32>(0))
    });
    if let Some(pid) = pid {
        let crashes = server.log().matches("reinitializing").count();
        let killed = Command::new("kill")
            .args(["-9", &pid.to_string()])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if killed {
            server.until_logged("reinitializing", crashes);
        }
    }
}

fn count(server: &Server, sql: &str) -> Option<i64> {
    server.try_connect("postgres", "shop").ok()?.query_one(sql, &[]).ok().map(|row| row.get(0))
}

#[test]
fn a_hundred_thousand_jobs_each_exactly_once() {
    let server = Server::start(&[("queue_ext.log_failed_jobs", "none")]);
    let mut db = server.app("shop");
    db.run(QUEUES);
    drop(db);
    let all_put = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            enqueue_all(&server);
            all_put.store(true, Ordering::Release);
        });
        // Each disturbance waits for progress after the one before, so that work is always under way.
        let mut seen = 0;
        for round in 0..9 {
            let progress = within(DEADLINE, || {
                count(&server, "SELECT count(*) FROM done").filter(|now| *now > seen + 2000)
            });
            let Some(now) = progress else { break };
            seen = now;
            disturb(&server, round);
        }
    });
    assert!(all_put.load(Ordering::Acquire));
    until_none_left(&server);
    // A job that ran alone, marked, just when we killed its server looks like the culprit. That is no
    // loss, only an error row; resubmitted, it is done like any other.
    let mut db = server.reconnect("shop");
    for table in ["single", "batch"] {
        db.run(&format!("SELECT queue.resubmit_all('{table}', 'n % 1000 <> 0')"));
    }
    until_none_left(&server);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM done"), JOBS - FAILING, "lost or done twice");
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM done"), JOBS - FAILING);
    let failed: i64 = db.one("SELECT count(DISTINCT n) FROM (SELECT n FROM single UNION ALL SELECT n FROM batch) s WHERE n % 1000 = 0");
    assert_eq!(failed, FAILING);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM queue.errors"), FAILING);
}

/// Progress, not time, is what is asked for: the deadline is for each step.
fn until_none_left(server: &Server) {
    let left = "SELECT count(*) FROM (SELECT state FROM single UNION ALL SELECT state FROM batch) s WHERE state <> 'failed'";
    let mut last = i64::MAX;
    while last > 0 {
        last = within(DEADLINE, || count(server, left).filter(|now| *now < last))
            .expect("jobs are left, and nothing runs them");
    }
}
