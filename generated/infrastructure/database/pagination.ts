// Keyset pagination: a page starts behind the last item of the one before it, so that rows that come or go in between
// shift nothing.
import type { Timestamp } from './types';

export interface PagePosition {
  created_at: Timestamp;
  id: string;
}

export interface PageRequest {
  limit: number;
  /** The last item of the previous page; null for the first page. */
  after: PagePosition | null;
}

export interface Page<Item> {
  items: Item[];
  /** Where the next page starts; null if this is the last one. */
  next: PagePosition | null;
}

/** A fixed piece of SQL with `?` for each of its values. Never put input into `sql`. */
export interface Condition {
  sql: string;
  values: (string | number)[];
}

export interface ListQuery<Row, Item> {
  /** `SELECT ... FROM ...`, without conditions. */
  select: string;
  /** The columns of the order, as they are called within `select`. */
  createdAtColumn: string;
  idColumn: string;
  conditions: Condition[];
  page: PageRequest;
  toItem: (row: Row) => Item;
  positionOf: (item: Item) => PagePosition;
}

export async function listPage<Row, Item>(
  database: D1Database,
  query: ListQuery<Row, Item>,
): Promise<Page<Item>> {
  const { select, createdAtColumn, idColumn, page, toItem, positionOf } = query;
  const conditions = [...query.conditions];
  if (page.after !== null) {
    conditions.push({
      sql: `(${createdAtColumn}, ${idColumn}) > (?, ?)`,
      values: [page.after.created_at, page.after.id],
    });
  }
  const where =
    conditions.length === 0 ? '' : ` WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}`;
  // One row more than asked for tells whether another page follows.
  const { results } = await database
    .prepare(`${select}${where} ORDER BY ${createdAtColumn}, ${idColumn} LIMIT ?`)
    .bind(...conditions.flatMap(({ values }) => values), page.limit + 1)
    .all<Row>();
  const items = results.slice(0, page.limit).map(toItem);
  const last = items.at(-1);
  return {
    items,
    next: results.length > page.limit && last !== undefined ? positionOf(last) : null,
  };
}
