//! Locks of tables for reading, and of a session.

use super::{catalog, role, spi};
use pgrx::pg_sys::{self, Oid};

/// Locks a table, its partitions and all their indexes for reading, if that needs no waiting. Must be
/// called inside `spi::connect`.
pub fn try_for_reading(relation: Oid) -> bool {
    // OFFSET 0: found by index for each table, never by reading the whole catalog to hash it.
    const ALL: &str = "
        WITH RECURSIVE tables (oid) AS (
            SELECT $1 UNION ALL SELECT i.inhrelid FROM tables t,
                LATERAL (SELECT inhrelid FROM pg_inherits WHERE inhparent = t.oid OFFSET 0) i)
        SELECT oid FROM tables
        UNION ALL SELECT x.indexrelid FROM tables t,
            LATERAL (SELECT indexrelid FROM pg_index WHERE indrelid = t.oid OFFSET 0) x";
    let rows = role::pinned(|| {
        let _planner = role::Planner::by_index();
        spi::run_kept(ALL, &[pg_sys::OIDOID], &[spi::arg(relation)])
    });
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).all(|oid: Oid| {
        // SAFETY: an ordinary lock, released at the transaction's end.
        unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessShareLock as i32) }
    })
}

/// Locks a table for reading, and says whether it is still there.
pub fn for_reading(relation: Oid) -> bool {
    // SAFETY: an ordinary lock, released at the transaction's end; whoever waited for it hears of changes.
    unsafe { pg_sys::LockRelationOid(relation, pg_sys::AccessShareLock as i32) };
    catalog::relation_name(relation).is_some()
}

/// A number held by this session alone, through its commits, until dropped: on ERROR, too, which unwinds,
/// and when the session ends, however it does.
pub struct Held(pg_sys::LOCKTAG);

/// Tells ours from the locks of pg_advisory_lock, which have 1 and 2 there; `pg_locks.objsubid`.
pub const HELD_SUBID: u16 = 8021;

impl Held {
    /// `None` if another session holds it, or this one.
    pub fn try_take(kind: u32, number: u32) -> Option<Held> {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: catalog::my_database().to_u32(),
            locktag_field2: kind,
            locktag_field3: number,
            locktag_field4: HELD_SUBID,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        // SAFETY: a lock of the session's, as pg_try_advisory_lock takes it; it can be taken twice.
        let taken = unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, true, true) };
        match taken {
            pg_sys::LockAcquireResult::LOCKACQUIRE_OK => Some(Held(tag)),
            pg_sys::LockAcquireResult::LOCKACQUIRE_ALREADY_HELD => {
                drop(Held(tag));
                None
            }
            _ => None,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: taken once for each value. It warns if pg_advisory_unlock_all was called meanwhile.
        unsafe { pg_sys::LockRelease(&self.0, pg_sys::ExclusiveLock as i32, true) };
    }
}

/// Tells locks on groups from the advisory locks of users, which have 1 or 2 here.
const GROUPS: u16 = 0x5145;

fn tag_of(number: u64) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_field1: catalog::my_database().to_u32(),
        locktag_field2: (number >> 32) as u32,
        locktag_field3: number as u32,
        locktag_field4: GROUPS,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// Takes the lock with this number until the transaction ends, if nobody else has it, and if there is room
/// for it. A rollback to a savepoint gives it back.
pub fn try_number(number: u64) -> bool {
    try_take(&tag_of(number), pg_sys::ExclusiveLock)
}

fn try_take(tag: &pg_sys::LOCKTAG, mode: u32) -> bool {
    // SAFETY: an ordinary lock of the transaction's, not waited for; a full table of locks is no error.
    let outcome = unsafe {
        #[cfg(not(feature = "pg18"))]
        let got = pg_sys::LockAcquireExtended(tag, mode as i32, false, true, false, std::ptr::null_mut());
        #[cfg(feature = "pg18")]
        let got =
            pg_sys::LockAcquireExtended(tag, mode as i32, false, true, false, std::ptr::null_mut(), false);
        got
    };
    outcome != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Does this transaction have the lock with this number?
pub fn has_number(number: u64) -> bool {
    is_held(&tag_of(number), pg_sys::ExclusiveLock)
}

/// Gives it back before: nothing was done under it. To be called once for each time it was taken.
pub fn release_number(number: u64) {
    // SAFETY: a lock that this transaction has.
    unsafe { pg_sys::LockRelease(&tag_of(number), pg_sys::ExclusiveLock as i32, false) };
}

/// So many locks one transaction may take without crowding out the others.
pub fn fair_share() -> usize {
    // SAFETY: settings that are fixed when the server has started.
    unsafe { ((pg_sys::max_locks_per_xact * pg_sys::MaxBackends) as usize / 16).clamp(64, 10_000) }
}

/// Tells locks that are held to be counted.
const COUNTED: u16 = 0x514c;

fn counted(number: u64) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG { locktag_field4: COUNTED, ..tag_of(number) }
}

/// How many other transactions hold this number? One that has ended is not among them, as soon as what it did
/// is visible.
pub fn others_with(number: u64) -> i64 {
    let mut count = 0;
    // SAFETY: reads the table of locks into a list of its own, which is freed.
    unsafe {
        let list = pg_sys::GetLockConflicts(&counted(number), pg_sys::ExclusiveLock as i32, &mut count);
        pg_sys::pfree(list.cast());
    }
    i64::from(count)
}

/// Does this transaction hold this number?
pub fn is_counted(number: u64) -> bool {
    is_held(&counted(number), pg_sys::ShareLock)
}

fn is_held(tag: &pg_sys::LOCKTAG, mode: u32) -> bool {
    // SAFETY: looks at this session's own locks.
    unsafe {
        #[cfg(feature = "pg15")]
        let held = pg_sys::LockHeldByMe(tag, mode as i32);
        #[cfg(not(feature = "pg15"))]
        let held = pg_sys::LockHeldByMe(tag, mode as i32, false);
        held
    }
}

/// Holds this number, as others may, until the transaction ends; false if there is no room for the lock. A
/// rollback to a savepoint gives it back.
pub fn count_me(number: u64) -> bool {
    try_take(&counted(number), pg_sys::ShareLock)
}

/// Gives it back before. To be called once for each time it was taken, in the same subtransaction.
pub fn count_me_not(number: u64) {
    // SAFETY: a lock that this transaction has.
    unsafe { pg_sys::LockRelease(&counted(number), pg_sys::ShareLock as i32, false) };
}

/// While it lives, nobody else is in here with this number; waits for its turn.
pub struct Turn(pg_sys::LOCKTAG);

impl Turn {
    pub fn wait(number: u64) -> Turn {
        let tag = counted(number);
        // SAFETY: an ordinary lock of the transaction's.
        unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, false, false) };
        Turn(tag)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: taken once for each value, in the same subtransaction.
        unsafe { pg_sys::LockRelease(&self.0, pg_sys::ExclusiveLock as i32, false) };
    }
}
