// The id that follows one request through all Workers.

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The UUID that the caller sent in `X-Request-ID`, else a new one. */
export function requestIdOf(request: Request, newId: () => string): string {
  const given = request.headers.get('X-Request-ID')?.toLowerCase() ?? '';
  return UUID.test(given) ? given : newId();
}
