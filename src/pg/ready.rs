//! The ready partition, read and deleted from directly in the order of its index (priority, id). The only
//! code that knows how ready rows are stored.

use super::insert::Desc;
use super::relation::Open;
use super::scan::{Cursor, Deletion, Fresh, Key, Status, Step};
use super::sweep::{Order, Swept, Wish};
use super::time::Micros;
use super::{Datum, Oid};
use crate::claim::floor::{BOTTOM, Keys, PRIORITIES, TOP};
use pgrx::pg_sys;

/// Tells of changes that are not ours.
const OUR_TRIGGERS: &[&std::ffi::CStr] = &[c"queue_ext_wake"];
/// Transaction numbers below this are no transactions.
const FIRST_TRANSACTION: u32 = 3;

/// Numbers of the columns that a claim reads.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub id: i16,
    pub priority: i16,
    pub run_at: i16,
    pub attempt: i16,
    pub max_attempts: i16,
}

impl Columns {
    fn highest(&self) -> i16 {
        [self.id, self.priority, self.run_at, self.attempt, self.max_attempts].into_iter().max().unwrap_or(0)
    }
}

/// Where a queue's ready rows are.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub parent: Oid,
    pub table: Oid,
    pub index: Oid,
    pub row_type: Oid,
    pub columns: Columns,
}

/// A row that this transaction has deleted; the value lies in the memory context it was taken in.
pub struct Row {
    pub datum: Datum,
    pub id: i64,
    pub priority: i32,
    pub attempt: i32,
    pub max_attempts: Option<i32>,
    pub run_at: Option<Micros>,
}

/// What a scan took, and for each priority the key below which it left nothing claimable.
pub struct Scan {
    pub rows: Vec<Row>,
    pub reached: Keys,
}

/// A row that can be claimed, as the safety scan met it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Met {
    pub id: i64,
    pub xmin: u32,
    pub xmax: u32,
}

/// What a look at part of the index found.
pub struct Look {
    /// Below this all is dead for good.
    pub dead: i64,
    /// The first row that can be claimed.
    pub met: Option<Met>,
    /// Where a further look goes on; none: the part is done.
    pub next: Option<i64>,
    /// Entries of rows looked at.
    pub seen: usize,
    /// Too many entries led to no row.
    pub cut_short: bool,
}

/// What it is opened for.
#[derive(Clone, Copy, PartialEq)]
pub enum Purpose {
    Taking,
    Looking,
}

/// The ready partition, open.
pub struct Ready {
    table: Open,
    index: Open,
    place: Place,
    plain: bool,
}

fn keys(priority: usize, id: i64) -> [Key; 2] {
    [Key::Int2Is(priority as i16), Key::Int8From(if id <= BOTTOM { i64::MIN } else { id })]
}

fn is_plain(parent: &Open, table: &Open) -> bool {
    table.is_plain_heap()
        && !table.delete_has_side_effects(OUR_TRIGGERS)
        && !parent.delete_has_side_effects(OUR_TRIGGERS)
}

/// The same as `Ready::allows_direct_deletion`, for who only wants to know.
pub fn would_allow_direct_deletion(place: &Place) -> bool {
    is_plain(&Open::for_reading(place.parent), &Open::for_reading(place.table))
}

impl Ready {
    /// Opens it; `None` if it is not as it was any more when the locks are there.
    pub fn open(place: Place, purpose: Purpose, is_current: impl FnOnce() -> bool) -> Option<Ready> {
        let is_to_look = purpose == Purpose::Looking;
        // Whoever takes has locked the definition already; who looks may come late.
        let open = |oid| if is_to_look { Open::for_reading_if_there(oid) } else { Some(Open::table(oid)) };
        let (parent, table) = (open(place.parent)?, open(place.table)?);
        // Before the index is opened, which may be gone.
        if !is_current() {
            return None;
        }
        let index = if is_to_look { Open::index_for_reading } else { Open::index }(place.index);
        let plain = is_plain(&parent, &table);
        Some(Ready { table, index, place, plain })
    }

    /// Does deleting directly do all that the executor would do?
    pub fn allows_direct_deletion(&self) -> bool {
        self.plain
    }

    /// Whether what this transaction sees of the table may vanish with its rollback as a whole.
    pub fn is_of_this_transaction(&self) -> bool {
        self.table.is_of_this_transaction()
    }

    /// Takes up to `limit` rows, most urgent first, starting at these keys. To be called in READ
    /// COMMITTED, with the caller's privileges checked.
    pub fn take(&self, from: &Keys, limit: usize) -> Scan {
        self.table.check_may_delete();
        // What this transaction did before is to be seen.
        super::xact::next_command();
        let snapshot = Fresh::take();
        let desc = Desc::of(self.place.row_type);
        let mut cursor =
            Cursor::of_visible(&self.table, &self.index, &snapshot, 2, self.place.columns.highest());
        let mut scan = Scan { rows: Vec::with_capacity(limit.min(1000)), reached: [BOTTOM; PRIORITIES] };
        for priority in (0..PRIORITIES).filter(|p| from[*p] < TOP) {
            if scan.rows.len() >= limit {
                break;
            }
            cursor.seek(&keys(priority, from[priority]));
            scan.reached[priority] = self.take_from(&mut cursor, priority, limit, &desc, &mut scan.rows);
        }
        super::xact::next_command();
        scan
    }

    /// Takes what the cursor offers; returns the key below which nothing is left.
    fn take_from(
        &self,
        cursor: &mut Cursor,
        priority: usize,
        limit: usize,
        desc: &Desc,
        rows: &mut Vec<Row>,
    ) -> i64 {
        let of = &self.place.columns;
        let command = super::xact::command_to_write();
        let mut stopped = TOP;
        let columns = [of.id, of.attempt, of.max_attempts, of.run_at];
        let order = Order { command, desc, columns, limit: limit - rows.len(), gone_too: false };
        let mut swept = Vec::new();
        // SAFETY: the closure is a constant.
        let more = unsafe { cursor.sweep(&order, |_, _| Wish::DeleteAndReturn, &mut swept) };
        let mut last = BOTTOM;
        for Swept { outcome, columns: [id, attempt, max_attempts, run_at], row } in swept {
            let id = id.map_or(0, |value| value.value() as i64);
            last = id;
            match (outcome, row) {
                (Deletion::Done, Some(datum)) => rows.push(Row {
                    datum,
                    id,
                    priority: priority as i32,
                    attempt: attempt.map_or(0, |value| value.value() as i32),
                    max_attempts: max_attempts.map(|value| value.value() as i32),
                    run_at: run_at.map(|value| value.value() as Micros),
                }),
                // If somebody is just claiming it, his rollback lowers the floor.
                (Deletion::Gone, _) => {}
                _ => stopped = stopped.min(id),
            }
        }
        if more { stopped.min(last.saturating_add(1)) } else { stopped }
    }

    /// Looks at up to `limit` index entries of a priority from one key up to another, whatever became of
    /// their rows.
    pub fn look(&self, priority: usize, from: i64, to: i64, limit: usize) -> Look {
        // Classifying rows needs to know which transactions run.
        let _snapshot = Fresh::take();
        let columns = &self.place.columns;
        let mut cursor = Cursor::of_all(&self.table, &self.index, 2, columns.highest());
        let mut look = Look { dead: from, met: None, next: None, seen: 0, cut_short: false };
        let mut all_dead = true;
        let mut last = None;
        cursor.seek(&keys(priority, from));
        let mut entries = limit.saturating_mul(4).saturating_add(1000);
        loop {
            let current = match cursor.advance(&mut entries) {
                Step::Row(current) => current,
                Step::Over => break,
                // They are marked now, and passed over quickly when the look goes on from here.
                Step::TooMany => {
                    look.next = Some(last.unwrap_or(from));
                    look.cut_short = true;
                    break;
                }
            };
            let id = current.column(columns.id).map_or(0, |value| value.value() as i64);
            if id >= to {
                break;
            }
            // A key may have many entries, of versions of its row: they are looked at together.
            if look.seen >= limit && last != Some(id) {
                look.next = Some(id);
                break;
            }
            last = Some(id);
            look.seen += 1;
            match current.status() {
                Status::Dead => {}
                Status::Claimable { xmin, xmax } => {
                    all_dead = false;
                    look.met.get_or_insert(Met { id, xmin, xmax });
                }
                Status::InProgress => all_dead = false,
            }
            if all_dead {
                look.dead = id.saturating_add(1);
            }
        }
        look
    }

    /// Waits until the transactions that last made this row claimable have run their callbacks, which
    /// they do before they let go of their own lock.
    pub fn settle(&self, met: &Met) {
        for xid in [met.xmin, met.xmax] {
            // SAFETY: waiting for a transaction that is neither permanent nor our own.
            unsafe {
                let xid = pg_sys::TransactionId::from(xid);
                if u32::from(xid) >= FIRST_TRANSACTION && !pg_sys::TransactionIdIsCurrentTransactionId(xid) {
                    pg_sys::XactLockTableWait(
                        xid,
                        self.table.raw(),
                        std::ptr::null_mut(),
                        pg_sys::XLTW_Oper::XLTW_None,
                    );
                }
            }
        }
    }
}
