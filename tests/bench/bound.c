/*
 * What none can go below who puts a job from a trigger, or by a function: C that does nothing but write its row into
 * a plain table with one index. No options, no expressions, no roles, no privileges, nobody woken, and nothing is
 * looked up by name after the first time. And who takes jobs: C that deletes rows in the order of an index and returns
 * them, from a key on that it is told; it neither looks for its place nor minds anybody else. And who lends them: the same,
 * with the rows written into another table, and deleted from there by their ids.
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
#include "utils/array.h"
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
PG_FUNCTION_INFO_V1(only_lease);
PG_FUNCTION_INFO_V1(only_end);

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

#define MOST_LEASED 100

static Relation
open_unique_index(Relation table)
{
	ListCell   *oid;

	foreach(oid, RelationGetIndexList(table))
	{
		Relation	index = index_open(lfirst_oid(oid), RowExclusiveLock);

		if (index->rd_index->indisunique)
			return index;
		index_close(index, NoLock);
	}
	elog(ERROR, "no unique index");
}

/* The rows are deleted; and returned as they are, or leased and then returned. */
static void
take(FunctionCallInfo fcinfo, Oid ready, Oid leased, int64 first, int most)
{
	Relation	table = table_open(ready, RowExclusiveLock);
	Relation	index = open_unique_index(table);
	Relation	to = leased == InvalidOid ? NULL : table_open(leased, RowExclusiveLock);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TupleTableSlot *rows[MOST_LEASED];
	int			count = 0;
	ScanKeyData keys[2];
	IndexScanDesc scan;
	Datum		until = TimestampTzGetDatum(GetCurrentTimestamp() + 30 * USECS_PER_SEC);
	Datum		running = CStringGetTextDatum("running");

	InitMaterializedSRF(fcinfo, 0);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(5));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	scan = index_beginscan(table, index, GetActiveSnapshot(), 2, 0);
	index_rescan(scan, keys, 2, NULL, 0);
	while (most-- > 0 && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		TM_FailureData failure;

		if (heap_delete(table, &slot->tts_tid, GetCurrentCommandId(true), InvalidSnapshot, false, &failure, false) != TM_Ok)
			continue;
		if (to == NULL)
			tuplestore_puttuple(result->setResult, ((HeapTupleTableSlot *) slot)->tuple);
		else
		{
			TupleTableSlot *row = rows[count++] = table_slot_create(to, NULL);
			int			state = SPI_fnumber(to->rd_att, "state") - 1;
			int			lease_until = SPI_fnumber(to->rd_att, "lease_until") - 1;

			slot_getallattrs(slot);
			memcpy(row->tts_values, slot->tts_values, sizeof(Datum) * to->rd_att->natts);
			memcpy(row->tts_isnull, slot->tts_isnull, sizeof(bool) * to->rd_att->natts);
			row->tts_values[state] = running;
			row->tts_values[lease_until] = until;
			row->tts_isnull[lease_until] = false;
			ExecStoreVirtualTuple(row);
			ExecMaterializeSlot(row);
		}
	}
	if (count > 0)
	{
		CatalogIndexState indexes = CatalogOpenIndexes(to);

		CatalogTuplesMultiInsertWithInfo(to, rows, count, indexes);
		CatalogCloseIndexes(indexes);
		for (int i = 0; i < count; i++)
		{
			tuplestore_puttupleslot(result->setResult, rows[i]);
			ExecDropSingleTupleTableSlot(rows[i]);
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(table, NoLock);
	if (to != NULL)
		table_close(to, NoLock);
}

/* (table oid, first id bigint, most int) returns its rows: they are deleted */
Datum
only_take(PG_FUNCTION_ARGS)
{
	take(fcinfo, PG_GETARG_OID(0), InvalidOid, PG_GETARG_INT64(1), PG_GETARG_INT32(2));
	PG_RETURN_NULL();
}

/* (table oid, to oid, first id bigint, most int) returns rows: they are moved there */
Datum
only_lease(PG_FUNCTION_ARGS)
{
	take(fcinfo, PG_GETARG_OID(0), PG_GETARG_OID(1), PG_GETARG_INT64(2), Min(PG_GETARG_INT32(3), MOST_LEASED));
	PG_RETURN_NULL();
}

/* (table oid, ids bigint[], attempts int[]) returns setof bigint: the ids deleted; they stand in a row, in order */
Datum
only_end(PG_FUNCTION_ARGS)
{
	Relation	table = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	Relation	index = open_unique_index(table);
	ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(1);
	int32	   *attempts = (int32 *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(2));
	int			count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleTableSlot *slot = table_slot_create(table, NULL);
	int			attempt = SPI_fnumber(table->rd_att, "attempt");
	ScanKeyData key;
	IndexScanDesc scan;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ScanKeyInit(&key, 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(((int64 *) ARR_DATA_PTR(ids))[0]));
	scan = index_beginscan(table, index, GetActiveSnapshot(), 1, 0);
	index_rescan(scan, &key, 1, NULL, 0);
	for (int i = 0; i < count && index_getnext_slot(scan, ForwardScanDirection, slot); i++)
	{
		TM_FailureData failure;
		bool		is_null;

		if (DatumGetInt32(slot_getattr(slot, attempt, &is_null)) == attempts[i] &&
			heap_delete(table, &slot->tts_tid, GetCurrentCommandId(true), InvalidSnapshot, false, &failure, false) == TM_Ok)
		{
			Datum		id = slot_getattr(slot, 1, &is_null);

			is_null = false;
			tuplestore_putvalues(result->setResult, result->setDesc, &id, &is_null);
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(table, NoLock);
	PG_RETURN_NULL();
}
