//! Open relations, and what their definitions allow us to do without the executor.

use super::guard::guarded;
use super::raw;
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// InvalidSubTransactionId.
const NO_SUBTRANSACTION: pg_sys::SubTransactionId = 0;

/// A relation kept open while this value lives; its lock stays until the transaction ends.
pub struct Open {
    relation: pg_sys::Relation,
}

impl Open {
    /// A table, locked as a DELETE or INSERT locks it.
    pub fn table(oid: Oid) -> Open {
        // SAFETY: raises if there is no such relation; closed by `drop`, or by the transaction's abort.
        Open { relation: unsafe { pg_sys::table_open(oid, pg_sys::RowExclusiveLock as i32) } }
    }

    /// A table, locked as a SELECT locks it.
    pub fn for_reading(oid: Oid) -> Open {
        // SAFETY: as for `table`.
        Open { relation: unsafe { pg_sys::table_open(oid, pg_sys::AccessShareLock as i32) } }
    }

    /// An index, locked as a statement that changes its table locks it.
    pub fn index(oid: Oid) -> Open {
        // SAFETY: as for `table`.
        Open { relation: unsafe { pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32) } }
    }

    /// The same, if there is such a table.
    pub fn for_reading_if_there(oid: Oid) -> Option<Open> {
        // SAFETY: null if there is none; else as for `table`.
        let relation = unsafe { pg_sys::try_table_open(oid, pg_sys::AccessShareLock as i32) };
        (!relation.is_null()).then(|| Open { relation })
    }

    /// An index, locked as a SELECT locks it.
    pub fn index_for_reading(oid: Oid) -> Open {
        // SAFETY: as for `table`.
        Open { relation: unsafe { pg_sys::index_open(oid, pg_sys::AccessShareLock as i32) } }
    }

    /// One that the present statement has locked already.
    pub fn locked_before(oid: Oid) -> Open {
        // SAFETY: as for `table`.
        Open { relation: unsafe { pg_sys::table_open(oid, pg_sys::NoLock as i32) } }
    }

    /// Two tables, locked as an INSERT locks them.
    pub fn tables(first: Oid, second: Oid) -> [Open; 2] {
        let mode = pg_sys::RowExclusiveLock as i32;
        // SAFETY: as for `table`.
        let [first, second] =
            unsafe { guarded(|| [raw::table_open(first, mode), raw::table_open(second, mode)]) };
        [Open { relation: first }, Open { relation: second }]
    }

    pub fn raw(&self) -> pg_sys::Relation {
        self.relation
    }

    /// Leaves it to the caller to close it.
    pub(super) fn into_raw(self) -> pg_sys::Relation {
        std::mem::ManuallyDrop::new(self).relation
    }

    fn data(&self) -> &pg_sys::RelationData {
        // SAFETY: open, so the entry exists; a relcache entry in use stays where it is.
        unsafe { &*self.relation }
    }

    fn class(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: as in `data`.
        unsafe { &*self.data().rd_rel }
    }

    fn triggers(&self) -> &[pg_sys::Trigger] {
        // SAFETY: null or the relcache's own description, with so many triggers.
        unsafe {
            self.data()
                .trigdesc
                .as_ref()
                .map_or(&[], |desc| std::slice::from_raw_parts(desc.triggers, desc.numtriggers as usize))
        }
    }

    /// Would the executor do more for a DELETE of its rows than delete them? The triggers of these names
    /// are ours, and there for statements that are not ours.
    pub fn delete_has_side_effects(&self, ours: &[&CStr]) -> bool {
        self.has_side_effects(pg_sys::TRIGGER_TYPE_DELETE, ours)
    }

    /// The same for an INSERT.
    pub fn insert_has_side_effects(&self, ours: &[&CStr]) -> bool {
        self.has_side_effects(pg_sys::TRIGGER_TYPE_INSERT, ours)
    }

    fn has_side_effects(&self, event: u32, ours: &[&CStr]) -> bool {
        !self.data().rd_rules.is_null()
            || self.triggers().iter().any(|trigger| {
                // SAFETY: a C string of the relcache.
                let name = unsafe { CStr::from_ptr(trigger.tgname) };
                trigger.tgtype as u32 & event != 0 && !ours.contains(&name)
            })
    }

    /// Has it a trigger of this name?
    pub fn has_trigger(&self, name: &CStr) -> bool {
        // SAFETY: a C string of the relcache.
        self.triggers().iter().any(|trigger| unsafe { CStr::from_ptr(trigger.tgname) } == name)
    }

    /// Do the triggers of these names fire in this session? They can be disabled, and are while changes of
    /// another server are applied.
    pub fn fires(&self, names: &[&CStr]) -> bool {
        // SAFETY: C strings of the relcache, and a global of the backend.
        unsafe {
            pg_sys::SessionReplicationRole != pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32
                && self.triggers().iter().all(|trigger| {
                    !names.contains(&CStr::from_ptr(trigger.tgname))
                        || [pg_sys::TRIGGER_FIRES_ON_ORIGIN, pg_sys::TRIGGER_FIRES_ALWAYS]
                            .contains(&(trigger.tgenabled as u8))
                })
        }
    }

    /// How many columns it has, dropped ones included.
    pub fn columns(&self) -> i16 {
        self.class().relnatts
    }

    /// Has it generated columns or checks? Both may run code of its owner's.
    pub fn computes_on_insert(&self) -> bool {
        // SAFETY: an open relation has a description; its constraints may be null.
        unsafe {
            (*self.data().rd_att).constr.as_ref().is_some_and(|c| c.has_generated_stored || c.num_check > 0)
        }
    }

    pub fn indexes(&self) -> Vec<Oid> {
        // SAFETY: the list is a copy.
        unsafe {
            let list = pg_sys::RelationGetIndexList(self.relation);
            let count = if list.is_null() { 0 } else { (*list).length as usize };
            (0..count).map(|place| (*(*list).elements.add(place)).oid_value).collect()
        }
    }

    /// Has it not even a page for rows?
    pub fn is_empty(&self) -> bool {
        // SAFETY: an open table.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) == 0
        }
    }

    /// An ordinary table stored in the ordinary way, each row with all its columns.
    pub fn is_plain_heap(&self) -> bool {
        self.class().relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char
            && self.class().relam == pg_sys::HEAP_TABLE_AM_OID
            && !self.computes_on_read()
    }

    /// Has it virtual generated columns? Only the planner knows their values.
    #[cfg(feature = "pg18")]
    fn computes_on_read(&self) -> bool {
        // SAFETY: as in `computes_on_insert`.
        unsafe { (*self.data().rd_att).constr.as_ref().is_some_and(|c| c.has_generated_virtual) }
    }

    #[cfg(not(feature = "pg18"))]
    fn computes_on_read(&self) -> bool {
        false
    }

    /// Were its contents made or replaced in this transaction, so that a rollback brings others back?
    pub fn is_of_this_transaction(&self) -> bool {
        let data = self.data();
        #[cfg(feature = "pg15")]
        let contents_made_in = data.rd_firstRelfilenodeSubid;
        #[cfg(not(feature = "pg15"))]
        let contents_made_in = data.rd_firstRelfilelocatorSubid;
        data.rd_createSubid != NO_SUBTRANSACTION || contents_made_in != NO_SUBTRANSACTION
    }

    /// Raises, as the executor does, if a publication needs a replica identity that the table lacks.
    pub fn check_may_delete(&self) {
        // SAFETY: an open relation.
        unsafe { pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_DELETE) };
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: opened by this value and closed once; the lock is kept.
        unsafe { pg_sys::relation_close(self.relation, pg_sys::NoLock as i32) };
    }
}
