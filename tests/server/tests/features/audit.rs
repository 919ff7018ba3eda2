//! In the end: everything has run, and everything that was promised was kept.

use crate::schema::QUEUES;
use crate::world::World;
use postgres::Client;
use queue_ext_server_tests::{Sql, within};
use std::time::{Duration, Instant};

/// Until the queues are empty. A pipeline without anything in it is still, so it takes much less.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

const SAY_EVERY: Duration = Duration::from_secs(10);

/// Lets the queues run empty; whatever failed for good, as by a cancel, is put back.
pub fn drain(world: &World) {
    let mut db = world.server.reconnect("shop");
    let mut left = String::new();
    let mut said = Instant::now();
    let empty = within(DRAINED_WITHIN, || {
        if db.is_closed() {
            db = world.server.reconnect("shop");
        }
        left = look(&mut db).unwrap_or_else(|error| crate::world::tell(&error));
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            crate::world::say(&format!("still there: {left}"));
        }
        left.is_empty().then_some(())
    });
    if empty.is_none() {
        let mut db = world.server.reconnect("shop");
        let overview: Vec<String> = db.all("SELECT to_jsonb(o)::text FROM queue.overview o");
        world.fail(format!("not empty after {DRAINED_WITHIN:?}: {left}\n{}", overview.join("\n")));
    }
}

fn look(db: &mut Client) -> Result<String, postgres::Error> {
    let mut left = String::new();
    for queue in QUEUES {
        db.batch_execute(&format!("SELECT queue.resume('{queue}')"))?;
        db.batch_execute(&format!("SELECT queue.resubmit_all('{queue}')"))?;
        let states = format!(
            "SELECT coalesce(string_agg(state || ' ' || n, ', '), '') FROM (SELECT state, count(*) n FROM {queue} WHERE state <> 'done' GROUP BY 1) s"
        );
        let states: String = db.query_one(&states, &[])?.get(0);
        if !states.is_empty() {
            left.push_str(&format!("{queue}: {states}; "));
        }
    }
    Ok(left)
}

/// Each query lists what is wrong.
const WRONG: [(&str, &str); 14] = [
    ("an object's last change was not copied",
     "SELECT o.id, o.version, c.version FROM objects o LEFT JOIN copies c USING (id) WHERE o.version > 0 AND o.version IS DISTINCT FROM c.version"),
    ("a job was lost or took effect twice",
     "SELECT queue, token, count(r.id) FROM (SELECT kind AS queue, token FROM accepted WHERE kind IN ('ordered', 'passing', 'lent', 'limited', 'rated', 'steps')) a
      LEFT JOIN ran r USING (queue, token) GROUP BY queue, token HAVING count(r.id) <> 1"),
    ("something ran that was not put",
     "SELECT queue, token FROM ran WHERE queue IN ('ordered', 'passing', 'lent', 'limited', 'rated', 'steps') AND (queue, token) NOT IN (SELECT kind, token FROM accepted WHERE token IS NOT NULL)"),
    ("a group's jobs ran in another order",
     "SELECT * FROM (SELECT queue, grp, id, token, attempt, s, e, tx, lag(to_jsonb(ran)) OVER w AS before FROM ran WHERE queue IN ('ordered', 'lent') WINDOW w AS (PARTITION BY queue, grp ORDER BY s, id)) o WHERE (before ->> 'id')::bigint > id"),
    ("two jobs of a group ran at the same time",
     "SELECT a.queue, a.grp, a.id, b.id AS other FROM ran a JOIN ran b ON b.queue = a.queue AND b.grp = a.grp AND b.tx <> a.tx AND b.s > a.s AND b.s < a.e
      WHERE a.queue IN ('ordered', 'passing', 'lent')"),
    ("more than two of a key ran at the same time",
     "SELECT a.grp, a.id, count(DISTINCT b.tx) FROM ran a JOIN ran b ON b.queue = a.queue AND b.grp = a.grp AND b.s <= a.s AND b.e > a.s
      WHERE a.queue = 'limited' GROUP BY a.grp, a.id HAVING count(DISTINCT b.tx) > 2"),
    ("more than four of a queue ran at the same time",
     "SELECT a.id, count(DISTINCT b.tx) FROM ran a JOIN ran b ON b.queue = a.queue AND b.s <= a.s AND b.e > a.s
      WHERE a.queue = 'limited' GROUP BY a.id HAVING count(DISTINCT b.tx) > 4"),
    ("more of a queue started than its rate allows",
     "SELECT a.s, count(*) FROM ran a JOIN ran b ON b.queue = 'rated' AND b.s >= a.s AND b.s < a.s + interval '1 s'
      WHERE a.queue = 'rated' GROUP BY a.id, a.s HAVING count(*) > 10"),
    ("more of a key started than its rate allows",
     "SELECT a.s, count(*) FROM ran a JOIN ran b ON b.queue = 'rated' AND b.grp = a.grp AND b.s >= a.s AND b.s < a.s + interval '1 s'
      WHERE a.queue = 'rated' GROUP BY a.id, a.s HAVING count(*) > 6"),
    ("a key that is done once was done again, or not at all",
     "SELECT k.grp, count(r.id) FROM (SELECT DISTINCT grp FROM accepted WHERE kind = 'single') k LEFT JOIN ran r ON r.queue = 'single' AND r.grp = k.grp GROUP BY k.grp HAVING count(r.id) <> 1"),
    ("a pipeline lost or doubled something",
     "SELECT a.token, count(r.id) FROM accepted a LEFT JOIN ran r ON r.queue = 'second' AND r.token = a.token AND r.grp = 'c' || a.token WHERE a.kind = 'first' GROUP BY a.token HAVING count(r.id) <> a.token % 3"),
    ("a subscriber missed something, or got it twice",
     "SELECT s.queue, a.token, count(r.id) FROM accepted a CROSS JOIN (VALUES ('sub_a'), ('sub_all')) s (queue)
      LEFT JOIN ran r ON r.queue = s.queue AND r.token = a.token AND r.grp = a.grp WHERE a.kind = 'topic' GROUP BY s.queue, a.token, a.grp
      HAVING count(r.id) <> CASE WHEN s.queue = 'sub_a' THEN (a.grp = 'event.a')::int ELSE (a.grp LIKE 'event.%')::int END"),
    ("a job did not wait for others", "SELECT id, token FROM ran WHERE queue = 'too early'"),
    ("a tick fired twice, or never",
     "SELECT * FROM (SELECT (SELECT count(*) FROM ran WHERE queue = 'ticks') + (SELECT count(*) FROM ticks) AS jobs,
                            (SELECT extract(epoch FROM s.last_run - f.at)::bigint + 1 FROM queue.schedules s, first_tick f) AS ticks) c
      WHERE jobs <> ticks OR ticks < 5"),
];

pub fn audit(world: &World) {
    let mut db = world.server.reconnect("shop");
    // The view of schedules is to see what the tables show.
    db.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    for (what, sql) in WRONG {
        let rows: Vec<String> = db.all(&format!("SELECT to_jsonb(w)::text FROM ({sql}) w LIMIT 5"));
        if !rows.is_empty() {
            world.fail(format!("{what}: {}", rows.join(" ")));
        }
    }
    let sum = "SELECT string_agg(queue || ' ' || n, ', ' ORDER BY queue) FROM (SELECT queue, count(*) n FROM ran GROUP BY 1) r";
    let ran: Option<String> = db.one(sum);
    crate::world::say(&format!("ran: {}", ran.unwrap_or_default()));
}
