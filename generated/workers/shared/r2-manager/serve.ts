// Serves stored images: the handler of `GET /images/{r2_path}`, which a Worker mounts. It serves images and nothing else
// that may lie in a bucket, to whoever knows the path.
import { imageTypeOf } from './format';
import { allBuckets, isImagePath } from './paths';
import { parseRange, type RangeRequest } from './range';
import type { StorageEnv } from './types';

/** An image never changes: its path is used once. */
const CACHE_CONTROL = 'public, max-age=31536000, immutable';

function errorResponse(
  requestId: string,
  { status, code, message }: { status: number; code: string; message: string },
  headers: Record<string, string> = {},
): Response {
  return Response.json(
    { error: message, code, request_id: requestId },
    {
      status,
      headers: {
        'Content-Type': 'application/json; charset=utf-8',
        'Cache-Control': 'no-store',
        'X-Content-Type-Options': 'nosniff',
        'X-Request-ID': requestId,
        ...headers,
      },
    },
  );
}

function notFound(requestId: string): Response {
  return errorResponse(requestId, {
    status: 404,
    code: 'NOT_FOUND',
    message: 'there is no image at this path',
  });
}

/** Some images can hold scripts (SVG): opened by themselves, they must not run as pages of this origin. */
const CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/** The first bucket's answer that is one. A path is in one bucket only; most Workers have one or two. */
async function findImage<Found extends R2Object>(
  env: StorageEnv,
  read: (bucket: R2Bucket) => Promise<Found | null>,
): Promise<{ bucket: R2Bucket; object: Found } | null> {
  for (const bucket of allBuckets(env)) {
    const object = await read(bucket);
    if (object !== null) {
      return imageTypeOf(object.httpMetadata?.contentType) === null ? null : { bucket, object };
    }
  }
  return null;
}

/** Whether one of the tags in `If-None-Match` is this one; weak ones count as their strong ones. */
function matchesEtag(header: string, httpEtag: string): boolean {
  return header
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''))
    .some((tag) => tag === '*' || tag === httpEtag);
}

function imageHeaders(object: R2Object, requestId: string): Record<string, string> {
  return {
    'Content-Type': object.httpMetadata?.contentType ?? '',
    'Cache-Control': CACHE_CONTROL,
    ETag: object.httpEtag,
    'Last-Modified': object.uploaded.toUTCString(),
    'Accept-Ranges': 'bytes',
    'Content-Security-Policy': CONTENT_SECURITY_POLICY,
    'X-Content-Type-Options': 'nosniff',
    'X-Request-ID': requestId,
  };
}

/** A body of known length: the runtime takes `Content-Length` from the stream itself. */
function bodyOf(object: R2ObjectBody, length: number): ReadableStream {
  const { readable, writable } = new FixedLengthStream(length);
  // Fails if the client goes away, of which there is nothing to tell.
  object.body.pipeTo(writable).catch(() => undefined);
  return readable;
}

async function serveWhole(path: string, env: StorageEnv, requestId: string): Promise<Response> {
  const found = await findImage(env, (bucket) => bucket.get(path));
  if (found === null) {
    return notFound(requestId);
  }
  const { object } = found;
  const headers = { ...imageHeaders(object, requestId), 'Content-Length': String(object.size) };
  return new Response(bodyOf(object, object.size), { headers });
}

async function serveRange(
  { bucket, object }: { bucket: R2Bucket; object: R2Object },
  range: Exclude<RangeRequest, 'whole'>,
  requestId: string,
): Promise<Response> {
  if (range === 'unsatisfiable') {
    return errorResponse(
      requestId,
      { status: 416, code: 'VALIDATION_FAILED', message: 'the image has no such range of bytes' },
      { 'Content-Range': `bytes */${object.size}` },
    );
  }
  const part = await bucket.get(object.key, { range });
  if (part === null) {
    return notFound(requestId);
  }
  const { offset, length } = range;
  return new Response(bodyOf(part, length), {
    status: 206,
    headers: {
      ...imageHeaders(object, requestId),
      'Content-Length': String(length),
      'Content-Range': `bytes ${offset}-${offset + length - 1}/${object.size}`,
    },
  });
}

/**
 * Answers `GET` and `HEAD` for the image at `path`, which is what follows `/images/` in the URL: nothing in it is encoded. One bucket costs
 * one operation, or two if a part is asked for.
 */
export async function serveImage(
  request: Request,
  path: string,
  env: StorageEnv,
  requestId: string,
): Promise<Response> {
  if (!isImagePath(path)) {
    return notFound(requestId);
  }
  const ifNoneMatch = request.headers.get('If-None-Match');
  const rangeHeader = request.method === 'GET' ? request.headers.get('Range') : null;
  if (request.method === 'GET' && ifNoneMatch === null && rangeHeader === null) {
    return await serveWhole(path, env, requestId);
  }
  const found = await findImage(env, (bucket) => bucket.head(path));
  if (found === null) {
    return notFound(requestId);
  }
  const { object } = found;
  if (ifNoneMatch !== null && matchesEtag(ifNoneMatch, object.httpEtag)) {
    return new Response(null, { status: 304, headers: imageHeaders(object, requestId) });
  }
  if (request.method === 'HEAD') {
    const headers = { ...imageHeaders(object, requestId), 'Content-Length': String(object.size) };
    return new Response(null, { headers });
  }
  // Parts of another version than the client has would not fit together.
  const ifRange = request.headers.get('If-Range');
  const range =
    rangeHeader === null || (ifRange !== null && ifRange !== object.httpEtag)
      ? 'whole'
      : parseRange(rangeHeader, object.size);
  return range === 'whole'
    ? await serveWhole(path, env, requestId)
    : await serveRange(found, range, requestId);
}
