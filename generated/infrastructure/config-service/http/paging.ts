// The query parameters and the answer of lists.
import * as v from 'valibot';
import type { Page, PagePosition, PageRequest } from '@/infrastructure/database/queries';
import { invalid } from './errors';

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 100;

const Cursor = v.strictTuple([
  v.pipe(v.string(), v.maxLength(64)),
  v.pipe(v.string(), v.maxLength(64)),
]);

function encodeCursor(position: PagePosition): string {
  return btoa(JSON.stringify([position.created_at, position.id]))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

function decodeCursor(text: string): PagePosition {
  try {
    const json = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    const [created_at, id] = v.parse(Cursor, JSON.parse(json));
    return { created_at, id };
  } catch {
    throw invalid('cursor: not one that a list has given out');
  }
}

export function readPageRequest(query: URLSearchParams): PageRequest {
  const limitText = query.get('limit') ?? String(LIMIT_DEFAULT);
  const limit = /^\d{1,3}$/.test(limitText) ? Number(limitText) : 0;
  if (limit < 1 || limit > LIMIT_MAX) {
    throw invalid(`limit: must be a whole number from 1 to ${LIMIT_MAX}`);
  }
  const cursor = query.get('cursor');
  return { limit, after: cursor === null ? null : decodeCursor(cursor) };
}

export function pageBody<Item>(page: Page<Item>): { items: Item[]; next_cursor: string | null } {
  return {
    items: page.items,
    next_cursor: page.next === null ? null : encodeCursor(page.next),
  };
}
