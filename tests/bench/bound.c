/*
 * What no trigger can go below: an AFTER ROW trigger in C that does nothing but write the row of a job into
 * a plain table with one index. No options, no expressions, no roles, no privileges, nothing cached by name,
 * nobody woken. Built and used by 2_trigger.sh.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(only_insert);

Datum
only_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	static Oid	table = InvalidOid;
	static Oid	sequence;
	static int	id, state, priority, attempt, enqueued_at, recipient, subject, email, order_id;
	Relation	relation;
	TupleDesc	source = trigger->tg_relation->rd_att;
	TupleDesc	desc;
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];
	bool		is_null;

	if (table == InvalidOid)
	{
		table = RelnameGetRelid(trigger->tg_trigger->tgargs[0]);
		sequence = getIdentitySequence(table, 1, false);
	}
	relation = table_open(table, RowExclusiveLock);
	desc = relation->rd_att;
	if (id == 0)
	{
		state = SPI_fnumber(desc, "state") - 1;
		priority = SPI_fnumber(desc, "priority") - 1;
		attempt = SPI_fnumber(desc, "attempt") - 1;
		enqueued_at = SPI_fnumber(desc, "enqueued_at") - 1;
		recipient = SPI_fnumber(desc, "recipient") - 1;
		subject = SPI_fnumber(desc, "subject") - 1;
		email = SPI_fnumber(source, "email");
		order_id = SPI_fnumber(source, "id");
		id = SPI_fnumber(desc, "id");
	}
	memset(nulls, true, desc->natts);
#define SET(column, value) (values[column] = (value), nulls[column] = false)
	SET(id - 1, Int64GetDatum(nextval_internal(sequence, false)));
	SET(state, CStringGetTextDatum("ready"));
	SET(priority, Int16GetDatum(5));
	SET(attempt, Int32GetDatum(1));
	SET(enqueued_at, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	SET(recipient, heap_getattr(trigger->tg_trigtuple, email, source, &is_null));
	SET(subject, CStringGetTextDatum(psprintf("Your order " INT64_FORMAT,
											   DatumGetInt64(heap_getattr(trigger->tg_trigtuple, order_id, source, &is_null)))));
	CatalogTupleInsert(relation, heap_form_tuple(desc, values, nulls));
	table_close(relation, NoLock);
	PG_RETURN_POINTER(NULL);
}
