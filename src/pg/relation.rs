//! Open relations, and what their definitions allow us to do without the executor.

use pgrx::pg_sys::{self, Oid};

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

    /// An index, locked as a statement that changes its table locks it.
    pub fn index(oid: Oid) -> Open {
        // SAFETY: as for `table`.
        Open { relation: unsafe { pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32) } }
    }

    pub fn raw(&self) -> pg_sys::Relation {
        self.relation
    }

    fn data(&self) -> &pg_sys::RelationData {
        // SAFETY: open, so the entry exists; a relcache entry in use stays where it is.
        unsafe { &*self.relation }
    }

    fn class(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: as in `data`.
        unsafe { &*self.data().rd_rel }
    }

    fn triggers(&self) -> Option<&pg_sys::TriggerDesc> {
        // SAFETY: null or the relcache's own description.
        unsafe { self.data().trigdesc.as_ref() }
    }

    /// Would the executor do more for a DELETE of its rows than delete them?
    pub fn delete_has_side_effects(&self) -> bool {
        !self.data().rd_rules.is_null()
            || self.triggers().is_some_and(|t| {
                t.trig_delete_before_row
                    || t.trig_delete_after_row
                    || t.trig_delete_instead_row
                    || t.trig_delete_before_statement
                    || t.trig_delete_after_statement
            })
    }

    /// An ordinary table stored in the ordinary way.
    pub fn is_plain_heap(&self) -> bool {
        self.class().relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char
            && self.class().relam == pg_sys::Oid::from(pg_sys::HEAP_TABLE_AM_OID)
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
        // SAFETY: opened by this value and closed once; the lock is kept.
        unsafe { pg_sys::relation_close(self.relation, pg_sys::NoLock as i32) };
    }
}
