/*
 * What none can go below who puts a job from a trigger, or by a function: C that does nothing but write its row into
 * a plain table with one index. No options, no expressions, no roles, no privileges, nobody woken, and nothing is
 * looked up by name after the first time. And who takes jobs: C that deletes rows in the order of an index and returns
 * them, from a key on that it is told; it neither looks for its place nor minds anybody else.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(only_insert);
PG_FUNCTION_INFO_V1(only_put);
PG_FUNCTION_INFO_V1(only_take);

static int64
put(Oid table, Datum recipient, Datum subject)
{
	static Oid	sequence = InvalidOid;
	static int	id, state, priority, attempt, enqueued_at, to, about;
	Relation	relation = table_open(table, RowExclusiveLock);
	TupleDesc	desc = relation->rd_att;
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];
	int64		number;

	if (sequence == InvalidOid)
	{
		sequence = getIdentitySequence(table, 1, false);
		id = SPI_fnumber(desc, "id") - 1;
		state = SPI_fnumber(desc, "state") - 1;
		priority = SPI_fnumber(desc, "priority") - 1;
		attempt = SPI_fnumber(desc, "attempt") - 1;
		enqueued_at = SPI_fnumber(desc, "enqueued_at") - 1;
		to = SPI_fnumber(desc, "recipient") - 1;
		about = SPI_fnumber(desc, "subject") - 1;
	}
	number = nextval_internal(sequence, false);
	memset(nulls, true, desc->natts);
#define SET(column, value) (values[column] = (value), nulls[column] = false)
	SET(id, Int64GetDatum(number));
	SET(state, CStringGetTextDatum("ready"));
	SET(priority, Int16GetDatum(5));
	SET(attempt, Int32GetDatum(1));
	SET(enqueued_at, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	SET(to, recipient);
	SET(about, subject);
	CatalogTupleInsert(relation, heap_form_tuple(desc, values, nulls));
	table_close(relation, NoLock);
	return number;
}

/* An AFTER ROW trigger on a table with id and email; its argument is the oid of the table to write to. */
Datum
only_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	source = trigger->tg_relation->rd_att;
	static Oid	table = InvalidOid;
	bool		is_null;
	int64		id;
	Datum		email;

	if (table == InvalidOid)
		table = atooid(trigger->tg_trigger->tgargs[0]);
	id = DatumGetInt64(heap_getattr(trigger->tg_trigtuple, 1, source, &is_null));
	email = heap_getattr(trigger->tg_trigtuple, 2, source, &is_null);
	put(table, email, CStringGetTextDatum(psprintf("Your order " INT64_FORMAT, id)));
	PG_RETURN_POINTER(NULL);
}

static Datum
field(Jsonb *payload, const char *name)
{
	JsonbValue	value;

	getKeyJsonValueFromContainer(&payload->root, name, strlen(name), &value);
	return PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len));
}

/* (table oid, payload jsonb) returns bigint */
Datum
only_put(PG_FUNCTION_ARGS)
{
	Jsonb	   *payload = PG_GETARG_JSONB_P(1);

	PG_RETURN_INT64(put(PG_GETARG_OID(0), field(payload, "recipient"), field(payload, "subject")));
}

/* (table oid, first id bigint, most int) returns its rows: they are deleted */
Datum
only_take(PG_FUNCTION_ARGS)
{
	Relation	table = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	Relation	index = NULL;
	int			most = PG_GETARG_INT32(2);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleTableSlot *slot = table_slot_create(table, NULL);
	ScanKeyData keys[2];
	IndexScanDesc scan;
	ListCell   *oid;

	InitMaterializedSRF(fcinfo, 0);
	foreach(oid, RelationGetIndexList(table))
	{
		index = index_open(lfirst_oid(oid), RowExclusiveLock);
		if (index->rd_index->indisunique)
			break;
		index_close(index, NoLock);
	}
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(5));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, PG_GETARG_DATUM(1));
	scan = index_beginscan(table, index, GetActiveSnapshot(), 2, 0);
	index_rescan(scan, keys, 2, NULL, 0);
	while (most-- > 0 && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		TM_FailureData failure;

		if (heap_delete(table, &slot->tts_tid, GetCurrentCommandId(true), InvalidSnapshot, false, &failure, false) == TM_Ok)
			tuplestore_puttuple(result->setResult, ((HeapTupleTableSlot *) slot)->tuple);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(table, NoLock);
	PG_RETURN_NULL();
}
