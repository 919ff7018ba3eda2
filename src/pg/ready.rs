//! The ready partition, read and deleted from directly in the order of its index (priority, id). The only
//! code that knows how ready rows are stored.

use super::insert::Desc;
use super::relation::Open;
use super::scan::{Current, Cursor, Deletion, Fresh, Key, Status, Step};
use super::sweep::{End, Order, Swept, Wish};
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
    /// Read only where it is filled.
    pub group_key: i16,
}

impl Columns {
    /// The last of those that are always read.
    pub(super) fn highest(&self) -> i16 {
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
    /// The first that it could not have because somebody holds them.
    pub held: Vec<i64>,
}

/// No more held rows are told of.
const MOST_HELD: usize = 8;

/// What is to become of a row of a group that a scan has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It is to be taken as any other.
    Take,
    /// It was taken, or somebody else has: nothing is left here.
    Done,
    /// It cannot be taken now, but perhaps later.
    Stays,
    /// There are enough rows, or enough was looked at; whether this one is among those taken.
    Enough { taken: bool },
}

/// Decides which rows of groups are taken, and in which order.
pub trait Gate {
    /// A ready row of a group is met. Takes those of the group that go before it, and it, too, or says that
    /// it is to be taken.
    fn meet(
        &mut self,
        group: Vec<u8>,
        priority: usize,
        id: i64,
        rows: &mut Vec<Row>,
        limit: usize,
    ) -> Passage;
    /// The row met last was to be taken, and could not be.
    fn lost(&mut self);
    /// Takes what is waiting elsewhere and goes before this key. True: enough.
    fn fill(&mut self, before: (i32, i64), rows: &mut Vec<Row>, limit: usize) -> bool;
    /// Up to which key of a priority `fill` has nothing to do.
    fn bound(&self, priority: usize) -> i64;
    /// Is it no use to go on?
    fn is_full(&self) -> bool;
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

/// Columns that are read of each row that is taken.
const READ: usize = 4;

/// Adds a row that was taken; one that somebody holds stops what was reached.
fn note(one: &Swept<READ>, priority: usize, scan: &mut Scan, stopped: &mut i64) {
    let [id, attempt, max_attempts, run_at] = one.columns;
    let id = id.map_or(0, |value| value.value() as i64);
    match (one.outcome, one.row) {
        (Deletion::Done, Some(datum)) => scan.rows.push(Row {
            datum,
            id,
            priority: priority as i32,
            attempt: attempt.map_or(0, |value| value.value() as i32),
            max_attempts: max_attempts.map(|value| value.value() as i32),
            run_at: run_at.map(|value| value.value() as Micros),
        }),
        // If somebody is just claiming it, his rollback lowers the floor.
        (Deletion::Gone, _) => {}
        _ => {
            *stopped = (*stopped).min(id);
            if scan.held.len() < MOST_HELD {
                scan.held.push(id);
            }
        }
    }
}

fn id_of(current: &Current, ready: &Ready) -> i64 {
    current.column(ready.place.columns.id).map_or(0, |value| value.value() as i64)
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
        let [parent, table] = if is_to_look {
            [Open::for_reading_if_there(place.parent)?, Open::for_reading_if_there(place.table)?]
        } else {
            Open::tables(place.parent, place.table)
        };
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
    pub fn take(&self, from: &Keys, limit: usize, gate: &mut dyn Gate) -> Scan {
        self.table.check_may_delete();
        // What this transaction did before is to be seen.
        super::xact::next_command();
        let snapshot = Fresh::take();
        let desc = Desc::of(self.place.row_type);
        let mut cursor =
            Cursor::of_visible(&self.table, &self.index, &snapshot, 2, self.place.columns.highest());
        let rows = Vec::with_capacity(limit.min(1000));
        let mut scan = Scan { rows, reached: [BOTTOM; PRIORITIES], held: Vec::new() };
        for priority in (0..PRIORITIES).filter(|p| from[*p] < TOP) {
            if scan.rows.len() >= limit {
                break;
            }
            cursor.seek(&keys(priority, from[priority]));
            scan.reached[priority] = self.take_from(&mut cursor, priority, limit, &desc, &mut scan, gate);
            if gate.is_full() {
                break;
            }
        }
        gate.fill((i32::MAX, i64::MAX), &mut scan.rows, limit);
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
        scan: &mut Scan,
        gate: &mut dyn Gate,
    ) -> i64 {
        let group_key = self.place.columns.group_key;
        let mut stopped = TOP;
        let mut swept = Vec::new();
        while scan.rows.len() < limit {
            let order = self.order(desc, limit - scan.rows.len());
            let bound = gate.bound(priority);
            let wish = |read: &[Option<Datum>; READ], header| {
                let id = read[0].map_or(0, |value| value.value() as i64);
                // SAFETY: the sweep hands over the header of a whole row.
                let in_group = unsafe { super::row::any_filled_of(header, &[group_key]) };
                if in_group || id >= bound { Wish::Stop } else { Wish::DeleteAndReturn }
            };
            // SAFETY: the closure reads memory only.
            let end = unsafe { cursor.sweep(&order, wish, &mut swept) };
            let mut last = BOTTOM;
            for one in swept.drain(..) {
                last = one.columns[0].map_or(0, |value| value.value() as i64);
                note(&one, priority, scan, &mut stopped);
            }
            match end {
                End::Over => return stopped,
                End::Stopped => {}
                _ => return stopped.min(last.saturating_add(1)),
            }
            // SAFETY: the sweep stopped at a row.
            let (id, group) = unsafe { (id_of(&cursor.current(), self), cursor.current().text(group_key)) };
            if gate.fill((priority as i32, id), &mut scan.rows, limit) {
                return stopped.min(id);
            }
            let is_plain = group.is_none();
            match group.map_or(Passage::Take, |group| gate.meet(group, priority, id, &mut scan.rows, limit)) {
                Passage::Done => {}
                Passage::Stays => stopped = stopped.min(id),
                Passage::Enough { taken } => return stopped.min(id + i64::from(taken)),
                Passage::Take => {
                    // SAFETY: the gate does not move the cursor.
                    let one = unsafe { cursor.take_current(&order) };
                    note(&one, priority, scan, &mut stopped);
                    if !is_plain && !matches!(one.outcome, Deletion::Done) {
                        stopped = stopped.min(id);
                        gate.lost();
                    }
                    if scan.rows.len() >= limit {
                        return stopped.min(id.saturating_add(1));
                    }
                }
            }
        }
        stopped
    }

    fn order<'a>(&self, desc: &'a Desc, limit: usize) -> Order<'a, READ> {
        let of = &self.place.columns;
        let columns = [of.id, of.attempt, of.max_attempts, of.run_at];
        Order { command: super::xact::command_to_write(), desc, columns, limit, gone_too: false }
    }

    /// Takes up to `most` rows of groups that are closed, looking at so many at most; leaves all others.
    pub fn take_closed(
        &self,
        from: &Keys,
        most: usize,
        most_looked_at: usize,
        is_closed: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Scan {
        self.table.check_may_delete();
        super::xact::next_command();
        let snapshot = Fresh::take();
        let desc = Desc::of(self.place.row_type);
        let group_key = self.place.columns.group_key;
        let mut cursor =
            Cursor::of_visible(&self.table, &self.index, &snapshot, 2, self.place.columns.highest());
        let order = self.order(&desc, most);
        let mut scan = Scan { rows: Vec::new(), reached: [BOTTOM; PRIORITIES], held: Vec::new() };
        let mut entries = most_looked_at;
        for priority in (0..PRIORITIES).filter(|p| from[*p] < TOP) {
            cursor.seek(&keys(priority, from[priority]));
            while scan.rows.len() < most
                && let Step::Row(current) = cursor.advance(&mut entries)
            {
                if current.any_filled(&[group_key])
                    && current.text(group_key).is_some_and(|group| is_closed(&group))
                {
                    // SAFETY: the step met a row.
                    let one = unsafe { cursor.take_current(&order) };
                    let mut stopped = TOP;
                    note(&one, priority, &mut scan, &mut stopped);
                }
            }
        }
        super::xact::next_command();
        // They were only to make room.
        scan.held.clear();
        scan
    }

    /// Is there a row, of any priority after this one, from these keys on? Yes, too, if that takes long to find out.
    pub fn has_less_urgent(&self, priority: usize, from: &Keys) -> bool {
        let snapshot = Fresh::take();
        let mut cursor = Cursor::of_visible(&self.table, &self.index, &snapshot, 2, self.place.columns.id);
        (priority + 1..PRIORITIES).filter(|p| from[*p] < TOP).any(|p| {
            cursor.seek(&keys(p, from[p]));
            let mut entries = 10;
            !matches!(cursor.advance(&mut entries), Step::Over)
        })
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
