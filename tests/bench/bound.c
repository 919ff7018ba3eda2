/*
 * What none can go below who puts a job from a trigger, or by a function: C that does nothing but write its row into
 * a plain table with one index. No options, no expressions, no roles, no privileges, nobody woken, and nothing is
 * looked up by name after the first time. 1_enqueue.sh and 2_trigger.sh build and use it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(only_insert);
PG_FUNCTION_INFO_V1(only_put);

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
