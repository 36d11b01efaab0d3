// The query parameters and the answer of lists.
import * as v from 'valibot';
import type { Page, PageRequest } from '@/infrastructure/database/queries';
import { invalid } from './errors';

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 100;

const CursorPart = v.pipe(v.string(), v.maxLength(64));

/** Texts as one opaque text, which can stand in a URL as it is. */
export function encodeCursor(parts: readonly string[]): string {
  return btoa(JSON.stringify(parts)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** So many texts out of a cursor; a 400 for everything that `encodeCursor` has not made. */
export function decodeCursor(text: string, count: number): string[] {
  try {
    const json = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    const parts = v.parse(v.pipe(v.array(CursorPart), v.length(count)), JSON.parse(json));
    // The decoder passes over white space and padding, which no list gives out.
    if (encodeCursor(parts) === text) {
      return parts;
    }
  } catch {
    // It is no base64, no JSON or another JSON: all the same to the caller.
  }
  throw invalid('cursor: not one that a list has given out');
}

export function readLimit(query: URLSearchParams): number {
  const text = query.get('limit') ?? String(LIMIT_DEFAULT);
  const limit = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > LIMIT_MAX) {
    throw invalid(`limit: must be a whole number from 1 to ${LIMIT_MAX}`);
  }
  return limit;
}

export function readPageRequest(query: URLSearchParams): PageRequest {
  const limit = readLimit(query);
  const cursor = query.get('cursor');
  if (cursor === null) {
    return { limit, after: null };
  }
  const [created_at = '', id = ''] = decodeCursor(cursor, 2);
  return { limit, after: { created_at, id } };
}

export function pageBody<Item>(page: Page<Item>): { items: Item[]; next_cursor: string | null } {
  return {
    items: page.items,
    next_cursor: page.next === null ? null : encodeCursor([page.next.created_at, page.next.id]),
  };
}
