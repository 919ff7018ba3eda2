//! Kills and crashes.

use crate::world::World;
use queue_ext_server_tests::Rng;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

pub fn disturb(world: &World, number: u64) {
    let mut rng = Rng::of(world.seed, number);
    while !world.calm.load(SeqCst) {
        world.sleep(Duration::from_millis(rng.between(300, 2500) as u64));
        if rng.percent(12) {
            world.count("crash");
            world.server.stop_immediately();
            world.server.start_again();
            continue;
        }
        let victim = rng.weighted(&[
            (60, "backend_type = 'queue_ext worker'"),
            (40, "backend_type = 'client backend' AND application_name = 'test'"),
        ]);
        let how = rng.weighted(&[(30, "pg_cancel_backend"), (70, "pg_terminate_backend")]);
        let Ok(mut db) = world.server.try_connect("postgres", "shop") else { continue };
        let sql = format!(
            "SELECT {how}(pid) FROM pg_stat_activity WHERE {victim} AND datname = 'shop' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
        );
        if db.batch_execute(&sql).is_ok() {
            world.count(how);
        }
    }
}
