//! What `waits` promises.

use super::*;

fn of(ids: &[i64]) -> impl Iterator<Item = i64> {
    ids.iter().copied()
}

/// Looked through, and found that no job waits.
fn idle() -> Waits {
    let waits = Waits::default();
    waits.seen(false, waits.added_so_far());
    waits
}

#[test]
fn nothing_is_known_at_first() {
    let waits = Waits::default();
    assert!(!waits.is_none());
    assert!(waits.due() <= 1_000_000_000);
    assert_eq!(waits.begin(1_000_000_000).unwrap().from, i64::MIN);
}

#[test]
fn what_ends_where_nobody_waits_is_not_noted() {
    let waits = idle();
    assert!(!waits.end(Some(&mut of(&[1]))));
    assert_eq!(waits.due(), NEVER);
    assert!(waits.take().is_empty());
}

#[test]
fn a_waiting_job_has_what_it_waits_for_looked_at() {
    let waits = idle();
    waits.add(Some(&mut of(&[1, 2])));
    assert_eq!(waits.due(), 0);
    assert!(waits.end(Some(&mut of(&[3]))));
    assert_eq!(waits.take(), [1, 2, 3]);
    assert!(waits.take().is_empty());
}

#[test]
fn one_committed_after_the_look_began_is_not_overlooked() {
    let waits = Waits::default();
    let added = waits.added_so_far();
    waits.add(Some(&mut of(&[1])));
    waits.seen(false, added);
    assert!(!waits.is_none());
    assert_eq!(waits.take(), [1]);
}

#[test]
fn too_many_have_all_looked_at() {
    let waits = idle();
    waits.add(Some(&mut (0..MOST_IDS as i64)));
    waits.end(Some(&mut of(&[7])));
    assert_eq!(waits.take().len(), MOST_IDS);
    assert!(waits.begin(0).is_some());
}

#[test]
fn a_pass_goes_on_where_it_stopped_and_is_followed_by_a_rest() {
    let waits = idle();
    waits.add(None);
    let first = waits.begin(100).unwrap();
    waits.advance(&first, 50);
    // Two at a time do the same step: only the first moves on.
    waits.advance(&first, 40);
    let second = waits.begin(150).unwrap();
    assert_eq!(second.from, 50);
    let end = 100 + 2 * LONG;
    waits.finish(&second, end);
    assert_eq!(waits.begin(end), None);
    waits.ask_for_all();
    let rested = end + 2 * LONG * REST;
    assert_eq!(waits.due(), rested);
    assert_eq!(waits.begin(rested - 1), None);
    assert!(waits.begin(rested).is_some());
}

#[test]
fn what_cannot_wait_breaks_the_rest() {
    let waits = idle();
    waits.add(None);
    let pass = waits.begin(0).unwrap();
    waits.finish(&pass, 2 * LONG);
    waits.ask_for_all_now();
    assert!(waits.begin(2 * LONG).is_some());
}

#[test]
fn what_cannot_wait_is_not_forgotten_for_a_pass_under_way() {
    let waits = idle();
    waits.add(None);
    let pass = waits.begin(0).unwrap();
    waits.ask_for_all_now();
    waits.finish(&pass, 2 * LONG);
    assert_eq!(waits.due(), 0);
    assert!(waits.begin(2 * LONG).is_some());
}

#[test]
fn who_was_left_is_looked_for_once() {
    let waits = idle();
    assert!(!waits.take_stuck());
    waits.leave_stuck();
    assert!(waits.take_stuck());
    assert!(!waits.take_stuck());
}

#[test]
fn all_are_looked_at_from_time_to_time() {
    let waits = idle();
    waits.add(None);
    let pass = waits.begin(0).unwrap();
    waits.finish(&pass, 0);
    assert_eq!(waits.due(), EVERY);
    assert!(waits.begin(EVERY).is_some());
}

#[test]
fn what_nobody_told_of_is_looked_at_once_it_is_seen() {
    let waits = idle();
    waits.seen(true, waits.added_so_far());
    assert!(!waits.is_none());
    assert!(waits.begin(0).is_some());
}
