use super::*;

fn at(text: &str) -> Micros {
    let time = DateTime::parse_from_rfc3339(text).unwrap_or_else(|_| panic!("{text}"));
    (time.timestamp() - EPOCH) * SECOND
}

fn shown(zone: &str, tick: Micros) -> String {
    let zone = time_zone(zone).unwrap();
    zone.from_utc_datetime(&utc(tick).unwrap()).format("%d %H:%M:%S %z").to_string()
}

/// The ticks after a time, as the clock of the zone shows them.
fn ticks(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let list = Schedule::new(cron, zone).unwrap().run(at(after), count).unwrap();
    assert!(list.is_sorted_by(|a, b| a < b), "{cron} {zone} {after}: {list:?}");
    list.into_iter().map(|tick| shown(zone, tick)).collect()
}

#[test]
fn without_daylight_saving() {
    assert_eq!(
        ticks("*/20 * * * *", "UTC", "2026-03-29T00:30:00Z", 3),
        ["29 00:40:00 +0000", "29 01:00:00 +0000", "29 01:20:00 +0000"]
    );
    assert_eq!(
        ticks("30 2 * * *", "UTC", "2026-03-29T00:00:00Z", 2),
        ["29 02:30:00 +0000", "30 02:30:00 +0000"]
    );
    assert_eq!(
        ticks("*/30 * * * * *", "UTC", "2026-01-01T00:00:29Z", 2),
        ["01 00:00:30 +0000", "01 00:01:00 +0000"]
    );
    assert_eq!(ticks("@daily", "UTC", "2026-01-01T00:00:00Z", 1), ["02 00:00:00 +0000"]);
    assert_eq!(ticks("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1).len(), 1);
    assert_eq!(
        ticks("0 0 L * *", "UTC", "2026-01-31T00:00:00Z", 2),
        ["28 00:00:00 +0000", "31 00:00:00 +0000"]
    );
}

#[test]
fn after_means_after_and_ticks_are_whole_seconds() {
    let every_second = Schedule::new("* * * * * *", "UTC").unwrap();
    let start = at("2026-01-01T00:00:00Z");
    assert_eq!(every_second.next(start), Ok(Some(start + SECOND)));
    assert_eq!(every_second.next(start + 1), Ok(Some(start + SECOND)));
    assert_eq!(every_second.next(start - 1), Ok(Some(start)));
}

// Berlin, 2026-03-29: 01:59:59 +0100 is followed by 03:00:00 +0200.
#[test]
fn a_named_time_that_does_not_exist_runs_at_the_first_instant_after_it() {
    let day_before = "2026-03-28T12:00:00Z";
    assert_eq!(
        ticks("30 2 * * *", "Europe/Berlin", day_before, 3),
        ["29 03:00:00 +0200", "30 02:30:00 +0200", "31 02:30:00 +0200"]
    );
    // Also if the schedule names more hours than this one, or several times in the leap: once.
    assert_eq!(
        ticks("30 2,14 * * *", "Europe/Berlin", day_before, 4),
        ["28 14:30:00 +0100", "29 03:00:00 +0200", "29 14:30:00 +0200", "30 02:30:00 +0200"]
    );
    assert_eq!(
        ticks("*/15 2 * * *", "Europe/Berlin", day_before, 2),
        ["29 03:00:00 +0200", "30 02:00:00 +0200"]
    );
    assert_eq!(
        ticks("0 1-4 * * *", "Europe/Berlin", day_before, 4),
        ["29 01:00:00 +0100", "29 03:00:00 +0200", "29 04:00:00 +0200", "30 01:00:00 +0200"]
    );
    assert_eq!(
        ticks("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["08 03:00:00 -0400", "09 02:30:00 -0400"]
    );
    // Half an hour: 02:00 is followed by 02:30.
    assert_eq!(
        ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
        ["04 02:30:00 +1100", "05 02:15:00 +1100"]
    );
    // At midnight: the day begins at 01:00.
    assert_eq!(
        ticks("30 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
        ["24 01:00:00 +0300", "25 00:30:00 +0300"]
    );
    // A whole day.
    assert_eq!(ticks("0 9 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", 1), ["31 00:00:00 +1400"]);
}

#[test]
fn elapsed_time_passes_over_what_does_not_exist() {
    assert_eq!(
        ticks("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:40:00Z", 3),
        ["29 01:45:00 +0100", "29 03:00:00 +0200", "29 03:15:00 +0200"]
    );
    assert_eq!(
        ticks("*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:10:00Z", 3),
        ["04 01:45:00 +1030", "04 02:30:00 +1100", "04 02:45:00 +1100"]
    );
    assert_eq!(
        ticks("0 * * * *", "America/New_York", "2026-03-08T05:30:00Z", 3),
        ["08 01:00:00 -0500", "08 03:00:00 -0400", "08 04:00:00 -0400"]
    );
    assert_eq!(
        ticks("59 59 * * * *", "America/New_York", "2026-03-08T06:30:00Z", 2),
        ["08 01:59:59 -0500", "08 03:59:59 -0400"]
    );
}

// Berlin, 2026-10-25: 02:59:59 +0200 is followed by 02:00:00 +0100.
#[test]
fn a_named_time_that_comes_twice_runs_the_first_time() {
    assert_eq!(
        ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["25 02:30:00 +0200", "26 02:30:00 +0100"]
    );
    assert_eq!(
        ticks("*/30 1-3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 6),
        [
            "25 01:00:00 +0200",
            "25 01:30:00 +0200",
            "25 02:00:00 +0200",
            "25 02:30:00 +0200",
            "25 03:00:00 +0100",
            "25 03:30:00 +0100"
        ]
    );
    assert_eq!(
        ticks("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
        ["01 01:30:00 -0400", "02 01:30:00 -0500"]
    );
    assert_eq!(
        ticks("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 2),
        ["05 01:45:00 +1100", "06 01:45:00 +1030"]
    );
    // Asked within the second half, where the clock shows an earlier time than it runs at.
    assert_eq!(ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["26 02:30:00 +0100"]);
    // Asked within the first.
    assert_eq!(ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T00:40:00Z", 1), ["26 02:30:00 +0100"]);
}

#[test]
fn elapsed_time_runs_through_what_comes_twice() {
    assert_eq!(
        ticks("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 6),
        [
            "25 02:00:00 +0200",
            "25 02:30:00 +0200",
            "25 02:00:00 +0100",
            "25 02:30:00 +0100",
            "25 03:00:00 +0100",
            "25 03:30:00 +0100"
        ]
    );
    assert_eq!(
        ticks("10 * * * *", "America/New_York", "2026-11-01T05:00:00Z", 3),
        ["01 01:10:00 -0400", "01 01:10:00 -0500", "01 02:10:00 -0500"]
    );
    assert_eq!(
        ticks("*/10 * * * *", "Australia/Lord_Howe", "2026-04-04T14:40:00Z", 6),
        [
            "05 01:50:00 +1100",
            "05 01:30:00 +1030",
            "05 01:40:00 +1030",
            "05 01:50:00 +1030",
            "05 02:00:00 +1030",
            "05 02:10:00 +1030"
        ]
    );
}

#[test]
fn every_second_around_a_change_runs_once() {
    for (zone, change) in [
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("UTC", "2026-03-29T01:00:00Z"),
    ] {
        let schedule = Schedule::new("* * * * * *", zone).unwrap();
        let change = at(change);
        if zone != "UTC" {
            assert_ne!(shown(zone, change - SECOND)[12..], shown(zone, change)[12..], "{zone} changes then");
        }
        for tick in -9000..9000 {
            let tick = change + tick * SECOND;
            assert_eq!(schedule.next(tick), Ok(Some(tick + SECOND)), "{zone}: after {}", shown(zone, tick));
        }
    }
}

#[test]
fn the_next_tick_does_not_depend_on_when_one_asks() {
    // Asked at any minute around a change, the next tick is the next of one and the same list.
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"] {
        for cron in ["30 2 * * *", "15,45 1-2 * * *", "*/20 * * * *", "0 */2 * * *", "45 1 * * *"] {
            let schedule = Schedule::new(cron, zone).unwrap();
            for start in ["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"]
            {
                let start = at(&format!("{start}T00:00:00Z"));
                let list = schedule.run(start, 200).unwrap();
                for minute in (0..48 * 60).step_by(5) {
                    let now = start + minute * 60 * SECOND;
                    let expected = list.iter().find(|tick| **tick > now).copied();
                    assert_eq!(schedule.next(now).unwrap(), expected, "{cron} {zone} {}", shown(zone, now));
                }
            }
        }
    }
}

#[test]
fn invalid_ones_are_refused() {
    for cron in [
        "",
        " ",
        "*",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "a b c d e",
        "@often",
        "5/5 * * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "1-60 * * * *",
        "*/0 * * * *",
        "0 0 * * 8",
        "0 0 * * MONDAYS",
        "😀 * * * *",
    ] {
        assert!(matches!(Schedule::new(cron, "UTC"), Err(Invalid::Cron { .. })), "{cron}");
    }
    let long = format!("{} * * * *", "1,".repeat(1000));
    assert!(matches!(Schedule::new(&long, "UTC"), Err(Invalid::Cron { .. })));
    for zone in ["", "Europe/Atlantis", "+02:00", "CEST7"] {
        assert!(matches!(Schedule::new("* * * * *", zone), Err(Invalid::TimeZone(_))), "{zone}");
    }
    assert_eq!(Schedule::new("* * * * *", "europe/berlin").unwrap().zone(), "Europe/Berlin");
    assert!(CatchUp::of("some").is_err());
}

#[test]
fn some_never_run() {
    for cron in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 +MON", "0 0 29 2 +MON#1"] {
        let schedule = Schedule::new(cron, "Europe/Berlin").unwrap();
        assert_eq!(schedule.next(at("2026-01-01T00:00:00Z")), Ok(None), "{cron}");
    }
    let rare = Schedule::new("0 0 29 2 +MON", "UTC").unwrap();
    assert!(rare.next(at("2072-03-01T00:00:00Z")).unwrap().is_some());
    let far = Schedule::new("* * * * *", "UTC").unwrap();
    for time in [Micros::MIN, Micros::MAX, -70_000_000_000_000_000, 90_000_000_000_000_000] {
        assert_eq!(far.next(time), Err(Invalid::Time));
    }
}

#[test]
fn what_was_missed_is_caught_up_with_as_said() {
    let hourly = Schedule::new("0 * * * *", "UTC").unwrap();
    let first = at("2026-01-01T01:00:00Z");
    let hour = 3600 * SECOND;
    let on_time = first + SECOND / 2;
    for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
        let firing = hourly.fire(catch_up, first, on_time, 100);
        assert_eq!(firing, Firing { jobs: 1, tick: first, next: first + hour }, "{catch_up:?}");
    }
    // Three and a half hours later.
    let late = first + 3 * hour + hour / 2;
    let (last, next) = (first + 3 * hour, first + 4 * hour);
    assert_eq!(hourly.fire(CatchUp::None, first, late, 100), Firing { jobs: 0, tick: last, next });
    assert_eq!(hourly.fire(CatchUp::One, first, late, 100), Firing { jobs: 1, tick: last, next });
    assert_eq!(hourly.fire(CatchUp::All, first, late, 100), Firing { jobs: 4, tick: last, next });
    // In steps.
    let part = hourly.fire(CatchUp::All, first, late, 3);
    assert_eq!(part, Firing { jobs: 3, tick: first + 2 * hour, next: last });
    assert_eq!(hourly.fire(CatchUp::All, part.next, late, 3), Firing { jobs: 1, tick: last, next });
    // The last tick is in time, those before it are not.
    let in_time = last + LATE_AFTER;
    assert_eq!(hourly.fire(CatchUp::None, first, in_time, 100), Firing { jobs: 1, tick: last, next });
    assert_eq!(hourly.fire(CatchUp::None, first, in_time + 1, 100).jobs, 0);
}

#[test]
fn the_last_tick_is_found_among_very_many() {
    let first = at("2020-01-01T00:00:00Z");
    let now = at("2026-05-01T12:34:56Z") + 1;
    for (cron, last) in [
        ("* * * * * *", "2026-05-01T12:34:56Z"),
        ("*/7 * * * * *", "2026-05-01T12:34:56Z"),
        ("0 0 * * *", "2026-05-01T00:00:00Z"),
        ("* * * 1 1 *", "2026-01-01T23:59:59Z"),
        ("0 0 29 2 *", "2024-02-29T00:00:00Z"),
        ("0 0 1 1 *", "2026-01-01T00:00:00Z"),
    ] {
        let schedule = Schedule::new(cron, "UTC").unwrap();
        assert_eq!(schedule.last_until(first, now), at(last), "{cron}");
    }
}

/// Whatever is typed: an answer, soon, and no panic.
#[test]
fn anything_may_be_typed() {
    let fields =
        ["*", "*/5", "0", "5", "12", "1-5", "1,2", "L", "?", "MON#2", "5L", "15W", "JAN", "+1", "SUN-SAT"];
    let noise = ["*", "/", "-", ",", "#", "L", "W", "?", "+", "0", "7", "99999999999", "-SUN", "@", "é", " "];
    let mut seed = 42u64;
    let mut random = |most: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % most
    };
    let mut valid = 0;
    for _ in 0..4_000 {
        let mut cron = String::new();
        for field in 0..5 + random(2) {
            if field > 0 {
                cron.push(' ');
            }
            cron.push_str(fields[random(fields.len())]);
            if random(8) == 0 {
                cron.push_str(noise[random(noise.len())]);
            }
        }
        if let Ok(schedule) = Schedule::new(&cron, "Europe/Berlin") {
            valid += 1;
            let ticks = schedule.run(at("2026-03-28T00:00:00Z"), 3).unwrap();
            assert!(ticks.is_sorted_by(|a, b| a < b), "{cron}");
        }
    }
    assert!((100..3_900).contains(&valid), "{valid}");
}
