// Reads and validates request bodies. Messages name the field and never repeat its value, which may be a secret.
import * as v from 'valibot';
import { ApiError, invalid } from './errors';
import { describeKind } from './objects';

export const BODY_BYTES_MAX = 64 * 1024;

async function readText(request: Request): Promise<string> {
  const tooLarge = new ApiError('PAYLOAD_TOO_LARGE', `a body may have ${BODY_BYTES_MAX} bytes`);
  if (Number(request.headers.get('Content-Length') ?? 0) > BODY_BYTES_MAX) {
    throw tooLarge;
  }
  if (request.body === null) {
    return '';
  }
  // The length is counted as well: a chunked body announces none.
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
  let text = '';
  let byteCount = 0;
  try {
    for await (const chunk of request.body) {
      byteCount += chunk.byteLength;
      if (byteCount > BODY_BYTES_MAX) {
        throw tooLarge;
      }
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (error instanceof TypeError) {
      throw invalid('the body is not valid UTF-8');
    }
    throw error;
  }
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  return path === null ? issue.message : `${path}: ${issue.message}`;
}

/** The body as `schema` wants it. `optional` lets a missing body count as `{}`. */
export async function readBody<Schema extends v.GenericSchema>(
  request: Request,
  schema: Schema,
  { optional = false }: { optional?: boolean } = {},
): Promise<v.InferOutput<Schema>> {
  const text = await readText(request);
  let value: unknown = {};
  if (text !== '' || !optional) {
    const contentType = request.headers.get('Content-Type') ?? '';
    if (contentType.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
      throw invalid('the body must be sent as application/json');
    }
    try {
      value = JSON.parse(text);
    } catch {
      throw invalid('the body is not valid JSON');
    }
  }
  const result = v.safeParse(schema, value, { message: describeKind });
  if (!result.success) {
    throw invalid(result.issues.map(describeIssue).join('; '));
  }
  return result.output;
}
